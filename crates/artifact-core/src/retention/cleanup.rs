//! Cleanup by a retention plan. For each session of the plan the records are written first, page by page, and the bytes
//! removed after them. No record ever claims bytes that are gone, and an interrupted run leaves only files whose records say
//! that they are deleted: the next run removes them.
//!
//! Files are removed only in completed sessions. Nothing can be added to a completed session, so no artifact that is being
//! added can take a freed name, and no file of a live artifact is removed.

mod report;
mod sweep;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracking_model::{
    Artifact, ArtifactId, ArtifactStatus, ExpireArtifacts, SessionCommand, SessionCommandError, SessionId,
};

use crate::dir::key_of;
use crate::manager::Inner;
use crate::retention::PlannedSession;
use crate::{
    ArtifactError, ArtifactQuery, RetentionPlan, RetentionPolicy, SessionMeta, TestArtifactsManager,
};

pub use report::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, LeftBecause, OrphanFile,
    OrphanMode, SparedMeanwhile,
};

/// Artifacts that are deleted in one commit.
const PAGE: usize = 256;
/// Attempts for a session that another process changes at the same time.
const ATTEMPTS: usize = 50;

/// Retention.
impl TestArtifactsManager {
    /// The plan that [`Self::cleanup_old_artifacts`] would carry out now. Sessions that cannot be read are not in the plan:
    /// nothing of theirs is deleted.
    ///
    /// # Errors
    /// If the data directory cannot be listed.
    pub async fn plan_retention(&self, policy: RetentionPolicy) -> Result<RetentionPlan, ArtifactError> {
        self.run(move |inner| {
            let mut metas = Vec::new();
            for id in inner.sessions.ids()? {
                metas.extend(inner.sessions.with_session(&id, SessionMeta::of).ok());
            }
            Ok(policy.plan(&metas, inner.options.journal.clock.now()))
        })
        .await
    }

    /// Deletes artifacts by a policy. Each artifact's record stays, with the time and the rule of its deletion. The run
    /// finishes what earlier runs left unfinished.
    ///
    /// A session that is pinned while this runs is left alone from then on. `progress` is called after every step, from
    /// several threads.
    ///
    /// # Errors
    /// If the data directory cannot be listed. Artifacts that could not be deleted are in the report; the others are deleted.
    ///
    /// # Cancellation
    /// A run that has begun goes on when the future is dropped.
    pub async fn cleanup_old_artifacts(
        &self,
        policy: RetentionPolicy,
        options: CleanupOptions,
        progress: impl Fn(CleanupProgress) + Send + Sync + 'static,
    ) -> Result<CleanupReport, ArtifactError> {
        self.run(move |inner| Cleanup::new(inner, &options, &progress).run(&policy))
            .await
    }
}

/// A cleanup that runs.
struct Cleanup<'a> {
    inner: &'a Arc<Inner>,
    options: &'a CleanupOptions,
    steps: Steps<'a>,
    report: CleanupReport,
}

/// The progress so far.
struct Steps<'a> {
    progress: &'a (dyn Fn(CleanupProgress) + Send + Sync),
    sessions: AtomicU64,
    artifacts: AtomicU64,
    files: AtomicU64,
}

impl Steps<'_> {
    fn add(&self, counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
        (self.progress)(CleanupProgress {
            sessions: self.sessions.load(Ordering::Relaxed),
            artifacts: self.artifacts.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
        });
    }
}

impl<'a> Cleanup<'a> {
    fn new(
        inner: &'a Arc<Inner>,
        options: &'a CleanupOptions,
        progress: &'a (dyn Fn(CleanupProgress) + Send + Sync),
    ) -> Self {
        let steps = Steps {
            progress,
            sessions: AtomicU64::new(0),
            artifacts: AtomicU64::new(0),
            files: AtomicU64::new(0),
        };
        let now = inner.options.journal.clock.now();
        let report = CleanupReport::new(RetentionPolicy::default().plan(&[], now), options.mode);
        Self {
            inner,
            options,
            steps,
            report,
        }
    }

    fn run(mut self, policy: &RetentionPolicy) -> Result<CleanupReport, ArtifactError> {
        let (mut readable, mut metas) = (Vec::new(), Vec::new());
        for id in self.inner.sessions.ids()? {
            match self.inner.sessions.with_session(&id, SessionMeta::of) {
                Ok(meta) => {
                    metas.push(meta);
                    readable.push(id);
                }
                // Its first record is not there yet.
                Err(ArtifactError::UnknownSession(_)) => {}
                Err(error) => self.report.fail(&id, None, error),
            }
        }
        self.report.plan = policy.plan(&metas, self.report.plan.at);
        drop(metas);
        if self.options.mode == CleanupMode::Delete {
            for planned in self.report.plan.delete.clone() {
                self.expire(policy, &planned);
            }
        }
        for id in readable {
            if let Err(error) = self.sweep(&id) {
                self.report.fail(&id, None, error);
            }
            self.steps.add(&self.steps.sessions, 1);
        }
        if self.options.mode == CleanupMode::Delete {
            self.inner.artifacts.sweep_content()?;
        }
        Ok(self.report)
    }

