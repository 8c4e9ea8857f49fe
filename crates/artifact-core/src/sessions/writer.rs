//! Commands to sessions: each is checked, recorded, and durable when its call returns.

use std::sync::Arc;

use tracking_journal::Receipt;
use tracking_model::{
    Artifact, ArtifactAction, ArtifactId, ChangeArtifact, Collection, NewCollection, NewSession, Session,
    SessionCommand, SessionCommandError, SessionEvent, SessionId, SessionOutcome, UpgradeId,
};

use crate::ArtifactError;
use crate::manager::Inner;

/// Writes to the journals of sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionWriter<'a> {
    inner: &'a Arc<Inner>,
}

impl Inner {
    pub(crate) const fn writer<'a>(self: &'a Arc<Self>) -> SessionWriter<'a> {
        SessionWriter { inner: self }
    }
}

impl SessionWriter<'_> {
    /// Commits a command to a session that exists.
    pub(crate) fn submit(
        &self,
        id: &SessionId,
        command: SessionCommand,
    ) -> Result<Receipt<Session>, ArtifactError> {
        // An unknown id must not become an empty journal.
        self.inner.sessions.with_session(id, |_| ())?;
        let entry = self.inner.sessions.entry(id);
        let receipt = self.inner.sessions.submit(&entry, command)?;
        self.inner.snapshot_later(id);
        Ok(receipt)
    }

    /// As [`Self::submit`]; returns the session after the command.
    pub(super) fn change(&self, id: &SessionId, command: SessionCommand) -> Result<Session, ArtifactError> {
        self.submit(id, command)?;
        self.inner.sessions.session(id)
    }

    pub(super) fn create_session(
        &self,
        id: &SessionId,
        mut new: NewSession,
    ) -> Result<Session, ArtifactError> {
        let options = &self.inner.options;
        if new.s3_bucket.is_none() {
            new.s3_bucket.clone_from(&options.s3_bucket);
        }
        if new.s3_prefix.is_none() {
            let prefix = options.s3_prefix.trim_end_matches('/');
            new.s3_prefix = Some(format!("{prefix}/{}", id.encoded()).into());
        }
        let entry = self.inner.sessions.entry(id);
        self.inner.sessions.submit(&entry, SessionCommand::Create(new))?;
        self.inner.artifacts.prepare(id)?;
        self.inner.snapshot_later(id);
        self.inner.sessions.session(id)
    }

    pub(super) fn create_collection(
        &self,
        id: &SessionId,
        new: NewCollection,
    ) -> Result<Collection, ArtifactError> {
        let collection_id = new.collection_id.clone();
        self.submit(id, SessionCommand::CreateCollection(new))?;
        self.inner.sessions.collection(id, &collection_id)
    }

    pub(super) fn ensure_session(&self, id: &SessionId, new: NewSession) -> Result<Session, ArtifactError> {
        match self.inner.sessions.session(id) {
            Err(ArtifactError::UnknownSession(_)) => {}
            found => return found,
        }
        match self.create_session(id, new) {
            // Another writer was faster.
            Err(ArtifactError::Refused(SessionCommandError::SessionExists { .. })) => {
                self.inner.sessions.session(id)
            }
            created => created,
        }
    }

    pub(super) fn ensure_collection(
        &self,
        id: &SessionId,
        new: NewCollection,
    ) -> Result<Collection, ArtifactError> {
        let (sessions, collection_id) = (&self.inner.sessions, new.collection_id.clone());
        match sessions.collection(id, &collection_id) {
            Err(ArtifactError::UnknownCollection { .. }) => {}
            found => return found,
        }
        match self.create_collection(id, new) {
            // Another writer was faster.
            Err(ArtifactError::Refused(SessionCommandError::CollectionExists { .. })) => {
                sessions.collection(id, &collection_id)
            }
            created => created,
        }
    }

    pub(super) fn record_outcome(
        &self,
        upgrade_id: &UpgradeId,
        outcome: SessionOutcome,
    ) -> Result<Vec<SessionId>, ArtifactError> {
        let mut ids = self.inner.sessions.known_ids();
        // An upgrade's id is one of a session too: both have the same rules.
        ids.extend(SessionId::new(upgrade_id.as_str()).ok());
        ids.sort();
        ids.dedup();
        let (mut recorded, mut first_error) = (Vec::new(), None);
        for id in ids {
            let of_upgrade = self
                .inner
                .sessions
                .with_session(&id, |session| session.upgrade_id.as_ref() == Some(upgrade_id));
            let done = match of_upgrade {
                Ok(false) | Err(ArtifactError::UnknownSession(_)) => continue,
                Ok(true) => self.submit(&id, SessionCommand::SetOutcome { outcome }),
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => recorded.push(id),
                Err(ArtifactError::Refused(SessionCommandError::OutcomeSettled { .. })) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(recorded), Err)
    }

    /// Changes an artifact as it was at `as_of`. Returns the record after that, which follows from the change: nothing that
    /// fails afterwards can make a recorded change a failure.
    pub(crate) fn change_artifact(
        &self,
        mut artifact: Arc<Artifact>,
        as_of: u64,
        action: &ArtifactAction,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let change = ChangeArtifact {
            artifact: Arc::clone(&artifact),
            as_of,
            action: action.clone(),
        };
        let command = SessionCommand::ChangeArtifact(Box::new(change));
        let receipt = self.submit(&artifact.session_id, command)?;
        for record in receipt.records() {
            if let SessionEvent::Artifact(_, change) = &record.event {
                change.apply(Arc::make_mut(&mut artifact), record.meta.at);
            }
        }
        Ok(artifact)
    }

    /// Changes an artifact as the journal has it, for an index that lies must not decide what is recorded or removed. Reads
    /// the session's journal, again where something of the session was changed meanwhile.
    pub(crate) fn change_recorded(
        &self,
        id: &ArtifactId,
        action: &ArtifactAction,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        loop {
            let (artifact, as_of) = self.inner.searcher().recorded_as_of(id)?;
            match self.change_artifact(artifact, as_of, action) {
                Err(ArtifactError::Refused(SessionCommandError::Stale { .. })) => {}
                changed => return changed,
            }
        }
    }
}
