//! One bucket that a team shares: what is kept here goes there, and what others keep is found there.
//!
//! [`SharedBucket`] is the place. [`TrackingBuilder::s3`](crate::TrackingBuilder::s3) makes an agent put everything there
//! while it works; [`SharedBucket::sync`] catches up by hand; [`RemoteArchive`] is for machines that only read.

mod copies;
mod deletions;
mod documents;
mod orphaned_objects;
mod put_back;
mod remote;
mod retention;
mod sync;
mod texts;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact_core::{
    ArtifactError, ArtifactQuery, CopyPlace, ManagerOptions, StoreErrorKind, TestArtifactsManager,
};
use storage_s3::{ObjectKey, PresignOptions, PresignedUrl, S3Store, SegmentOptions, SegmentSink};
use tracking_journal::{DataDir, EventSink, storage};
use tracking_model::{Artifact, ArtifactStatus};

pub use deletions::{DeletedElsewhere, TakenOver};
pub use orphaned_objects::OrphanedObjects;
pub use put_back::Unchecked;
pub use remote::{IndexLock, RemoteArchive};
pub use retention::{Expiry, RemoteCleanupFailure, RemoteCleanupOptions, RemoteCleanupReport};
pub use storage_s3::{
    Address, Cause, DownloadOptions, Failure, Meter, MissingStart, ProgressCallback, RefreshProgress,
    RefreshProgressCallback, RefreshReport, RetryConfig, S3Config, S3ConfigError, S3Location,
    StaticCredentials, StorageClass, TransferProgress,
};
pub use sync::{SyncReport, UploadFailure, UploadProgress, UploadReport};
pub use texts::FetchedTexts;

use crate::{SinkSet, TrackingError};
use documents::DocumentSink;
use uploads::UploadSink;

/// Artifacts that are read at a time where all are looked at.
const PAGE: usize = 1000;

/// A place in S3 where a team keeps what its upgrades produce. Cheap to clone; clones share one client.
#[derive(Debug, Clone)]
pub struct SharedBucket {
    store: S3Store,
}

impl SharedBucket {
    /// The place that a configuration names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`TrackingError::S3Settings`] with every problem of the settings.
    pub fn new(config: S3Config) -> Result<Self, TrackingError> {
        Ok(Self::of(S3Store::new(config)?))
    }

    /// The place of a store that was configured otherwise.
    #[must_use]
    pub const fn of(store: S3Store) -> Self {
        Self { store }
    }

    /// The store, for what is not offered here.
    #[must_use]
    pub const fn store(&self) -> &S3Store {
        &self.store
    }

    /// `s3://bucket/prefix`
    #[must_use]
    pub fn location(&self) -> S3Location {
        self.store.location()
    }

    /// Where requests for it go, if some were sent and none was answered yet: an endpoint, or AWS and its region.
    #[must_use]
    pub fn silent_endpoint(&self) -> Option<String> {
        self.store.silent_endpoint()
    }

