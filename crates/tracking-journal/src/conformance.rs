//! What every implementation of the journal's files must do, as tests that any of them can run.
//!
//! Each function takes a way to open the same stream anew and panics where something does not hold.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracking_model::{DecodeError, Fold, RecordMeta, StreamEvent, StreamId, Timestamp};

use crate::{Journal, JournalError, JournalOptions, SubmitError, SubscriptionError};

/// Opens the stream under test, each time as another process would.
pub trait OpenStream {
    /// Opens it with `options`.
    ///
    /// # Errors
    /// As [`Journal::open`].
    fn open(&self, options: JournalOptions) -> Result<Journal<Notes>, JournalError>;
}

impl<O: Fn(JournalOptions) -> Result<Journal<Notes>, JournalError>> OpenStream for O {
    fn open(&self, options: JournalOptions) -> Result<Journal<Notes>, JournalError> {
        self(options)
    }
}

/// The model under test: a list of notes, where empty ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// The notes, in order.
    pub notes: Vec<String>,
    /// Who wrote each.
    pub actors: Vec<String>,
}

/// A note was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Its text.
    pub text: String,
}

/// An empty note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a note has a text")]
pub struct EmptyNote;

impl StreamEvent for Noted {
    fn kind(&self) -> &str {
        "noted"
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a text is JSON and memory does not fail");
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        serde_json::from_str(data).map_err(|error| DecodeError {
            kind: kind.to_owned(),
            reason: error.to_string(),
        })
    }
}

impl Fold for Notes {
    type Command = Vec<String>;
    type Event = Noted;
    type Refusal = EmptyNote;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self {
            notes: Vec::new(),
            actors: Vec::new(),
        }
    }

    fn check(&self, command: Vec<String>, _: Timestamp) -> Result<Vec<Noted>, EmptyNote> {
        let event = |text: String| {
            if text.is_empty() {
                Err(EmptyNote)
            } else {
                Ok(Noted { text })
            }
        };
        command.into_iter().map(event).collect()
    }

    fn apply(&mut self, meta: &RecordMeta, event: &Noted) {
        self.notes.push(event.text.clone());
        self.actors.push(meta.actor.to_string());
    }
}

/// Runs all of the suite on streams that `fresh` makes, each empty at first.
pub fn run<O: OpenStream>(fresh: impl Fn() -> O) {
    an_empty_stream_has_no_head(&fresh());
    records_are_numbered_and_named(&fresh());
    a_refusal_writes_nothing(&fresh());
    a_command_without_events_is_an_empty_receipt(&fresh());
    any_text_comes_back(&fresh());
    subscribers_see_commits_in_order(&fresh());
    closing_commits_what_waits(&fresh());
    a_record_that_is_too_large_is_refused_alone(&fresh());
}

/// Runs, beside [`run`], what holds only where a stream outlives the journal that wrote it.
pub fn run_durable<O: OpenStream>(fresh: impl Fn() -> O) {
    run(&fresh);
    a_reopened_stream_is_where_it_was(&fresh());
    writers_see_what_others_wrote(&fresh());
}

fn open(stream: &impl OpenStream) -> Journal<Notes> {
    stream
        .open(JournalOptions::default().with_actor("tester"))
        .expect("the stream opens")
}

fn note(journal: &Journal<Notes>, texts: &[&str]) -> u64 {
    let command = texts.iter().map(|text| (*text).to_owned()).collect();
    let receipt = journal.submit(command).wait().expect("a note is taken");
    receipt.last_seq().expect("a note is a record")
}

fn notes(journal: &Journal<Notes>) -> Vec<String> {
    journal.read(|state, _| state.notes.clone())
}

fn an_empty_stream_has_no_head(stream: &impl OpenStream) {
    let journal = open(stream);
    assert!(journal.head().is_empty());
    assert_eq!(notes(&journal), Vec::<String>::new());
}

fn records_are_numbered_and_named(stream: &impl OpenStream) {
    let journal = open(stream);
    let receipt = journal.submit_as("somebody".into(), vec!["a".to_owned(), "b".to_owned()]);
    let receipt = receipt.wait().expect("notes are taken");
    assert_eq!((receipt.first_seq(), receipt.last_seq()), (Some(1), Some(2)));
    let [first, second] = receipt.records() else {
        panic!("two events are two records")
    };
    assert!(first.meta.id < second.meta.id);
    assert_eq!((first.event.text.as_str(), &*first.meta.actor), ("a", "somebody"));
    assert_eq!(note(&journal, &["c"]), 3);
    assert_eq!(
        journal.read(|state, _| state.actors.clone()),
        ["somebody", "somebody", "tester"]
    );
    assert_eq!(journal.head().seq, 3);
}

