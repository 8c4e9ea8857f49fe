//! Why a session may refuse what is asked of it.

use crate::{
    ArtifactId, ArtifactStatus, CollectionId, MAX_TAGS, SessionId, SessionOutcome, TextError, Timestamp,
    UpgradeId,
};

/// Why a session refuses a command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionCommandError {
    /// The stream has a session already.
    #[error("session {session_id} exists already, for upgrade {upgrade_id}: choose another id, or add to it")]
    SessionExists {
        /// The session.
        session_id: SessionId,
        /// Its upgrade.
        upgrade_id: UpgradeId,
    },
    /// The stream has no session.
    #[error("unknown session {0}: create it first")]
    UnknownSession(SessionId),
    /// The session is closed.
    #[error("session {session_id} was completed at {at} and takes nothing more: create another session")]
    SessionCompleted {
        /// The session.
        session_id: SessionId,
        /// When it was completed.
        at: Timestamp,
    },
    /// The session is open, and what was asked is only for those that are closed.
    #[error("session {0} is open: retention deletes nothing before it is completed")]
    SessionOpen(SessionId),
    /// The session is pinned.
    #[error("session {0} is pinned: nothing in it is deleted")]
    SessionPinned(SessionId),
    /// The session was completed with an outcome, which stays.
    #[error("session {session_id} was completed as {outcome}, which stays")]
    OutcomeSettled {
        /// The session.
        session_id: SessionId,
        /// The outcome that it has.
        outcome: SessionOutcome,
    },
    /// The session has no such collection.
    #[error("session {session_id} has no collection {collection_id}: create it first")]
    UnknownCollection {
        /// The session.
        session_id: SessionId,
        /// The collection that was named.
        collection_id: CollectionId,
    },
    /// The session has a collection of that id already.
    #[error("session {session_id} has a collection {collection_id} already")]
    CollectionExists {
        /// The session.
        session_id: SessionId,
        /// The collection.
        collection_id: CollectionId,
    },
    /// A session is kept for at least a day.
    #[error("retention of 0 days: keep a session for at least 1 day")]
    InvalidRetention,
    /// The artifact cannot have that status next.
    #[error("artifact {artifact_id} is {from} and cannot become {to}")]
    Transition {
        /// The artifact.
        artifact_id: ArtifactId,
        /// The status it has.
        from: ArtifactStatus,
        /// The status it was to have.
        to: ArtifactStatus,
    },
    /// The artifact's bytes were deleted.
    #[error("artifact {0} is deleted and cannot be changed")]
    ArtifactDeleted(ArtifactId),
    /// Artifacts were changed after the caller looked.
    #[error("artifacts of session {session_id} were changed meanwhile: read artifact {artifact_id} again")]
    Stale {
        /// The session.
        session_id: SessionId,
        /// The artifact.
        artifact_id: ArtifactId,
    },
    /// There are too many tags.
    #[error("{count} tags: an artifact has at most {MAX_TAGS}")]
    TooManyTags {
        /// How many.
        count: usize,
    },
    /// The metadata is too large.
    #[error(
        "metadata has {bytes} bytes of JSON, at most {limit} are allowed: keep it as an artifact of its own"
    )]
    MetadataTooLarge {
        /// Its bytes as compact JSON.
        bytes: usize,
        /// The most it may have.
        limit: usize,
    },
    /// A text is too long or a name is invalid.
    #[error(transparent)]
    Text(#[from] TextError),
}
