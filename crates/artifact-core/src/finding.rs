//! Finding artifacts, and changing what is recorded of them.

use std::path::PathBuf;
use std::sync::Arc;

use tracking_model::{
    Artifact, ArtifactAction, ArtifactId, ChangeArtifact, SessionCommand, SessionCommandError, SessionId,
    Span, Timestamp,
};

use crate::manager::Inner;
use crate::{ArtifactError, ArtifactQuery, NamePattern, TestArtifactsManager, Unreadable};

/// What a search found.
#[derive(Debug, Default)]
pub struct SearchResults {
    /// The artifacts, in the order that the query asked for.
    pub artifacts: Vec<Arc<Artifact>>,
    /// Whether there are more than the query's limit.
    pub more: bool,
    /// Sessions that could not be read, so that nothing of them was found.
    pub unreadable: Vec<Unreadable>,
}

/// Finding artifacts.
impl TestArtifactsManager {
    /// One artifact's record, deleted ones included.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]
    pub async fn artifact(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.artifact(&id)).await
    }

    /// The artifacts that a query matches; whatever was added before this call is among them.
    ///
    /// # Errors
    /// If the data directory cannot be listed, or the index fails. Sessions that cannot be read are named in the answer.
    pub async fn search_artifacts(&self, query: ArtifactQuery) -> Result<SearchResults, ArtifactError> {
        self.run(move |inner| inner.search(&query)).await
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
            inner.change_artifact(&id, &ArtifactAction::Tag { add, remove })?;
            inner.artifact(&id)
        })
        .await
    }

    /// Where an artifact's bytes are on disk; `None` in memory, and where they are not here.
    #[must_use]
    pub fn local_path(&self, artifact: &Artifact) -> Option<PathBuf> {
        let path = artifact.local_path.as_deref()?;
        Some(self.data_dir()?.path().join(path))
    }
}

impl Inner {
    /// Brings the index up to date; names the sessions that cannot be read.
    fn refresh_all(&self) -> Result<Vec<Unreadable>, ArtifactError> {
        let mut unreadable = Vec::new();
        for session_id in self.catalogue.ids()? {
            match self.catalogue.refresh(&session_id) {
                Ok(_) | Err(ArtifactError::UnknownSession(_)) => {}
                Err(error @ ArtifactError::Index(_)) => return Err(error),
                Err(error) => unreadable.push(Unreadable { session_id, error }),
            }
        }
        Ok(unreadable)
    }

    pub(crate) fn artifact(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        // What is known already needs only its own session brought up to date.
        if let Some(artifact) = self.catalogue.index().artifact(id)? {
            self.catalogue.refresh(&artifact.session_id)?;
        }
        if let Some(artifact) = self.catalogue.index().artifact(id)? {
            return Ok(artifact);
        }
        let mut unreadable = self.refresh_all()?;
        match (self.catalogue.index().artifact(id)?, unreadable.pop()) {
            (Some(artifact), _) => Ok(artifact),
            (None, Some(unreadable)) => Err(unreadable.error),
            (None, None) => Err(ArtifactError::UnknownArtifact(id.clone())),
        }
    }

    pub(crate) fn search(&self, query: &ArtifactQuery) -> Result<SearchResults, ArtifactError> {
        let unreadable = match &query.session_id {
            Some(id) => {
                self.catalogue.look(id, |_| ())?;
                Vec::new()
            }
            None => self.refresh_all()?,
        };
        let found = self.catalogue.index().query(query)?;
        Ok(SearchResults {
            artifacts: found.artifacts,
            more: found.more,
            unreadable,
        })
    }

    /// Passes every artifact that `query` matches to `each`, whatever the query's limit, as far as the index was fed.
    pub(crate) fn each_artifact(
        &self,
        query: ArtifactQuery,
        each: impl FnMut(Arc<Artifact>) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        let query = query.with_limit(usize::MAX);
        let found = self.catalogue.index().query(&query)?;
        found.artifacts.into_iter().try_for_each(each)
    }

    /// Changes an artifact as its record is now; looks again where someone else changed it meanwhile.
    pub(crate) fn change_artifact(
        self: &Arc<Self>,
        id: &ArtifactId,
        action: &ArtifactAction,
    ) -> Result<(), ArtifactError> {
        loop {
            let session_id = self.artifact(id)?.session_id.clone();
            let as_of = self.catalogue.refresh(&session_id)?;
            let artifact = self.artifact(id)?;
            let change = ChangeArtifact {
                artifact,
                as_of,
                action: action.clone(),
            };
            match self.submit(&session_id, SessionCommand::ChangeArtifact(Box::new(change))) {
                Err(ArtifactError::Refused(SessionCommandError::Stale { .. })) => {}
                submitted => return submitted,
            }
        }
    }
}
