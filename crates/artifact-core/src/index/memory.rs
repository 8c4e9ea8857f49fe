//! An index in memory: holds every record and looks at each for a query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, RecordMeta, SessionEvent, SessionId};

use super::{ArtifactIndex, ArtifactTexts, IndexBatch, IndexError, Matches};
use crate::search::statistics::LARGEST;
use crate::search::tokenizer::Words;
use crate::{ArtifactQuery, MAX_RANKED, PageCursor, Sort, Statistics};

/// Keeps artifact records and their words in memory; the cost of a query grows with their number.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<SessionId, Indexed>,
    /// Ids of sessions taken over may repeat, so an id leads to one record for each session that has it.
    artifacts: BTreeMap<ArtifactId, BTreeMap<SessionId, Entry>>,
    /// Artifacts that were deleted before they were added, by the clock of another machine.
    buried: BTreeSet<(SessionId, ArtifactId)>,
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

#[derive(Debug)]
struct Entry {
    artifact: Arc<Artifact>,
    words: Words,
}

impl Entry {
    fn new(artifact: Arc<Artifact>, texts: &dyn ArtifactTexts) -> Self {
        let words = texts.words(&artifact);
        Self { artifact, words }
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
    fn take(&mut self, batch: &IndexBatch, texts: &dyn ArtifactTexts) {
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
                    let buried = (batch.session_id.clone(), artifact.artifact_id.clone());
                    let is_buried = self.buried.contains(&buried);
                    let records = self.artifacts.entry(buried.1).or_default();
                    add_entry(records, &batch.session_id, artifact, is_buried, texts);
                }
                SessionEvent::Artifact(_, change) => {
                    let records = self.artifacts.get_mut(&change.artifact_id);
                    if let Some(entry) = records.and_then(|records| records.get_mut(&batch.session_id)) {
                        change_entry(entry, change, &record.meta, texts);
                    } else if change.status == ArtifactStatus::Deleted {
                        let buried = (batch.session_id.clone(), change.artifact_id.clone());
                        self.buried.insert(buried);
                    }
                }
                _ => {}
            }
        }
        if let Some(position) = batch.position
            && position.head.seq >= session.seq
        {
            session.position = Some(position);
        }
    }

    fn matching<'a>(&'a self, query: &'a ArtifactQuery) -> impl Iterator<Item = &'a Arc<Artifact>> {
        let entries = self.artifacts.values().flat_map(BTreeMap::iter);
        entries
            .filter(|(session_id, entry)| {
                let session = self.sessions.get(*session_id);
                let cluster_name = session.map_or("", |session| &session.cluster_name);
                query.matches(&entry.artifact, cluster_name, &entry.words)
            })
            .map(|(_, entry)| &entry.artifact)
    }

    fn find(&self, query: &ArtifactQuery) -> Matches {
        let matching = self.matching(query);
        let mut found: BTreeSet<_> = matching.map(|artifact| Found::new(query, artifact)).collect();
        if query.sort == Sort::Rank && found.len() > MAX_RANKED {
            let newest = ArtifactQuery::new();
            let mut by_age: Vec<_> = found
                .iter()
                .map(|one| PageCursor::of(&newest, &one.artifact))
                .collect();
            by_age.sort_unstable();
            let last = by_age.swap_remove(MAX_RANKED - 1);
            found.retain(|one| PageCursor::of(&newest, &one.artifact) <= last);
        }
        let after = query.after.as_ref();
        let mut found = found
            .into_iter()
            .skip_while(|one| after.is_some_and(|after| one.place <= *after));
        let page: Vec<Found> = found.by_ref().take(query.limit).collect();
        let more = found.next().is_some();
        Matches {
            next: page.last().filter(|_| more).map(|one| one.place.clone()),
            artifacts: page.into_iter().map(|one| one.artifact).collect(),
            more,
        }
    }
}

/// A deleted artifact stays deleted, whatever is added.
fn add_entry(
    records: &mut BTreeMap<SessionId, Entry>,
    session_id: &SessionId,
    artifact: &Arc<Artifact>,
    is_buried: bool,
    texts: &dyn ArtifactTexts,
) {
    let known = records.get(session_id);
    if known.is_some_and(|entry| entry.artifact.status == ArtifactStatus::Deleted) {
        return;
    }
    let mut artifact = Arc::clone(artifact);
    if is_buried {
        Arc::make_mut(&mut artifact).status = ArtifactStatus::Deleted;
    }
    records.insert(session_id.clone(), Entry::new(artifact, texts));
}

fn change_entry(
    entry: &mut Entry,
    change: &tracking_model::ArtifactChange,
    meta: &RecordMeta,
    texts: &dyn ArtifactTexts,
) {
    change.apply(Arc::make_mut(&mut entry.artifact), meta.at);
    if change.tags.is_some() || change.status == ArtifactStatus::Deleted {
        entry.words = texts.words(&entry.artifact);
    }
}

/// A match and its place in the order.
#[derive(Debug)]
struct Found {
    place: PageCursor,
    artifact: Arc<Artifact>,
}

impl Found {
    fn new(query: &ArtifactQuery, artifact: &Arc<Artifact>) -> Self {
        Self {
            place: PageCursor::of(query, artifact),
            artifact: Arc::clone(artifact),
        }
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Found {}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
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

    fn sessions(&self) -> Result<Vec<SessionId>, IndexError> {
        Ok(self.read().sessions.keys().cloned().collect())
    }

    fn apply(&self, batches: &[IndexBatch], texts: &dyn ArtifactTexts) -> Result<(), IndexError> {
        let mut state = self.write();
        batches.iter().for_each(|batch| state.take(batch, texts));
        Ok(())
    }

    fn forget(&self, session_id: &SessionId) -> Result<(), IndexError> {
        let mut state = self.write();
        state.sessions.remove(session_id);
        state.buried.retain(|(of, _)| of != session_id);
        state.artifacts.retain(|_, records| {
            records.remove(session_id);
            !records.is_empty()
        });
        Ok(())
    }

    fn artifact(&self, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, IndexError> {
        let state = self.read();
        let records = state.artifacts.get(artifact_id);
        let first = records.and_then(BTreeMap::first_key_value);
        Ok(first.map(|(_, entry)| Arc::clone(&entry.artifact)))
    }

    fn query(&self, query: &ArtifactQuery) -> Result<Matches, IndexError> {
        Ok(self.read().find(query))
    }

    fn statistics(&self, query: &ArtifactQuery) -> Result<Statistics, IndexError> {
        let state = self.read();
        let mut statistics = Statistics::default();
        state
            .matching(query)
            .for_each(|artifact| statistics.add(artifact));
        let mut largest = query.clone().with_sort(Sort::Size).with_limit(LARGEST);
        largest.after = None;
        statistics.largest = state.find(&largest).artifacts;
        Ok(statistics)
    }
}
