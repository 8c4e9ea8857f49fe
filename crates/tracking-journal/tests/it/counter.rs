//! A small model to drive journals with: numbers that add up, and a limit that refuses.

use serde::{Deserialize, Serialize};
use tracking_model::{DecodeError, Fold, RecordMeta, StreamEvent, StreamId, Timestamp};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) sum: u64,
    pub(crate) records: u64,
    pub(crate) last: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Add(u64),
    /// So many records in one command.
    AddEach(Vec<u64>),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    pub(crate) value: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) pad: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not below the limit")]
pub(crate) struct TooLarge(pub(crate) u64);

pub(crate) const LIMIT: u64 = 1_000_000;

impl StreamEvent for Added {
    fn kind(&self) -> &str {
        "added"
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("a map of numbers and text is JSON");
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        serde_json::from_str(data).map_err(|error| DecodeError {
            kind: kind.to_owned(),
            reason: error.to_string(),
        })
    }
}

impl Fold for Counter {
    type Command = Command;
    type Event = Added;
    type Refusal = TooLarge;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self {
            sum: 0,
            records: 0,
            last: None,
        }
    }

    fn check(&self, command: Command, _: Timestamp) -> Result<Vec<Added>, TooLarge> {
        let values = match command {
            Command::Add(value) => vec![value],
            Command::AddEach(values) => values,
            Command::Nothing => Vec::new(),
        };
        match values.iter().find(|value| **value >= LIMIT) {
            Some(value) => Err(TooLarge(*value)),
            None => Ok(values
                .into_iter()
                .map(|value| Added {
                    value,
                    pad: String::new(),
                })
                .collect()),
        }
    }

    fn apply(&mut self, meta: &RecordMeta, event: &Added) {
        assert_eq!(meta.seq, self.records + 1, "records come in order, each once");
        self.sum += event.value;
        self.records += 1;
        self.last = Some(event.value);
    }
}

/// A model with a bug: it panics at one record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PanicsInApply(u64);

/// A model with a bug: it panics when it is asked to check 13.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PanicsInCheck;

/// A model with a bug: it panics at all data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PanicsInDecode;

#[derive(Debug, Clone)]
pub(crate) struct Unreadable;

impl StreamEvent for Unreadable {
    fn kind(&self) -> &str {
        "unreadable"
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{}");
    }

    fn decode(_: &str, _: &str) -> Result<Self, DecodeError> {
        panic!("the model has a bug")
    }
}

impl Fold for PanicsInApply {
    type Command = ();
    type Event = Added;
    type Refusal = TooLarge;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self(0)
    }

    fn check(&self, (): (), _: Timestamp) -> Result<Vec<Added>, TooLarge> {
        Ok(Vec::new())
    }

    fn apply(&mut self, meta: &RecordMeta, _: &Added) {
        assert!(meta.seq < 3_000, "the model has a bug");
        self.0 += 1;
    }
}

impl Fold for PanicsInCheck {
    type Command = u64;
    type Event = Added;
    type Refusal = TooLarge;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self
    }

    fn check(&self, value: u64, _: Timestamp) -> Result<Vec<Added>, TooLarge> {
        assert_ne!(value, 13, "the model has a bug");
        let pad = String::new();
        Ok(vec![Added { value, pad }])
    }

    fn apply(&mut self, _: &RecordMeta, _: &Added) {}
}

impl Fold for PanicsInDecode {
    type Command = ();
    type Event = Unreadable;
    type Refusal = TooLarge;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self
    }

    fn check(&self, (): (), _: Timestamp) -> Result<Vec<Unreadable>, TooLarge> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: &RecordMeta, _: &Unreadable) {}
}
