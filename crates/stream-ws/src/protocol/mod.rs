//! The messages, as types that server and client share, and their JSON.
//!
//! A message is a text frame of `{"type": …, "data": …}`. `docs/websocket.md` describes each, and
//! `docs/websocket.asyncapi.yaml` is the same for machines.

mod incoming;
mod outgoing;
mod query;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use tracking_journal::Head;
use uuid::Uuid;

pub use incoming::{ClientMessage, Interest, MalformedMessage, Subscribe, TypeFilter};
pub use outgoing::{
    ErrorCode, ErrorMessage, Placed, ResetMessage, ResetReason, ServerMessage, SummaryMessage,
    UnreadableMessage,
};
pub(crate) use outgoing::{
    SummaryParts, artifact_frame, error_frame, pong_frame, progress_frame, reset_frame, summary_text,
};
pub use query::{Query, QueryError};

/// The subprotocol that a server selects where a client offers any.
pub const SUBPROTOCOL: &str = "ekstrack";
/// What precedes the token in the subprotocol by which a browser hands it over; offered beside [`SUBPROTOCOL`], and
/// never selected, so that no answer repeats it.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "ekstrack.token.";

/// A place in a stream: which life of its journal, and the last record that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The journal's life; nil, which is that of none, for what was named and can be none.
    #[serde(deserialize_with = "read_epoch")]
    pub epoch: Uuid,
    /// The last record that was seen; 0 for none.
    pub seq: u64,
}

/// Whatever text a viewer kept may be handed in: what is no UUID is the life of no journal, and like any other that is not
/// known it gets a `reset`.
fn epoch_of(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_default()
}

fn read_epoch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    Cow::<'de, str>::deserialize(deserializer).map(|text| epoch_of(&text))
}

impl From<Head> for Position {
    fn from(head: Head) -> Self {
        Self {
            epoch: head.epoch,
            seq: head.seq,
        }
    }
}

/// Why a connection is closed, as its close code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// 1000: the client asked for it.
    Normal,
    /// 1001: the server stops.
    GoingAway,
    /// 1002: what came is no WebSocket.
    Protocol,
    /// 1003: binary frames mean nothing here.
    Unsupported,
    /// 1007: a text that is not UTF-8.
    InvalidText,
    /// 1008: too many messages, no or a wrong token, or a subscription that cannot be had.
    Policy,
    /// 1009: a message over the limit.
    TooBig,
    /// 1011: something failed here.
    Internal,
    /// 1013: too many viewers; try again later.
    TryLater,
}

impl CloseReason {
    /// The close code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidText => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::TryLater => 1013,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code())
    }
}
