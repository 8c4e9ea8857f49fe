//! Processes killed at random moments, and at each system call that makes something durable.

use std::time::{Duration, Instant};

use scenarios::{Recovered, Writer, stream};
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::UpgradeProgress;

use crate::{Choices, writer_program};

#[test]
fn fault_01_killed_at_random_moments_loses_nothing() {
    let mut choices = Choices::new(1);
    let data = tempfile::tempdir().unwrap();
    let (mut lost, mut acked, mut recoveries) = (0, 0, Vec::new());
    const KILLS: u64 = 50;
    for _ in 0..KILLS {
        let mut writer = Writer::new(data.path(), "w").spawn(writer_program());
        let before = Recovered::read(data.path()).events.get("w").copied().unwrap_or(0);
        writer.wait_for_acks(before + choices.below(60));
        let ended = writer.kill();
        recoveries.push(recover(data.path()));
        let recovered = Recovered::read(data.path());
        lost += recovered.lost(&ended);
        acked = acked.max(ended.acked);
    }
    recoveries.sort_unstable();
    let p99 = recoveries[recoveries.len() * 99 / 100];
    println!(
        "FAULT row=1 name=killed kills={KILLS} acked={acked} lost={lost} p99_recovery_us={}",
        p99.as_micros()
    );
    assert_eq!(lost, 0);
    assert!(acked >= KILLS, "the writers wrote");
}

/// Opens the journal for writing, which recovers it, and returns how long that took.
fn recover(data_dir: &std::path::Path) -> Duration {
    let begin = Instant::now();
    let dir = DataDir::open(data_dir).unwrap();
    let journal = Journal::<UpgradeProgress>::open(&dir, stream(), JournalOptions::default()).unwrap();
    let took = begin.elapsed();
    journal.close_blocking();
    took
}

/// Every system call after which something may be durable, or visible, that was not before.
const POINTS: [&str; 9] = [
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "pwrite64",
    "unlink",
    "mkdir",
];

#[test]
fn fault_02_killed_at_each_sync_and_rename_loses_nothing() {
    let (mut points, mut lost) = (0, 0);
    for call in POINTS {
        for nth in 1.. {
            let data = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let trace = format!("trace={call}");
            let wrapper = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
            ];
            let writer = Writer::new(data.path(), "w").with_count(4);
            let ended = writer
                .clone()
                .with_wrapper(wrapper)
                .spawn(writer_program())
                .finish();
            assert!(
                !ended.stderr.contains("strace:"),
                "strace works here: {}",
                ended.stderr
            );
            if ended.status.success() {
                break;
            }
            points += 1;
            if data.path().join("progress").exists() {
                lost += Recovered::read(data.path()).lost(&ended);
            }
            let again = writer.spawn(writer_program()).finish();
            assert!(again.status.success(), "{call} {nth}: {}", again.stderr);
            assert_eq!(
                Recovered::read(data.path()).events.get("w"),
                Some(&4),
                "{call} {nth}: the rest is written"
            );
        }
    }
    println!("FAULT row=2 name=killed_at_each_sync points={points} lost={lost}");
    assert_eq!(lost, 0);
    assert!(points >= 10, "the journal syncs: {points}");
}
