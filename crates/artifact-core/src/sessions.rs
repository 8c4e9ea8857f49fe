//! Sessions and the collections in them.

mod history;
pub(crate) mod registry;
mod snapshots;
mod writer;

use std::ops::ControlFlow;

use tracking_journal::Committed;
use tracking_model::{
    Collection, CollectionId, NewCollection, NewSession, Session, SessionCommand, SessionEvent, SessionId,
    SessionOutcome, SessionSummary, UpgradeId,
};

use crate::{ArtifactError, TestArtifactsManager, Unreadable};
pub(crate) use registry::SessionRegistry;
pub(crate) use snapshots::Snapshots;

/// The sessions of a data directory.
#[derive(Debug, Default)]
pub struct Sessions {
    /// The sessions that could be read, the one opened last first.
    pub sessions: Vec<Session>,
    /// The sessions that could not be read.
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
        self.run(move |inner| inner.writer().create_session(&id, session))
            .await
    }

    /// Opens a session under a given id, unless it is there already.
    ///
    /// # Errors
    /// As [`Self::create_session_as`], but for a taken id.
    pub async fn ensure_session(&self, id: SessionId, session: NewSession) -> Result<Session, ArtifactError> {
        self.run(move |inner| inner.writer().ensure_session(&id, session))
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
        self.run(|inner| inner.sessions.all()).await
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
        let id = id.clone();
        self.run(move |inner| {
            inner.adder().recover_if_open(&id)?;
            inner.writer().change(&id, SessionCommand::Complete { outcome })
        })
        .await
    }

    /// Tells retention to leave a session alone, or no longer.
    ///
    /// # Errors
    /// As [`Self::session`], and if it cannot be written.
    pub async fn pin_session(&self, id: &SessionId, pinned: bool) -> Result<Session, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.writer().change(&id, SessionCommand::Pin { pinned }))
            .await
    }

    /// Passes every record of a session to `each`, the oldest first, until it breaks off. Records are read one after the
    /// other, so memory does not grow with their number.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; if a record cannot be read. What came
    /// before it was passed on.
    ///
    /// # Cancellation
    /// Reading goes on when the future is dropped, until `each` breaks off.
    pub async fn session_history(
        &self,
        id: &SessionId,
        each: impl FnMut(Committed<SessionEvent>) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(), ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.sessions.history(&id, each)).await
    }

    /// Records the outcome of an upgrade in its sessions: in the session with the id of the upgrade, and in those that this
    /// manager has worked with. They stay open, for evidence often comes after the end; completing a session takes the
    /// recorded outcome unless it is given another. Returns the sessions in which it was recorded; those that were
    /// completed with an outcome keep theirs.
    ///
    /// # Errors
    /// If a session cannot be read or written; the others have it then.
    pub async fn record_outcome(
        &self,
        upgrade_id: &UpgradeId,
        outcome: SessionOutcome,
    ) -> Result<Vec<SessionId>, ArtifactError> {
        let upgrade_id = upgrade_id.clone();
        self.run(move |inner| inner.writer().record_outcome(&upgrade_id, outcome))
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
        self.run(move |inner| inner.writer().create_collection(&id, collection))
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
        self.run(move |inner| inner.writer().ensure_collection(&id, collection))
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
        self.run(move |inner| inner.sessions.collection(&session_id, &collection_id))
            .await
    }
}
