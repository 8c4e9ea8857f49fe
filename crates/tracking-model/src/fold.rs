//! What a stream means, stated as pure functions: which commands are allowed, which events they cause, and what
//! state a sequence of events adds up to. The journal drives any [`Fold`] without knowing it.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{StreamId, Timestamp};

/// What a record says beside its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMeta {
    /// Position in the stream, from 1.
    pub seq: u64,
    /// UUID v7 of the record; the key by which receivers drop duplicates.
    pub id: Uuid,
    /// When it was written, by the writer's clock: it may go back between two records.
    pub at: Timestamp,
    /// Who wrote it.
    pub actor: Arc<str>,
}

impl RecordMeta {
    /// The record's id as text, hyphenated and in lower case.
    #[must_use]
    pub fn event_id(&self) -> Arc<str> {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        Arc::from(&*self.id.hyphenated().encode_lower(&mut buffer))
    }
}

/// A record's `type` or `data` that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read data of a {kind} record: {reason}")]
pub struct DecodeError {
    /// The record's `type`.
    pub kind: String,
    /// What is wrong with its `data`.
    pub reason: String,
}

/// The `type` and `data` of a record.
pub trait StreamEvent: Clone + Debug + Send + Sync + 'static {
    /// The record's `type`, such as `task.started`.
    fn kind(&self) -> &str;

    /// Appends the record's `data`, a JSON object on one line.
    fn write_data(&self, out: &mut Vec<u8>);

    /// Reads an event back. A `kind` that this version does not know is an event without effect, not an error, so
    /// that journals of newer versions stay readable.
    ///
    /// # Errors
    /// [`DecodeError`] if a known kind has data that it cannot have.
    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError>;
}

/// The state of one stream, as the sum of its events.
///
/// Serialised, it is the state part of a checkpoint, which is derived and may change between versions.
pub trait Fold: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What callers ask for.
    type Command: Debug + Send + 'static;
    /// What happens.
    type Event: StreamEvent;
    /// Why a command is refused.
    type Refusal: Error + Send + Sync + 'static;

    /// Changes whenever the serialised form changes, so that a checkpoint of another version is ignored.
    const CHECKPOINT_VERSION: u32;

    /// The state of a stream without records.
    fn empty(stream: &StreamId) -> Self;

    /// Checks `command` at time `now` and returns the events it causes, none if it changes nothing.
    /// Applying them in order must succeed.
    ///
    /// # Errors
    /// The refusal; nothing is written.
    fn check(&self, command: Self::Command, now: Timestamp) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Adds one event. The one way in which state changes, live and on replay; it never fails, for what was
    /// acknowledged happened: what it cannot make sense of is kept or ignored, as `check` would not have let it in.
    fn apply(&mut self, meta: &RecordMeta, event: &Self::Event);
}
