//! What journals must survive, on a simulated disk and by hand; each test prints its number.

use std::fs;
use std::time::Duration;

use tracking_journal::{
    CheckpointPolicy, Fault, FaultAt, Journal, JournalError, JournalOptions, MAX_LINE_BYTES, Salvage,
    SimulatedDisk, SubmitError, SystemClock, load, repair, verify,
};

use crate::counter::{Command, Counter};
use crate::setup::{Setup, stream};

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

fn add(journal: &Journal<Counter>, value: u64) -> Result<(), JournalError> {
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
        "FAULT row=4 name=crash-states states={states} acked={} lost={lost}",
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
    println!("FAULT row=14 name=crash-during-recovery crashes={crashes} lost={lost}");
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
        "FAULT row=5 name=tail-cut offsets={} reported={reported} lost=0",
        content.len() + 1
    );
}

#[test]
fn a_tail_cut_that_a_sidecar_vouches_for_is_damage() {
    let setup = Setup::new();
    setup.fill(3, 1);
    let content = setup.content();
    let sidecar = fs::read(setup.dir.sidecar_path(&stream())).unwrap();
    for cut in (0..content.len()).step_by(97) {
        setup.put(&content[..cut]);
        fs::write(setup.dir.sidecar_path(&stream()), &sidecar).unwrap();
        let vouched = load::<Counter>(&setup.dir, &stream());
        assert!(matches!(vouched, Err(JournalError::Damaged(_))));
        let verified = verify(&setup.dir, &stream(), None);
        assert!(matches!(verified, Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), &content[..cut]);
    }
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
    println!("FAULT row=6 name=bit-flips flips={flips} errors={errors} cut={cut} silent={silent}");
    assert_eq!(silent, 0);
}

#[test]
fn fault_07_changed_records_are_damage() {
    let setup = Setup::new();
    let journal = setup.open();
    for value in 1..=6 {
        add(&journal, value).unwrap();
    }
    journal.close_blocking();
    let content = setup.content();
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let zeros = vec![0; lines[2].len()];
    let (mut mutations, mut untouched) = (0, 0);
    for at in 1..4 {
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at]);
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        let mut zeroed = lines.clone();
        zeroed[at] = &zeros;
        for mutated in [dropped, repeated, swapped, zeroed] {
            let mutated = mutated.concat();
            setup.put(&mutated);
            let error = setup.try_open().unwrap_err();
            let JournalError::Damaged(damage) = error else {
                panic!("{error}")
            };
            assert!(damage.line >= at as u64, "{damage}");
            assert!(matches!(
                verify(&setup.dir, &stream(), None),
                Err(JournalError::Damaged(_))
            ));
            mutations += 1;
            untouched += u32::from(setup.content() == mutated);
        }
    }
    println!(
        "FAULT row=7 name=changed-records mutations={mutations} errors={mutations} untouched={untouched}"
    );
    assert_eq!(untouched, mutations);
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
    println!("FAULT row=8 name=failed-sync syncs=5 acks_after={acks_after} lost=0");
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
    println!("FAULT row=9 name=failed-open-or-read errors={errors} untouched={errors}");
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
    println!("FAULT row=12 name=short-write writes={writes} rolled_back={rolled_back} lost=0");
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
    println!("FAULT row=8 name=failed-first-sync states={states} lost={lost}");
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
    println!("FAULT row=8 name=failed-sync-of-others syncs=1 acks_after=0 lost=0");
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
    println!("FAULT row=8 name=failed-sync-of-names syncs=1 lost={lost}");
    assert_eq!(lost, 0);
}

#[test]
fn fault_07_a_damaged_journal_put_in_the_place_of_an_open_one_is_left_alone() {
    let setup = Setup::new();
    let other = Setup::new();
    other.fill(6, 1);
    let content = other.content();
    let mut damaged = content.clone();
    damaged[500] ^= 1;
    let journal = setup.open();
    add(&journal, 1).unwrap();
    let put = |content: &[u8]| {
        let new = setup.journal_file().with_extension("restored");
        fs::write(&new, content).unwrap();
        fs::rename(new, setup.journal_file()).unwrap();
    };
    put(&damaged);
    for _ in 0..3 {
        assert!(matches!(add(&journal, 2), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), damaged);
    }
    put(&content);
    add(&journal, 2).unwrap();
    assert_eq!(journal.head().seq, 7);
    println!("FAULT row=7 name=damaged-replacement errors=3 untouched=3");
}

