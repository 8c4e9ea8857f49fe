//! A bucket as machines see it that have nothing but credentials: a copy of its records in a cache that may be deleted, and
//! everything that reads a data directory, over that.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact_core::{ArtifactError, ManagerOptions, StoreError, TestArtifactsManager};
use storage_s3::{Catalogue, CatalogueOptions, RefreshProgressCallback, RefreshReport, RefreshScope};
use tracking_journal::{DataDir, JournalOptions, SystemClock, storage};
use tracking_model::{ArtifactId, Fold, Session, SessionCommand, SessionId, SessionOutcome, StreamId};

use super::texts::CachedTexts;
use super::{ProgressCallback, SharedBucket};
use crate::{Archive, TrackingError, open_artifacts};

/// What a team keeps in a bucket: all upgrades of all clusters, their sessions and artifacts.
///
/// The records are merged into a cache on this machine, as of the last [`Self::refresh`]. Nothing that is done to the cache
/// reaches the bucket, and it may be deleted at any time. Of an upgrade in progress it is known how it stood when its last
/// record was uploaded, not whether anybody is still at work on it.
#[derive(Debug)]
pub struct RemoteArchive {
    bucket: SharedBucket,
    catalogue: Catalogue,
    archive: Archive,
    artifacts: TestArtifactsManager,
}

/// Keeps other programs from using the search index of a cache; the system ends it with the process.
#[derive(Debug)]
#[must_use = "dropped, others may go on"]
pub struct IndexLock {
    _file: File,
}

impl RemoteArchive {
    /// Opens the cache of a bucket below `cache`, created where it is missing, for use by this user alone. Nothing is read
    /// from the bucket before [`Self::refresh`].
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the cache cannot be made.
    pub fn open(
        bucket: SharedBucket,
        cache: impl AsRef<Path>,
        journal: JournalOptions,
    ) -> Result<Self, TrackingError> {
        let dir = DataDir::open(cache.as_ref().join(bucket.cache_name()))?;
        dir.mark_as_copy()?;
        let objects = bucket.store().objects().clone();
        let catalogue = Catalogue::open(objects, dir.path(), CatalogueOptions::default());
        let catalogue = catalogue.map_err(ArtifactError::from)?;
        let options = ManagerOptions::default()
            .with_journal(journal)
            .with_texts(Arc::new(CachedTexts::new(&dir)));
        let options = bucket.named_in(options);
        Ok(Self {
            artifacts: open_artifacts(dir.clone(), options),
            archive: Archive::new(dir, Arc::new(SystemClock)).copied_from(&bucket.location().to_string()),
            catalogue,
            bucket,
        })
    }

    /// Takes up what came to the bucket since the last time, of everything or of one stream: one request for each 1,000
    /// segments that there are, and one for each that is new. `told` hears how far it is.
    ///
    /// # Errors
    /// [`TrackingError::Artifacts`] with what S3 refuses, or if the cache cannot be written. Segments that are no records
    /// are named in the report.
    ///
    /// # Cancellation
    /// What was taken up stays.
    pub async fn refresh(
        &self,
        stream: Option<&StreamId>,
        told: Option<RefreshProgressCallback>,
    ) -> Result<RefreshReport, TrackingError> {
        let scope = stream.map_or(RefreshScope::All, |stream| RefreshScope::Stream(stream.clone()));
        let refreshed = self.catalogue.refresh(scope, told).await;
        Ok(refreshed.map_err(ArtifactError::from)?)
    }

    /// Locks the cache's search index against other programs until the returned guard is dropped: an index that is being
    /// built anew answers as if it were empty. Waits at most [`storage::LOCK_TIMEOUT`] for a program that has the lock.
    ///
    /// # Errors
    /// If the cache cannot be written, or another program keeps the lock.
    pub async fn lock_index(&self) -> Result<IndexLock, TrackingError> {
        let path = self.archive.data_dir().path().join("index.lock");
        let locking = tokio::task::spawn_blocking(move || {
            let opened = storage::open_with(&path, File::options().create(true).append(true));
            opened
                .and_then(|file| storage::lock(&file).map(|()| IndexLock { _file: file }))
                .map_err(|error| StoreError::io("lock the index of", path.display(), error))
        });
        let locked = locking.await;
        let locked = locked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        Ok(locked.map_err(ArtifactError::from)?)
    }

    /// The bucket.
    #[must_use]
    pub const fn bucket(&self) -> &SharedBucket {
        &self.bucket
    }

    /// The upgrades, as of the last refresh; to be looked at only.
    #[must_use]
    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The sessions and artifacts, as of the last refresh; to be looked at only.
    #[must_use]
    pub const fn artifacts(&self) -> &TestArtifactsManager {
        &self.artifacts
    }

    /// Records in the bucket that nothing more comes to a session, for one whose machine is gone: retention counts its days
    /// from here. Without `outcome` it takes the one that was noted when its upgrade ended. Refreshes the session first.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; [`ArtifactError::Refused`] if it is completed; whatever S3 refuses.
    ///
    /// # Cancellation
    /// The record may be in the bucket all the same.
    pub async fn complete_session(
        &self,
        id: &SessionId,
        outcome: Option<SessionOutcome>,
        actor: impl Into<Arc<str>>,
    ) -> Result<Session, TrackingError> {
        let command = SessionCommand::Complete { outcome };
        self.change_session(id, command, actor.into()).await
    }

    /// Tells retention in the bucket to leave a session alone, or no longer, whichever machine pinned it. Refreshes the
    /// session first.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`]; whatever S3 refuses.
    ///
    /// # Cancellation
    /// As [`Self::complete_session`].
    pub async fn pin_session(
        &self,
        id: &SessionId,
        pinned: bool,
        actor: impl Into<Arc<str>>,
    ) -> Result<Session, TrackingError> {
        let command = SessionCommand::Pin { pinned };
        self.change_session(id, command, actor.into()).await
    }

    async fn change_session(
        &self,
        id: &SessionId,
        command: SessionCommand,
        actor: Arc<str>,
    ) -> Result<Session, TrackingError> {
        let stream = StreamId::Session(id.clone());
        let mut refreshed = self.refresh(Some(&stream), None).await?;
        if let Some((_, error)) = refreshed.failed.pop() {
            return Err(ArtifactError::from(error).into());
        }
        let session = self.artifacts.session(id).await?;
        let events = session.check(command, self.archive.clock().now());
        let events = events.map_err(ArtifactError::from)?;
        if !events.is_empty() {
            let appended = self.catalogue.append(&stream, &events, actor).await;
            appended.map_err(ArtifactError::from)?;
            self.refresh(Some(&stream), None).await?;
        }
        Ok(self.artifacts.session(id).await?)
    }

    /// The catalogue, for those who write records of their own into the bucket.
    pub(crate) const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// As [`SharedBucket::download`], of an artifact by its id.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; else as there.
    ///
    /// # Cancellation
    /// As there.
    pub async fn download(
        &self,
        id: &ArtifactId,
        destination: &Path,
        progress: Option<ProgressCallback>,
    ) -> Result<PathBuf, TrackingError> {
        let artifact = self.artifacts.artifact(id).await?;
        self.bucket.download(&artifact, destination, progress).await
    }
}
