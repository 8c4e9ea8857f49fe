//! Several processes that write one stream.

use std::time::Duration;

use scenarios::{Recovered, Running, Writer, stream};
use tracking_journal::{DataDir, Journal, JournalError, JournalOptions, SubmitError};
use tracking_model::{UpgradeCommand, UpgradeProgress};

use crate::{Choices, writer_program};

#[test]
fn fault_15_four_writers_killed_at_random_keep_one_valid_chain() {
    const KILLS: u64 = 24;
    let mut choices = Choices::new(15);
    let data = tempfile::tempdir().unwrap();
    let spawn = |slot: usize| Writer::new(data.path(), &format!("w{slot}")).spawn(writer_program());
    let mut running: Vec<Running> = (0..4).map(spawn).collect();
    let mut lost = 0;
    for _ in 0..KILLS {
        let slot = usize::try_from(choices.below(4)).unwrap();
        let target = running[slot].acked + 1 + choices.below(20);
        running[slot].wait_for_acks(target);
        let ended = std::mem::replace(&mut running[slot], spawn(slot)).kill();
        assert!(ended.acked >= target, "{} goes on: {}", ended.name, ended.stderr);
        lost += Recovered::read(data.path()).lost(&ended);
    }
    for writer in &mut running {
        writer.wait_for_acks(writer.acked + 1);
    }
    for writer in running {
        let ended = writer.kill();
        lost += Recovered::read(data.path()).lost(&ended);
    }
    let recovered = Recovered::read(data.path());
    println!(
        "FAULT row=15 name=several_writers writers=4 kills={} records={} lost={lost}",
        KILLS + 4,
        recovered.records
    );
    assert_eq!(lost, 0);
    assert_eq!(
        recovered.events.len(),
        4,
        "all four wrote: {:?}",
        recovered.events
    );
}

#[test]
fn fault_15_a_writer_that_hangs_is_named_and_its_death_frees_the_lock() {
    let data = tempfile::tempdir().unwrap();
    // The fifth sync of the process, after two to prepare and two reports, never returns, so it keeps the lock.
    let wrapper = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_enter=600s:when=5",
    ];
    let mut hung = Writer::new(data.path(), "hung")
        .with_wrapper(wrapper)
        .spawn(writer_program());
    hung.wait_for_acks(1);
    let dir = DataDir::open(data.path()).unwrap();
    let options = JournalOptions::default().with_lock_timeout(Duration::from_millis(300));
    let journal = Journal::<UpgradeProgress>::open(&dir, stream(), options).unwrap();
    let start = || UpgradeCommand::Start {
        phase: "phase".into(),
    };
    let holder = loop {
        match journal
            .submit(UpgradeCommand::SetPhase {
                phase: "phase".into(),
            })
            .wait()
        {
            Ok(_) => {}
            Err(SubmitError::Journal(JournalError::Locked { holder, .. })) => {
                break holder.expect("the holder's process id is known");
            }
            Err(error) => panic!("expected to be locked out, got {error:?}"),
        }
    };
    let name = std::fs::read_to_string(format!("/proc/{holder}/comm")).unwrap();
    assert_eq!(
        name.trim(),
        "journal-writer",
        "the holder is the process that hangs"
    );
    let pid = rustix::process::Pid::from_raw(i32::try_from(holder).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // The tracer would sit out its delay.
    let ended = hung.kill();
    journal.submit(start()).wait().expect("the lock is free");
    journal.close_blocking();
    let lost = Recovered::read(data.path()).lost(&ended);
    println!("FAULT row=15 name=hung_writer holder_named=1 freed_at_death=1 lost={lost}");
    assert_eq!(lost, 0);
}
