//! Where artifact records are looked up: the trait of all indexes, and the one of this crate.

mod memory;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use tracking_journal::{Committed, Position};
use tracking_model::{Artifact, ArtifactId, SessionEvent, SessionId};

use crate::ArtifactQuery;
pub use memory::MemoryIndex;

/// Records of one session for an index, in order.
#[derive(Debug, Clone)]
pub struct IndexBatch {
    /// The session.
    pub session_id: SessionId,
    /// Its records.
    pub records: Vec<Committed<SessionEvent>>,
    /// Where the session's journal stands after them, where it is a file.
    pub position: Option<Position>,
}

/// What a query found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matches {
    /// The artifacts, in the order that the query asked for.
    pub artifacts: Vec<Arc<Artifact>>,
    /// Whether there are more than the query's limit.
    pub more: bool,
}

/// Why an index did not do what was asked. What is in an index can always be made again from the journals.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the {index} index; delete it to have it built again")]
pub struct IndexError {
    /// The index.
    pub index: &'static str,
    /// What was attempted: `update`, `query`.
    pub operation: &'static str,
    /// What caused it.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Finds artifacts. Fed from the journals of sessions, in order for each session, and derived from them: it may be
/// dropped at any time. It may block, so it is used off the executor.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait ArtifactIndex: Debug + Send + Sync + 'static {
    /// What the index is called in messages.
    fn name(&self) -> &'static str;

    /// How far a session was fed, `None` if not at all. An index that does not outlive the process needs none.
    fn position(&self, session_id: &SessionId) -> Result<Option<Position>, IndexError>;

    /// Takes records; all of them are seen by every call once this returns. Taking the same ones again changes nothing.
    fn apply(&self, batch: &IndexBatch) -> Result<(), IndexError>;

    /// Forgets a session: its journal is gone or was replaced.
    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError>;

    /// One artifact's record, deleted ones included; `None` if it is unknown.
    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError>;

    /// The artifacts that match.
    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError>;
}