    /// Records the deletions of one session.
    fn expire(&mut self, policy: &RetentionPolicy, planned: &PlannedSession) {
        let id = &planned.session.session_id;
        let reason: Arc<str> = format!("retention: {}", planned.rule).into();
        let mut refused = HashSet::new();
        for _ in 0..ATTEMPTS {
            match self.expire_pages(policy, id, &reason, &mut refused) {
                Ok(()) => return self.inner.snapshot_later(id),
                // Another process changed artifacts after they were read: they are read again.
                Err(ArtifactError::Refused(SessionCommandError::Stale { .. })) => {}
                Err(ArtifactError::Refused(
                    reason @ (SessionCommandError::SessionPinned(_) | SessionCommandError::SessionOpen(_)),
                )) => return self.report.spare(id, reason),
                Err(error) => return self.report.fail(id, None, error),
            }
        }
        let artifact_id = ArtifactId::generate();
        let stale = SessionCommandError::Stale {
            session_id: id.clone(),
            artifact_id,
        };
        self.report.fail(id, None, ArtifactError::Refused(stale));
    }

    fn expire_pages(
        &mut self,
        policy: &RetentionPolicy,
        id: &SessionId,
        reason: &Arc<str>,
        refused: &mut HashSet<ArtifactId>,
    ) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let mut query = ArtifactQuery::new().in_session(id.clone());
        query.statuses = policy
            .statuses
            .iter()
            .copied()
            .filter(|status| policy.may_delete(*status))
            .collect();
        if query.statuses.is_empty() {
            return Ok(());
        }
        // Each artifact that is read from here on takes at least this record into account, and the commits of this run. If
        // another process changes an artifact, the session refuses the next page as stale.
        let mut as_of = inner.indexer.with_index(|| inner.indexer.refresh(id))?;
        let mut page = Vec::with_capacity(PAGE);
        inner.searcher().each_artifact(query, |artifact| {
            // A record that names another place deletes nothing, and is not reported as deleted.
            if artifact.local_path.is_some()
                && let Err(error) = key_of(&artifact)
            {
                if refused.insert(artifact.artifact_id.clone()) {
                    self.report.fail(id, Some(&artifact.artifact_id), error);
                }
                return Ok(());
            }
            page.push(artifact);
            if page.len() == PAGE {
                let page = self.with_copies(id, std::mem::take(&mut page), refused);
                self.expire_page(id, page, &mut as_of, reason)?;
            }
            Ok(())
        })?;
        let page = self.with_copies(id, page, refused);
        self.expire_page(id, page, &mut as_of, reason)
    }

    /// The artifacts of a page whose bytes may be removed: the copy of an uploaded artifact must be there, for it will be the
    /// only one.
    fn with_copies(
        &mut self,
        id: &SessionId,
        page: Vec<Arc<Artifact>>,
        refused: &mut HashSet<ArtifactId>,
    ) -> Vec<Arc<Artifact>> {
        let is_copied = |artifact: &Arc<Artifact>| {
            artifact.status == ArtifactStatus::Uploaded && artifact.s3_key.is_some()
        };
        let (copied, mut may_go): (Vec<_>, Vec<_>) = page.into_iter().partition(is_copied);
        let problems = self.problems(&copied);
        for (artifact, problem) in copied.into_iter().zip(problems) {
            let Some(reason) = problem else {
                may_go.push(artifact);
                continue;
            };
            if refused.insert(artifact.artifact_id.clone()) {
                let error = ArtifactError::NoCopy {
                    artifact_id: artifact.artifact_id.clone(),
                    name: Arc::clone(&artifact.name),
                    reason,
                };
                self.report.fail(id, Some(&artifact.artifact_id), error);
            }
        }
        may_go
    }

    fn problems(&self, copied: &[Arc<Artifact>]) -> Vec<Option<String>> {
        if copied.is_empty() {
            return Vec::new();
        }
        let none =
            "its copy cannot be looked at, since no bucket is given: name the one to which it was uploaded";
        match (&self.inner.options.copies, tokio::runtime::Handle::try_current()) {
            (Some(copies), Ok(runtime)) => runtime.block_on(copies.problems(copied)),
            (None, _) => vec![Some(none.to_owned()); copied.len()],
            (Some(_), Err(error)) => vec![Some(error.to_string()); copied.len()],
        }
    }

    fn expire_page(
        &mut self,
        id: &SessionId,
        artifacts: Vec<Arc<Artifact>>,
        as_of: &mut u64,
        reason: &Arc<str>,
    ) -> Result<(), ArtifactError> {
        if artifacts.is_empty() {
            return Ok(());
        }
        let bytes: u64 = artifacts.iter().filter_map(|artifact| artifact.file_size).sum();
        let count = artifacts.len() as u64;
        let expire = ExpireArtifacts {
            artifacts,
            as_of: *as_of,
            reason: Arc::clone(reason),
        };
        let entry = self.inner.sessions.entry(id);
        let command = SessionCommand::Expire(Box::new(expire));
        let receipt = self.inner.sessions.submit(&entry, command)?;
        *as_of = receipt.last_seq().unwrap_or(*as_of);
        self.report.deleted_artifacts += count;
        self.report.deleted_bytes += bytes;
        self.steps.add(&self.steps.artifacts, count);
        Ok(())
    }
}
