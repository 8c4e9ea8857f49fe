//! Deleting single artifacts: the record first, the bytes after it, so that no record ever claims bytes that are gone.

use std::sync::Arc;

use tracking_model::{
    Artifact, ArtifactAction, ArtifactId, ArtifactStatus, IfPinned, Session, SessionCommandError, SessionId,
};

use crate::dir::key_of;
use crate::manager::Inner;
use crate::{ArtifactError, TestArtifactsManager};

/// How an artifact is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Why, in words.
    pub reason: Option<Arc<str>>,
    /// The behaviour if its session is pinned.
    pub pinned: IfPinned,
}

impl DeleteOptions {
    /// Says why.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Says what is to happen if the session is pinned.
    #[must_use]
    pub const fn with_pinned(mut self, pinned: IfPinned) -> Self {
        self.pinned = pinned;
        self
    }
}

/// An artifact that was deleted.
#[derive(Debug)]
#[non_exhaustive]
pub struct Deletion {
    /// Its record, which tells what it was.
    pub artifact: Arc<Artifact>,
    /// The outcome for its bytes.
    pub bytes: DeletedBytes,
}

/// The outcome for the bytes of a deleted artifact.
#[derive(Debug)]
pub enum DeletedBytes {
    /// They are gone.
    Removed,
    /// They stay until retention looks at the session once it is completed: other records may name the same file.
    Shared,
    /// They could not be removed, for this reason. Retention removes them once the session is completed.
    LeftBehind(ArtifactError),
}

impl TestArtifactsManager {
    /// Deletes an artifact, in an open session too. Its record stays, and tells what it was, who deleted it, when and
    /// why.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::Refused`] if it is deleted already, or its session is pinned
    /// and [`DeleteOptions::pinned`] does not insist. Nothing is deleted then. That its bytes could not be removed is no
    /// error: it is in the answer.
    ///
    /// # Cancellation
    /// A deletion that has begun goes on when the future is dropped.
    pub async fn delete_artifact(
        &self,
        id: &ArtifactId,
        options: DeleteOptions,
    ) -> Result<Deletion, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| inner.delete(&id, options)).await
    }
}

impl Inner {
    fn delete(self: &Arc<Self>, id: &ArtifactId, options: DeleteOptions) -> Result<Deletion, ArtifactError> {
        let DeleteOptions { reason, pinned } = options;
        let artifact = match self
            .writer()
            .change_recorded(id, &ArtifactAction::MarkDeleted { reason, pinned })
        {
            Err(ArtifactError::Refused(SessionCommandError::Transition {
                artifact_id,
                from: ArtifactStatus::Deleted,
                ..
            })) => {
                return Err(ArtifactError::Refused(SessionCommandError::ArtifactDeleted(
                    artifact_id,
                )));
            }
            done => done?,
        };
        let bytes = match self.remove_bytes(&artifact) {
            Ok(bytes) => bytes,
            Err(error) => DeletedBytes::LeftBehind(error),
        };
        Ok(Deletion { artifact, bytes })
    }

    /// Removes the bytes of an artifact whose record says that it is deleted. Nobody else removes them while the session
    /// is open, so a name is not free, and taken by another artifact, before this.
    fn remove_bytes(&self, artifact: &Artifact) -> Result<DeletedBytes, ArtifactError> {
        if artifact.local_path.is_none() {
            return Ok(DeletedBytes::Removed);
        }
        let key = key_of(artifact)?;
        let imported = self
            .sessions
            .with_session(&artifact.session_id, |session: &Session| session.imported)?;
        if imported && self.is_named_twice(&artifact.session_id, artifact)? {
            return Ok(DeletedBytes::Shared);
        }
        self.artifacts.remove(&key, artifact.file_hash.as_ref())?;
        Ok(DeletedBytes::Removed)
    }

    /// True if another record of a session, deleted or not, names the same file.
    fn is_named_twice(&self, id: &SessionId, artifact: &Artifact) -> Result<bool, ArtifactError> {
        let mut named = false;
        self.sessions.each_recorded(id, |other| {
            named |= other.artifact_id != artifact.artifact_id && other.local_path == artifact.local_path;
        })?;
        Ok(named)
    }
}
