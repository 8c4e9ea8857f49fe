//! The conformance suite on every implementation of the journal's files, and properties of any history.

use std::fs;

use proptest::prelude::*;
use tracking_journal::conformance::{self, Notes};
use tracking_journal::{
    DataDir, ExpectedHead, Journal, JournalOptions, JournalReader, Record, SimulatedDisk, load, verify,
};

use crate::setup::stream;

#[test]
fn memory_conforms() {
    conformance::run(|| |options| Ok(Journal::<Notes>::in_memory(stream(), options)));
}

#[test]
fn the_disk_conforms() {
    conformance::run_durable(|| {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        move |options| {
            assert!(folder.path().exists());
            Journal::open(&dir, stream(), options)
        }
    });
}

#[test]
fn the_simulated_disk_conforms() {
    conformance::run_durable(|| {
        let disk = SimulatedDisk::default();
        move |options| Journal::open_simulated(&disk, stream(), options)
    });
}

#[test]
fn what_is_beside_a_record_keeps_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let journal = Journal::<Notes>::open(&dir, stream(), JournalOptions::default()).unwrap();
    journal
        .submit_as("\"o'\\x\" 🦀\n".into(), vec!["a\tb".to_owned(), "ÿ".to_owned()])
        .wait()
        .unwrap();
    let content = fs::read(dir.journal_path(&stream())).unwrap();
    let mut written = Vec::new();
    let mut previous = None;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let record = Record::parse(line).unwrap();
        record.write_line(&mut written);
        assert!(previous.is_none_or(|previous| record.follows(&previous)));
        previous = Some(record.hash);
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(json["seq"], record.seq);
        assert_eq!(json["actor"], *record.actor);
        assert_eq!(json["at"], record.at.to_rfc3339());
    }
    assert_eq!(written, content);
}

/// A journal that the first release wrote stays readable, byte by byte as it is.
#[test]
fn journals_of_the_first_format_stay_readable() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    fs::write(
        dir.journal_path(&stream()),
        include_bytes!("../fixtures/journal/v1/upgrade_u-1.jsonl"),
    )
    .unwrap();
    let loaded = load::<Notes>(&dir, &stream()).unwrap();
    assert_eq!(loaded.state.notes, ["drain", "quotes \" and \\", "🦀"]);
    assert_eq!(loaded.state.actors, ["agent", "agent", "operator \"x\""]);
    let hash = "1cf7d9aaa5ceed6bdb1fbea7df9c4bc76e6b836b70bb5c0c42471f552361f5ee"
        .parse()
        .unwrap();
    let verification = verify(&dir, &stream(), Some(hash)).unwrap();
    assert_eq!(verification.expected, ExpectedHead::Found { seq: 3 });
    let journal = Journal::<Notes>::open(&dir, stream(), JournalOptions::default()).unwrap();
    assert_eq!(
        journal.submit(vec!["next".to_owned()]).wait().unwrap().last_seq(),
        Some(4)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever was written, in whatever portions: replaying gives the live state, and reading each note.
    #[test]
    fn replay_equals_the_live_state(
        commits in prop::collection::vec(prop::collection::vec("\\PC{0,12}", 0..4), 0..20),
        reopen_every in 1_usize..6,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let open = || Journal::<Notes>::open(&dir, stream(), JournalOptions::default()).unwrap();
        let mut journal = open();
        let mut expected = Vec::new();
        for (index, commit) in commits.into_iter().enumerate() {
            if index % reopen_every == 0 {
                journal = open();
            }
            let accepted = commit.iter().all(|text| !text.is_empty());
            let outcome = journal.submit(commit.clone()).wait();
            prop_assert_eq!(outcome.is_ok(), accepted);
            if accepted {
                expected.extend(commit);
            }
        }
        let (live, head) = journal.read(|state, head| (state.clone(), *head));
        prop_assert_eq!(&live.notes, &expected);
        if !expected.is_empty() {
            let loaded = load::<Notes>(&dir, &stream()).unwrap();
            prop_assert_eq!((loaded.state, loaded.head), (live, head));
            let records: Vec<_> = JournalReader::open(&dir, &stream()).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(records.len(), expected.len());
            let first = &records[0];
            prop_assert!(records.iter().all(|record| record.epoch == first.epoch && record.batch <= record.seq));
        }
    }

    /// Any bytes are a record or an error, never a panic, and what is read is written back the same.
    #[test]
    fn any_line_is_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Record::parse(&bytes).is_err());
    }
}
