//! Where records go beyond the journal: the port that notifiers, mirrors and catalogues implement.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tracking_model::{IdError, IdRule, check_id};

use crate::Record;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod memory;
#[cfg(any(test, feature = "test-util"))]
mod mock;
mod pace;

pub use memory::MemorySink;
#[cfg(any(test, feature = "test-util"))]
pub use mock::MockEventSink;
pub use pace::SinkPace;

/// A receiver of records, fed by a [`Relay`](crate::Relay) at least once and in order of submission.
///
/// **Ordering.** For one stream there is at most one call of [`publish`](Self::publish) in flight, and each batch is in
/// order of `seq`. Only records that were answered with [`Delivery::Retry`] come again, so a record that is sent again
/// may arrive after later ones; receivers that care order by `(epoch, seq)`. One sink may serve several streams, each
/// with its own relay, at the same time.
///
/// **Idempotence.** A record may come again after it was delivered: after a crash between delivery and the saving of
/// the cursor, after a call that was cut off, after a repair of the journal. It comes with the same [`Record::id`],
/// which is the key by which the receiving side drops duplicates.
///
/// **Errors.** An outage, a refusal, bad credentials are results, one for each record; nothing a sink does reaches the
/// writers of the journal. A sink that panics, or returns more or fewer results than it got records, is treated as if
/// it had answered [`Delivery::Retry`] to all of them; records with which that happens again and again are parked.
#[async_trait]
pub trait EventSink: Debug + Send + Sync + 'static {
    /// The sink's name, by which its cursor is found again: the same for the whole life of the sink and across
    /// restarts, and valid as a [`SinkName`].
    fn name(&self) -> &str;

    /// How it likes its records: asked once, when a relay opens. By default the relay's own options hold.
    fn pace(&self) -> SinkPace {
        SinkPace::default()
    }

    /// Kinds of record that it has no use for, and that are never handed over, so that batches are full of others: asked
    /// once, when a relay opens. None by default.
    fn skips(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// Waits for what it does behind the calls of [`publish`](Self::publish), such as tidying up; whoever ends feeding it
    /// waits so long, as far as there is time. Nothing may depend on it.
    async fn settle(&self) {}

    /// Hands over `batch`, records of one stream in order of `seq`, and returns one [`Delivery`] for each, in the same
    /// order. `first` is the first record of the stream, which says what the stream is about; it need not be in the
    /// batch, and it was not necessarily delivered.
    ///
    /// A batch may be split into as many calls to the receiving side as its limits demand, in order. An empty batch
    /// gives an empty answer.
    ///
    /// # Cancellation
    /// The call is dropped when it takes longer than the relay allows, and when the process stops before it returns.
    /// What was handed over until then is sent again later; a dropped call must leave the sink usable.
    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery>;
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiving side has it, durably as far as it says.
    Delivered,
    /// The sink has no use for records of this kind.
    Ignored,
    /// Not now: the record is sent again, after a pause that grows with each attempt.
    Retry {
        /// Why, for people.
        reason: String,
        /// The shortest pause that the receiving side asks for; at most an hour is honoured.
        after: Option<Duration>,
    },
    /// Never: the receiving side can not accept this record as it is. It is kept in the cursor's list of parked
    /// records, shown there, and sent again only when somebody asks for it.
    Park {
        /// Why, for people.
        reason: String,
    },
}

impl Delivery {
    /// [`Delivery::Retry`] without a wish for the pause.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// [`Delivery::Park`].
    #[must_use]
    pub fn park(reason: impl Into<String>) -> Self {
        Self::Park {
            reason: reason.into(),
        }
    }

    /// Whether the record needs no further attempt: it was delivered or ignored.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Delivered | Self::Ignored)
    }
}

/// The name of a sink, by the rules of ids, so that a file can be named after it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkName(Arc<str>);

impl SinkName {
    /// Checks `name` and takes it.
    ///
    /// # Errors
    /// [`IdError`] names the rule that it breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self, IdError> {
        let name = name.as_ref();
        let refused = |rule: IdRule| IdError {
            kind: "sink name",
            id: name.to_owned(),
            rule,
        };
        check_id(name).map_err(refused)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form used in file names: `:` is written `%3A`.
    #[must_use]
    pub fn encoded(&self) -> String {
        self.0.replace(':', "%3A")
    }

    /// Reads the form used in file names.
    ///
    /// # Errors
    /// [`IdError`] if what comes out is no valid name.
    pub fn from_encoded(encoded: &str) -> Result<Self, IdError> {
        Self::new(encoded.replace("%3A", ":"))
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkName({})", self.0)
    }
}

impl Serialize for SinkName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SinkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&*name).map_err(de::Error::custom)
    }
}

/// The guide's example, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/sinks.md")]
#[derive(Debug)]
pub struct Guide;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_ids() {
        assert_eq!(SinkName::new("../x").unwrap_err().rule, IdRule::FirstCharacter);
        assert_eq!(SinkName::new("bus.json").unwrap_err().rule, IdRule::Suffix);
        let name = SinkName::new("eventbridge:prod").unwrap();
        assert_eq!(name.encoded(), "eventbridge%3Aprod");
        assert_eq!(SinkName::from_encoded("eventbridge%3Aprod").unwrap(), name);
    }
}