#[test]
fn fault_07_a_journal_that_was_cut_under_its_writer_is_left_alone() {
    let setup = Setup::new();
    let journal = setup.open();
    add(&journal, 1).unwrap();
    let first = setup.content();
    add(&journal, 2).unwrap();
    let file = fs::File::options()
        .write(true)
        .open(setup.journal_file())
        .unwrap();
    let mut errors = 0;
    for kept in [first.len(), first.len() - 10, 0] {
        file.set_len(kept as u64).unwrap();
        fs::write(setup.dir.sidecar_path(&stream()), "").unwrap();
        assert!(matches!(add(&journal, 3), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), first[..kept]);
        errors += 1;
    }
    println!("FAULT row=7 name=cut-under-its-writer errors={errors} untouched={errors}");
}

#[test]
fn fault_07_a_journal_overwritten_by_another_under_its_writer_is_left_alone() {
    let (setup, other) = (Setup::new(), Setup::new());
    other.fill(6, 1);
    let journal = setup.open();
    add(&journal, 1).unwrap();
    fs::write(setup.journal_file(), other.content()).unwrap();
    for _ in 0..2 {
        assert!(matches!(add(&journal, 2), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), other.content());
    }
    println!("FAULT row=7 name=overwritten-under-its-writer errors=2 untouched=2");
}

#[test]
fn fault_07_a_stream_begun_anew_is_not_taken_for_the_one_that_was_opened() {
    let setup = Setup::new();
    setup.fill(3, 1);
    let journal = setup.open();
    // Without care the new file has the number of the old one, which nobody has open.
    fs::remove_file(setup.journal_file()).unwrap();
    setup.fill(5, 1);
    add(&journal, 1).unwrap();
    assert_eq!(journal.head().seq, 6);
    assert_eq!(setup.open().head().seq, 6);
    println!("FAULT row=7 name=begun-anew lost=0");
}

#[test]
fn fault_07_lines_that_an_editor_changed_are_damage() {
    let setup = Setup::new();
    setup.fill(4, 2);
    let content = String::from_utf8(setup.content()).unwrap();
    let edits = [
        content.replace('\n', "\r\n"),
        content.replace("{\"v\":1", " {\"v\": 1"),
        content.replace("\"}\n", "\" }\n"),
    ];
    for edited in &edits {
        setup.put(edited.as_bytes());
        assert!(matches!(setup.try_open(), Err(JournalError::Damaged(_))));
        assert!(matches!(
            verify(&setup.dir, &stream(), None),
            Err(JournalError::Damaged(_))
        ));
        assert_eq!(setup.content(), edited.as_bytes());
    }
    let edits = edits.len();
    println!("FAULT row=7 name=edited-by-hand edits={edits} errors={edits} untouched={edits}");
}

#[test]
fn fault_07_a_gap_longer_than_any_line_is_damage_and_repair_goes_on_after_it() {
    let setup = Setup::new();
    setup.fill(4, 1);
    let content = setup.content();
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let gap = vec![0; MAX_LINE_BYTES + (1 << 20)];
    setup.put(&[lines[0], &gap, lines[1], lines[2], lines[3]].concat());
    assert!(matches!(setup.try_open(), Err(JournalError::Damaged(_))));
    let salvage = repair(&setup.dir, &stream(), Duration::from_secs(1), &SystemClock).unwrap();
    let Salvage::Repaired(report) = salvage else {
        panic!("the journal is damaged");
    };
    assert_eq!((report.kept, report.missing), (3, 1));
    println!("FAULT row=7 name=long-gap errors=1 kept=3");
}

#[test]
fn fault_07_one_wrong_sequence_or_epoch_costs_repair_no_other_record() {
    let setup = Setup::new();
    setup.fill(6, 1);
    let content = String::from_utf8(setup.content()).unwrap();
    let epoch = content.find("\"epoch\":\"").unwrap() + 9;
    let mut other_life = content.clone();
    let digit = if content.as_bytes()[epoch] == b'f' {
        "0"
    } else {
        "f"
    };
    other_life.replace_range(epoch..=epoch, digit);
    let forged = [
        content.replace("\"seq\":2,", "\"seq\":18446744073709551615,"),
        content.replace("\"seq\":2,", "\"seq\":6,"),
        other_life,
    ];
    for forged in &forged {
        setup.put(forged.as_bytes());
        let salvage = repair(&setup.dir, &stream(), Duration::from_secs(1), &SystemClock).unwrap();
        let Salvage::Repaired(report) = salvage else {
            panic!("the journal is damaged");
        };
        assert_eq!((report.kept, report.missing, report.dropped_lines), (5, 1, 1));
        assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head, report.head);
    }
    println!(
        "FAULT row=7 name=wrong-sequence-or-epoch repairs={} lost=1",
        forged.len()
    );
}
