//! Catching up by hand: everything that is here and not in the bucket.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact_core::{ArtifactQuery, KnownArtifact, TestArtifactsManager};
use futures_util::StreamExt;
use storage_s3::{Meter, ProgressCallback, UploadOutcome};
use tracking_journal::{DataDir, request_retry};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, SessionId, StreamId};

use super::deletions::{TakenOver, is_denied};
use super::put_back::{Search, Unchecked};
use super::uploads::{AT_ONCE, Outcome, is_to_be_uploaded};
use super::{SharedBucket, TransferProgress, all_matching};
use crate::error::reason;
use crate::{Archive, TrackingError, Undrained};

/// How far uploading is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct UploadProgress {
    /// Artifacts that are done, well or not.
    pub artifacts: u64,
    /// Artifacts in all.
    pub total_artifacts: u64,
    /// Bytes, rate and time left, of all of them together.
    pub transfer: TransferProgress,
}

/// An artifact that could not be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadFailure {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// Its name.
    pub name: Arc<str>,
    /// Why not.
    pub reason: String,
}

/// What became of artifacts that were to be in the bucket.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct UploadReport {
    /// The artifacts that are there now, as they are recorded.
    pub artifacts: Vec<Arc<Artifact>>,
    /// How many of them were sent now.
    pub sent: u64,
    /// How many bytes those have.
    pub sent_bytes: u64,
    /// Artifacts that could not be sent.
    pub failed: Vec<UploadFailure>,
}

/// What a sync did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// Deletions and completions of others that were taken over here.
    pub taken_over: TakenOver,
    /// What became of the artifacts that were not in the bucket.
    pub uploads: UploadReport,
    /// Artifacts whose only copy was in the bucket and is gone or altered: they are archived, so nothing is left here.
    pub lost: Vec<UploadFailure>,
    /// Artifacts whose records name another bucket or prefix: they are not here.
    pub elsewhere: u64,
    /// Records that were delivered, and that somebody deleted from the bucket: they are there again.
    pub records_put_back: u64,
    /// `session.json` and summaries of upgrades of which the same is so.
    pub documents_put_back: u64,
    /// Outputs of writers that died, which are artifacts now.
    pub recovered: u64,
    /// Why some of these could not be made artifacts.
    pub unrecovered: Option<String>,
    /// Streams of which it is not known whether all is there that was delivered.
    pub unchecked: Vec<Unchecked>,
    /// Sinks of the bucket that did not get everything.
    pub undrained: Vec<Undrained>,
}

impl SyncReport {
    /// Whether everything that is not in the bucket yet was delivered.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.uploads.failed.is_empty() && self.undrained.is_empty()
    }

    /// Whether everything is in the bucket.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_delivered() && self.unchecked.is_empty() && self.lost.is_empty() && self.unrecovered.is_none()
    }
}

impl SharedBucket {
    /// Takes over what others deleted and completed; then puts into the bucket what of a data directory is not there: bytes of
    /// artifacts, whatever became of earlier attempts, records and summaries. Objects that are gone without a record of their
    /// deletion are put there again. What writers that died had written becomes artifacts before. `session` limits it to one
    /// session. Delivering records is given up after `time`, or when the bucket takes nothing for 15 s. A stream that another
    /// process feeds is left to that one, but for its artifacts, and waited for: what it does not deliver in that time is in
    /// the report.
    ///
    /// # Errors
    /// [`TrackingError::Artifacts`] if the bucket cannot be used at all, or the records cannot be read. What could not be
    /// sent is in the report.
    ///
    /// # Cancellation
    /// What is done stays done; a later call goes on.
    pub async fn sync(
        &self,
        archive: &Archive,
        artifacts: &TestArtifactsManager,
        session: Option<&SessionId>,
        time: Duration,
        progress: impl Fn(UploadProgress) + Send + Sync + 'static,
    ) -> Result<SyncReport, TrackingError> {
        self.check().await?;
        let mut report = SyncReport::default();
        match artifacts.recover_interrupted(session).await {
            Ok(recovered) => report.recovered = recovered.len() as u64,
            Err(error) => report.unrecovered = Some(reason(&error)),
        }
        let mut search = Search::new(self, archive, artifacts, session);
        search.deletions(&mut report).await?;
        let mut waiting = waiting(artifacts, session).await?;
        waiting.retain(|artifact| !search.is_deleted(artifact));
        report.uploads = self
            .upload_all(archive.data_dir(), artifacts, &waiting, progress)
            .await;
        search.artifacts(&mut report).await?;
        search.records(&mut report).await?;
        search.documents(&mut report).await?;
        report.undrained = self.drain(archive, artifacts, session, time).await?;
        Ok(report)
    }

