//! What happens to a session: the events of its stream. Like an upgrade's, their data is self-contained.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Artifact, ArtifactId, ArtifactStatus, ArtifactType, CollectionId, DecodeError, Details, FileHash,
    SessionId, SessionOutcome, StreamEvent, TaskId, Timestamp, UpgradeId,
};

/// One event of a session's stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// `session.created`, the first record of a stream: whose artifacts these are.
    Created(SessionCreated),
    /// `session.imported`, the first record of a stream taken over from the reference's file. The collections and
    /// artifacts follow as records of their own, in the same commit.
    Imported(SessionImported),
    /// `collection.created`.
    CollectionCreated(CollectionCreated),
    /// `artifact.added`: its bytes are durable and hash to what it says.
    ArtifactAdded(Arc<Artifact>),
    /// Any later change of an artifact: `artifact.tagged`, `artifact.uploaded` and so on.
    Artifact(ArtifactChangeKind, ArtifactChange),
    /// `artifact.downloaded`: somebody took a copy. It changes nothing; it says who had what, and when.
    Downloaded(ArtifactDownloaded),
    /// `session.outcome`: how the upgrade ended. The session may stay open, for evidence often comes after the end.
    Outcome(SessionOutcomeSet),
    /// `session.completed`: nothing can be added any more.
    Completed(SessionCompleted),
    /// `session.pinned` and `session.unpinned`: whether retention leaves it alone.
    Pinned(SessionPinned),
    /// A record of a type that this version does not know; it changes nothing.
    Unknown {
        /// The record's type.
        kind: Arc<str>,
        /// The record's data.
        data: Details,
    },
}

/// Data of `session.created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// The session.
    pub session_id: SessionId,
    /// Its display name.
    pub name: Arc<str>,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: UpgradeId,
    /// The cluster of that upgrade.
    pub cluster_name: Arc<str>,
    /// When it was opened.
    pub started_at: Timestamp,
    /// The bucket that its artifacts are to be copied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<Arc<str>>,
    /// The prefix of its keys there; it ends with the session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_prefix: Option<Arc<str>>,
    /// For how many days after its completion it is kept.
    pub retention_days: u32,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub metadata: Details,
}

/// Data of `session.imported`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionImported {
    /// What the file says of the session itself, with ids mapped to valid ones.
    #[serde(rename = "session")]
    pub created: SessionCreated,
    /// When it was completed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How the upgrade ended, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<SessionOutcome>,
    /// Whether retention leaves it alone.
    #[serde(default)]
    pub pinned: bool,
    /// The file's content, verbatim, without its collections: each follows in records of its own.
    pub state: Details,
    /// What was impossible in it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Data of `collection.created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionCreated {
    /// The collection.
    pub collection_id: CollectionId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// Its display name.
    pub name: Arc<str>,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: UpgradeId,
    /// The task whose artifacts it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub metadata: Details,
}

/// What changed of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArtifactChangeKind {
    /// It got or lost tags.
    Tagged,
    /// Its bytes were copied to S3.
    Uploaded,
    /// Its bytes went to an archive.
    Archived,
    /// An upload failed.
    Failed,
    /// Its bytes were deleted.
    Deleted,
}

impl ArtifactChangeKind {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Tagged, "artifact.tagged"),
        (Self::Uploaded, "artifact.uploaded"),
        (Self::Archived, "artifact.archived"),
        (Self::Failed, "artifact.failed"),
        (Self::Deleted, "artifact.deleted"),
    ];

    /// The record's type: `artifact.tagged`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Data of every change of an artifact after its adding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactChange {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The collection that it belongs to.
    pub collection_id: CollectionId,
    /// The upgrade that produced it.
    pub upgrade_id: UpgradeId,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// Its status before the change.
    pub from: ArtifactStatus,
    /// Its status after the change.
    pub status: ArtifactStatus,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// The SHA-256 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<FileHash>,
    /// Its tags after the change, where they changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Arc<str>>>,
    /// The bucket that holds the copy, where it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<Arc<str>>,
    /// The key of that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<Arc<str>>,
    /// The URL of that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_url: Option<Arc<str>>,
    /// Why it failed or was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
}

impl ArtifactChange {
    /// A change of `artifact` to `status` that changes nothing else.
    #[must_use]
    pub fn new(artifact: &Artifact, status: ArtifactStatus) -> Self {
        Self {
            artifact_id: artifact.artifact_id.clone(),
            session_id: artifact.session_id.clone(),
            collection_id: artifact.collection_id.clone(),
            upgrade_id: artifact.upgrade_id.clone(),
            name: Arc::clone(&artifact.name),
            artifact_type: artifact.artifact_type,
            from: artifact.status,
            status,
            file_size: artifact.file_size,
            file_hash: artifact.file_hash,
            tags: None,
            s3_bucket: None,
            s3_key: None,
            s3_url: None,
            reason: None,
        }
    }

    /// Carries the change, written at `at`, out on `artifact`. One that is deleted stays so, whatever another writer did
    /// that did not know yet; only where its bytes went is noted, so that they can be removed. One that is archived stays
    /// so until it is deleted.
    pub fn apply(&self, artifact: &mut Artifact, at: Timestamp) {
        if artifact.status == ArtifactStatus::Deleted && self.status != ArtifactStatus::Deleted {
            if artifact.s3_key.is_none() {
                self.note_copy(artifact);
            }
            return;
        }
        if artifact.status != ArtifactStatus::Archived || self.status == ArtifactStatus::Deleted {
            artifact.status = self.status;
        }
        if let Some(tags) = &self.tags {
            artifact.tags.clone_from(tags);
        }
        if self.status == ArtifactStatus::Uploaded && self.from != ArtifactStatus::Uploaded {
            artifact.uploaded_at = Some(at);
            self.note_copy(artifact);
        }
    }

