//! What tests begin with.

use std::collections::HashMap;
use std::sync::Arc;

use artifact_core::{ArtifactTexts, IndexBatch};
use artifact_index::SqliteIndex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracking_journal::Committed;
use tracking_model::{Artifact, RecordMeta, SessionEvent, SessionId, StreamEvent, Timestamp};

/// An index in a directory of its own.
pub(crate) fn index() -> (TempDir, SqliteIndex) {
    let dir = TempDir::new().unwrap();
    let index = SqliteIndex::new(dir.path().join("index.sqlite"));
    (dir, index)
}

/// Texts by the id of their artifact.
#[derive(Debug, Default)]
pub(crate) struct Texts(pub(crate) HashMap<String, String>);

impl ArtifactTexts for Texts {
    fn text(&self, artifact: &Artifact) -> Option<String> {
        self.0.get(artifact.artifact_id.as_str()).cloned()
    }
}

/// A record of a session.
pub(crate) fn record(seq: u64, kind: &str, data: &Value) -> Committed<SessionEvent> {
    Committed {
        meta: RecordMeta {
            seq,
            id: uuid::Uuid::nil(),
            at: Timestamp::from_micros(1_700_000_000_000_000 + i64::try_from(seq).unwrap()),
            actor: Arc::from("test"),
        },
        event: SessionEvent::decode(kind, &data.to_string()).unwrap(),
    }
}

/// The first record of a session.
pub(crate) fn created(session: &SessionId, cluster: &str) -> Value {
    json!({
        "session_id": session, "name": "n", "upgrade_id": "up", "cluster_name": cluster,
        "started_at": "2025-01-31T05:00:00Z", "retention_days": 30
    })
}

pub(crate) fn batch(session: &SessionId, records: Vec<Committed<SessionEvent>>) -> IndexBatch {
    IndexBatch {
        session_id: session.clone(),
        records,
        position: None,
    }
}