    /// True if any request for it was answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.store.has_answered()
    }

    /// Makes new sessions name this place, as the reference's do, and retention look here before it frees bytes that were
    /// uploaded.
    #[must_use]
    pub fn named_in(&self, options: ManagerOptions) -> ManagerOptions {
        let location = self.location();
        options
            .with_s3_bucket(location.bucket)
            .with_s3_prefix(location.prefix)
            .with_copies(Arc::new(self.clone()))
    }

    /// Asks the server for one key, so that what is wrong with credentials, region, bucket or rights is known before work
    /// begins.
    ///
    /// # Errors
    /// [`TrackingError::Artifacts`] with what S3 refuses.
    pub async fn check(&self) -> Result<(), TrackingError> {
        Ok(self.store.check().await.map_err(ArtifactError::from)?)
    }

    /// What feeds the bucket from a data directory: bytes, if `auto_upload`, records, and summaries for people.
    #[must_use]
    pub fn sinks(&self, dir: &DataDir, artifacts: &TestArtifactsManager, auto_upload: bool) -> SinkSet {
        let mut sinks = SinkSet::new();
        if auto_upload {
            sinks.uploads = Some(Arc::new(UploadSink::new(
                self.clone(),
                dir.clone(),
                artifacts.clone(),
            )));
        }
        let objects = self.store.objects().clone();
        let segments: Arc<dyn EventSink> = Arc::new(SegmentSink::new(objects, SegmentOptions::default()));
        let documents: Arc<dyn EventSink> = Arc::new(DocumentSink::new(self, dir.clone()));
        sinks.others.extend([segments, documents]);
        sinks
    }

    /// The sink's name: a bucket's own, so that another bucket gets everything from the beginning.
    fn sink_name(&self, kind: &str) -> String {
        format!("{kind}:{}", self.store.objects().place_name())
    }

    /// The name of its cache among those of others.
    fn cache_name(&self) -> String {
        self.store.objects().place_name().replace(':', "-")
    }

    /// Copies an artifact's bytes out of the bucket to `destination`: a new file, or a directory in which it gets its own
    /// name. Its bytes are those that were added, or nothing appears.
    ///
    /// # Errors
    /// [`ArtifactError::BytesMissing`] if the record names no copy in this bucket; what S3 refuses; what the file system
    /// refuses.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing.
    pub async fn download(
        &self,
        artifact: &Artifact,
        destination: &Path,
        progress: Option<ProgressCallback>,
    ) -> Result<PathBuf, TrackingError> {
        let key = self.key_of(artifact)?;
        let path = if storage::is_named_directory(destination) {
            destination.join(artifact_core::download_name(artifact))
        } else {
            destination.to_owned()
        };
        let mut options = DownloadOptions::default();
        options.hash = artifact.file_hash;
        options.size = artifact.file_size;
        options.progress = progress;
        let objects = self.store.objects();
        objects
            .download(&key, &path, &options)
            .await
            .map_err(ArtifactError::from)?;
        Ok(path)
    }

    /// An address from which anybody may read an artifact until it expires, as a file of its name.
    ///
    /// # Errors
    /// [`ArtifactError::BytesMissing`] if the record names no copy in this bucket; an expiry that S3 does not allow.
    pub async fn presigned_url(
        &self,
        artifact: &Artifact,
        expires: Duration,
    ) -> Result<PresignedUrl, TrackingError> {
        let key = self.key_of(artifact)?;
        let options = PresignOptions::new(expires).with_file_name(&*artifact.name);
        let objects = self.store.objects();
        Ok(objects
            .presigned_url(&key, &options)
            .await
            .map_err(ArtifactError::from)?)
    }

    /// The key of an artifact's copy, if it was not deleted.
    fn key_of(&self, artifact: &Artifact) -> Result<ObjectKey, ArtifactError> {
        if artifact.status == ArtifactStatus::Deleted {
            return Err(bytes_missing(
                artifact,
                "they were deleted; the session's history tells who did that, when and why",
            ));
        }
        self.named_key(artifact)
    }

    /// The key that an artifact's record names. The record may be anybody's, so it is trusted only as far as it names a
    /// key below the prefix of this place.
    fn named_key(&self, artifact: &Artifact) -> Result<ObjectKey, ArtifactError> {
        let missing = |reason| bytes_missing(artifact, reason);
        let location = self.location();
        let (Some(bucket), Some(key)) = (&artifact.s3_bucket, &artifact.s3_key) else {
            return Err(missing("they were not uploaded yet"));
        };
        if **bucket != location.bucket {
            return Err(missing(
                "they are in another bucket; the artifact's s3_url tells which",
            ));
        }
        let relative = match location.prefix.as_str() {
            "" => Some(&**key),
            prefix => key.strip_prefix(prefix).and_then(|key| key.strip_prefix('/')),
        };
        relative
            .and_then(|key| ObjectKey::new(key).ok())
            .ok_or_else(|| missing("they are under another prefix; the artifact's s3_url tells which"))
    }

    /// Where an uploaded artifact is, as its record tells.
    fn place_of(&self, key: &ObjectKey) -> CopyPlace {
        let location = self.location();
        let full = match location.prefix.as_str() {
            "" => key.as_str().to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        CopyPlace {
            bucket: location.bucket.into(),
            key: full.into(),
            url: self.store.objects().url(key).into(),
        }
    }
}

fn bytes_missing(artifact: &Artifact, reason: &'static str) -> ArtifactError {
    ArtifactError::BytesMissing {
        artifact_id: artifact.artifact_id.clone(),
        name: Arc::clone(&artifact.name),
        reason,
    }
}

/// All artifacts that a query matches, whatever its limit, the newest first.
async fn all_matching(
    artifacts: &TestArtifactsManager,
    query: ArtifactQuery,
) -> Result<Vec<Arc<Artifact>>, TrackingError> {
    let mut query = query.with_limit(PAGE);
    let mut all = Vec::new();
    loop {
        let found = artifacts.search_artifacts(query.clone()).await?;
        all.extend(found.artifacts);
        match found.next {
            Some(next) => query.after = Some(next),
            None => return Ok(all),
        }
    }
}

/// Whether it is this very artifact that cannot be uploaded, whatever is done about the bucket.
const fn is_final(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::Body
            | StoreErrorKind::TooLarge
            | StoreErrorKind::Corrupt
            | StoreErrorKind::UnsafePath
            | StoreErrorKind::NotAFile(_)
    )
}
