//! What callers ask of a session.

use std::sync::Arc;

use crate::{
    Artifact, ArtifactId, ArtifactName, ArtifactType, CollectionCreated, CollectionId, Details, FileHash,
    SessionImported, SessionOutcome, TaskId, UpgradeId,
};

/// Longest name of an artifact in bytes of UTF-8: a file name of 255 bytes, each replaced by a mark of three, fits.
pub const MAX_ARTIFACT_NAME_BYTES: usize = 1024;
/// Most tags that an artifact can have.
pub const MAX_TAGS: usize = 64;
/// Days that a session is kept after its completion, unless given.
pub const DEFAULT_RETENTION_DAYS: u32 = 30;

/// Something that a caller asks of a session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SessionCommand {
    /// Open it: the stream's first record.
    Create(NewSession),
    /// Take it over from the reference's file: the stream's first records.
    Import(Box<ImportSession>),
    /// Create a collection in it.
    CreateCollection(NewCollection),
    /// Record an artifact whose bytes are stored and durable.
    AddArtifact(Box<AddArtifact>),
    /// Change an artifact's tags or status.
    ChangeArtifact(Box<ChangeArtifact>),
    /// Delete what retention has chosen: all of it in one commit, or nothing. Refused unless the session is closed
    /// and not pinned, so that what somebody did since the choice always wins.
    Expire(Box<ExpireArtifacts>),
    /// Note that somebody took a copy of an artifact.
    RecordDownload(Arc<Artifact>),
    /// Note how the upgrade ended; the session stays open.
    SetOutcome {
        /// How it ended.
        outcome: SessionOutcome,
    },
    /// Close it: nothing can be added any more.
    Complete {
        /// How the upgrade ended; what was noted before unless given.
        outcome: Option<SessionOutcome>,
    },
    /// Tell retention to leave it alone, or no longer.
    Pin {
        /// Whether it is left alone.
        pinned: bool,
    },
}

/// A session to be opened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewSession {
    /// The upgrade whose artifacts it will hold.
    pub upgrade_id: UpgradeId,
    /// The cluster of that upgrade.
    pub cluster_name: Arc<str>,
    /// Its display name; `upgrade-<id>-<date>-<time>` unless given.
    pub name: Option<Arc<str>>,
    /// What it is for, in words.
    pub description: Option<Arc<str>>,
    /// The bucket that its artifacts are to be copied to.
    pub s3_bucket: Option<Arc<str>>,
    /// The prefix of its keys there, which is to end with the session's id.
    pub s3_prefix: Option<Arc<str>>,
    /// For how many days after its completion it is kept: at least 1.
    pub retention_days: u32,
    /// Free-form metadata.
    pub metadata: Details,
}

impl NewSession {
    /// A session for the artifacts of an upgrade.
    #[must_use]
    pub fn new(upgrade_id: UpgradeId, cluster_name: impl Into<Arc<str>>) -> Self {
        Self {
            upgrade_id,
            cluster_name: cluster_name.into(),
            name: None,
            description: None,
            s3_bucket: None,
            s3_prefix: None,
            retention_days: DEFAULT_RETENTION_DAYS,
            metadata: Details::NONE,
        }
    }

    /// Names it.
    #[must_use]
    pub fn with_name(self, name: impl Into<Arc<str>>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Describes it.
    #[must_use]
    pub fn with_description(self, description: impl Into<Arc<str>>) -> Self {
        Self {
            description: Some(description.into()),
            ..self
        }
    }

    /// Sets for how many days after its completion it is kept.
    #[must_use]
    pub fn with_retention_days(self, retention_days: u32) -> Self {
        Self {
            retention_days,
            ..self
        }
    }

    /// Gives it metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Details) -> Self {
        Self { metadata, ..self }
    }
}

/// A collection to be created.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewCollection {
    /// Its id, new in the session.
    pub collection_id: CollectionId,
    /// Its display name.
    pub name: Arc<str>,
    /// What it is for, in words.
    pub description: Option<Arc<str>>,
    /// The task whose artifacts it will hold.
    pub task_id: Option<TaskId>,
    /// Free-form metadata.
    pub metadata: Details,
}

impl NewCollection {
    /// A collection with a new id.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            collection_id: CollectionId::generate(),
            name: name.into(),
            description: None,
            task_id: None,
            metadata: Details::NONE,
        }
    }

    /// Gives it an id.
    #[must_use]
    pub fn with_id(self, collection_id: CollectionId) -> Self {
        Self {
            collection_id,
            ..self
        }
    }

    /// Describes it.
    #[must_use]
    pub fn with_description(self, description: impl Into<Arc<str>>) -> Self {
        Self {
            description: Some(description.into()),
            ..self
        }
    }

    /// Names the task whose artifacts it will hold.
    #[must_use]
    pub fn with_task(self, task_id: TaskId) -> Self {
        Self {
            task_id: Some(task_id),
            ..self
        }
    }
}

