//! What is said of a session as a whole, with the reference's keys.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{
    ArtifactCounts, ArtifactStatus, ArtifactType, Session, SessionId, SessionOutcome, Timestamp, UpgradeId,
};

/// What is said of a session as a whole.
///
/// Its JSON has the reference's keys first, and more after them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The session.
    pub session_id: SessionId,
    /// Its display name.
    pub name: Arc<str>,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: Option<UpgradeId>,
    /// The cluster of that upgrade.
    pub cluster_name: Arc<str>,
    /// When it was opened.
    pub started_at: Option<Timestamp>,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// How many collections it has.
    pub collections_count: usize,
    /// How many artifacts it holds, without those that were deleted.
    pub total_artifacts: u64,
    /// How many bytes these have.
    pub total_size_bytes: u64,
    /// How many of them are in S3.
    pub uploaded_artifacts: u64,
    /// How many there are of each type, those without any included.
    pub artifact_types: ArtifactTypeCounts,
    /// What it is for, in words.
    pub description: Option<Arc<str>>,
    /// How the upgrade ended, where that is known.
    pub outcome: Option<SessionOutcome>,
    /// Whether retention leaves it alone.
    pub pinned: bool,
    /// For how many days after its completion it is kept.
    pub retention_days: u32,
}

/// How many artifacts there are of each type; as JSON an object of all types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactTypeCounts(ArtifactCounts);

impl ArtifactTypeCounts {
    /// How many there are of this type.
    #[must_use]
    pub const fn of(&self, artifact_type: ArtifactType) -> u64 {
        self.0.of_type(artifact_type)
    }
}

impl Serialize for ArtifactTypeCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(ArtifactType::ALL.len()))?;
        for artifact_type in ArtifactType::ALL {
            map.serialize_entry(&artifact_type, &self.0.of_type(artifact_type))?;
        }
        map.end()
    }
}

impl Session {
    /// What is said of it as a whole.
    #[must_use]
    pub fn summary(&self) -> SessionSummary {
        let counts = self.counts();
        SessionSummary {
            session_id: self.session_id.clone(),
            name: Arc::clone(&self.name),
            upgrade_id: self.upgrade_id.clone(),
            cluster_name: Arc::clone(&self.cluster_name),
            started_at: self.started_at,
            completed_at: self.completed_at,
            collections_count: self.collections.len(),
            total_artifacts: counts.artifacts(),
            total_size_bytes: counts.bytes(),
            uploaded_artifacts: counts.of_status(ArtifactStatus::Uploaded),
            artifact_types: ArtifactTypeCounts(counts),
            description: self.description.clone(),
            outcome: self.outcome,
            pinned: self.pinned,
            retention_days: self.retention_days,
        }
    }
}