    fn note_copy(&self, artifact: &mut Artifact) {
        artifact.s3_bucket.clone_from(&self.s3_bucket);
        artifact.s3_key.clone_from(&self.s3_key);
        artifact.s3_url.clone_from(&self.s3_url);
    }
}

/// Data of `artifact.downloaded`. Where the copy went is not in it: paths of one machine mean nothing on others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactDownloaded {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The collection that it belongs to.
    pub collection_id: CollectionId,
    /// The upgrade that produced it.
    pub upgrade_id: UpgradeId,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// The SHA-256 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<FileHash>,
}

impl ArtifactDownloaded {
    /// A copy of `artifact` was taken.
    #[must_use]
    pub fn new(artifact: &Artifact) -> Self {
        Self {
            artifact_id: artifact.artifact_id.clone(),
            session_id: artifact.session_id.clone(),
            collection_id: artifact.collection_id.clone(),
            upgrade_id: artifact.upgrade_id.clone(),
            name: Arc::clone(&artifact.name),
            artifact_type: artifact.artifact_type,
            file_size: artifact.file_size,
            file_hash: artifact.file_hash,
        }
    }
}

/// Data of `session.outcome`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionOutcomeSet {
    /// The session.
    pub session_id: SessionId,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: UpgradeId,
    /// How the upgrade ended.
    pub outcome: SessionOutcome,
}

/// Data of `session.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionCompleted {
    /// The session.
    pub session_id: SessionId,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: UpgradeId,
    /// How the upgrade ended, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<SessionOutcome>,
    /// How many artifacts it holds.
    pub total_artifacts: u64,
    /// How many bytes they have.
    pub total_size_bytes: u64,
}

/// Data of `session.pinned` and `session.unpinned`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionPinned {
    /// The session.
    pub session_id: SessionId,
    /// Whether retention leaves it alone from now on.
    pub pinned: bool,
}

const CREATED: &str = "session.created";
const IMPORTED: &str = "session.imported";
const COLLECTION_CREATED: &str = "collection.created";
const ARTIFACT_ADDED: &str = "artifact.added";
const DOWNLOADED: &str = "artifact.downloaded";
const OUTCOME: &str = "session.outcome";
const COMPLETED: &str = "session.completed";
const PINNED: &str = "session.pinned";
const UNPINNED: &str = "session.unpinned";

impl StreamEvent for SessionEvent {
    fn kind(&self) -> &str {
        match self {
            Self::Created(_) => CREATED,
            Self::Imported(_) => IMPORTED,
            Self::CollectionCreated(_) => COLLECTION_CREATED,
            Self::ArtifactAdded(_) => ARTIFACT_ADDED,
            Self::Artifact(kind, _) => kind.as_str(),
            Self::Downloaded(_) => DOWNLOADED,
            Self::Outcome(_) => OUTCOME,
            Self::Completed(_) => COMPLETED,
            Self::Pinned(data) if data.pinned => PINNED,
            Self::Pinned(_) => UNPINNED,
            Self::Unknown { kind, .. } => kind,
        }
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::Created(data) => serde_json::to_writer(out, data),
            Self::Imported(data) => serde_json::to_writer(out, data),
            Self::CollectionCreated(data) => serde_json::to_writer(out, data),
            Self::ArtifactAdded(data) => serde_json::to_writer(out, data),
            Self::Artifact(_, data) => serde_json::to_writer(out, data),
            Self::Downloaded(data) => serde_json::to_writer(out, data),
            Self::Outcome(data) => serde_json::to_writer(out, data),
            Self::Completed(data) => serde_json::to_writer(out, data),
            Self::Pinned(data) => serde_json::to_writer(out, data),
            Self::Unknown { data, .. } => serde_json::to_writer(out, data),
        }
        .expect("strings, integers and valid raw JSON always serialise into memory");
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        decode(kind, data).map_err(|error| DecodeError {
            kind: kind.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn decode(kind: &str, data: &str) -> serde_json::Result<SessionEvent> {
    if let Some((kind, _)) = ArtifactChangeKind::ALL.iter().find(|(_, name)| *name == kind) {
        return Ok(SessionEvent::Artifact(*kind, serde_json::from_str(data)?));
    }
    Ok(match kind {
        CREATED => SessionEvent::Created(serde_json::from_str(data)?),
        IMPORTED => SessionEvent::Imported(serde_json::from_str(data)?),
        COLLECTION_CREATED => SessionEvent::CollectionCreated(serde_json::from_str(data)?),
        ARTIFACT_ADDED => SessionEvent::ArtifactAdded(serde_json::from_str(data)?),
        DOWNLOADED => SessionEvent::Downloaded(serde_json::from_str(data)?),
        OUTCOME => SessionEvent::Outcome(serde_json::from_str(data)?),
        COMPLETED => SessionEvent::Completed(serde_json::from_str(data)?),
        PINNED | UNPINNED => SessionEvent::Pinned(serde_json::from_str(data)?),
        _ => SessionEvent::Unknown {
            kind: kind.into(),
            data: serde_json::from_str(data)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_own_place() {
        for (index, (kind, _)) in ArtifactChangeKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_as_it_is() {
        let event = SessionEvent::decode("artifact.sung", "{\"artifact_id\":\"a\"}").unwrap();
        let mut out = Vec::new();
        event.write_data(&mut out);
        assert_eq!(
            (event.kind(), out.as_slice()),
            ("artifact.sung", b"{\"artifact_id\":\"a\"}".as_slice())
        );
        assert!(SessionEvent::decode("artifact.added", "{}").is_err());
    }
}
