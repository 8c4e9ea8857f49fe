//! The manager: sessions, collections, and finding artifacts in them.

use std::path::PathBuf;
use std::sync::Arc;

use tracking_journal::{DataDir, JournalOptions};
use tracking_model::{
    Artifact, ArtifactAction, ArtifactId, ChangeArtifact, Collection, CollectionId, DEFAULT_RETENTION_DAYS,
    NewCollection, NewSession, Session, SessionCommand, SessionCommandError, SessionId, SessionOutcome,
    SessionSummary, Span, Timestamp,
};

use crate::catalogue::Catalogue;
use crate::executor::off_executor;
use crate::snapshots::Snapshots;
use crate::store::Vault;
use crate::{ArtifactError, ArtifactIndex, ArtifactQuery, LocalStore, MemoryIndex, MemoryStore, NamePattern};

/// Where artifacts go in a bucket unless told otherwise.
const DEFAULT_S3_PREFIX: &str = "eks-upgrade-agent/artifacts";

/// How a manager works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// How the journals of sessions are opened: who writes, how long to wait for others, which clock.
    pub journal: JournalOptions,
    /// Where artifacts are looked up.
    pub index: Arc<dyn ArtifactIndex>,
    /// The bucket that new sessions name.
    pub s3_bucket: Option<Arc<str>>,
    /// The prefix that new sessions' prefixes begin with; their id is added.
    pub s3_prefix: Arc<str>,
    /// For how many days new sessions are kept after their completion.
    pub retention_days: u32,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            journal: JournalOptions::default(),
            index: Arc::new(MemoryIndex::new()),
            s3_bucket: None,
            s3_prefix: DEFAULT_S3_PREFIX.into(),
            retention_days: DEFAULT_RETENTION_DAYS,
        }
    }
}

impl ManagerOptions {
    /// Sets how journals are opened.
    #[must_use]
    pub fn with_journal(mut self, journal: JournalOptions) -> Self {
        self.journal = journal;
        self
    }

    /// Sets where artifacts are looked up.
    #[must_use]
    pub fn with_index(mut self, index: Arc<dyn ArtifactIndex>) -> Self {
        self.index = index;
        self
    }

    /// Sets the bucket that new sessions name.
    #[must_use]
    pub fn with_s3_bucket(mut self, bucket: impl Into<Arc<str>>) -> Self {
        self.s3_bucket = Some(bucket.into());
        self
    }

    /// Sets the prefix that new sessions' prefixes begin with.
    #[must_use]
    pub fn with_s3_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.s3_prefix = prefix.into();
        self
    }

    /// Sets for how many days new sessions are kept.
    #[must_use]
    pub const fn with_retention_days(mut self, days: u32) -> Self {
        self.retention_days = days;
        self
    }
}

/// A session that could not be read, so that what it holds is not in an answer.
#[derive(Debug)]
pub struct Unreadable {
    /// The session.
    pub session_id: SessionId,
    /// Why not.
    pub error: ArtifactError,
}

/// The sessions that there are.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Those that could be read, the one opened last first.
    pub sessions: Vec<Session>,
    /// Those that could not.
    pub unreadable: Vec<Unreadable>,
}

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

/// Keeps everything that upgrades produce and finds it again. Cheap to clone; clones are the same manager.
///
/// Many tasks and several processes may use one data directory at once. Each call sees what every call before it did,
/// whoever made it. An `Ok` means that the record, and the bytes that it speaks of, are on disk.
///
/// Methods block no executor: file work runs on threads that may block. Work that has begun goes on when its future is
/// dropped.
#[derive(Debug, Clone)]
pub struct TestArtifactsManager {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) catalogue: Catalogue,
    pub(crate) snapshots: Arc<Snapshots>,
    options: ManagerOptions,
}

impl TestArtifactsManager {
    /// A manager over a data directory.
    #[must_use]
    pub fn new(dir: DataDir, options: ManagerOptions) -> Self {
        let vault = Vault::Local(LocalStore::new(dir.artifacts_dir()));
        Self::over(Some(dir), vault, options)
    }

    /// A manager that keeps everything in memory, until its last clone is dropped.
    #[must_use]
    pub fn in_memory(options: ManagerOptions) -> Self {
        Self::over(None, Vault::Memory(MemoryStore::default()), options)
    }

