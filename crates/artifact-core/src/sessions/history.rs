//! The records of sessions, read from their journals: the history, and artifacts as they were recorded. Verification and the
//! removal of files read the journals, because the index is derived and may be wrong.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use tracking_journal::{Committed, JournalReader, storage};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, SessionEvent, SessionId, StreamId};

use super::SessionRegistry;
use crate::ArtifactError;

/// Artifacts whose bytes are not here any more, by a number for each id: see [`PathSet`](crate::path_set::PathSet).
#[derive(Debug, Default)]
struct Gone {
    statuses: HashMap<u64, ArtifactStatus>,
    keys: RandomState,
}

impl Gone {
    fn note(&mut self, id: &ArtifactId, status: ArtifactStatus) {
        match status {
            ArtifactStatus::Deleted => {
                self.statuses.insert(self.keys.hash_one(id), status);
            }
            // An artifact that another machine deleted stays deleted.
            ArtifactStatus::Archived => {
                self.statuses.entry(self.keys.hash_one(id)).or_insert(status);
            }
            ArtifactStatus::Created | ArtifactStatus::Uploaded | ArtifactStatus::Failed => {}
        }
    }

    fn status_of(&self, id: &ArtifactId) -> Option<ArtifactStatus> {
        self.statuses.get(&self.keys.hash_one(id)).copied()
    }
}

impl SessionRegistry {
    /// Passes every record of a session to `each`, the oldest first, until it breaks off.
    pub(super) fn history(
        &self,
        id: &SessionId,
        mut each: impl FnMut(Committed<SessionEvent>) -> ControlFlow<()>,
    ) -> Result<(), ArtifactError> {
        let mut is_empty = true;
        self.each_record(id, |record| {
            is_empty = false;
            each(record)
        })?;
        // Its beginning was interrupted.
        if is_empty {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        Ok(())
    }

    /// Passes every artifact of a session to `each`, in the order of adding, as it was added but for its status. Memory
    /// holds a few bytes for each that was deleted.
    pub(crate) fn each_recorded(
        &self,
        id: &SessionId,
        mut each: impl FnMut(Arc<Artifact>),
    ) -> Result<(), ArtifactError> {
        let mut gone = Gone::default();
        self.history(id, |record| {
            if let SessionEvent::Artifact(_, change) = record.event {
                gone.note(&change.artifact_id, change.status);
            }
            ControlFlow::Continue(())
        })?;
        self.each_record(id, |record| {
            if let SessionEvent::ArtifactAdded(mut artifact) = record.event {
                if let Some(status) = gone.status_of(&artifact.artifact_id) {
                    Arc::make_mut(&mut artifact).status = status;
                }
                each(artifact);
            }
            ControlFlow::Continue(())
        })
    }

    /// One artifact, and the last sequence of its session that this takes into account; it reads journals until one has it.
    pub(crate) fn find_recorded(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        let mut unreadable = None;
        for session_id in self.ids()? {
            match self.recorded_in(&session_id, id) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(ArtifactError::UnknownSession(_)) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        Err(unreadable.unwrap_or_else(|| ArtifactError::UnknownArtifact(id.clone())))
    }

    /// As [`Self::find_recorded`], in one session.
    pub(crate) fn recorded_in(
        &self,
        session_id: &SessionId,
        id: &ArtifactId,
    ) -> Result<Option<(Arc<Artifact>, u64)>, ArtifactError> {
        let (mut found, mut as_of, mut is_deleted) = (None::<Arc<Artifact>>, 0, false);
        self.each_record(session_id, |Committed { meta, event }| {
            as_of = meta.seq;
            match (event, &mut found) {
                (SessionEvent::ArtifactAdded(artifact), _) if artifact.artifact_id == *id => {
                    found = Some(artifact);
                }
                (SessionEvent::Artifact(_, change), found) if change.artifact_id == *id => {
                    is_deleted |= change.status == ArtifactStatus::Deleted;
                    if let Some(artifact) = found {
                        change.apply(Arc::make_mut(artifact), meta.at);
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        if let Some(artifact) = found.as_mut().filter(|_| is_deleted) {
            // Also where another machine's clock had it deleted before it was added.
            Arc::make_mut(artifact).status = ArtifactStatus::Deleted;
        }
        Ok(found.map(|artifact| (artifact, as_of)))
    }

    fn each_record(
        &self,
        id: &SessionId,
        mut each: impl FnMut(Committed<SessionEvent>) -> ControlFlow<()>,
    ) -> Result<(), ArtifactError> {
        let stream = StreamId::Session(id.clone());
        if !storage::exists(&self.data_dir().journal_path(&stream)) {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        let mut reader = JournalReader::open(self.data_dir(), &stream)?;
        while let Some(record) = reader.next_record()? {
            let event = record.decode().map_err(|source| ArtifactError::Undecodable {
                session_id: id.clone(),
                seq: record.seq,
                source,
            })?;
            let meta = record.meta();
            if each(Committed { meta, event }).is_break() {
                break;
            }
        }
        Ok(())
    }
}
