//! Long journals: checkpoints, parallel reading, searching, verification and salvage.

use std::fs;
use std::time::Duration;

use tracking_journal::{
    CheckpointPolicy, ExpectedHead, Follower, JournalError, JournalOptions, JournalReader, Salvage,
    SystemClock, load, repair, verify,
};

use crate::counter::{Command, Counter, PanicsInApply, PanicsInDecode};
use crate::setup::{Setup, stream};

/// More than the megabytes from which on reading goes parallel.
const COMMITS: u64 = 12;
const EACH: u64 = 1_000;

#[test]
fn much_history_is_read_in_parallel_and_in_order() {
    let setup = Setup::new();
    setup.fill(COMMITS, EACH);
    fs::remove_file(setup.dir.checkpoint_path(&stream())).unwrap();
    assert!(setup.content().len() > 3 << 20);
    let journal = setup.open();
    assert_eq!(journal.recovery().replayed, COMMITS * EACH);
    assert_eq!(journal.recovery().checkpoint_seq, 0);
    assert_eq!(
        journal.read(|state, _| state.sum),
        (0..COMMITS * EACH).sum::<u64>()
    );
}

#[test]
fn a_flaw_in_much_history_is_named_exactly() {
    let setup = Setup::new();
    setup.fill(COMMITS, EACH);
    let mut content = setup.content();
    let line = 7_777;
    let mut starts = content
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    let offset = starts.nth(line - 2).unwrap();
    content[offset + 200] ^= 1;
    setup.put(&content);
    for error in [
        setup.try_open().unwrap_err(),
        load::<Counter>(&setup.dir, &stream()).unwrap_err(),
        verify(&setup.dir, &stream(), None).unwrap_err(),
    ] {
        let JournalError::Damaged(damage) = error else {
            panic!("{error:?}")
        };
        assert_eq!((damage.line, damage.offset), (line as u64, offset as u64));
        assert_eq!(damage.path, setup.journal_file());
    }
    assert_eq!(setup.content(), content);
}

#[test]
fn opening_from_a_checkpoint_reads_only_what_came_after_it() {
    let setup = Setup::new();
    let policy = CheckpointPolicy {
        records: 100,
        bytes: u64::MAX,
        records_at_close: 100,
    };
    let options = JournalOptions::default().with_checkpoint(policy);
    let journal = setup.open_with(options.clone()).unwrap();
    for value in 0..150 {
        journal.submit(Command::Add(value)).wait().unwrap();
    }
    journal.close_blocking();
    let journal = setup.open_with(options).unwrap();
    let recovery = *journal.recovery();
    assert!(recovery.checkpoint_seq >= 100, "{recovery:?}");
    assert_eq!(recovery.checkpoint_seq + recovery.replayed, 150);
    assert_eq!(journal.read(|state, _| state.sum), (0..150).sum::<u64>());
    journal.submit(Command::Add(1)).wait().unwrap();
    assert_eq!(load::<Counter>(&setup.dir, &stream()).unwrap().state.records, 151);
}

#[test]
fn a_checkpoint_that_is_wrong_is_passed_over() {
    let setup = Setup::new();
    setup.fill(3, 1_000);
    let path = setup.dir.checkpoint_path(&stream());
    let checkpoint = fs::read(&path).unwrap();
    for at in (0..checkpoint.len()).step_by(7) {
        let mut wrong = checkpoint.clone();
        wrong[at] ^= 4;
        fs::write(&path, &wrong).unwrap();
        let loaded = load::<Counter>(&setup.dir, &stream()).unwrap();
        assert_eq!((loaded.state.records, loaded.head.seq), (3_000, 3_000));
        assert_eq!(loaded.recovery.checkpoint_seq, 0, "byte {at}");
    }
    fs::write(&path, &checkpoint[..checkpoint.len() / 2]).unwrap();
    assert_eq!(load::<Counter>(&setup.dir, &stream()).unwrap().head.seq, 3_000);
}

