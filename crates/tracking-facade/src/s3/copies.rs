//! Looking whether the copies of artifacts' bytes are in the bucket, before those here are freed.

use std::sync::Arc;

use artifact_core::{ArtifactCopies, ArtifactError};
use async_trait::async_trait;
use futures_util::StreamExt;
use tracking_model::Artifact;

use super::SharedBucket;
use super::uploads::AT_ONCE;
use crate::error::reason;

#[async_trait]
impl ArtifactCopies for SharedBucket {
    async fn problems(&self, artifacts: &[Arc<Artifact>]) -> Vec<Option<String>> {
        let mut looks = Vec::with_capacity(artifacts.len());
        for artifact in artifacts {
            looks.push(self.problem(artifact));
        }
        futures_util::stream::iter(looks)
            .buffered(AT_ONCE)
            .collect()
            .await
    }
}

impl SharedBucket {
    /// Why the object that an artifact's record names cannot be relied on.
    async fn problem(&self, artifact: &Artifact) -> Option<String> {
        let key = match self.named_key(artifact) {
            Ok(key) => key,
            Err(ArtifactError::BytesMissing { reason, .. }) => {
                return Some(format!("its copy cannot be looked at: {reason}"));
            }
            Err(error) => return Some(reason(&error)),
        };
        let objects = self.store().objects();
        let url = objects.url(&key);
        match objects.head(&key).await {
            Err(error) => Some(format!(
                "its copy cannot be seen: {}",
                reason(&ArtifactError::from(error))
            )),
            Ok(head) if artifact.file_size.is_some_and(|size| size != head.size) => {
                Some(format!("{url} has {} bytes, which is another size", head.size))
            }
            Ok(head) if artifact.file_hash.is_some() && head.metadata.file_hash != artifact.file_hash => {
                Some(format!("{url} does not say the SHA-256 of its bytes"))
            }
            Ok(_) => None,
        }
    }
}
