//! What scripts read: the messages that live viewers get over the wire, one a line.

use serde::Serialize;
use tracking_facade::{Artifact, Head, ProgressEventMessage, Summary, UpgradeId};
use tracking_model::{RecordMeta, StreamId};

use crate::exit::Failure;
use crate::output::Output;

/// A message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Message<'a> {
    ProgressSummary {
        stream: &'a str,
        epoch: String,
        seq: u64,
        head: String,
        #[serde(flatten)]
        summary: &'a Summary,
    },
    ProgressEvent {
        stream: &'a str,
        epoch: String,
        seq: u64,
        #[serde(flatten)]
        event: &'a ProgressEventMessage,
    },
    ArtifactKept(&'a Artifact),
}

/// Prints messages about one upgrade.
#[derive(Debug)]
pub(super) struct Wire {
    upgrade: UpgradeId,
    stream: String,
    output: Output,
}

impl Wire {
    pub(super) fn new(upgrade: UpgradeId, output: Output) -> Self {
        Self {
            stream: StreamId::Upgrade(upgrade.clone()).to_string(),
            upgrade,
            output,
        }
    }

    pub(super) fn summary(&self, head: Head, summary: &Summary) -> Result<(), Failure> {
        self.output.document(&Message::ProgressSummary {
            stream: &self.stream,
            epoch: head.epoch.to_string(),
            seq: head.seq,
            head: head.hash.to_string(),
            summary,
        })
    }

    /// `epoch` is that of the record's journal.
    pub(super) fn event(
        &self,
        epoch: String,
        meta: &RecordMeta,
        event: &tracking_facade::UpgradeEvent,
    ) -> Result<(), Failure> {
        let Some(event) = &ProgressEventMessage::new(&self.upgrade, meta, event) else {
            return Ok(());
        };
        self.output.document(&Message::ProgressEvent {
            stream: &self.stream,
            epoch,
            seq: meta.seq,
            event,
        })
    }

    pub(super) fn kept(&self, artifact: &Artifact) -> Result<(), Failure> {
        self.output.document(&Message::ArtifactKept(artifact))
    }
}
