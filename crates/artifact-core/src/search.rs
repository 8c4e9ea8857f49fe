//! Searching artifacts, and looking up single ones.

mod cursor;
mod query;
mod snippet;
pub(crate) mod statistics;
mod text_query;
pub mod tokenizer;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use tracking_model::{
    Artifact, ArtifactAction, ArtifactId, ArtifactStatus, ArtifactType, CollectionId, Session, SessionId,
    Span, Timestamp,
};

use crate::indexer::text_extraction::type_has_text;
use crate::manager::Inner;
use crate::{ArtifactError, IndexError, IndexProgress, TestArtifactsManager, Unreadable};

pub use cursor::{PageCursor, PageCursorError};
pub use query::{ArtifactQuery, DEFAULT_LIMIT, MAX_RANKED, NamePattern, PatternError, Sort};
pub use snippet::Snippet;
pub use statistics::{Amount, Day, Group, LARGEST, Statistics};
pub use text_query::{TextQuery, TextQueryError, TextTerm};

/// Artifacts that are read at a time where all are visited.
const PAGE: usize = 1000;

/// The results of a search.
#[derive(Debug, Default)]
pub struct SearchResults {
    /// The artifacts, in the order that the query asked for.
    pub artifacts: Vec<Arc<Artifact>>,
    /// True if there are more than the query's limit.
    pub more: bool,
    /// Where to go on: give it to the same query as [`ArtifactQuery::after`]. `None` if there are no more.
    pub next: Option<PageCursor>,
    /// For each artifact what of its text matches, if the query asked for that: `None` where it was found by its name,
    /// tags or description, and where its text is not here any more.
    pub snippets: Vec<Option<Snippet>>,
    /// Sessions that could not be read, so that nothing of them was found.
    pub unreadable: Vec<Unreadable>,
    /// True if nothing was found, and the text of an artifact that meets all other criteria is longer than what is
    /// searched ([`ManagerOptions::with_text_bytes`](crate::ManagerOptions::with_text_bytes)).
    pub texts_were_cut: bool,
}

/// Totals of the artifacts that match.
#[derive(Debug, Default)]
pub struct StatisticsResults {
    /// The counts.
    pub statistics: Statistics,
    /// Sessions that could not be read, so that nothing of them was counted.
    pub unreadable: Vec<Unreadable>,
}

/// Search.
impl TestArtifactsManager {
    /// Brings the index up to date with what was added since it was last used, by whatever process. Searching does so by
    /// itself; this tells how far it is, after every few thousand records, for it may take a while.
    ///
    /// # Errors
    /// If the data directory cannot be listed, or the index fails.
    ///
    /// # Cancellation
    /// It goes on when the future is dropped.
    pub async fn update_index(
        &self,
        progress: impl Fn(IndexProgress) + Send + Sync + 'static,
    ) -> Result<Vec<Unreadable>, ArtifactError> {
        self.run(move |inner| inner.indexer.with_index(|| inner.indexer.refresh_all(&progress)))
            .await
    }

    /// Why this manager searches without its index, reading the journals into memory instead, which is slower; `None` as
    /// long as it does not.
    #[must_use]
    pub fn index_failure(&self) -> Option<&IndexError> {
        self.inner.indexer.index_failure()
    }

