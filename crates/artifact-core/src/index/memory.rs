//! An index in memory: holds every record and looks at each for a query.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, SessionEvent, SessionId};

use super::{ArtifactIndex, IndexBatch, IndexError, Matches};
use crate::{ArtifactQuery, Sort};

/// Keeps artifact records in memory; the cost of a query grows with their number.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Indexed>,
    /// Ids of sessions taken over may repeat, so an id leads to one record for each session that has it.
    artifacts: BTreeMap<ArtifactId, Vec<Arc<Artifact>>>,
}

#[derive(Debug)]
struct Indexed {
    cluster_name: Arc<str>,
    seq: u64,
    position: Option<Position>,
}

impl Default for Indexed {
    fn default() -> Self {
        Self {
            cluster_name: Arc::from(""),
            seq: 0,
            position: None,
        }
    }
}

impl MemoryIndex {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, batch: &IndexBatch) {
        let session = self.sessions.entry(batch.session_id.clone()).or_default();
        for record in &batch.records {
            if record.meta.seq <= session.seq {
                continue;
            }
            session.seq = record.meta.seq;
            match &record.event {
                SessionEvent::Created(created) => session.cluster_name = Arc::clone(&created.cluster_name),
                SessionEvent::Imported(imported) => {
                    session.cluster_name = Arc::clone(&imported.created.cluster_name);
                }
                SessionEvent::ArtifactAdded(artifact) => {
                    let records = self.artifacts.entry(artifact.artifact_id.clone()).or_default();
                    records.retain(|record| record.session_id != batch.session_id);
                    records.push(Arc::clone(artifact));
                }
                SessionEvent::Artifact(_, change) => {
                    let records = self.artifacts.get_mut(&change.artifact_id).into_iter().flatten();
                    for artifact in records.filter(|artifact| artifact.session_id == batch.session_id) {
                        change.apply(Arc::make_mut(artifact), record.meta.at);
                    }
                }
                _ => {}
            }
        }
        if batch.position.is_some() {
            session.position = batch.position;
        }
    }

    fn find(&self, query: &ArtifactQuery) -> Vec<Arc<Artifact>> {
        self.artifacts
            .values()
            .flatten()
            .filter(|artifact| {
                let session = self.sessions.get(&artifact.session_id);
                let cluster_name = session.map_or("", |session| &session.cluster_name);
                query.matches(artifact, cluster_name)
            })
            .cloned()
            .collect()
    }
}

impl ArtifactIndex for MemoryIndex {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn position(&self, session_id: &SessionId) -> Result<Option<Position>, IndexError> {
        let state = self.read();
        Ok(state
            .sessions
            .get(session_id)
            .and_then(|session| session.position))
    }

    fn apply(&self, batch: &IndexBatch) -> Result<(), IndexError> {
        self.write().take(batch);
        Ok(())
    }

    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError> {
        let mut state = self.write();
        state.sessions.remove(session_id);
        state.artifacts.retain(|_, records| {
            records.retain(|record| record.session_id != *session_id);
            !records.is_empty()
        });
        Ok(())
    }

    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError> {
        let state = self.read();
        let records = state.artifacts.get(artifact_id);
        Ok(records.and_then(|records| records.first()).map(Arc::clone))
    }

    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError> {
        let mut artifacts = self.read().find(query);
        // Ids break ties; those of one process are in the order of creation.
        match query.sort {
            Sort::Newest => {
                artifacts.sort_by_cached_key(|a| Reverse((a.created_at, a.artifact_id.clone())));
            }
            Sort::Size => {
                artifacts.sort_by_cached_key(|a| {
                    (Reverse(a.file_size), Reverse(a.created_at), a.artifact_id.clone())
                });
            }
            Sort::Name => {
                artifacts.sort_by_cached_key(|a| (a.name.to_lowercase(), a.artifact_id.clone()));
            }
        }
        let more = artifacts.len() > query.limit;
        artifacts.truncate(query.limit);
        Ok(Matches { artifacts, more })
    }
}
