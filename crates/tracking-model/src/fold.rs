//! What a stream means, stated as pure functions: which commands are allowed, which events they cause, and what
//! state a sequence of events adds up to. The journal drives any [`Fold`] without knowing it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

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
    /// The id under which viewers know the record.
    #[must_use]
    pub const fn event_id(&self) -> EventId {
        EventId::Record(self.id)
    }
}

/// The id of an event as viewers and snapshots show it: a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventId {
    /// That of its record, hyphenated and in lower case. Kept as a number, for there are many.
    Record(Uuid),
    /// Any other text, in what was taken over from elsewhere.
    Text(Arc<str>),
}

impl From<&str> for EventId {
    fn from(text: &str) -> Self {
        let canonical = |id: &Uuid| *id.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]) == *text;
        match Uuid::try_parse(text).ok().filter(canonical) {
            Some(id) => Self::Record(id),
            None => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(id) => fmt::Display::fmt(&id.hyphenated(), f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(id) => {
                serializer.serialize_str(id.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]))
            }
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*Cow::<'de, str>::deserialize(deserializer)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_keep_their_text() {
        for text in [
            "0194c6a8-0d30-7c3e-9d4e-5b8a0f6c2d11",
            "0194C6A8-0D30-7C3E-9D4E-5B8A0F6C2D11",
            "0194c6a80d307c3e9d4e5b8a0f6c2d11",
            "drain#3",
            "",
        ] {
            let id = EventId::from(text);
            assert_eq!(id.to_string(), text);
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<EventId>(&json).unwrap(), id);
        }
    }
}
