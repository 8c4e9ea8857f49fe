//! From bytes that are written to artifacts that are recorded.

use std::io::Read;
use std::sync::Arc;

use tracking_journal::{JournalError, Receipt};
use tracking_model::{
    AddArtifact, Artifact, ArtifactId, ArtifactType, CollectionId, NewArtifact, Session, SessionCommand,
    SessionEvent, SessionId, StoredFile, stored_file_name,
};

use crate::dir::has_bytes;
use crate::dir::{CollectionDir, CopyError, FinishedFile, Interrupted, LinkedFile, StagedFile, StagedKind};
use crate::manager::Inner;
use crate::path_set::PathSet;
use crate::store::{PutMode, PutOutcome};
use crate::{ArtifactError, SourceError, StoreErrorKind, TestArtifactsManager};

impl TestArtifactsManager {
    /// Makes artifacts of what live writers that died had written, in one open session or in all: see
    /// [`ArtifactWriter`](crate::ArtifactWriter). Adding to a session and completing it do so by themselves.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`] for the one that is named; if something cannot be read or written.
    ///
    /// # Cancellation
    /// It goes on when the future is dropped.
    pub async fn recover_interrupted(
        &self,
        session: Option<&SessionId>,
    ) -> Result<Vec<Arc<Artifact>>, ArtifactError> {
        let session = session.cloned();
        self.run(move |inner| {
            let adder = inner.adder();
            if let Some(id) = session {
                return adder.recover_if_open(&id);
            }
            let mut all = Vec::new();
            for id in inner.sessions.ids()? {
                match adder.recover_if_open(&id) {
                    Ok(recovered) => all.extend(recovered),
                    // Its first record is not there yet, or it cannot be read, which readers report.
                    Err(ArtifactError::UnknownSession(_) | ArtifactError::Journal(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(all)
        })
        .await
    }
}

/// Adds artifacts to the sessions of a manager.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adder<'a> {
    pub(super) inner: &'a Arc<Inner>,
}

impl Inner {
    pub(crate) const fn adder<'a>(self: &'a Arc<Self>) -> Adder<'a> {
        Adder { inner: self }
    }
}

impl Adder<'_> {
    pub(crate) fn recover_if_open(&self, id: &SessionId) -> Result<Vec<Arc<Artifact>>, ArtifactError> {
        if self.inner.sessions.with_session(id, Session::is_open)? {
            self.recover_once(id)
        } else {
            Ok(Vec::new())
        }
    }

    pub(crate) fn add_reader(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        mut reader: impl Read,
        max_bytes: Option<u64>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let mut staged = self.begin(session_id, collection_id, &artifact, max_bytes, StagedKind::Copy)?;
        match staged.copy_and_hash(&mut reader, None, &|_| {}) {
            Ok(()) => {}
            Err(CopyError::Store(error)) if error.kind() == StoreErrorKind::TooLarge => {
                let limit = max_bytes.unwrap_or(u64::MAX);
                return Err(SourceError::TooLong { limit }.into());
            }
            Err(CopyError::Store(error)) => return Err(error.into()),
            Err(CopyError::Read(source)) => {
                let bytes = staged.size();
                return Err(SourceError::Stream { bytes, source }.into());
            }
        }
        self.finish(session_id, collection_id, artifact, staged)
    }

    /// Refuses an artifact that cannot be recorded before any byte is copied, and opens its collection.
    pub(super) fn open_collection(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: &NewArtifact,
    ) -> Result<Arc<CollectionDir>, ArtifactError> {
        self.inner
            .sessions
            .with_session(session_id, |session| session.check_add(collection_id, artifact))??;
        self.recover_once(session_id)?;
        Ok(self.inner.artifacts.collection(session_id, collection_id)?)
    }

    pub(crate) fn begin(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: &NewArtifact,
        max_bytes: Option<u64>,
        kind: StagedKind,
    ) -> Result<StagedFile, ArtifactError> {
        let collection = self.open_collection(session_id, collection_id, artifact)?;
        Ok(collection.stage(max_bytes, kind)?)
    }

    /// Records what live writers that died had written, the first time that something is written to a session.
    pub(crate) fn recover_once(&self, session_id: &SessionId) -> Result<Vec<Arc<Artifact>>, ArtifactError> {
        let mut all = Vec::new();
        if !self.inner.sessions.is_first_write(session_id) {
            return Ok(all);
        }
        let interrupted = self.inner.artifacts.interrupted(session_id)?;
        let live = self.without_unrecorded_names(session_id, interrupted)?;
        for (collection_id, staged) in live {
            let artifact = NewArtifact::new()
                .with_name("interrupted-output.log")
                .with_description("what a writer had written when it died")
                .with_tags(["interrupted"]);
            let recovered = self.finish(session_id, &collection_id, artifact, staged)?;
            tracing::warn!(session = %session_id, artifact = %recovered.artifact_id, "recovered interrupted output");
            all.push(recovered);
        }
        Ok(all)
    }

