//! Writing and reading back.

use std::sync::Arc;

use tracking_journal::{
    DataDir, Follower, Journal, JournalError, JournalOptions, JournalReader, ManualClock, SubmitError, load,
};
use tracking_model::{Span, Timestamp};

use crate::counter::{Command, Counter, TooLarge};
use crate::setup::stream;

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let journal = Journal::<Counter>::open(&dir, stream(), JournalOptions::default()).unwrap();
    assert!(!dir.journal_path(&stream()).exists());
    let receipt = journal.submit(Command::Add(5)).wait().unwrap();
    assert_eq!((receipt.first_seq(), receipt.last_seq()), (Some(1), Some(1)));
    let mut follower = Follower::<Counter>::open(&dir, &stream()).unwrap();
    let receipt = journal.submit(Command::AddEach(vec![1, 2, 3])).wait().unwrap();
    assert_eq!((receipt.first_seq(), receipt.last_seq()), (Some(2), Some(4)));
    let refused = journal.submit(Command::Add(u64::MAX)).wait().unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(TooLarge(u64::MAX))));
    assert!(journal.submit(Command::Nothing).wait().unwrap().is_empty());
    let head = journal.head();
    assert_eq!(head.seq, 4);

    assert_eq!(follower.try_next().unwrap().unwrap().records.len(), 3);
    assert_eq!(follower.state().sum, 11);
    let loaded = load::<Counter>(&dir, &stream()).unwrap();
    assert_eq!((loaded.state.sum, loaded.head), (11, head));
    let records: Vec<_> = JournalReader::open(&dir, &stream())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        records.iter().map(|record| record.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(
        records.iter().map(|record| record.batch).collect::<Vec<_>>(),
        [1, 2, 2, 2]
    );

    drop(journal);
    let journal = Journal::<Counter>::open(&dir, stream(), JournalOptions::default()).unwrap();
    assert_eq!(journal.head(), head);
    assert_eq!(journal.recovery().replayed, 4);
    assert_eq!(dir.streams().unwrap(), [stream()]);
}

#[tokio::test]
async fn two_writers_take_turns_and_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let one = Journal::<Counter>::open(&dir, stream(), JournalOptions::default()).unwrap();
    let two = Journal::<Counter>::open(&dir, stream(), JournalOptions::default()).unwrap();
    let mut seen = two.subscribe(64);
    for value in 0..10 {
        one.submit(Command::Add(value)).await.unwrap();
        two.submit(Command::Add(value)).await.unwrap();
    }
    assert_eq!(two.read(|state, head| (state.sum, head.seq)), (90, 20));
    let mut next = 1;
    while next <= 20 {
        for record in &seen.next().await.unwrap().records {
            assert_eq!(record.meta.seq, next);
            next += 1;
        }
    }
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn memory_keeps_nothing_on_disk() {
    let journal = Journal::<Counter>::in_memory(stream(), JournalOptions::default());
    let pending: Vec<_> = (0..100)
        .map(|value| journal.submit(Command::Add(value)))
        .collect();
    for pending in pending {
        pending.await.unwrap();
    }
    assert_eq!(journal.read(|state, _| state.sum), 4950);
}

#[test]
fn while_the_clock_is_before_1970_nothing_is_recorded_and_nothing_panics() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH - Span::from_secs(86_400)));
    let options = JournalOptions::default().with_clock(Arc::clone(&clock) as _);
    let journal = Journal::<Counter>::open(&dir, stream(), options).unwrap();
    for _ in 0..2 {
        let refused = journal.submit(Command::Add(1)).wait().unwrap_err();
        let SubmitError::Journal(JournalError::ClockBefore1970 { at }) = refused else {
            panic!("{refused:?}")
        };
        assert!(at < Timestamp::EPOCH);
    }
    assert_eq!(dir.streams().unwrap(), [], "nothing was created");
    clock.set(Timestamp::EPOCH);
    journal.submit(Command::Add(1)).wait().unwrap();
}