    /// Takes a session up into the index anew: after its texts, which come from elsewhere, became others.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; if the index fails.
    ///
    /// # Cancellation
    /// It goes on when the future is dropped.
    pub async fn reindex_session(&self, id: &SessionId) -> Result<(), ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.indexer.with_index(|| inner.indexer.reindex_session(&id)))
            .await
    }

    /// Counts the artifacts that a query matches, whatever its order and limit.
    ///
    /// # Errors
    /// As [`Self::search_artifacts`].
    pub async fn artifact_statistics(
        &self,
        query: ArtifactQuery,
    ) -> Result<StatisticsResults, ArtifactError> {
        self.run(move |inner| {
            let searcher = inner.searcher();
            inner.indexer.with_index(|| searcher.statistics(&query))
        })
        .await
    }

    /// One artifact's record, deleted ones included.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]
    pub async fn artifact(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.searcher().artifact(&id)).await
    }

    /// The artifacts that a query matches; whatever was added before this call is among them.
    ///
    /// # Errors
    /// If the data directory cannot be listed, or the index fails; [`ArtifactError::Cursor`] for a cursor of another order;
    /// [`ArtifactError::UnknownSession`] and [`ArtifactError::UnknownCollection`] for those that the query names together.
    /// Sessions that cannot be read are named in the answer; one that the query names is an error. Of a journal that the
    /// index has taken up only what was written since is read, and the hash of the record before that compared: damage
    /// before it is found by [`tracking_journal::verify`].
    pub async fn search_artifacts(&self, query: ArtifactQuery) -> Result<SearchResults, ArtifactError> {
        self.run(move |inner| inner.indexer.with_index(|| inner.searcher().search(&query)))
            .await
    }

    /// The artifacts whose names match a pattern (a part of the name, or a glob), the newest first.
    ///
    /// # Errors
    /// [`ArtifactError::Pattern`]; else as [`Self::search_artifacts`].
    pub async fn search_by_name(
        &self,
        pattern: &str,
        session_id: Option<SessionId>,
    ) -> Result<SearchResults, ArtifactError> {
        let mut query = ArtifactQuery::new().with_name(NamePattern::new(pattern)?);
        query.session_id = session_id;
        self.search_artifacts(query).await
    }

    /// The artifacts added within the last `hours`, the newest first.
    ///
    /// # Errors
    /// As [`Self::search_artifacts`].
    pub async fn recent_artifacts(
        &self,
        hours: u32,
        session_id: Option<SessionId>,
    ) -> Result<SearchResults, ArtifactError> {
        let now = self.inner.options.journal.clock.now();
        let since =
            Timestamp::from_micros(now.as_micros() - Span::from_secs(i64::from(hours) * 3600).as_micros());
        let mut query = ArtifactQuery::new().with_since(since);
        query.session_id = session_id;
        self.search_artifacts(query).await
    }

    /// Adds tags to an artifact and takes others away; returns its record after that.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::Refused`] for a tag that is invalid or one too many.
    pub async fn tag_artifact(
        &self,
        id: &ArtifactId,
        add: Vec<Arc<str>>,
        remove: Vec<Arc<str>>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| {
            inner
                .writer()
                .change_recorded(&id, &ArtifactAction::Tag { add, remove })
        })
        .await
    }

    /// Where an artifact's bytes are on disk; `None` where they are not here.
    #[must_use]
    pub fn local_path(&self, artifact: &Artifact) -> Option<PathBuf> {
        let path = artifact.local_path.as_deref()?;
        Some(self.data_dir().path().join(path))
    }
}

/// Searches the index of a manager.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Searcher<'a> {
    inner: &'a Inner,
}

impl Inner {
    pub(crate) const fn searcher(&self) -> Searcher<'_> {
        Searcher { inner: self }
    }
}