    fn over(home: Option<DataDir>, vault: Vault, options: ManagerOptions) -> Self {
        let (index, journal) = (Arc::clone(&options.index), options.journal.clone());
        let catalogue = Catalogue::new(home, vault, index, journal);
        Self {
            inner: Arc::new(Inner {
                catalogue,
                snapshots: Arc::default(),
                options,
            }),
        }
    }

    /// The data directory; `None` in memory.
    #[must_use]
    pub fn data_dir(&self) -> Option<&DataDir> {
        self.inner.catalogue.home()
    }

    /// Runs blocking work on the manager's state.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let inner = Arc::clone(&self.inner);
        off_executor(move || work(&inner)).await
    }

    /// Writes the snapshots that are behind, and closes the journals after what waits for them. Both open again when they
    /// are needed.
    ///
    /// # Errors
    /// If a snapshot cannot be written; the old one stays. Nothing that was acknowledged is lost by that.
    pub async fn close(&self) -> Result<(), ArtifactError> {
        self.run(|inner| {
            let written = inner.write_snapshots();
            inner.catalogue.close_journals();
            written
        })
        .await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.snapshots.close();
        if let Err(error) = self.write_snapshots() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot write the last snapshots");
        }
    }
}

/// Sessions.
impl TestArtifactsManager {
    /// Opens a session under a new id.
    ///
    /// # Errors
    /// As [`Self::create_session_as`].
    pub async fn create_session(&self, session: NewSession) -> Result<Session, ArtifactError> {
        self.create_session_as(SessionId::generate(), session).await
    }

    /// Opens a session under a given id.
    ///
    /// # Errors
    /// [`ArtifactError::Refused`] if the id is taken or a text is invalid; [`ArtifactError::Journal`] if it cannot be
    /// written.
    pub async fn create_session_as(
        &self,
        id: SessionId,
        session: NewSession,
    ) -> Result<Session, ArtifactError> {
        self.run(move |inner| inner.create_session(&id, session)).await
    }

    /// Opens a session under a given id, unless it is there already.
    ///
    /// # Errors
    /// As [`Self::create_session_as`], but for a taken id.
    pub async fn ensure_session(&self, id: SessionId, session: NewSession) -> Result<Session, ArtifactError> {
        self.run(move |inner| match inner.catalogue.session(&id) {
            Err(ArtifactError::UnknownSession(_)) => match inner.create_session(&id, session) {
                // Someone else was faster.
                Err(ArtifactError::Refused(SessionCommandError::SessionExists { .. })) => {
                    inner.catalogue.session(&id)
                }
                created => created,
            },
            found => found,
        })
        .await
    }

    /// A session's header with those of its collections.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; else as its journal can be read.
    pub async fn session(&self, id: &SessionId) -> Result<Session, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.catalogue.session(&id)).await
    }

    /// All sessions.
    ///
    /// # Errors
    /// If the data directory cannot be listed. Sessions that cannot be read are named in the answer.
    pub async fn sessions(&self) -> Result<Sessions, ArtifactError> {
        self.run(|inner| {
            let mut found = Sessions::default();
            for session_id in inner.catalogue.ids()? {
                match inner.catalogue.session(&session_id) {
                    Ok(session) => found.sessions.push(session),
                    // Its first record is not there yet.
                    Err(ArtifactError::UnknownSession(_)) => {}
                    Err(error) => found.unreadable.push(Unreadable { session_id, error }),
                }
            }
            found
                .sessions
                .sort_by_key(|session| std::cmp::Reverse(session.started_at));
            Ok(found)
        })
        .await
    }

    /// What is said of a session as a whole.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub async fn session_summary(&self, id: &SessionId) -> Result<SessionSummary, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.catalogue.look(&id, Session::summary))
            .await
    }

    /// Closes a session: nothing can be added any more.
    ///
    /// # Errors
    /// [`ArtifactError::Refused`] if it is closed already.
    pub async fn complete_session(
        &self,
        id: &SessionId,
        outcome: Option<SessionOutcome>,
    ) -> Result<Session, ArtifactError> {
        let recovered = id.clone();
        self.run(move |inner| {
            if inner.catalogue.look(&recovered, Session::is_open)? {
                inner.recover_once(&recovered)?;
            }
            Ok(())
        })
        .await?;
        self.command(id, SessionCommand::Complete { outcome }).await
    }

    /// Tells retention to leave a session alone, or no longer.
    ///
    /// # Errors
    /// As [`Self::session`], and if it cannot be written.
    pub async fn pin_session(&self, id: &SessionId, pinned: bool) -> Result<Session, ArtifactError> {
        self.command(id, SessionCommand::Pin { pinned }).await
    }

    async fn command(&self, id: &SessionId, command: SessionCommand) -> Result<Session, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| {
            inner.submit(&id, command)?;
            inner.catalogue.session(&id)
        })
        .await
    }
}

