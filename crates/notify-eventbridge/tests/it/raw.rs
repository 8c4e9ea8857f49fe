//! A journal that takes any record, also those that no command leads to: what an older or newer program might have
//! written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tracking_journal::{DataDir, EventSink, Journal, JournalOptions, Relay, RelayOptions};
use tracking_model::{DecodeError, Fold, RecordMeta, StreamEvent, StreamId, Timestamp};

#[derive(Debug, Clone)]
pub(crate) struct Any {
    kind: String,
    data: String,
}

impl StreamEvent for Any {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.data.as_bytes());
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: kind.to_owned(),
            data: data.to_owned(),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AsGiven;

impl Fold for AsGiven {
    type Command = Vec<Any>;
    type Event = Any;
    type Refusal = std::convert::Infallible;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self
    }

    fn check(&self, records: Vec<Any>, _: Timestamp) -> Result<Vec<Any>, Self::Refusal> {
        Ok(records)
    }

    fn apply(&mut self, _: &RecordMeta, _: &Any) {}
}

pub(crate) struct Raw {
    _folder: TempDir,
    dir: DataDir,
    stream: StreamId,
    journal: Journal<AsGiven>,
}

impl Raw {
    /// A journal that begins as that of an upgrade.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let stream: StreamId = "upgrade:raw".parse().unwrap();
        let raw = Self {
            journal: Journal::open(&dir, stream.clone(), JournalOptions::default()).unwrap(),
            dir,
            stream,
            _folder: folder,
        };
        let data = json!({ "upgrade_id": "raw", "plan_id": "p", "cluster_name": "c" });
        raw.write(vec![("upgrade.created", data)]);
        raw
    }

    /// Writes records in one commit.
    pub(crate) fn write(&self, records: Vec<(&str, Value)>) {
        let any = |(kind, data): (&str, Value)| Any {
            kind: kind.to_owned(),
            data: data.to_string(),
        };
        self.journal
            .submit(records.into_iter().map(any).collect())
            .wait()
            .unwrap();
    }

    pub(crate) async fn relay(&self, sink: Arc<dyn EventSink>, options: RelayOptions) -> Relay {
        Relay::open(&self.dir, self.stream.clone(), sink, options)
            .await
            .unwrap()
    }
}

/// Data of a change of the task `t`, with `more` fields beside those that every one has.
pub(crate) fn change(more: Value) -> Value {
    let mut data = json!({
        "task_id": "t", "task_name": "T", "task_type": "validation", "status": "in_progress", "percentage": 1.0,
        "message": "",
    });
    let fields = data.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    data
}
