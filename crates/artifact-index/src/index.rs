//! The index itself: opened when it is first needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use artifact_core::{
    ArtifactIndex, ArtifactQuery, ArtifactTexts, IndexBatch, IndexError, Matches, MemoryIndex, Statistics,
};
use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, SessionId};

use crate::error::{Cause, NAME};
use crate::file::Database;
use crate::{row, search, statistics, write};

/// Finds artifacts in a SQLite file. Nothing is opened or created before the first call.
#[derive(Debug)]
pub struct SqliteIndex {
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug, Clone)]
enum Opened {
    File(Arc<Database>),
    /// Where the file cannot be written.
    Memory(Arc<MemoryIndex>),
}

impl SqliteIndex {
    /// The index in the file at `path`, whose directory must exist when the index is first used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            opened: Mutex::new(None),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, operation: &'static str) -> Result<Opened, IndexError> {
        let mut opened = self.lock();
        if let Some(opened) = &*opened {
            return Ok(opened.clone());
        }
        let new = match Database::open(&self.path) {
            Ok(database) => Opened::File(Arc::new(database)),
            Err(cause) if cause.is_read_only() => {
                let error: &dyn std::error::Error = &cause;
                tracing::warn!(path = %self.path.display(), error, "the search index cannot be written; searching without it, which is slower");
                Opened::Memory(Arc::default())
            }
            Err(cause) => return Err(cause.during(operation)),
        };
        *opened = Some(new.clone());
        Ok(new)
    }

    /// Asks the file, or the index in memory that stands for it. A corrupt file is removed.
    fn ask<T>(
        &self,
        operation: &'static str,
        file: impl FnOnce(&Database) -> Result<T, Cause>,
        memory: impl FnOnce(&MemoryIndex) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let database = match self.open(operation)? {
            Opened::Memory(index) => return memory(&index),
            Opened::File(database) => database,
        };
        file(&database).map_err(|cause| {
            if !cause.is_corrupt() {
                return cause.during(operation);
            }
            *self.lock() = None;
            match database.discard() {
                Ok(()) => cause.after_reset(operation),
                Err(why_not) => why_not.during("replace"),
            }
        })
    }
}

impl ArtifactIndex for SqliteIndex {
    fn name(&self) -> &'static str {
        NAME
    }

    fn position(&self, session_id: &SessionId) -> Result<Option<Position>, IndexError> {
        let file = |database: &Database| database.read(|at| row::position(at, session_id));
        self.ask("query", file, |index| index.position(session_id))
    }

    fn sessions(&self) -> Result<Vec<SessionId>, IndexError> {
        let file = |database: &Database| database.read(row::sessions);
        self.ask("query", file, ArtifactIndex::sessions)
    }

    fn apply(&self, batches: &[IndexBatch], texts: &dyn ArtifactTexts) -> Result<(), IndexError> {
        let file = |database: &Database| database.write(|at| write::apply(at, batches, texts));
        self.ask("update", file, |index| index.apply(batches, texts))
    }

    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError> {
        let file = |database: &Database| database.write(|at| write::forget(at, session_id));
        self.ask("update", file, |index| index.forget(session_id))
    }

    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError> {
        let file = |database: &Database| database.read(|at| row::artifact(at, artifact_id));
        self.ask("query", file, |index| index.artifact(artifact_id))
    }

    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError> {
        let file = |database: &Database| database.read(|at| search::find(at, query));
        self.ask("query", file, |index| index.query(query))
    }

    fn statistics(&self, query: &ArtifactQuery) -> Result<Statistics, IndexError> {
        let file = |database: &Database| database.read(|at| statistics::statistics(at, query));
        self.ask("query", file, |index| index.statistics(query))
    }
}
