//! Artifacts as the journals of their sessions record them. Verification and the removal of files read the journals, because
//! the index is derived and may be wrong.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tracking_journal::{JournalReader, storage};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, RecordMeta, SessionEvent, SessionId, StreamId};

use crate::ArtifactError;
use crate::manager::Inner;

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

impl Inner {
    /// Passes every artifact of a session to `each`, in the order of adding, as it was added but for its status. Memory
    /// holds a few bytes for each that was deleted.
    pub(crate) fn each_recorded(
        &self,
        id: &SessionId,
        mut each: impl FnMut(Arc<Artifact>),
    ) -> Result<(), ArtifactError> {
        let (mut gone, mut is_empty) = (Gone::default(), true);
        self.each_record(id, |_, event| {
            is_empty = false;
            if let SessionEvent::Artifact(_, change) = event {
                gone.note(&change.artifact_id, change.status);
            }
        })?;
        if is_empty {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        self.each_record(id, |_, event| {
            if let SessionEvent::ArtifactAdded(mut artifact) = event {
                if let Some(status) = gone.status_of(&artifact.artifact_id) {
                    Arc::make_mut(&mut artifact).status = status;
                }
                each(artifact);
            }
        })
    }

    /// One artifact's record as a journal has it, with all its changes. The index only tells where to look: what bytes
    /// are compared with is never taken from it.
    pub(crate) fn artifact_in_journal(&self, id: &ArtifactId) -> Result<Arc<Artifact>, ArtifactError> {
        self.recorded_as_of(id).map(|(artifact, _)| artifact)
    }

    /// As [`Self::artifact_in_journal`], with the last sequence of its session that this takes into account.
    pub(crate) fn recorded_as_of(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        let known = self.artifact_as_of(id)?;
        match self.recorded_in(&known.0.session_id, id) {
            Ok(Some(recorded)) => Ok(recorded),
            // The index is wrong about the session.
            Ok(None) | Err(ArtifactError::UnknownSession(_)) => self.find_recorded(id),
            Err(error) => Err(error),
        }
    }

    /// One artifact, and the last sequence of its session that this takes into account; it reads journals until one has it.
    pub(crate) fn find_recorded(&self, id: &ArtifactId) -> Result<(Arc<Artifact>, u64), ArtifactError> {
        let mut unreadable = None;
        for session_id in self.sessions.ids()? {
            match self.recorded_in(&session_id, id) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(ArtifactError::UnknownSession(_)) => {}
                Err(error) => unreadable = Some(error),
            }
        }
        Err(unreadable.unwrap_or_else(|| ArtifactError::UnknownArtifact(id.clone())))
    }

    /// As [`Self::find_recorded`], in one session.
    fn recorded_in(
        &self,
        session_id: &SessionId,
        id: &ArtifactId,
    ) -> Result<Option<(Arc<Artifact>, u64)>, ArtifactError> {
        let (mut found, mut as_of, mut is_deleted) = (None::<Arc<Artifact>>, 0, false);
        self.each_record(session_id, |meta, event| {
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
        mut each: impl FnMut(&RecordMeta, SessionEvent),
    ) -> Result<(), ArtifactError> {
        let home = self.sessions.data_dir();
        let stream = StreamId::Session(id.clone());
        if !storage::exists(&home.journal_path(&stream)) {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        let mut reader = JournalReader::open(home, &stream)?;
        while let Some(record) = reader.next_record()? {
            let event = record.decode().map_err(|source| ArtifactError::Undecodable {
                session_id: id.clone(),
                seq: record.seq,
                source,
            })?;
            each(&record.meta(), event);
        }
        Ok(())
    }
}
