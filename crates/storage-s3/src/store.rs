//! The store.

use std::sync::Arc;

use artifact_core::{ArtifactKey, StoreError};

use crate::config::{S3Config, S3ConfigError};
use crate::key::{ObjectKey, S3Location};
use crate::object::S3Objects;
use crate::requests::Bucket;

/// Keeps the bytes of artifacts in a bucket, each under `{prefix}/{session}/{collection}/{file name}`.
///
/// Clones share one client, its connections, and limits.
#[derive(Debug, Clone)]
pub struct S3Store {
    pub(crate) objects: S3Objects,
}

impl S3Store {
    /// Validates the configuration. No request is made.
    ///
    /// # Errors
    /// [`S3ConfigError`] with every problem.
    pub fn new(config: S3Config) -> Result<Self, S3ConfigError> {
        let bucket = Arc::new(Bucket::new(config.validate()?));
        Ok(Self {
            objects: S3Objects { bucket },
        })
    }

    pub(crate) fn bucket(&self) -> &Arc<Bucket> {
        &self.objects.bucket
    }

    /// The bucket and prefix of the store.
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

    /// Lists one key, so that problems with credentials, region, bucket or rights show before work begins.
    ///
    /// # Errors
    /// Whatever S3 refuses: [`failure_of`](crate::failure_of) tells the cause.
    pub async fn check(&self) -> Result<(), StoreError> {
        let request = crate::ListRequest::prefix("").with_limit(1);
        self.objects.page(&request).await.map(drop)
    }

    /// The address of requests, if some were sent and none was answered yet.
    #[must_use]
    pub fn silent_endpoint(&self) -> Option<String> {
        let log = &self.bucket().log;
        let asked = log.counts().values().any(|count| *count > 0);
        (asked && log.answers() == 0).then(|| self.bucket().endpoint())?
    }

    /// True if any request was answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.bucket().log.answers() > 0
    }

    /// Waits for the reads behind bodies that were handed out. They end when their bodies are dropped.
    pub async fn close(&self) {
        self.bucket().reads.close();
        self.bucket().reads.wait().await;
    }
}
