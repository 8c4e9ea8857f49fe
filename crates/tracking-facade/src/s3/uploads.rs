//! The bytes of artifacts on their way to the bucket: a sink like any other, so that it never delays adding, goes on after a
//! crash, and shows what it could not do.

use std::sync::Arc;

use artifact_core::{
    ArtifactError, ArtifactKey, CopyPlace, KnownArtifact, PutBody, PutMode, StoreErrorKind,
    TestArtifactsManager,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use storage_s3::{
    ObjectKey, ObjectMetadata, ProgressCallback, UploadOptions, UploadOutcome, UploadRecords, Uploaded,
};
use tracking_journal::{DataDir, Delivery, EventSink, Record, SinkPace, vouched_points};
use tracking_model::{Artifact, ArtifactStatus, SessionEvent, StreamId};

use super::deletions::{Others, TakenOver, is_denied};
use super::{SharedBucket, is_final};
use crate::TrackingError;
use crate::error::reason;

/// The sink that puts records into the bucket.
const RECORDS: &str = "s3-journal";
/// The kind of the record of an artifact that is new.
const ADDED: &str = "artifact.added";

/// How many artifacts are uploaded at once; the store limits the requests that these make.
pub(super) const AT_ONCE: usize = 16;
/// A large file on a slow line takes its time. What is interrupted goes on by part.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(6 * 60 * 60);

/// Uploads what is added, and notes in the session's journal where it is.
#[derive(Debug)]
pub(crate) struct UploadSink {
    name: String,
    bucket: SharedBucket,
    dir: DataDir,
    artifacts: TestArtifactsManager,
}

/// What became of an artifact that was to be in the bucket.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is there, and its record, which is given, says so.
    Uploaded(Arc<Artifact>, UploadOutcome),
    /// There is nothing to upload: it was uploaded before, was deleted, or its bytes never were here.
    Nothing(Option<Arc<Artifact>>),
    /// It cannot be uploaded as it is; its record says so.
    Failed(String),
    /// Not now.
    Later(ArtifactError),
}

impl UploadSink {
    pub(super) fn new(bucket: SharedBucket, dir: DataDir, artifacts: TestArtifactsManager) -> Self {
        Self {
            name: bucket.sink_name("s3-files"),
            bucket,
            dir,
            artifacts,
        }
    }

    async fn deliver(&self, record: &Record, others: &Others) -> Delivery {
        // A record of which even the type cannot be read is nothing that could be uploaded.
        let artifact = match record.decode::<SessionEvent>() {
            Ok(SessionEvent::ArtifactAdded(artifact)) => artifact,
            Ok(_) => return Delivery::Ignored,
            Err(error) => return Delivery::park(format!("the record cannot be read: {error}")),
        };
        if others.deleted.contains_key(&artifact.artifact_id) {
            return Delivery::Ignored;
        }
        let known = self
            .artifacts
            .known_artifact(&artifact.session_id, &artifact.artifact_id);
        let uploaded = match known.await {
            Ok(known) => self.bucket.upload(&self.artifacts, &self.dir, known, None).await,
            Err(error) => Outcome::of_refused(error),
        };
        match uploaded {
            Outcome::Uploaded(..) => Delivery::Delivered,
            Outcome::Nothing(_) => Delivery::Ignored,
            Outcome::Failed(reason) => Delivery::park(reason),
            Outcome::Later(error) => Delivery::retry(reason(&error)),
        }
    }