#[test]
fn reading_begins_at_any_record() {
    let setup = Setup::new();
    setup.fill(5, 500);
    for seq in [1, 2, 3, 499, 500, 501, 1_234, 2_499, 2_500] {
        let mut reader = JournalReader::open_at(&setup.dir, &stream(), seq).unwrap();
        let before = reader.position();
        assert_eq!(reader.next_record().unwrap().unwrap().seq, seq);
        let mut again = JournalReader::resume(&setup.dir, &stream(), before).unwrap();
        assert_eq!(again.next_record().unwrap().unwrap().seq, seq);
    }
    let mut reader = JournalReader::open_at(&setup.dir, &stream(), 2_501).unwrap();
    assert!(reader.next_record().unwrap().is_none());
    let last = reader.last_position().unwrap().unwrap();
    assert_eq!(last, reader.position());
    assert_eq!(last.head, load::<Counter>(&setup.dir, &stream()).unwrap().head);
}

#[test]
fn verification_finds_a_head_that_was_noted() {
    let setup = Setup::new();
    setup.fill(2, 2);
    let noted = setup.open().head();
    setup.fill(1, 3);
    let verification = verify(&setup.dir, &stream(), Some(noted.hash)).unwrap();
    assert_eq!(verification.expected, ExpectedHead::Found { seq: 4 });
    assert_eq!(verification.head.seq, 7);
    assert_eq!(verification.bytes, setup.content().len() as u64);
    let other = noted.hash.next(b"");
    assert_eq!(
        verify(&setup.dir, &stream(), Some(other)).unwrap().expected,
        ExpectedHead::Missing
    );
    assert_eq!(
        verify(&setup.dir, &stream(), None).unwrap().expected,
        ExpectedHead::NotGiven
    );
}

#[test]
fn repair_keeps_what_can_be_read_and_the_damaged_file() {
    let setup = Setup::new();
    setup.fill(4, 5);
    let timeout = Duration::from_secs(1);
    let intact = repair(&setup.dir, &stream(), timeout, &SystemClock).unwrap();
    assert!(matches!(intact, Salvage::Intact(head) if head.seq == 20));

    let running = setup.open();
    let mut follower = Follower::<Counter>::open(&setup.dir, &stream()).unwrap();
    let mut content = setup.content();
    let feeds: Vec<_> = content
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at)
        .collect();
    content[feeds[9] + 20] ^= 1;
    fs::write(setup.journal_file(), &content).unwrap();
    let Salvage::Repaired(report) = repair(&setup.dir, &stream(), timeout, &SystemClock).unwrap() else {
        panic!("the journal is damaged");
    };
    assert_eq!(
        (
            report.kept,
            report.missing,
            report.unverified,
            report.dropped_lines
        ),
        (19, 1, 1, 1)
    );
    assert_eq!(fs::read(&report.damaged_file).unwrap(), content);
    let verification = verify(&setup.dir, &stream(), Some(report.head.hash)).unwrap();
    assert_eq!(verification.expected, ExpectedHead::Found { seq: 19 });

    assert!(matches!(follower.try_next(), Err(JournalError::Replaced { .. })));
    let receipt = running.submit(Command::Add(1)).wait().unwrap();
    assert_eq!(receipt.first_seq(), Some(20));
    assert_eq!(running.head().epoch, report.head.epoch);
    assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head, running.head());
}

#[test]
fn a_model_that_panics_over_much_history_ends_the_reading() {
    let setup = Setup::new();
    setup.fill(COMMITS, EACH);
    fs::remove_file(setup.dir.checkpoint_path(&stream())).unwrap();
    for model in [
        std::panic::catch_unwind(|| load::<PanicsInApply>(&setup.dir, &stream()).is_ok()),
        std::panic::catch_unwind(|| load::<PanicsInDecode>(&setup.dir, &stream()).is_ok()),
    ] {
        model.unwrap_err();
    }
}