    /// Removes what an interrupted import left of a session that has been imported since.
    pub(crate) fn remove_unrecorded(&self, session_id: &SessionId) -> Result<(), ArtifactError> {
        let interrupted = self.inner.artifacts.interrupted(session_id)?;
        self.without_unrecorded_names(session_id, interrupted)?;
        Ok(())
    }

    /// Removes the names of files that got no record, and all of it that exists elsewhere; what is left was written live
    /// and is recorded nowhere.
    fn without_unrecorded_names(
        &self,
        session_id: &SessionId,
        interrupted: Vec<Interrupted>,
    ) -> Result<Vec<(CollectionId, StagedFile)>, ArtifactError> {
        let artifacts = &self.inner.artifacts;
        let mut recorded = PathSet::new();
        if interrupted.iter().any(|one| !one.named.is_empty()) {
            self.inner.sessions.each_recorded(session_id, |artifact| {
                if let Some(path) = artifact.local_path.as_ref().filter(|_| has_bytes(&artifact)) {
                    recorded.insert(path);
                }
            })?;
        }
        let mut live = Vec::new();
        for one in interrupted {
            let (with_record, without): (Vec<_>, Vec<_>) = one
                .named
                .iter()
                .partition(|key| recorded.contains(&key.local_path()));
            for key in &without {
                artifacts.remove(key, None)?;
            }
            // Other records of the same bytes share the file, unless the output was written live: then one of
            // its names is its own.
            let is_recorded = without.is_empty() && !with_record.is_empty();
            if !is_recorded {
                live.extend(one.live()?);
            }
        }
        Ok(live)
    }

    /// Makes the bytes durable under their final name, then records them.
    pub(crate) fn finish(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        staged: StagedFile,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (artifact, finished) = described(artifact, staged);
        let linked = finished.commit(&file_name(&artifact), PutMode::Numbered)?;
        let add = command(collection_id, artifact, &linked.put);
        let entry = self.inner.sessions.entry(session_id);
        let receipt = self.inner.sessions.submit(&entry, add);
        if receipt.is_ok() {
            self.inner.snapshot_later(session_id);
        }
        self.recorded(linked, receipt)
    }

    /// The artifact of a file that is linked. Without a record the file is removed, unless it is live output, which exists
    /// nowhere else.
    pub(super) fn recorded(
        &self,
        linked: LinkedFile,
        receipt: Result<Receipt<Session>, ArtifactError>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let error = match receipt {
            Ok(receipt) => {
                let added = receipt.records().iter().find_map(|record| match &record.event {
                    SessionEvent::ArtifactAdded(artifact) => Some(Arc::clone(artifact)),
                    _ => None,
                });
                return Ok(added.expect("adding an artifact causes exactly this record"));
            }
            Err(error) => error,
        };
        if linked.is_live() {
            let path = linked.put.key.local_path().into();
            // A refused file is never recorded; the next add takes up any other.
            if !matches!(error, ArtifactError::Refused(_)) {
                linked.leave();
            }
            let source = Box::new(error);
            return Err(ArtifactError::Unrecorded { path, source });
        }
        // After a failed sync it is unknown whether the record is there, so the bytes stay; the next writer of the session
        // removes them if it is not.
        let unknown = matches!(
            error,
            ArtifactError::Journal(JournalError::Poisoned { .. } | JournalError::Closed)
        );
        if unknown {
            linked.leave();
        } else {
            let put = &linked.put;
            self.inner.artifacts.remove(&put.key, Some(&put.hash))?;
        }
        Err(error)
    }
}

/// Ends writing, and guesses the type of an artifact that has none.
pub(super) fn described(mut artifact: NewArtifact, staged: StagedFile) -> (NewArtifact, FinishedFile) {
    let finished = staged.finish();
    if artifact.artifact_type.is_none()
        && let Some(name) = &artifact.name
    {
        artifact.artifact_type = Some(ArtifactType::guess_with(&name.text, &finished.head));
    }
    (artifact, finished)
}

/// The name that its bytes are to have on disk.
pub(super) fn file_name(artifact: &NewArtifact) -> String {
    let name = artifact.name.as_ref().map(|name| stored_file_name(&name.exact()));
    name.unwrap_or_else(|| "unnamed".to_owned())
}

/// The command that records bytes that are stored.
pub(super) fn command(
    collection_id: &CollectionId,
    artifact: NewArtifact,
    put: &PutOutcome,
) -> SessionCommand {
    SessionCommand::AddArtifact(Box::new(AddArtifact {
        artifact_id: ArtifactId::generate(),
        collection_id: collection_id.clone(),
        artifact,
        stored: StoredFile {
            local_path: put.key.local_path().into(),
            file_size: put.size,
            file_hash: put.hash,
        },
    }))
}
