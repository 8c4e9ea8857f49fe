//! The history of a session: its records, with their authors and times.

use std::ops::ControlFlow;
use std::sync::Arc;

use tracking_journal::{Committed, JournalReader};
use tracking_model::{
    SessionCommand, SessionCommandError, SessionEvent, SessionId, SessionOutcome, StreamId, UpgradeId,
};

use crate::manager::Inner;
use crate::{ArtifactError, TestArtifactsManager};

/// History.
impl TestArtifactsManager {
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
        self.run(move |inner| inner.history(&id, each)).await
    }

    /// Notes how an upgrade ended in its sessions: in the one that is named as the upgrade, and in those that this
    /// manager has worked with. They stay open, for evidence often comes after the end; completing one takes what is
    /// noted unless it is given another outcome. Tells which sessions it was noted in; those that were completed with
    /// an outcome keep it.
    ///
    /// # Errors
    /// If a session cannot be read or written; the others have it then.
    pub async fn record_outcome(
        &self,
        upgrade_id: &UpgradeId,
        outcome: SessionOutcome,
    ) -> Result<Vec<SessionId>, ArtifactError> {
        let upgrade_id = upgrade_id.clone();
        self.run(move |inner| inner.record_outcome(&upgrade_id, outcome))
            .await
    }
}

impl Inner {
    fn history(
        &self,
        id: &SessionId,
        mut each: impl FnMut(Committed<SessionEvent>) -> ControlFlow<()>,
    ) -> Result<(), ArtifactError> {
        let home = self.sessions.data_dir();
        let known = self.sessions.ids()?.contains(id);
        if !known {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        let mut is_empty = true;
        let mut reader = JournalReader::open(home, &StreamId::Session(id.clone()))?;
        while let Some(record) = reader.next_record()? {
            let event = record.decode().map_err(|source| ArtifactError::Undecodable {
                session_id: id.clone(),
                seq: record.seq,
                source,
            })?;
            let meta = record.meta();
            is_empty = false;
            if each(Committed { meta, event }).is_break() {
                break;
            }
        }
        // Its beginning was interrupted.
        if is_empty {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        Ok(())
    }

    fn record_outcome(
        self: &Arc<Self>,
        upgrade_id: &UpgradeId,
        outcome: SessionOutcome,
    ) -> Result<Vec<SessionId>, ArtifactError> {
        let mut ids = self.sessions.known_ids();
        // An upgrade's id is one of a session too: both have the same rules.
        ids.extend(SessionId::new(upgrade_id.as_str()).ok());
        ids.sort();
        ids.dedup();
        let (mut noted, mut first_error) = (Vec::new(), None);
        for id in ids {
            let of_upgrade = self
                .sessions
                .with_session(&id, |session| session.upgrade_id.as_ref() == Some(upgrade_id));
            let done = match of_upgrade {
                Ok(false) | Err(ArtifactError::UnknownSession(_)) => continue,
                Ok(true) => self.submit(&id, SessionCommand::SetOutcome { outcome }),
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => noted.push(id),
                Err(ArtifactError::Refused(SessionCommandError::OutcomeSettled { .. })) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(noted), Err)
    }
}
