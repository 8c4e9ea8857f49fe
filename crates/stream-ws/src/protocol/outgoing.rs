//! What servers say.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracking_journal::Head;
use tracking_model::{
    ArtifactEventMessage, ProgressEventMessage, RecordMeta, SessionEvent, StreamId, Summary, Timestamp,
    UpgradeEvent, UpgradeId,
};
use uuid::Uuid;

use super::Position;
use crate::frame::Frame;
use crate::source::UpgradeView;

/// A message of the server, as a client reads it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerMessage {
    /// How an upgrade stands.
    Summary(Box<Placed<SummaryMessage>>),
    /// What happened to an upgrade.
    Progress(Box<Placed<ProgressEventMessage>>),
    /// What happened to an artifact.
    Artifact(Box<Placed<ArtifactEventMessage>>),
    /// What was known of a stream is void.
    Reset(ResetMessage),
    /// Answers a `ping`.
    Pong,
    /// Something was not done.
    Error(ErrorMessage),
    /// A message of a newer server.
    Unknown {
        /// Its type.
        kind: String,
    },
}

/// Something said of a stream at a place in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// The stream.
    pub stream: StreamId,
    /// The place.
    pub position: Position,
    /// What is said.
    pub data: T,
}

/// How an upgrade stands, with what else a viewer is told of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SummaryMessage {
    /// The reference's summary, and more.
    #[serde(flatten)]
    pub summary: Summary,
    /// The last hash of the journal.
    #[serde(default)]
    pub head: Option<String>,
    /// Whether somebody is at work on it, in words such as `live` and `gone`.
    #[serde(default)]
    pub agent: Option<Arc<str>>,
    /// When the server made it, by its clock, which is that of the times in it.
    #[serde(default)]
    pub made_at: Option<Timestamp>,
    /// Where the sessions of its artifacts stand, by stream. Whoever continues later hands this in again. Only in
    /// summaries that begin something.
    #[serde(default)]
    pub sessions: Option<BTreeMap<String, Position>>,
    /// The upgrade with all of its tasks, as JSON, for [`UpgradeMirror`](tracking_model::UpgradeMirror). Only in summaries
    /// that begin something, and only where it was asked for.
    #[serde(skip)]
    pub snapshot: Option<Arc<str>>,
    /// What estimates of its tasks are learned from, as JSON; beside the first snapshot.
    #[serde(skip)]
    pub history: Option<Arc<str>>,
}

/// What was known of a stream is void; a summary follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResetMessage {
    /// The stream.
    pub stream: String,
    /// Where it stands.
    pub epoch: Uuid,
    /// Where it stands.
    pub seq: u64,
    /// Why.
    pub reason: ResetReason,
}

/// Why what a viewer knows of a stream is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResetReason {
    /// The viewer did not keep up: events were left out.
    Overflow,
    /// The viewer named another life of the journal.
    Epoch,
    /// The viewer named a record that does not exist yet.
    Future,
    /// The journal was replaced while it was followed.
    Replaced,
    /// A reason of a newer server.
    #[serde(other)]
    Unknown,
}

/// Something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorMessage {
    /// What kind of thing went wrong.
    pub code: ErrorCode,
    /// What went wrong, in words.
    pub message: String,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// A message, or the query of the URL, was not understood.
    Malformed,
    /// A message of a type that means nothing here.
    UnknownType,
    /// There is no such upgrade, or none at all.
    UnknownUpgrade,
    /// No token, or a wrong one.
    Unauthorized,
    /// Too many messages.
    RateLimited,
    /// A message over the limit.
    TooBig,
    /// The journal cannot be read at present.
    Unavailable,
    /// The upgrade was removed.
    Removed,
    /// Too many viewers, or too much that all of them watch together.
    Busy,
    /// More clusters, upgrades, types and streams than one viewer may name and watch.
    TooMany,
    /// A code of a newer server.
    #[serde(other)]
    Unknown,
}

/// A text that no server of this protocol sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a message of the server: {0}")]
pub struct UnreadableMessage(String);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PlaceJson {
    stream: String,
    epoch: Uuid,
    seq: u64,
}

impl ServerMessage {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`UnreadableMessage`] for what no server sends.
    pub fn parse(text: &str) -> Result<Self, UnreadableMessage> {
        let unreadable = |error: serde_json::Error| UnreadableMessage(error.to_string());
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let data = envelope.data.map_or("null", RawValue::get);
        Ok(match &*envelope.kind {
            "progress_summary" => Self::Summary(Box::new(summary(data)?)),
            "progress_event" => Self::Progress(Box::new(placed(data)?)),
            "artifact_event" => Self::Artifact(Box::new(placed(data)?)),
            "reset" => Self::Reset(serde_json::from_str(data).map_err(unreadable)?),
            "pong" => Self::Pong,
            "error" => Self::Error(serde_json::from_str(data).map_err(unreadable)?),
            kind => Self::Unknown {
                kind: kind.to_owned(),
            },
        })
    }
}

