//! What journals must survive, on a simulated disk; each test prints its number.

use tracking_journal::{
    CheckpointPolicy, Fault, FaultAt, Journal, JournalError, JournalOptions, SimulatedDisk, SubmitError,
};

use crate::counter::{Command, Counter};
use crate::setup::stream;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EFBIG: i32 = 27;

fn options() -> JournalOptions {
    let policy = CheckpointPolicy {
        records: u64::MAX,
        bytes: u64::MAX,
        records_at_close: 4,
    };
    JournalOptions::default().with_checkpoint(policy)
}

fn open(disk: &SimulatedDisk) -> Journal<Counter> {
    Journal::open_simulated(disk, stream(), options()).unwrap()
}

pub(crate) fn add(journal: &Journal<Counter>, value: u64) -> Result<(), JournalError> {
    match journal.submit(Command::Add(value)).wait() {
        Ok(_) => Ok(()),
        Err(SubmitError::Journal(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Writes the values 1, 2, … in commits of `sizes` records, and tells after which change of the disk each was acked.
fn write(disk: &SimulatedDisk, first: u64, sizes: &[u64]) -> Vec<(usize, u64)> {
    let journal = open(disk);
    let mut next = first;
    let mut acked = Vec::new();
    for size in sizes {
        journal
            .submit(Command::AddEach((next..next + size).collect()))
            .wait()
            .unwrap();
        next += size;
        acked.push((disk.changes(), next - 1));
    }
    journal.close_blocking();
    acked
}

/// How many of the values 1, 2, … a journal has; they must be a prefix.
fn recovered(journal: &Journal<Counter>) -> u64 {
    journal.read(|state, head| {
        assert_eq!(state.records, head.seq);
        assert_eq!(
            state.sum,
            head.seq * (head.seq + 1) / 2,
            "not a prefix of what was attempted"
        );
        head.seq
    })
}

#[test]
fn fault_04_every_crash_state_recovers() {
    let disk = SimulatedDisk::default();
    let acked = write(&disk, 1, &[1, 1, 3, 1, 2]);
    let (mut states, mut lost) = (0, 0);
    for changes in 0..=disk.changes() {
        let owed = acked
            .iter()
            .rev()
            .find(|(at, _)| *at <= changes)
            .map_or(0, |(_, value)| *value);
        for crashed in disk.crash_states(changes) {
            let journal = open(&crashed);
            let found = recovered(&journal);
            lost += owed.saturating_sub(found);
            add(&journal, found + 1).unwrap();
            assert_eq!(recovered(&journal), found + 1);
            journal.close_blocking();
            assert_eq!(recovered(&open(&crashed)), found + 1);
            states += 1;
        }
    }
    println!(
        "FAULT row=4 name=crash_states states={states} acked={} lost={lost}",
        acked.len()
    );
    assert_eq!(lost, 0);
    assert!(states > 500);
}

#[test]
fn fault_14_a_crash_during_recovery_changes_nothing() {
    let disk = SimulatedDisk::default();
    let acked = write(&disk, 1, &[1, 2, 1]);
    let (mut crashes, mut lost) = (0, 0);
    for changes in 0..=disk.changes() {
        let owed = acked
            .iter()
            .rev()
            .find(|(at, _)| *at <= changes)
            .map_or(0, |(_, value)| *value);
        for crashed in disk.crash_states(changes).step_by(61) {
            let journal = open(&crashed);
            let found = recovered(&journal);
            add(&journal, found + 1).unwrap();
            journal.close_blocking();
            for again in 0..=crashed.changes() {
                for twice in crashed.crash_states(again).step_by(11) {
                    let kept = recovered(&open(&twice));
                    assert!(kept <= found + 1);
                    lost += owed.saturating_sub(kept);
                    crashes += 1;
                }
            }
        }
    }
    println!("FAULT row=14 name=crash_during_recovery crashes={crashes} lost={lost}");
    assert_eq!(lost, 0);
    assert!(crashes >= 100);
}

#[test]
fn fault_05_a_tail_cut_anywhere_leaves_a_prefix() {
    let disk = SimulatedDisk::default();
    write(&disk, 1, &[1, 1, 1, 1]);
    let content = disk.content(".jsonl").unwrap();
    let mut reported = 0;
    for cut in 0..=content.len() {
        let kept = &content[..cut];
        let disk = SimulatedDisk::with_journal(&stream(), kept);
        let journal = open(&disk);
        let whole = kept.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(recovered(&journal), whole);
        let torn = cut
            - kept
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
        assert_eq!(journal.recovery().torn_bytes, torn as u64);
        reported += u32::from(torn > 0);
        add(&journal, whole + 1).unwrap();
        journal.close_blocking();
        assert_eq!(recovered(&open(&disk)), whole + 1);
    }
    println!(
        "FAULT row=5 name=tail_cut offsets={} reported={reported} lost=0",
        content.len() + 1
    );
}

#[test]
fn fault_06_no_flipped_bit_is_accepted() {
    let disk = SimulatedDisk::default();
    write(&disk, 1, &[1, 1, 1]);
    let content = disk.content(".jsonl").unwrap();
    let last = content[..content.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    let (mut errors, mut cut, mut silent) = (0, 0, 0);
    for at in 0..content.len() {
        for bit in 0..8 {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << bit;
            let disk = SimulatedDisk::with_journal(&stream(), &flipped);
            match Journal::<Counter>::open_simulated(&disk, stream(), options()) {
                Ok(journal) if journal.head().seq == 3 => silent += 1,
                Ok(journal) => {
                    // Only the last commit can be taken for one that was never finished.
                    assert_eq!(
                        (journal.head().seq, at >= last),
                        (2, true),
                        "byte {at}, bit {bit}"
                    );
                    assert!(journal.recovery().torn_bytes > 0);
                    cut += 1;
                }
                Err(JournalError::Damaged(damage)) => {
                    assert!(damage.offset <= at as u64);
                    errors += 1;
                }
                Err(error) => panic!("byte {at}, bit {bit}: {error}"),
            }
            assert_eq!(disk.content(".jsonl").unwrap(), flipped);
        }
    }
    let flips = content.len() * 8;
    println!("FAULT row=6 name=bit_flips flips={flips} errors={errors} cut={cut} silent={silent}");
    assert_eq!(silent, 0);
}

#[test]
fn fault_08_nothing_is_acked_after_a_failed_sync() {
    let mut acks_after = 0;
    for failing in 0..5 {
        let disk = SimulatedDisk::default();
        let journal = open(&disk);
        add(&journal, 1).unwrap();
        disk.inject(Fault {
            after: failing,
            ..Fault::next(FaultAt::Sync, EIO)
        });
        let mut acked = 1;
        while add(&journal, acked + 1).is_ok() {
            acked += 1;
        }
        for _ in 0..10 {
            match add(&journal, acked + 1) {
                Ok(()) => acks_after += 1,
                Err(error) => assert!(matches!(error, JournalError::Poisoned { .. }), "{error}"),
            }
        }
        assert_eq!(recovered(&journal), acked);
        journal.close_blocking();
        let journal = open(&disk);
        assert_eq!(recovered(&journal), acked);
        add(&journal, acked + 1).unwrap();
    }
    println!("FAULT row=8 name=failed_sync syncs=5 acks_after={acks_after} lost=0");
    assert_eq!(acks_after, 0);
}

#[test]
fn fault_09_a_failed_open_or_read_is_an_error() {
    let mut errors = 0;
    for (at, after) in [(FaultAt::Open, 0), (FaultAt::Read, 0)] {
        let disk = SimulatedDisk::default();
        write(&disk, 1, &[1, 1]);
        let content = disk.content(".jsonl").unwrap();
        disk.inject(Fault {
            after,
            ..Fault::next(at, EIO)
        });
        let error = Journal::<Counter>::open_simulated(&disk, stream(), options()).unwrap_err();
        assert!(matches!(error, JournalError::Io { .. }), "{error}");
        errors += 1;
        assert_eq!(disk.content(".jsonl").unwrap(), content);
        let journal = open(&disk);
        assert_eq!(recovered(&journal), 2);
        // The same while another writer's records are read before a commit.
        let other = open(&disk);
        add(&other, 3).unwrap();
        disk.inject(Fault::next(FaultAt::Read, EIO));
        assert!(matches!(add(&journal, 4), Err(JournalError::Io { .. })));
        errors += 1;
        add(&journal, 4).unwrap();
        assert_eq!(recovered(&journal), 4);
    }
    println!("FAULT row=9 name=failed_open_or_read errors={errors} untouched={errors}");
}

#[test]
fn fault_12_a_short_write_is_rolled_back() {
    let (mut writes, mut rolled_back) = (0, 0);
    for errno in [ENOSPC, EFBIG, EIO] {
        for written in [0, 1, 100, 300] {
            let disk = SimulatedDisk::default();
            let journal = open(&disk);
            add(&journal, 1).unwrap();
            let before = disk.content(".jsonl").unwrap();
            disk.inject(Fault {
                written,
                ..Fault::next(FaultAt::Write, errno)
            });
            let error = add(&journal, 2).unwrap_err();
            assert_eq!(
                matches!(error, JournalError::DiskFull { .. }),
                errno != EIO,
                "{error}"
            );
            writes += 1;
            rolled_back += u32::from(disk.content(".jsonl").unwrap() == before);
            add(&journal, 2).unwrap();
            assert_eq!(recovered(&journal), 2);
            journal.close_blocking();
            assert_eq!(recovered(&open(&disk)), 2);
        }
    }
    println!("FAULT row=12 name=short_write writes={writes} rolled_back={rolled_back} lost=0");
    assert_eq!(rolled_back, writes);
}

#[test]
fn a_write_that_cannot_be_undone_poisons() {
    let disk = SimulatedDisk::default();
    let journal = open(&disk);
    add(&journal, 1).unwrap();
    disk.inject(Fault {
        written: 50,
        ..Fault::next(FaultAt::Write, ENOSPC)
    });
    disk.inject(Fault::next(FaultAt::SetSize, EIO));
    assert!(matches!(add(&journal, 2), Err(JournalError::DiskFull { .. })));
    assert!(matches!(add(&journal, 2), Err(JournalError::Poisoned { .. })));
    journal.close_blocking();
    let journal = open(&disk);
    assert_eq!(journal.recovery().torn_bytes, 50);
    add(&journal, 2).unwrap();
    assert_eq!(recovered(&journal), 2);
}

#[test]
fn fault_08_what_a_failed_first_sync_left_is_written_again() {
    let disk = SimulatedDisk::default();
    let journal = open(&disk);
    disk.inject(Fault::next(FaultAt::Sync, EIO));
    disk.inject(Fault::next(FaultAt::SetSize, EIO));
    assert!(matches!(add(&journal, 1), Err(JournalError::Io { .. })));
    // Opened again while the one that failed is still there.
    let again = open(&disk);
    let first = recovered(&again);
    add(&again, first + 1).unwrap();
    assert!(matches!(
        add(&journal, first + 2),
        Err(JournalError::Poisoned { .. })
    ));
    let (mut states, mut lost) = (0, 0);
    for crashed in disk.crash_states(disk.changes()) {
        states += 1;
        lost += (first + 1).saturating_sub(recovered(&open(&crashed)));
    }
    println!("FAULT row=8 name=failed_first_sync states={states} lost={lost}");
    assert_eq!(lost, 0);
}

#[test]
fn fault_08_a_failed_sync_of_what_another_writer_left_poisons() {
    let disk = SimulatedDisk::default();
    write(&disk, 1, &[1, 1]);
    let disk = SimulatedDisk::with_journal(&stream(), &disk.content(".jsonl").unwrap());
    let journal = open(&disk);
    disk.inject(Fault::next(FaultAt::Sync, EIO));
    for _ in 0..2 {
        assert!(matches!(add(&journal, 3), Err(JournalError::Poisoned { .. })));
    }
    journal.close_blocking();
    let journal = open(&disk);
    add(&journal, 3).unwrap();
    assert_eq!(recovered(&journal), 3);
    println!("FAULT row=8 name=failed_sync_of_others syncs=1 acks_after=0 lost=0");
}

#[test]
fn fault_08_nothing_is_acked_in_a_journal_whose_name_is_not_durable() {
    let disk = SimulatedDisk::default();
    let journal = open(&disk);
    disk.inject(Fault::next(FaultAt::SyncNames, EIO));
    assert!(matches!(add(&journal, 1), Err(JournalError::Io { .. })));
    add(&journal, 1).unwrap();
    let mut lost = 0;
    for crashed in disk.crash_states(disk.changes()) {
        lost += 1 - recovered(&open(&crashed));
    }
    println!("FAULT row=8 name=failed_sync_of_names syncs=1 lost={lost}");
    assert_eq!(lost, 0);
}
