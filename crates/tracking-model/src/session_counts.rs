//! How many artifacts a session or collection holds, kept up to date with every event.

use serde::{Deserialize, Serialize};

use crate::{Artifact, ArtifactChange, ArtifactStatus, ArtifactType};

/// How many artifacts there are, and of which kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactCounts {
    /// How many there are, without those that were deleted.
    pub artifacts: u64,
    /// How many bytes these have.
    pub bytes: u64,
    by_type: [u64; ArtifactType::ALL.len()],
    by_status: [u64; ArtifactStatus::ALL.len()],
    bytes_by_status: [u64; ArtifactStatus::ALL.len()],
}

impl ArtifactCounts {
    /// How many of this type there are, without those that were deleted.
    #[must_use]
    pub const fn of_type(&self, artifact_type: ArtifactType) -> u64 {
        self.by_type[artifact_type as usize]
    }

    /// How many have this status.
    #[must_use]
    pub const fn of_status(&self, status: ArtifactStatus) -> u64 {
        self.by_status[status as usize]
    }

    /// How many bytes those have that have this status. Of deleted ones: how many they had.
    #[must_use]
    pub const fn bytes_of_status(&self, status: ArtifactStatus) -> u64 {
        self.bytes_by_status[status as usize]
    }

    /// Adds what `other` counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.artifacts += other.artifacts;
        self.bytes += other.bytes;
        for (mine, theirs) in self.by_type.iter_mut().zip(other.by_type) {
            *mine += theirs;
        }
        for (mine, theirs) in self.by_status.iter_mut().zip(other.by_status) {
            *mine += theirs;
        }
        for (mine, theirs) in self.bytes_by_status.iter_mut().zip(other.bytes_by_status) {
            *mine += theirs;
        }
    }

    pub(crate) fn add(&mut self, artifact: &Artifact) {
        self.by_status[artifact.status as usize] += 1;
        self.bytes_by_status[artifact.status as usize] += artifact.file_size.unwrap_or(0);
        if artifact.status != ArtifactStatus::Deleted {
            self.artifacts += 1;
            self.bytes += artifact.file_size.unwrap_or(0);
            self.by_type[artifact.artifact_type as usize] += 1;
        }
    }

    pub(crate) fn change(&mut self, change: &ArtifactChange) {
        let bytes = change.file_size.unwrap_or(0);
        let from = &mut self.by_status[change.from as usize];
        *from = from.saturating_sub(1);
        self.by_status[change.status as usize] += 1;
        let from = &mut self.bytes_by_status[change.from as usize];
        *from = from.saturating_sub(bytes);
        self.bytes_by_status[change.status as usize] += bytes;
        if change.status == ArtifactStatus::Deleted && change.from != ArtifactStatus::Deleted {
            self.artifacts = self.artifacts.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
            let of_type = &mut self.by_type[change.artifact_type as usize];
            *of_type = of_type.saturating_sub(1);
        }
    }
}
