//! Callers that commit in their own thread, beside others that leave it to the journal's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tracking_journal::{Journal, JournalError, JournalOptions, SubmitError, verify};

use crate::counter::{Command, Counter, PanicsInCheck, TooLarge};
use crate::setup::{Setup, stream};

#[test]
fn a_blocking_caller_gets_what_a_waiting_one_gets() {
    let setup = Setup::new();
    let journal = setup.open();
    let receipt = journal.submit_blocking(Command::AddEach(vec![1, 2])).unwrap();
    assert_eq!((receipt.first_seq(), receipt.last_seq()), (Some(1), Some(2)));
    let refused = journal.submit_blocking(Command::Add(u64::MAX)).unwrap_err();
    assert!(matches!(refused, SubmitError::Refused(TooLarge(u64::MAX))));
    assert!(journal.submit_blocking(Command::Nothing).unwrap().is_empty());
    // What was queued before comes before.
    let queued: Vec<_> = (0..100)
        .map(|value| journal.submit(Command::Add(value)))
        .collect();
    let last = journal.submit_blocking(Command::Add(7)).unwrap();
    assert_eq!(last.last_seq(), Some(103));
    for (seq, queued) in (3..).zip(queued) {
        assert_eq!(queued.wait().unwrap().first_seq(), Some(seq));
    }
    assert_eq!(
        setup.open().read(|state, head| (state.last, head.seq)),
        (Some(7), 103)
    );
}

#[test]
fn many_threads_mix_both_ways_and_each_sees_its_own_order() {
    const THREADS: u64 = 8;
    const EACH: u64 = 100;
    let setup = Setup::new();
    let journal = setup.open();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || {
                let mut before = 0;
                for value in 0..EACH {
                    let receipt = if (number + value) % 3 == 0 {
                        journal.submit(Command::Add(value)).wait().unwrap()
                    } else {
                        journal.submit_blocking(Command::Add(value)).unwrap()
                    };
                    let seq = receipt.first_seq().unwrap();
                    assert!(seq > before, "{seq} came after {before}");
                    before = seq;
                }
            });
        }
    });
    assert_eq!(journal.head().seq, THREADS * EACH);
    assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head, journal.head());
    assert_eq!(
        setup.open().read(|state, _| state.sum),
        THREADS * (0..EACH).sum::<u64>()
    );
}

#[test]
fn a_model_that_panics_in_a_callers_hands_closes_the_journal_for_all() {
    let journal = Journal::<PanicsInCheck>::in_memory(stream(), JournalOptions::default());
    journal.submit_blocking(1).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| journal.submit_blocking(13)));
    assert!(panicked.is_err());
    for outcome in [journal.submit(2).wait(), journal.submit_blocking(3)] {
        assert!(
            matches!(outcome, Err(SubmitError::Journal(JournalError::Closed))),
            "{outcome:?}"
        );
    }
    journal.close_blocking();
}

#[test]
fn closing_waits_for_one_who_commits_and_the_next_is_told() {
    let setup = Setup::new();
    for _ in 0..20 {
        let journal = setup.open();
        let before = journal.head().seq;
        let acked = AtomicU64::new(0);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                loop {
                    match journal.submit_blocking(Command::Add(1)) {
                        Ok(_) => acked.fetch_add(1, Ordering::SeqCst),
                        Err(SubmitError::Journal(JournalError::Closed)) => break,
                        Err(error) => panic!("{error}"),
                    };
                }
            });
            start.wait();
            journal.close_blocking();
        });
        let acked = acked.into_inner();
        assert_eq!(
            setup.open().head().seq,
            before + acked,
            "all that was acknowledged is there, no more"
        );
    }
}

#[test]
fn a_writer_without_pause_lets_another_in() {
    let setup = Setup::new();
    let (busy, other) = (setup.open(), setup.open());
    let stop = AtomicBool::new(false);
    let between: Vec<u64> = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                busy.submit_blocking(Command::Add(1)).unwrap();
            }
        });
        let seqs: Vec<u64> = (0..50)
            .map(|_| {
                other
                    .submit_blocking(Command::Add(0))
                    .unwrap()
                    .first_seq()
                    .unwrap()
            })
            .collect();
        stop.store(true, Ordering::SeqCst);
        seqs.windows(2).map(|pair| pair[1] - pair[0]).collect()
    });
    // Not a promise about time: fifty commands got in while the other never waited for anything but the lock.
    assert_eq!(between.len(), 49);
    assert_eq!(
        verify(&setup.dir, &stream(), None).unwrap().head.seq,
        setup.open().read(|state: &Counter, _| state.records)
    );
}