    /// Puts artifacts into the bucket, and notes where they are. What is there already is not sent again.
    ///
    /// # Errors
    /// [`UnknownArtifact`](artifact_core::ArtifactError::UnknownArtifact) before anything is sent; [`TrackingError::Artifacts`] if the bucket cannot be used
    /// at all. What could not be sent is in the report.
    ///
    /// # Cancellation
    /// What is done stays done; a later call goes on.
    pub async fn upload_artifacts(
        &self,
        archive: &Archive,
        artifacts: &TestArtifactsManager,
        ids: &[ArtifactId],
        progress: impl Fn(UploadProgress) + Send + Sync + 'static,
    ) -> Result<UploadReport, TrackingError> {
        let mut wanted = Vec::new();
        for id in ids {
            wanted.push(artifacts.artifact(id).await?);
        }
        self.check().await?;
        let deleted = self.deleted_of(archive, artifacts, &wanted).await?;
        let (deleted, wanted): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|artifact| deleted.contains(&artifact.artifact_id));
        let mut report = self
            .upload_all(archive.data_dir(), artifacts, &wanted, progress)
            .await;
        for artifact in deleted {
            report.fail(&artifact, "somebody deleted it in the bucket".to_owned());
        }
        Ok(report)
    }

    /// Takes over what others deleted of the sessions of `wanted`, and returns which artifacts that is.
    async fn deleted_of(
        &self,
        archive: &Archive,
        artifacts: &TestArtifactsManager,
        wanted: &[Arc<Artifact>],
    ) -> Result<HashSet<ArtifactId>, TrackingError> {
        let mut deleted = HashSet::new();
        let sessions: HashSet<_> = wanted.iter().map(|artifact| &artifact.session_id).collect();
        for session in sessions {
            let others = match self.others(archive.data_dir(), session).await {
                // Credentials that may not list the bucket may still write to it.
                Err(error) if is_denied(&error) => continue,
                others => others?,
            };
            let mut taken = TakenOver::default();
            self.take_over_deletions(artifacts, session, &others, &mut taken)
                .await?;
            deleted.extend(others.deleted.into_keys());
        }
        Ok(deleted)
    }

    async fn upload_all(
        &self,
        dir: &DataDir,
        artifacts: &TestArtifactsManager,
        wanted: &[Arc<Artifact>],
        progress: impl Fn(UploadProgress) + Send + Sync + 'static,
    ) -> UploadReport {
        let meter = &Arc::new(Uploading::new(wanted, progress));
        let mut uploads = Vec::with_capacity(wanted.len());
        for artifact in wanted {
            uploads.push(async move {
                let part = Some(meter.of(artifact));
                let known = KnownArtifact::from(Arc::clone(artifact));
                let outcome = self.upload(artifacts, dir, known, part).await;
                meter.done(artifact);
                (artifact, outcome)
            });
        }
        let mut uploads = futures_util::stream::iter(uploads).buffer_unordered(AT_ONCE);
        let mut report = UploadReport::default();
        while let Some((artifact, outcome)) = uploads.next().await {
            report.note(artifact, outcome);
        }
        report
    }

    /// Lets the sinks of the bucket have what they lack, parked records included.
    async fn drain(
        &self,
        archive: &Archive,
        artifacts: &TestArtifactsManager,
        session: Option<&SessionId>,
        time: Duration,
    ) -> Result<Vec<Undrained>, TrackingError> {
        let streams = match session {
            Some(session) => vec![StreamId::Session(session.clone())],
            None => archive.streams()?,
        };
        let sinks = self.sinks(archive.data_dir(), artifacts, true);
        for status in archive.sinks()? {
            if !status.cursor.parked.is_empty()
                && sinks.names().any(|name| name == status.sink.as_str())
                && streams.contains(&status.stream)
            {
                request_retry(archive.data_dir(), &status.stream, &status.sink)?;
            }
        }
        Ok(sinks.deliver_all(archive, &streams, time).await.undrained)
    }
}

