//! The store as an [`ArtifactStore`].

use artifact_core::{
    ArtifactKey, ArtifactStore, KeyPrefix, Object, ObjectMeta, PutBody, PutOptions, PutOutcome, StoreError,
};
use async_trait::async_trait;

use crate::key::ObjectKey;
use crate::store::S3Store;
use crate::upload::UploadOptions;

#[async_trait]
impl ArtifactStore for S3Store {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let mut upload = UploadOptions::default().with_mode(options.mode);
        upload.max_bytes = options.max_bytes;
        let uploaded = self.upload(key, body, &upload).await?;
        Ok(PutOutcome {
            key: uploaded.key,
            size: uploaded.size,
            hash: uploaded.hash,
        })
    }

    async fn get(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        self.open_stream(key).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
        let objects = self.objects.all(&prefix.to_string()).await?;
        let artifacts = objects.into_iter().filter_map(|object| {
            // Other objects beside the artifacts have no artifact's key.
            let key: ArtifactKey = object.key.as_str().parse().ok()?;
            Some(ObjectMeta {
                key,
                size: object.size,
            })
        });
        Ok(artifacts.collect())
    }

    async fn delete(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        self.objects.delete(&ObjectKey::from(key)).await
    }
}