fn summary(data: &str) -> Result<Placed<SummaryMessage>, UnreadableMessage> {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        snapshot: Option<&'a RawValue>,
        #[serde(borrow)]
        history: Option<&'a RawValue>,
    }
    let mut summary: Placed<SummaryMessage> = placed(data)?;
    let parts: Parts<'_> =
        serde_json::from_str(data).map_err(|error| UnreadableMessage(error.to_string()))?;
    let text = |part: Option<&RawValue>| part.map(|part| Arc::from(part.get()));
    summary.data.snapshot = text(parts.snapshot);
    summary.data.history = text(parts.history);
    Ok(summary)
}

fn placed<'a, T: Deserialize<'a>>(data: &'a str) -> Result<Placed<T>, UnreadableMessage> {
    let unreadable = |error: serde_json::Error| UnreadableMessage(error.to_string());
    let place: PlaceJson = serde_json::from_str(data).map_err(unreadable)?;
    let stream = place.stream.parse();
    Ok(Placed {
        stream: stream.map_err(|error| UnreadableMessage(format!("{error}")))?,
        position: Position {
            epoch: place.epoch,
            seq: place.seq,
        },
        data: serde_json::from_str(data).map_err(unreadable)?,
    })
}

/// The text of a message about a stream: the place first, then the keys of `data`, which is an object with at least one.
fn placed_text<T: Serialize>(kind: &str, stream: &str, position: Position, data: &T) -> String {
    let Position { epoch, seq } = position;
    let epoch = epoch.hyphenated();
    let head = format!(
        "{{\"type\":\"{kind}\",\"data\":{{\"stream\":\"{stream}\",\"epoch\":\"{epoch}\",\"seq\":{seq}"
    );
    let mut out = Vec::with_capacity(head.len() + 512);
    out.extend_from_slice(head.as_bytes());
    let brace = out.len();
    serde_json::to_writer(&mut out, data)
        .expect("strings, integers and finite numbers always serialise into memory");
    // The object continues the one that was begun.
    out[brace] = b',';
    out.push(b'}');
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// What viewers get for a record of an upgrade, if anything.
pub(crate) fn progress_frame(
    (stream, upgrade_id): (&str, &UpgradeId),
    epoch: Uuid,
    meta: &RecordMeta,
    event: &UpgradeEvent,
) -> Option<Frame> {
    let message = ProgressEventMessage::new(upgrade_id, meta, event)?;
    let position = Position { epoch, seq: meta.seq };
    let text = placed_text("progress_event", stream, position, &message);
    Some(Frame::event(&text, message.kind, meta.at))
}

/// What viewers get for a record of a session, if anything.
pub(crate) fn artifact_frame(
    stream: &str,
    epoch: Uuid,
    meta: &RecordMeta,
    event: &SessionEvent,
) -> Option<Frame> {
    let message = ArtifactEventMessage::new(meta, event)?;
    let position = Position { epoch, seq: meta.seq };
    let text = placed_text("artifact_event", stream, position, &message);
    Some(Frame::event(&text, message.kind, meta.at))
}

/// What a summary tells beside the upgrade.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct SummaryParts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<&'a BTreeMap<String, Position>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<&'a RawValue>,
}

/// The text of a summary as of `head`.
pub(crate) fn summary_text(stream: &str, head: Head, view: &UpgradeView, parts: SummaryParts<'_>) -> String {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(flatten)]
        view: &'a UpgradeView,
        head: String,
        #[serde(flatten)]
        parts: SummaryParts<'a>,
    }
    let data = Data {
        view,
        head: head.hash.to_string(),
        parts,
    };
    placed_text("progress_summary", stream, head.into(), &data)
}

pub(crate) fn reset_frame(stream: &str, position: Position, reason: ResetReason) -> Frame {
    let message = ResetMessage {
        stream: stream.to_owned(),
        epoch: position.epoch,
        seq: position.seq,
        reason,
    };
    Frame::control(&message_text("reset", &message))
}

/// The longest text of an error, in characters: some repeat what a viewer sent.
const LONGEST_ERROR: usize = 1_024;

pub(crate) fn error_frame(code: ErrorCode, message: impl Into<String>) -> Frame {
    let mut message = message.into();
    if let Some((end, _)) = message.char_indices().nth(LONGEST_ERROR) {
        message.truncate(end);
        message.push('…');
    }
    let message = ErrorMessage { code, message };
    Frame::control(&message_text("error", &message))
}

pub(crate) fn pong_frame() -> Frame {
    Frame::control("{\"type\":\"pong\"}")
}

fn message_text<T: Serialize>(kind: &str, data: &T) -> String {
    let data = serde_json::to_string(data).expect("strings and integers always serialise into memory");
    format!("{{\"type\":\"{kind}\",\"data\":{data}}}")
}
