//! Sessions and the collections in them.

mod history;
mod journal_lookup;
pub(crate) mod registry;
mod snapshots;

use std::sync::Arc;

use tracking_model::{
    Collection, CollectionId, NewCollection, NewSession, Session, SessionCommand, SessionCommandError,
    SessionId, SessionOutcome, SessionSummary,
};

use crate::manager::Inner;
use crate::{ArtifactError, TestArtifactsManager, Unreadable};
pub(crate) use registry::SessionRegistry;
pub(crate) use snapshots::Snapshots;

/// The sessions that there are.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Those that could be read, the one opened last first.
    pub sessions: Vec<Session>,
    /// Those that could not.
    pub unreadable: Vec<Unreadable>,
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
        self.run(move |inner| match inner.sessions.session(&id) {
            Err(ArtifactError::UnknownSession(_)) => match inner.create_session(&id, session) {
                // Someone else was faster.
                Err(ArtifactError::Refused(SessionCommandError::SessionExists { .. })) => {
                    inner.sessions.session(&id)
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
        self.run(move |inner| inner.sessions.session(&id)).await
    }

    /// All sessions.
    ///
    /// # Errors
    /// If the data directory cannot be listed. Sessions that cannot be read are named in the answer.
    pub async fn sessions(&self) -> Result<Sessions, ArtifactError> {
        self.run(|inner| {
            let mut found = Sessions::default();
            for session_id in inner.sessions.ids()? {
                match inner.sessions.session(&session_id) {
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

    /// Changes to a session as a whole.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub async fn session_summary(&self, id: &SessionId) -> Result<SessionSummary, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.sessions.with_session(&id, Session::summary))
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
            if inner.sessions.with_session(&recovered, Session::is_open)? {
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
            inner.sessions.session(&id)
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

impl Inner {
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
        let entry = self.sessions.entry(id);
        self.sessions.submit(&entry, SessionCommand::Create(new))?;
        self.sessions.artifacts().prepare(id)?;
        self.snapshot_later(id);
        self.sessions.session(id)
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
        self.sessions
            .with_session(id, |session| session.collection(collection_id).cloned())?
            .ok_or_else(|| ArtifactError::UnknownCollection {
                session_id: id.clone(),
                collection_id: collection_id.clone(),
            })
    }
}