/// The artifacts that are to be uploaded.
async fn waiting(
    artifacts: &TestArtifactsManager,
    session: Option<&SessionId>,
) -> Result<Vec<Arc<Artifact>>, TrackingError> {
    let statuses = vec![ArtifactStatus::Created, ArtifactStatus::Failed];
    let mut waiting = of_status(artifacts, session, statuses).await?;
    waiting.retain(|artifact| is_to_be_uploaded(artifact));
    Ok(waiting)
}

pub(super) async fn of_status(
    artifacts: &TestArtifactsManager,
    session: Option<&SessionId>,
    statuses: Vec<ArtifactStatus>,
) -> Result<Vec<Arc<Artifact>>, TrackingError> {
    let mut query = ArtifactQuery::new();
    query.session_id = session.cloned();
    query.statuses = statuses;
    all_matching(artifacts, query).await
}

impl UploadReport {
    fn note(&mut self, artifact: &Artifact, outcome: Outcome) {
        let why = match outcome {
            Outcome::Uploaded(artifact, outcome) => {
                if outcome != UploadOutcome::AlreadyThere {
                    self.sent += 1;
                    self.sent_bytes += artifact.file_size.unwrap_or(0);
                }
                self.artifacts.push(artifact);
                return;
            }
            Outcome::Nothing(Some(artifact)) if artifact.s3_key.is_some() => {
                self.artifacts.push(artifact);
                return;
            }
            Outcome::Nothing(_) => "its bytes are not here".to_owned(),
            Outcome::Failed(why) => why,
            Outcome::Later(error) => reason(&error),
        };
        self.fail(artifact, why);
    }

    pub(super) fn fail(&mut self, artifact: &Artifact, reason: String) {
        self.failed.push(UploadFailure::new(artifact, reason));
    }
}

impl UploadFailure {
    pub(super) fn new(artifact: &Artifact, reason: String) -> Self {
        Self {
            artifact_id: artifact.artifact_id.clone(),
            name: Arc::clone(&artifact.name),
            reason,
        }
    }
}

/// Adds up how far all uploads are.
struct Uploading {
    state: Mutex<State>,
    total_artifacts: u64,
    told: Box<dyn Fn(UploadProgress) + Send + Sync>,
}

struct State {
    meter: Meter,
    artifacts: u64,
    /// How far those are that are under way.
    parts: HashMap<ArtifactId, u64>,
}

impl Uploading {
    fn new(wanted: &[Arc<Artifact>], told: impl Fn(UploadProgress) + Send + Sync + 'static) -> Self {
        let total = wanted.iter().filter_map(|artifact| artifact.file_size).sum();
        Self {
            state: Mutex::new(State {
                meter: Meter::new(total, 0),
                artifacts: 0,
                parts: HashMap::new(),
            }),
            total_artifacts: wanted.len() as u64,
            told: Box::new(told),
        }
    }

    fn of(self: &Arc<Self>, artifact: &Artifact) -> ProgressCallback {
        let (all, id) = (Arc::clone(self), artifact.artifact_id.clone());
        ProgressCallback::new(move |progress| all.update(&id, progress.done, false))
    }

    fn done(&self, artifact: &Artifact) {
        self.update(&artifact.artifact_id, artifact.file_size.unwrap_or(0), true);
    }

    fn update(&self, id: &ArtifactId, done: u64, ended: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.parts.insert(id.clone(), done).unwrap_or(0);
        state.meter.add(done.saturating_sub(before));
        if ended {
            state.parts.remove(id);
            state.artifacts += 1;
        }
        let progress = UploadProgress {
            artifacts: state.artifacts,
            total_artifacts: self.total_artifacts,
            transfer: state.meter.progress(),
        };
        drop(state);
        (self.told)(progress);
    }
}
