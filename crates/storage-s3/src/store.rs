//! The store of artifacts.

use std::sync::Arc;

use artifact_core::{
    ArtifactKey, ArtifactStore, KeyPrefix, Object, ObjectMeta, PutBody, PutOptions, PutOutcome, StoreError,
};
use async_trait::async_trait;
use tokio_util::task::TaskTracker;

use crate::bucket::Bucket;
use crate::key::{ObjectKey, S3Location};
use crate::object::S3Objects;
use crate::settings::Settings;
use crate::upload::UploadOptions;

/// Keeps the bytes of artifacts in a bucket, each under `{prefix}/{session}/{collection}/{file name}`.
///
/// Clones share one client, its connections, and the limits of what goes on at once.
#[derive(Debug, Clone)]
pub struct S3Store {
    pub(crate) objects: S3Objects,
    /// Reads that go on behind a body that was handed out.
    pub(crate) readers: TaskTracker,
}

impl S3Store {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            objects: S3Objects {
                bucket: Arc::new(Bucket::new(settings)),
            },
            readers: TaskTracker::new(),
        }
    }

    pub(crate) fn bucket(&self) -> &Arc<Bucket> {
        &self.objects.bucket
    }

    /// Where the store has everything: bucket and prefix.
    #[must_use]
    pub fn location(&self) -> S3Location {
        self.objects.location()
    }

    /// Objects of any key below the prefix, through the same client.
    #[must_use]
    pub const fn objects(&self) -> &S3Objects {
        &self.objects
    }

    /// `s3://bucket/prefix/session/collection/name`, as records have it.
    #[must_use]
    pub fn url(&self, key: &ArtifactKey) -> String {
        self.objects.url(&ObjectKey::from(key))
    }

    /// Asks for one key, so that what is wrong with credentials, region, bucket or rights is known before work begins.
    ///
    /// # Errors
    /// What S3 refuses: [`S3Failure::of`](crate::S3Failure::of) tells the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        let request = crate::ListRequest::prefix("").with_limit(1);
        self.objects.page(&request).await.map(drop)
    }

    /// Where requests go, if some were sent and none was answered yet: nobody may be there.
    #[must_use]
    pub fn silent_place(&self) -> Option<String> {
        let log = &self.bucket().log;
        let asked = log.counts().values().any(|count| *count > 0);
        (asked && log.answers() == 0).then(|| self.bucket().place())?
    }

    /// True if any request was answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.bucket().log.answers() > 0
    }

    /// Waits until no read goes on behind a body that was handed out. They end when their bodies are dropped.
    pub async fn close(&self) {
        self.readers.close();
        self.readers.wait().await;
    }
}

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
        self.open(key).await
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
        let objects = self.objects.all(&prefix.to_string()).await?;
        let artifacts = objects.into_iter().filter_map(|object| {
            // What others laid beside the artifacts has no artifact's key.
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
