//! Copies of artifacts' bytes in another store: what to copy from, and what is recorded of them.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tracking_model::{Artifact, ArtifactAction, ArtifactId, SessionCommandError};

use crate::{ArtifactError, ArtifactKey, PutBody, TestArtifactsManager};

/// Where a copy of an artifact's bytes is.
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
    /// An artifact's bytes and their key, to be put into another store. They are not compared with the record: whoever
    /// takes them compares with [`Artifact::file_hash`].
    ///
    /// # Errors
    /// [`ArtifactError::BytesMissing`] and [`ArtifactError::Store`] if they are not here.
    pub async fn body_of(&self, artifact: Arc<Artifact>) -> Result<(ArtifactKey, PutBody), ArtifactError> {
        self.run(move |inner| inner.read_body(&artifact)).await
    }

    /// Notes that an artifact's bytes are in S3 too. One of which that is known already stays as it is.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::Refused`] if it was deleted; [`ArtifactError::Journal`] if it
    /// cannot be written.
    ///
    /// # Cancellation
    /// Writing goes on when the future is dropped.
    pub async fn record_upload(
        &self,
        id: &ArtifactId,
        place: CopyPlace,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        self.record_copy(
            id,
            ArtifactAction::MarkUploaded {
                s3_bucket: place.bucket,
                s3_key: place.key,
                s3_url: place.url,
            },
        )
        .await
    }

    /// Notes that an artifact could not be uploaded, and why. It may be tried again.
    ///
    /// # Errors
    /// As [`Self::record_upload`].
    pub async fn record_upload_failure(
        &self,
        id: &ArtifactId,
        reason: impl Into<Arc<str>>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let reason = reason.into();
        self.record_copy(id, ArtifactAction::MarkFailed { reason }).await
    }

    async fn record_copy(
        &self,
        id: &ArtifactId,
        action: ArtifactAction,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| {
            let artifact = inner.artifact(&id)?;
            // Uploads may be repeated, after a crash between the upload and its record.
            if artifact.s3_key.is_some() {
                return Ok(artifact);
            }
            match inner.change_copy(&id, &action) {
                // Somebody else, an agent beside us perhaps, was faster.
                Err(ArtifactError::Refused(SessionCommandError::Transition { from, to, .. }))
                    if from == to =>
                {
                    inner.artifact(&id)
                }
                changed => changed,
            }
        })
        .await
    }
}
