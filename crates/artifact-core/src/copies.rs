//! Copies of artifacts' bytes in another store: the bytes to copy, and the records of copies.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tracking_model::{Artifact, ArtifactAction, ArtifactId, SessionCommandError, SessionId};

use crate::manager::Inner;
use crate::{ArtifactError, ArtifactKey, PutBody, TestArtifactsManager};

/// The place of a copy of an artifact's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlace {
    /// The bucket.
    pub bucket: Arc<str>,
    /// The key in the bucket.
    pub key: Arc<str>,
    /// `s3://bucket/key`.
    pub url: Arc<str>,
}

/// Looks at the copies of artifacts' bytes in another store.
#[async_trait]
pub trait ArtifactCopies: Debug + Send + Sync {
    /// Tells of each artifact, in order, why the copy that its record names cannot be relied on; `None` for a copy that
    /// is there, with the size and the SHA-256 of the record. It looks into the store each time.
    async fn problems(&self, artifacts: &[Arc<Artifact>]) -> Vec<Option<String>>;
}

impl TestArtifactsManager {
    /// One artifact of a session, and the moment of its session at which it was read. Pass it to
    /// [`Self::record_upload`], so that a copy costs one read of the index.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`], [`ArtifactError::UnknownSession`]
    pub async fn known_artifact(
        &self,
        session_id: &SessionId,
        id: &ArtifactId,
    ) -> Result<KnownArtifact, ArtifactError> {
        let (session_id, id) = (session_id.clone(), id.clone());
        self.run(move |inner| inner.known_artifact(&session_id, &id))
            .await
    }

    /// An artifact's bytes and their key, to be put into another store. The bytes are not compared with the record: the
    /// caller compares them with [`Artifact::file_hash`].
    ///
    /// # Errors
    /// [`ArtifactError::BytesMissing`] and [`ArtifactError::Store`] if they are not here.
    pub async fn body_of(&self, artifact: Arc<Artifact>) -> Result<(ArtifactKey, PutBody), ArtifactError> {
        self.run(move |inner| inner.artifacts.open_body(&artifact)).await
    }

    /// Records that an artifact's bytes are in another store too. A copy that is recorded already stays as it is.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::Refused`] if it was deleted; [`ArtifactError::Journal`] if it
    /// cannot be written.
    ///
    /// # Cancellation
    /// Writing goes on when the future is dropped.
    pub async fn record_upload(
        &self,
        known: KnownArtifact,
        place: CopyPlace,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let action = ArtifactAction::MarkUploaded {
            s3_bucket: place.bucket,
            s3_key: place.key,
            s3_url: place.url,
        };
        self.run(move |inner| inner.record_copy(known, &action)).await
    }

    /// Records that an artifact could not be uploaded, and why. It may be tried again.
    ///
    /// # Errors
    /// As [`Self::record_upload`].
    pub async fn record_upload_failure(
        &self,
        known: KnownArtifact,
        reason: impl Into<Arc<str>>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let action = ArtifactAction::MarkFailed {
            reason: reason.into(),
        };
        self.run(move |inner| inner.record_copy(known, &action)).await
    }
}

/// An artifact as it was at a moment of its session.
#[derive(Debug, Clone)]
pub struct KnownArtifact {
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// The last sequence of the session that the record takes into account; 0 if that is not known.
    as_of: u64,
}

/// An artifact of a search: its moment is not known, so it is read once more when something is recorded of it.
impl From<Arc<Artifact>> for KnownArtifact {
    fn from(artifact: Arc<Artifact>) -> Self {
        Self { artifact, as_of: 0 }
    }
}

impl Inner {
    fn known_artifact(
        &self,
        session_id: &SessionId,
        id: &ArtifactId,
    ) -> Result<KnownArtifact, ArtifactError> {
        let read = self.indexer.with_index(|| {
            let as_of = self.indexer.refresh(session_id)?;
            Ok((self.indexer.index().artifact(id)?, as_of))
        });
        let (artifact, as_of) = read?;
        let artifact = artifact.ok_or_else(|| ArtifactError::UnknownArtifact(id.clone()))?;
        Ok(KnownArtifact { artifact, as_of })
    }

    /// Records a copy, or why there is none, of the artifact as the index has it: reading the journal for each of very many
    /// artifacts would take far too long.
    fn record_copy(
        self: &Arc<Self>,
        mut known: KnownArtifact,
        action: &ArtifactAction,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, id) = (
            known.artifact.session_id.clone(),
            known.artifact.artifact_id.clone(),
        );
        loop {
            // Uploads may be repeated, after a crash between the upload and its record.
            if known.artifact.s3_key.is_some() {
                return Ok(known.artifact);
            }
            match self.writer().change_artifact(known.artifact, known.as_of, action) {
                // Something of the session was changed meanwhile.
                Err(ArtifactError::Refused(SessionCommandError::Stale { .. })) => {
                    known = self.known_artifact(&session_id, &id)?;
                }
                // Another process, an agent beside this one perhaps, was faster.
                Err(ArtifactError::Refused(SessionCommandError::Transition { from, to, .. }))
                    if from == to =>
                {
                    return Ok(self.known_artifact(&session_id, &id)?.artifact);
                }
                changed => return changed,
            }
        }
    }
}