impl Searcher<'_> {
    pub(crate) fn artifact(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        self.artifact_as_of(id).map(|(artifact, _)| artifact)
    }

    /// An artifact, and the last sequence of its session that the record takes into account. The journals tell where the
    /// index cannot: deleting must be possible on a full disk.
    pub(crate) fn artifact_as_of(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        match self.inner.indexer.with_own_index(|| self.look_up(id)) {
            Err(ArtifactError::Index(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, artifact = %id, "looking for the artifact in the journals");
                self.inner.sessions.find_recorded(id)
            }
            found => found,
        }
    }

    /// A known artifact needs only its own session brought up to date.
    fn look_up(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        let index = self.inner.indexer.index();
        let mut unreadable = None;
        let session_id = match index.artifact(id)? {
            Some(artifact) => Some(artifact.session_id.clone()),
            None => {
                unreadable = self.inner.indexer.refresh_all(&|_| {})?.pop();
                None
            }
        };
        let as_of = |session_id: &SessionId| match self.inner.indexer.refresh(session_id) {
            Err(ArtifactError::UnknownSession(_)) => Ok(0),
            refreshed => refreshed,
        };
        let before = session_id.as_ref().map(as_of).transpose()?;
        match (index.artifact(id)?, before, unreadable) {
            (Some(artifact), Some(before), _) => Ok((artifact, before)),
            // Of a session that was just taken up.
            (Some(artifact), None, _) => {
                let as_of = as_of(&artifact.session_id)?;
                let artifact = index.artifact(id)?.unwrap_or(artifact);
                Ok((artifact, as_of))
            }
            (None, _, Some(unreadable)) => Err(unreadable.error),
            (None, _, None) => Err(ArtifactError::UnknownArtifact(id.clone())),
        }
    }

    /// Brings the index up to date as far as a query looks.
    fn refresh_for(&self, query: &ArtifactQuery) -> Result<Vec<Unreadable>, ArtifactError> {
        let Some(id) = &query.session_id else {
            return self.inner.indexer.refresh_all(&|_| {});
        };
        // One session is looked at as closely as all of them are: both see the same damage, or neither does.
        if self.inner.indexer.refresh(id)? == 0 {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        if let Some(collection_id) = &query.collection_id {
            self.check_collection(id, collection_id)?;
        }
        Ok(Vec::new())
    }

    /// Refuses a collection that a session does not have: that it finds nothing would be no answer.
    fn check_collection(&self, id: &SessionId, collection_id: &CollectionId) -> Result<(), ArtifactError> {
        let has_it = |session: &Session| session.collection(collection_id).is_some();
        if self.inner.sessions.with_session(id, has_it)? {
            return Ok(());
        }
        // Its header may be lost, and its artifacts not.
        let mut any = ArtifactQuery::new()
            .in_session(id.clone())
            .in_collection(collection_id.clone())
            .with_limit(1);
        any.statuses = ArtifactStatus::ALL.to_vec();
        if self.inner.indexer.index().query(&any)?.artifacts.is_empty() {
            return Err(ArtifactError::UnknownCollection {
                session_id: id.clone(),
                collection_id: collection_id.clone(),
            });
        }
        Ok(())
    }

    pub(crate) fn search(&self, query: &ArtifactQuery) -> Result<SearchResults, ArtifactError> {
        if let Some(after) = query.after.as_ref().filter(|after| after.sort() != query.sort) {
            let error = PageCursorError {
                text: after.to_string(),
                reason: "is the page cursor of a search in another order; sort as that one did",
            };
            return Err(error.into());
        }
        let unreadable = self.refresh_for(query)?;
        let found = self.inner.indexer.index().query(query)?;
        let snippets = match &query.text {
            Some(text) if query.snippets => {
                let snippet = |artifact: &Arc<Artifact>| {
                    let searched = self.inner.indexer.texts.text(artifact)?;
                    Snippet::of(text, &searched)
                };
                found.artifacts.iter().map(snippet).collect()
            }
            _ => Vec::new(),
        };
        Ok(SearchResults {
            texts_were_cut: found.artifacts.is_empty() && self.has_longer_texts(query)?,
            artifacts: found.artifacts,
            more: found.more,
            next: found.next,
            snippets,
            unreadable,
        })
    }

    /// True if one of the artifacts in which a query looks for words has more text than is searched.
    fn has_longer_texts(&self, query: &ArtifactQuery) -> Result<bool, ArtifactError> {
        let mut longer = query.clone().with_sort(Sort::Newest).with_limit(1);
        if longer.text.take().is_none() || query.after.is_some() {
            return Ok(false);
        }
        let searched = self.inner.options.text_bytes.saturating_add(1);
        longer.min_size = Some(longer.min_size.map_or(searched, |min| min.max(searched)));
        if longer.types.is_empty() {
            longer.types = ArtifactType::ALL.to_vec();
        }
        longer.types.retain(|one| type_has_text(*one));
        Ok(!longer.types.is_empty() && !self.inner.indexer.index().query(&longer)?.artifacts.is_empty())
    }

    /// Passes every artifact that `query` matches to `each`, whatever the query's limit; what was added before this call is
    /// among them. They are read in pages, so that memory stays bounded. Sessions that cannot be read are passed over,
    /// unless the query names one.
    pub(crate) fn each_artifact(
        &self,
        query: ArtifactQuery,
        mut each: impl FnMut(Arc<Artifact>) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        let mut query = query.with_limit(PAGE);
        // True once the index has everything that was added before this call: a fallback begins empty.
        let is_fed = Cell::new(false);
        loop {
            let found = self.inner.indexer.with_index(|| {
                if !is_fed.replace(false) {
                    for unreadable in self.refresh_for(&query)? {
                        let error: &dyn std::error::Error = &unreadable.error;
                        tracing::warn!(session = %unreadable.session_id, error, "passing over a session that cannot be read");
                    }
                }
                let found = self.inner.indexer.index().query(&query)?;
                is_fed.set(true);
                Ok(found)
            })?;
            found.artifacts.into_iter().try_for_each(&mut each)?;
            match found.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// One artifact's record as a journal has it, with all its changes. The index only tells which journal: the bytes are
    /// never compared with what an index says.
    pub(crate) fn recorded(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        self.recorded_as_of(id).map(|(artifact, _)| artifact)
    }

    /// As [`Self::recorded`], with the last sequence of the session that the record takes into account.
    pub(crate) fn recorded_as_of(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        let sessions = &self.inner.sessions;
        let (known, _) = self.artifact_as_of(id)?;
        match sessions.recorded_in(&known.session_id, id) {
            Ok(Some(recorded)) => Ok(recorded),
            // The index is wrong about the session.
            Ok(None) | Err(ArtifactError::UnknownSession(_)) => sessions.find_recorded(id),
            Err(error) => Err(error),
        }
    }

    fn statistics(&self, query: &ArtifactQuery) -> Result<StatisticsResults, ArtifactError> {
        let unreadable = self.refresh_for(query)?;
        Ok(StatisticsResults {
            statistics: self.inner.indexer.index().statistics(query)?,
            unreadable,
        })
    }
}
