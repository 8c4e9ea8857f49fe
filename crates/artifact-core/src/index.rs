//! Where artifact records are looked up: the trait of all indexes, and the one of this crate.

mod memory;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use tracking_journal::{Committed, Position};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, SessionEvent, SessionId};

use crate::search::tokenizer::Words;
use crate::{ArtifactQuery, PageCursor, Statistics};
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

/// The matches of a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matches {
    /// The artifacts, in the order that the query asked for.
    pub artifacts: Vec<Arc<Artifact>>,
    /// True if there are more than the query's limit.
    pub more: bool,
    /// Where to go on: the place of the last of them. `None` if there are no more, or the limit was 0.
    pub next: Option<PageCursor>,
}

/// Where an index gets the texts that it makes searchable.
pub trait ArtifactTexts: Debug + Send + Sync {
    /// The text of an artifact, as far as it is searched: `None` where it is none, was deleted, or cannot be read now.
    /// The same each time as long as the bytes are here.
    fn text(&self, artifact: &Artifact) -> Option<String>;

    /// The words by which an artifact is found: those of its record, and of its text unless it is deleted.
    fn words(&self, artifact: &Artifact) -> Words {
        let text = match artifact.status {
            ArtifactStatus::Deleted => None,
            _ => self.text(artifact),
        };
        Words::of(artifact, text.as_deref())
    }
}

/// No texts: names, descriptions and tags are all that is searched.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTexts;

impl ArtifactTexts for NoTexts {
    fn text(&self, _: &Artifact) -> Option<String> {
        None
    }
}

/// The state of an index after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexErrorKind {
    /// There is no space. What was indexed before is there; it goes on once there is space.
    Full,
    /// It is in use by another process, or cannot be written.
    Unavailable,
    /// It was damaged, foreign or of another version, and is empty now: fed from the journals again, it answers.
    Reset,
    /// Anything else.
    Failed,
}

/// Why an index did not do what was asked. The journals have all that is in an index: nothing is lost.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the {index} index; {}", advice(*kind))]
pub struct IndexError {
    /// The index.
    pub index: &'static str,
    /// The attempted operation: `update`, `query`.
    pub operation: &'static str,
    /// The state of the index after the failure.
    pub kind: IndexErrorKind,
    /// The cause.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

const fn advice(kind: IndexErrorKind) -> &'static str {
    match kind {
        IndexErrorKind::Full => "free some space and search again",
        IndexErrorKind::Unavailable => "search again when nothing else writes it",
        IndexErrorKind::Reset => "search again to have it built anew",
        IndexErrorKind::Failed => "delete it to have it built again",
    }
}

/// Finds artifacts. Fed from the journals of sessions, in order for each session, and derived from them: it may be
/// dropped at any time. It may block, so it is used off the executor.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait ArtifactIndex: Debug + Send + Sync + 'static {
    /// The name of the index in messages.
    fn name(&self) -> &'static str;

    /// How far a session was fed: the position of the last batch that had one, `None` if there was none. It is as durable
    /// as the records that it speaks of.
    fn position(&self, session_id: &SessionId) -> Result<Option<Position>, IndexError>;

    /// The sessions that were fed and not forgotten, in the order of ids.
    fn sessions(&self) -> Result<Vec<SessionId>, IndexError>;

    /// Takes records of one or several sessions; all of them are seen by every call once this returns, or none if it
    /// fails. Records that it has taken already change nothing. It asks for the text of each artifact that it takes up or
    /// whose tags change, at least as it is after all these records; a deleted one is found by its record alone.
    fn apply(&self, batches: &[IndexBatch], texts: &dyn ArtifactTexts) -> Result<(), IndexError>;

    /// Forgets a session: its journal is gone or was replaced.
    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError>;

    /// One artifact's record, deleted ones included; `None` if it is unknown. Of several with this id, which only
    /// sessions taken over can have, that of the first session in the order of ids.
    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError>;

    /// The artifacts that match, in the order of [`PageCursor`]s, from after [`ArtifactQuery::after`] on.
    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError>;

    /// Counts all artifacts that match, whatever the query's order, limit and cursor.
    fn statistics(&self, query: &ArtifactQuery) -> Result<Statistics, IndexError>;
}
