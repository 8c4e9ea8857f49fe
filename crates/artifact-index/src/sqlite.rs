//! The index itself: opened when it is first needed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use artifact_core::{
    ArtifactIndex, ArtifactQuery, ArtifactTexts, IndexBatch, IndexError, Matches, MemoryIndex, Prepared,
    Sort, Statistics,
};
use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, SessionId};

use crate::ahead::Ahead;
use crate::database::Database;
use crate::error::{Cause, NAME};
use crate::{apply, find, record, statistics};

/// From so many records on, what they add is loaded at once unless somebody says otherwise.
const MANY: usize = 2048;

/// Finds artifacts in a SQLite file. Nothing is opened or created before it is asked something.
#[derive(Debug)]
pub struct SqliteIndex {
    path: PathBuf,
    load_from: usize,
    opened: Mutex<Option<Opened>>,
}

#[derive(Debug, Clone)]
enum Opened {
    File(Arc<Database>),
    /// Where the file cannot be written.
    Memory(Arc<MemoryIndex>),
}

impl SqliteIndex {
    /// The index in the file at `path`, whose directory must exist when it is first used.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            load_from: MANY,
            opened: Mutex::new(None),
        }
    }

    /// Loads what batches add at once if they have so many records or more, 2048 unless this says otherwise: many are
    /// faster so, few are slower.
    #[must_use]
    pub const fn with_load_from(mut self, records: usize) -> Self {
        self.load_from = records;
        self
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

    /// Asks the file, or the index in memory that stands for it.
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
            if !cause.is_ruined() {
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
        let file = |database: &Database| database.read(|at| record::position(at, session_id));
        self.ask("query", file, |index| index.position(session_id))
    }

    fn sessions(&self) -> Result<Vec<SessionId>, IndexError> {
        let file = |database: &Database| database.read(record::sessions);
        self.ask("query", file, ArtifactIndex::sessions)
    }

    fn apply(&self, batches: &[IndexBatch], texts: &dyn ArtifactTexts) -> Result<(), IndexError> {
        self.apply_prepared(batches, Prepared::default(), texts)
    }

    fn prepare(&self, batches: &[IndexBatch], texts: &dyn ArtifactTexts, most_bytes: usize) -> Prepared {
        // What fails is tried again, and then told, when it is needed.
        Ahead::of(batches, texts, most_bytes).map_or_else(|_| Prepared::default(), Prepared::new)
    }

    fn apply_prepared(
        &self,
        batches: &[IndexBatch],
        prepared: Prepared,
        texts: &dyn ArtifactTexts,
    ) -> Result<(), IndexError> {
        let records: usize = batches.iter().map(|batch| batch.records.len()).sum();
        let file = |database: &Database| {
            let ahead = prepared.into_inner().unwrap_or_default();
            if records < self.load_from {
                database.write(|at| apply::apply(at, batches, ahead, texts, false))
            } else {
                database.load(|at| apply::apply(at, batches, ahead, texts, true))
            }
        };
        self.ask("update", file, |index| index.apply(batches, texts))
    }

    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError> {
        let file = |database: &Database| database.write(|at| apply::forget(at, session_id));
        self.ask("update", file, |index| index.forget(session_id))
    }

    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError> {
        let file = |database: &Database| database.read(|at| record::artifact(at, artifact_id));
        self.ask("query", file, |index| index.artifact(artifact_id))
    }

    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError> {
        let file = |database: &Database| {
            if matches!(query.sort, Sort::Size | Sort::Name) {
                database.make_sorts()?;
            }
            database.read(|at| find::find(at, query))
        };
        self.ask("query", file, |index| index.query(query))
    }

    fn statistics(&self, query: &ArtifactQuery) -> Result<Statistics, IndexError> {
        let file = |database: &Database| {
            // The largest are part of it.
            database.make_sorts()?;
            database.read(|at| statistics::statistics(at, query))
        };
        self.ask("query", file, |index| index.statistics(query))
    }
}