fn a_refusal_writes_nothing(stream: &impl OpenStream) {
    let journal = open(stream);
    note(&journal, &["a"]);
    let head = journal.head();
    let refused = journal.submit(vec!["b".to_owned(), String::new()]).wait();
    assert!(matches!(refused, Err(SubmitError::Refused(EmptyNote))));
    assert_eq!(journal.head(), head);
    assert_eq!(notes(&journal), ["a"]);
}

fn a_command_without_events_is_an_empty_receipt(stream: &impl OpenStream) {
    let journal = open(stream);
    let receipt = journal
        .submit(Vec::new())
        .wait()
        .expect("nothing is always possible");
    assert!(receipt.is_empty() && receipt.records().is_empty());
    assert!(journal.head().is_empty());
}

fn any_text_comes_back(stream: &impl OpenStream) {
    let text = "quotes \" and \\ and \n, \u{1}, \u{2028}, ÿ, 🦀, {\"v\":1}";
    let journal = open(stream);
    let receipt = journal
        .submit_as(text.into(), vec![text.to_owned()])
        .wait()
        .expect("a note is taken");
    assert_eq!(receipt.records()[0].event.text, text);
    assert_eq!(
        journal.read(|state, _| (state.notes.clone(), state.actors.clone())),
        (vec![text.to_owned()], vec![text.to_owned()])
    );
}

fn subscribers_see_commits_in_order(stream: &impl OpenStream) {
    let journal = open(stream);
    note(&journal, &["before"]);
    let (seen, mut subscription) = journal.read_and_subscribe(16, |_, head| head.seq);
    assert_eq!(seen, 1);
    note(&journal, &["a"]);
    note(&journal, &["b", "c"]);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let commit = subscription.next_blocking().expect("the journal is open");
        heard.extend(
            commit
                .records
                .iter()
                .map(|record| (record.meta.seq, record.event.text.clone())),
        );
    }
    assert_eq!(
        heard,
        [(2, "a".to_owned()), (3, "b".to_owned()), (4, "c".to_owned())]
    );
    journal.close_blocking();
    assert!(matches!(
        subscription.next_blocking(),
        Err(SubscriptionError::Closed)
    ));
}

fn closing_commits_what_waits(stream: &impl OpenStream) {
    let journal = open(stream);
    let pending: Vec<_> = (0..500)
        .map(|number| journal.submit(vec![number.to_string()]))
        .collect();
    journal.close_blocking();
    for (number, pending) in pending.into_iter().enumerate() {
        let receipt = pending
            .wait()
            .expect("what was submitted before closing is committed");
        assert_eq!(receipt.last_seq(), Some(number as u64 + 1));
    }
    let late = journal.submit(vec!["late".to_owned()]).wait();
    assert!(matches!(late, Err(SubmitError::Journal(JournalError::Closed))));
    assert_eq!(notes(&journal).len(), 500);
}

fn a_record_that_is_too_large_is_refused_alone(stream: &impl OpenStream) {
    let journal = open(stream);
    let large = journal.submit(vec!["small".to_owned(), "x".repeat(crate::MAX_LINE_BYTES)]);
    let next = journal.submit(vec!["next".to_owned()]);
    assert!(matches!(
        large.wait(),
        Err(SubmitError::Journal(JournalError::RecordTooLarge { .. }))
    ));
    assert_eq!(
        next.wait().expect("others are not concerned").first_seq(),
        Some(1)
    );
    assert_eq!(notes(&journal), ["next"]);
}

fn a_reopened_stream_is_where_it_was(stream: &impl OpenStream) {
    let journal = open(stream);
    note(&journal, &["a", "b"]);
    let (head, state) = journal.read(|state, head| (*head, state.clone()));
    journal.close_blocking();
    let journal = open(stream);
    assert_eq!(journal.read(|state, head| (*head, state.clone())), (head, state));
    assert_eq!(journal.recovery().torn_bytes, 0);
    assert_eq!(note(&journal, &["c"]), 3);
}

fn writers_see_what_others_wrote(stream: &impl OpenStream) {
    let writers: Vec<_> = (0..3).map(|_| Arc::new(open(stream))).collect();
    std::thread::scope(|scope| {
        for (number, journal) in writers.iter().enumerate() {
            scope.spawn(move || {
                for index in 0..20 {
                    note(journal, &[&format!("{number}:{index}")]);
                }
            });
        }
    });
    assert_eq!(note(&writers[0], &["last"]), 61);
    let all = notes(&writers[0]);
    for number in 0..3 {
        let own = all.iter().filter(|text| text.starts_with(&format!("{number}:")));
        let expected: Vec<_> = (0..20).map(|index| format!("{number}:{index}")).collect();
        assert!(
            own.eq(&expected),
            "each writer's notes are all there, in its order"
        );
    }
}