/// What a caller says of an artifact to be added.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct NewArtifact {
    /// Its name; that of the file unless given.
    pub name: Option<ArtifactName>,
    /// What it is; guessed from the name and the first bytes unless given.
    pub artifact_type: Option<ArtifactType>,
    /// What it is, in words.
    pub description: Option<Arc<str>>,
    /// The task that produced it; that of the collection unless given.
    pub task_id: Option<TaskId>,
    /// The step of the task that produced it.
    pub step_id: Option<Arc<str>>,
    /// Words to find it by.
    pub tags: Vec<Arc<str>>,
    /// Free-form metadata.
    pub metadata: Details,
}

impl NewArtifact {
    /// An artifact of which nothing is said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names it.
    #[must_use]
    pub fn with_name(self, name: impl Into<ArtifactName>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Tells its type.
    #[must_use]
    pub fn with_type(self, artifact_type: ArtifactType) -> Self {
        Self {
            artifact_type: Some(artifact_type),
            ..self
        }
    }

    /// Describes it.
    #[must_use]
    pub fn with_description(self, description: impl Into<Arc<str>>) -> Self {
        Self {
            description: Some(description.into()),
            ..self
        }
    }

    /// Names the task that produced it.
    #[must_use]
    pub fn with_task(self, task_id: TaskId) -> Self {
        Self {
            task_id: Some(task_id),
            ..self
        }
    }

    /// Names the step that produced it.
    #[must_use]
    pub fn with_step(self, step_id: impl Into<Arc<str>>) -> Self {
        Self {
            step_id: Some(step_id.into()),
            ..self
        }
    }

    /// Adds words to find it by.
    #[must_use]
    pub fn with_tags<T: Into<Arc<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Gives it metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Details) -> Self {
        Self { metadata, ..self }
    }
}

/// Where an artifact's bytes were stored, and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Their place relative to the data directory.
    pub local_path: Arc<str>,
    /// How many they are.
    pub file_size: u64,
    /// Their SHA-256.
    pub file_hash: FileHash,
}

/// An artifact to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct AddArtifact {
    /// Its id, new.
    pub artifact_id: ArtifactId,
    /// The collection that it belongs to.
    pub collection_id: CollectionId,
    /// What the caller says of it, with a name.
    pub artifact: NewArtifact,
    /// Its bytes.
    pub stored: StoredFile,
}

/// A change of an artifact, decided on its record as of a position in the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeArtifact {
    /// The artifact's record, as the caller knows it.
    pub artifact: Arc<Artifact>,
    /// The last sequence that this record takes into account. If artifacts were changed after it the command is
    /// refused as [`Stale`](crate::SessionCommandError::Stale), and the caller looks again.
    pub as_of: u64,
    /// The change.
    pub action: ArtifactAction,
}

/// A change of an artifact.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ArtifactAction {
    /// Add and remove tags.
    Tag {
        /// Tags that it is to have.
        add: Vec<Arc<str>>,
        /// Tags that it is to have no longer.
        remove: Vec<Arc<str>>,
    },
    /// Note that its bytes were copied to S3.
    MarkUploaded {
        /// The bucket.
        s3_bucket: Arc<str>,
        /// The key that was used.
        s3_key: Arc<str>,
        /// The URL of the copy.
        s3_url: Arc<str>,
    },
    /// Note that its bytes went to an archive.
    MarkArchived {
        /// Where to.
        reason: Option<Arc<str>>,
    },
    /// Note that an upload failed.
    MarkFailed {
        /// Why.
        reason: Arc<str>,
    },
    /// Note that its bytes are deleted.
    MarkDeleted {
        /// Why.
        reason: Option<Arc<str>>,
        /// What is to happen if the session is pinned.
        pinned: IfPinned,
    },
}

/// What is to happen to something in a pinned session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfPinned {
    /// It is refused.
    #[default]
    Refuse,
    /// It is deleted all the same.
    Delete,
}

/// Artifacts of one session that retention deletes, decided on their records as of a position in the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpireArtifacts {
    /// Their records, as the caller knows them.
    pub artifacts: Vec<Arc<Artifact>>,
    /// As [`ChangeArtifact::as_of`].
    pub as_of: u64,
    /// The rule that chose them, in words.
    pub reason: Arc<str>,
}

/// A session to be taken over, as the reference's file tells and the import found its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportSession {
    /// The session.
    pub session: SessionImported,
    /// Its collections.
    pub collections: Vec<CollectionCreated>,
    /// Their artifacts.
    pub artifacts: Vec<Arc<Artifact>>,
}