/// Collections.
impl TestArtifactsManager {
    /// Creates a collection in a session.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; [`ArtifactError::Refused`] if the session is closed, the id is taken or a text
    /// is invalid.
    pub async fn create_collection(
        &self,
        session_id: &SessionId,
        collection: NewCollection,
    ) -> Result<Collection, ArtifactError> {
        let id = session_id.clone();
        self.run(move |inner| inner.create_collection(&id, collection))
            .await
    }

    /// Creates a collection in a session, unless there is one of that id already.
    ///
    /// # Errors
    /// As [`Self::create_collection`], but for a taken id.
    pub async fn ensure_collection(
        &self,
        session_id: &SessionId,
        collection: NewCollection,
    ) -> Result<Collection, ArtifactError> {
        let id = session_id.clone();
        self.run(move |inner| {
            let collection_id = collection.collection_id.clone();
            match inner.collection(&id, &collection_id) {
                Err(ArtifactError::UnknownCollection { .. }) => {
                    match inner.create_collection(&id, collection) {
                        // Someone else was faster.
                        Err(ArtifactError::Refused(SessionCommandError::CollectionExists { .. })) => {
                            inner.collection(&id, &collection_id)
                        }
                        created => created,
                    }
                }
                found => found,
            }
        })
        .await
    }

    /// A collection's header.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`], [`ArtifactError::UnknownCollection`].
    pub async fn collection(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
    ) -> Result<Collection, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        self.run(move |inner| inner.collection(&session_id, &collection_id))
            .await
    }
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
    pub(crate) fn submit(
        self: &Arc<Self>,
        id: &SessionId,
        command: SessionCommand,
    ) -> Result<(), ArtifactError> {
        // Looking first keeps an unknown id from becoming an empty journal.
        self.catalogue.look(id, |_| ())?;
        let entry = self.catalogue.entry(id);
        self.catalogue.submit(&entry, command)?;
        self.snapshot_later(id);
        Ok(())
    }

    fn create_session(
        self: &Arc<Self>,
        id: &SessionId,
        mut new: NewSession,
    ) -> Result<Session, ArtifactError> {
        let options = &self.options;
        if new.s3_bucket.is_none() {
            new.s3_bucket.clone_from(&options.s3_bucket);
        }
        if new.s3_prefix.is_none() {
            let prefix = options.s3_prefix.trim_end_matches('/');
            new.s3_prefix = Some(format!("{prefix}/{}", id.encoded()).into());
        }
        let entry = self.catalogue.entry(id);
        self.catalogue.submit(&entry, SessionCommand::Create(new))?;
        self.catalogue.vault().prepare(id)?;
        self.snapshot_later(id);
        self.catalogue.session(id)
    }

    fn create_collection(
        self: &Arc<Self>,
        id: &SessionId,
        new: NewCollection,
    ) -> Result<Collection, ArtifactError> {
        let collection_id = new.collection_id.clone();
        self.submit(id, SessionCommand::CreateCollection(new))?;
        self.collection(id, &collection_id)
    }

    fn collection(&self, id: &SessionId, collection_id: &CollectionId) -> Result<Collection, ArtifactError> {
        self.catalogue
            .look(id, |session| session.collection(collection_id).cloned())?
            .ok_or_else(|| ArtifactError::UnknownCollection {
                session_id: id.clone(),
                collection_id: collection_id.clone(),
            })
    }

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

    /// Changes an artifact as its record is now; looks again where someone else changed it meanwhile.
    fn change_artifact(
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