    /// Deletions of a session by others, where `batch` has artifacts that others may know: their records are in the
    /// bucket. What is deleted there is deleted here too.
    async fn deleted_elsewhere(&self, stream: &StreamId, batch: &[Record]) -> Result<Others, TrackingError> {
        let StreamId::Session(session) = stream else {
            return Ok(Others::default());
        };
        let (dir, of, told) = (self.dir.clone(), stream.clone(), self.bucket.sink_name(RECORDS));
        let points = tokio::task::spawn_blocking(move || vouched_points(&dir, &of)).await;
        let points = points.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let told = points.iter().find(|point| point.sink.as_str() == told);
        let is_known = |record: &Record| {
            told.is_some_and(|told| {
                told.position.head.epoch == record.epoch && record.seq <= told.position.head.seq
            })
        };
        let asks = |record: &&Record| record.kind == ADDED && is_known(record);
        if !batch.iter().any(|record| asks(&record)) {
            return Ok(Others::default());
        }
        match self.bucket.others(&self.dir, session).await {
            Ok(others) => {
                let mut taken = TakenOver::default();
                self.bucket
                    .take_over_deletions(&self.artifacts, session, &others, &mut taken)
                    .await?;
                Ok(others)
            }
            // Credentials that may not list the bucket may still write to it.
            Err(error) if is_denied(&error) => Ok(Others::default()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl EventSink for UploadSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn pace(&self) -> SinkPace {
        SinkPace::default().with_timeout(LONGEST)
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        let others = match self.deleted_elsewhere(&first.stream, batch).await {
            Ok(others) => others,
            Err(error) => return vec![Delivery::retry(reason(&error)); batch.len()],
        };
        let mut deliveries = Vec::with_capacity(batch.len());
        for record in batch {
            deliveries.push(self.deliver(record, &others));
        }
        futures_util::stream::iter(deliveries)
            .buffered(AT_ONCE)
            .collect()
            .await
    }
}

impl SharedBucket {
    /// Uploads an artifact, unless its record says that it is there, and records the outcome.
    pub(super) async fn upload(
        &self,
        artifacts: &TestArtifactsManager,
        dir: &DataDir,
        known: KnownArtifact,
        progress: Option<ProgressCallback>,
    ) -> Outcome {
        let artifact = &known.artifact;
        if !is_to_be_uploaded(artifact) {
            return Outcome::Nothing(Some(known.artifact));
        }
        let (place, outcome) = match self.put(artifacts, dir, artifact, progress).await {
            Ok(put) => put,
            Err(error) if is_hopeless(&error) => return record_failure(artifacts, known, &error).await,
            Err(error) => return Outcome::Later(error),
        };
        match artifacts.record_upload(known, place).await {
            Ok(artifact) => Outcome::Uploaded(artifact, outcome),
            Err(error) => Outcome::of_refused(error),
        }
    }

    async fn put(
        &self,
        artifacts: &TestArtifactsManager,
        dir: &DataDir,
        artifact: &Arc<Artifact>,
        progress: Option<ProgressCallback>,
    ) -> Result<(CopyPlace, UploadOutcome), ArtifactError> {
        let (key, body) = artifacts.body_of(Arc::clone(artifact)).await?;
        let mut options = UploadOptions::default().with_mode(PutMode::Numbered);
        options.progress = progress;
        let uploaded = self.store_body(dir, artifact, &key, body, options).await?;
        Ok((self.place_of(&ObjectKey::from(&uploaded.key)), uploaded.outcome))
    }

    /// Puts an artifact's bytes where its record says that they are.
    pub(super) async fn put_at(
        &self,
        artifacts: &TestArtifactsManager,
        dir: &DataDir,
        artifact: &Arc<Artifact>,
        key: &ObjectKey,
    ) -> Result<(), ArtifactError> {
        let (_, body) = artifacts.body_of(Arc::clone(artifact)).await?;
        let place: ArtifactKey = key.as_str().parse().map_err(|source| ArtifactError::UnsafePath {
            artifact_id: artifact.artifact_id.clone(),
            source,
        })?;
        let options = UploadOptions::default().with_mode(PutMode::Create).again();
        self.store_body(dir, artifact, &place, body, options)
            .await
            .map(drop)
    }

    async fn store_body(
        &self,
        dir: &DataDir,
        artifact: &Artifact,
        key: &ArtifactKey,
        body: PutBody,
        options: UploadOptions,
    ) -> Result<Uploaded, ArtifactError> {
        let records = UploadRecords::new(dir.cursors_dir().join("uploads"));
        let mut options = options
            .with_metadata(ObjectMetadata::from(artifact))
            .with_records(records);
        options.hash = artifact.file_hash;
        let uploaded = self.store.upload(key, body, &options).await?;
        if !uploaded.omitted_metadata.is_empty() {
            tracing::debug!(artifact = %artifact.artifact_id, omitted = ?uploaded.omitted_metadata,
                "metadata that does not fit 2 KB stands in the artifact's record alone");
        }
        Ok(uploaded)
    }
}

impl Outcome {
    /// Of an artifact whose record does not take what became of it.
    fn of_refused(error: ArtifactError) -> Self {
        match error {
            // The artifact was deleted meanwhile, or its session removed.
            ArtifactError::Refused(_)
            | ArtifactError::UnknownArtifact(_)
            | ArtifactError::UnknownSession(_) => Self::Nothing(None),
            error => Self::Later(error),
        }
    }
}

/// Records that an artifact cannot be uploaded, unless it was deleted meanwhile, so that its bytes are rightly gone.
async fn record_failure(
    artifacts: &TestArtifactsManager,
    known: KnownArtifact,
    error: &ArtifactError,
) -> Outcome {
    let reason = reason(error);
    match artifacts.record_upload_failure(known, shortened(&reason)).await {
        Ok(noted) if noted.s3_key.is_some() => Outcome::Nothing(Some(noted)),
        Ok(_) => Outcome::Failed(reason),
        Err(error) => Outcome::of_refused(error),
    }
}

/// Records keep no novels.
fn shortened(reason: &str) -> &str {
    let end = reason
        .char_indices()
        .nth(500)
        .map_or(reason.len(), |(end, _)| end);
    reason.get(..end).unwrap_or(reason)
}

/// Whether the bytes are here, and not in a bucket.
pub(super) fn is_to_be_uploaded(artifact: &Artifact) -> bool {
    artifact.local_path.is_some()
        && artifact.s3_key.is_none()
        && matches!(artifact.status, ArtifactStatus::Created | ArtifactStatus::Failed)
}

/// Whether it is about the artifact's own bytes, so that waiting for the network changes nothing.
fn is_hopeless(error: &ArtifactError) -> bool {
    match error {
        ArtifactError::BytesMissing { .. } | ArtifactError::UnsafePath { .. } => true,
        ArtifactError::Store(error) => {
            is_final(error.kind()) || (error.kind() == StoreErrorKind::NotFound && error.operation() == "get")
        }
        _ => false,
    }
}
