//! Why a manager did not do what was asked.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tracking_journal::{DataDirError, JournalError, SubmitError};
use tracking_model::{ArtifactId, CollectionId, DecodeError, FileHash, SessionCommandError, SessionId};

use crate::{IndexError, KeyError, PageCursorError, PatternError, SourceError, StoreError, TextQueryError};

/// Why a manager did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// There is no such session.
    #[error("there is no session {0}; create it first")]
    UnknownSession(SessionId),
    /// The session has no such collection.
    #[error("session {session_id} has no collection {collection_id}; create it first")]
    UnknownCollection {
        /// The session.
        session_id: SessionId,
        /// The collection.
        collection_id: CollectionId,
    },
    /// There is no such artifact.
    #[error("there is no artifact {0}; search for it by its name")]
    UnknownArtifact(ArtifactId),
    /// The session does not allow it in its present state.
    #[error(transparent)]
    Refused(SessionCommandError),
    /// The session's journal could not be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of the session's journal has data that this version cannot read.
    #[error("cannot read record {seq} of session {session_id}; use the program that wrote it")]
    Undecodable {
        /// The session.
        session_id: SessionId,
        /// The record.
        seq: u64,
        /// The problem.
        #[source]
        source: DecodeError,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The file or stream cannot become an artifact.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bytes could not be stored or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A name pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A text query cannot be read.
    #[error(transparent)]
    Text(#[from] TextQueryError),
    /// A page cursor cannot be read, or belongs to a query of another order.
    #[error(transparent)]
    Cursor(#[from] PageCursorError),
    /// A record points to where no artifact can be; nothing was read from there.
    #[error(
        "the record of artifact {artifact_id} points outside its session; it was tampered with or is damaged"
    )]
    UnsafePath {
        /// The artifact.
        artifact_id: ArtifactId,
        /// The problem of its path.
        #[source]
        source: KeyError,
    },
    /// The artifact's bytes are not in the data directory.
    #[error("the bytes of artifact {artifact_id} ({name}) are not here: {reason}")]
    BytesMissing {
        /// The artifact.
        artifact_id: ArtifactId,
        /// Its name.
        name: Arc<str>,
        /// Why not.
        reason: &'static str,
    },
    /// The artifact's bytes are not freed, for the copy of them cannot be relied on.
    #[error("the bytes of artifact {artifact_id} ({name}) stay here, for {reason}")]
    NoCopy {
        /// The artifact.
        artifact_id: ArtifactId,
        /// Its name.
        name: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// The artifact's bytes are not those that were added.
    #[error(
        "artifact {artifact_id} ({name}) was altered: its bytes hash to {found}, {expected} were added; nothing was copied"
    )]
    Altered {
        /// The artifact.
        artifact_id: ArtifactId,
        /// Its name.
        name: Arc<str>,
        /// The SHA-256 that its record has.
        expected: FileHash,
        /// The SHA-256 of what is there.
        found: FileHash,
    },
    /// Live output, which exists nowhere else, could not be recorded, for example because its session was completed
    /// meanwhile. Its bytes stay in the data directory, where verifying reports them as extra.
    #[error("it could not be recorded; its bytes stay at {path}")]
    Unrecorded {
        /// Where they are, below the data directory.
        path: Arc<str>,
        /// Why there is no record.
        #[source]
        source: Box<Self>,
    },
    /// A file could not be written or read.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The attempted operation.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

impl ArtifactError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source,
        }
    }
}

impl From<SessionCommandError> for ArtifactError {
    fn from(refusal: SessionCommandError) -> Self {
        match refusal {
            SessionCommandError::UnknownSession(session_id) => Self::UnknownSession(session_id),
            SessionCommandError::UnknownCollection {
                session_id,
                collection_id,
            } => Self::UnknownCollection {
                session_id,
                collection_id,
            },
            refusal => Self::Refused(refusal),
        }
    }
}

impl From<SubmitError<SessionCommandError>> for ArtifactError {
    fn from(error: SubmitError<SessionCommandError>) -> Self {
        match error {
            SubmitError::Refused(refusal) => refusal.into(),
            SubmitError::Journal(error) => Self::Journal(error),
        }
    }
}
