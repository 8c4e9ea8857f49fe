//! Retention in the bucket. As on disk the records come first and the bytes after them, so that whatever interrupts a run
//! leaves only objects whose records say that they are deleted: the next run removes them.
//!
//! A record in a bucket may be anybody's. So an object is removed only if an artifact that is deleted names it, it lies in
//! that artifact's own session and collection, and no artifact that is kept names it too.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use artifact_core::{
    ArtifactError, ArtifactKey, ArtifactQuery, PlannedSession, RetentionPlan, RetentionPolicy, SessionMeta,
};
use futures_util::StreamExt;
use storage_s3::{ObjectKey, RefreshReport, RefreshScope, StaleOptions, StorageClass};
use tracking_model::{
    Artifact, ArtifactChange, ArtifactChangeKind, ArtifactStatus, SessionEvent, SessionId, Span, StreamId,
};

use super::orphaned_objects::OrphanedObjects;
use super::uploads::AT_ONCE;
use super::{RemoteArchive, all_matching};
use crate::TrackingError;
use crate::error::reason;

/// Artifacts whose records are written together.
const PAGE: usize = 256;
/// An upload in parts that nobody finished within so long is given up.
const STALE_AFTER: Span = Span::from_secs(7 * 86_400);

/// What is done with what has been kept for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Expiry {
    /// It is deleted; the records stay.
    #[default]
    Delete,
    /// It is moved to a storage class that costs less to keep and more to read.
    Archive(StorageClass),
}

/// How a bucket is cleaned up.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RemoteCleanupOptions {
    /// Whether only the plan is made.
    pub dry_run: bool,
    /// What is done with what has been kept for long enough.
    pub expiry: Expiry,
    /// Who is named in the records.
    pub actor: Arc<str>,
    /// Sessions of which not all can be read, and that are cleaned up all the same: what is missing counts as if it had
    /// never been. Of one whose beginning is gone all that is left is deleted, once nothing of it is younger than the
    /// policy allows.
    pub incomplete: BTreeSet<SessionId>,
}

impl RemoteCleanupOptions {
    /// Deletes, as `actor`.
    #[must_use]
    pub fn new(actor: impl Into<Arc<str>>) -> Self {
        Self {
            actor: actor.into(),
            ..Self::default()
        }
    }

    /// Only makes the plan.
    #[must_use]
    pub const fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Cleans up a session too of which not all can be read: [`Self::incomplete`].
    #[must_use]
    pub fn with_incomplete(mut self, session: SessionId) -> Self {
        self.incomplete.insert(session);
        self
    }

    /// Sets what is done with what has been kept for long enough.
    #[must_use]
    pub const fn with_expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }
}

/// Something that could not be done; the rest was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteCleanupFailure {
    /// The session; `None` if it is about the whole bucket.
    pub session_id: Option<SessionId>,
    /// The object, if it is about one.
    pub key: Option<String>,
    /// Why.
    pub reason: String,
}

/// What cleaning up a bucket did, or would do.
#[derive(Debug)]
#[non_exhaustive]
pub struct RemoteCleanupReport {
    /// What was planned of the sessions in the bucket.
    pub plan: RetentionPlan,
    /// Artifacts whose records say now that they are deleted or archived.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were removed; in a dry run those of artifacts that are deleted already.
    pub objects: u64,
    /// Objects that a listing afterwards still shows, though they were to be removed.
    pub remaining: Vec<String>,
    /// Uploads in parts that nobody finished within seven days, given up; in a dry run those there are.
    pub stale_uploads: u64,
    /// What there was of sessions whose beginning is gone: it was removed, but for what `remaining` and `failures` name.
    pub orphaned: Vec<OrphanedObjects>,
    /// What could not be done.
    pub failures: Vec<RemoteCleanupFailure>,
}

impl RemoteArchive {
    /// Deletes from the bucket what a policy says may go, or moves it to an archive, and removes what earlier runs, or
    /// deletions on other machines, left. Refreshes the cache first. Each artifact's record stays, and tells what it was, and
    /// when, by whom and by which rule it was deleted. That objects are gone is proven by listing them afterwards.
    ///
    /// # Errors
    /// [`TrackingError::Artifacts`] if the bucket cannot be read. What could not be done is in the report.
    ///
    /// # Cancellation
    /// What is done stays done; the next run finishes the rest.
    pub async fn cleanup(
        &self,
        policy: RetentionPolicy,
        options: RemoteCleanupOptions,
        told: impl Fn(&RemoteCleanupReport) + Send + Sync,
    ) -> Result<RemoteCleanupReport, TrackingError> {
        let refreshed = self.refresh(None, None).await?;
        let mut unsure = incomplete(&refreshed);
        unsure.retain(|session_id, _| !options.incomplete.contains(session_id));
        // What it is, the next run may know.
        unsure.extend(failed(&refreshed));
        let _index = self.lock_index().await?;
        let plan = self.artifacts().plan_retention(policy.clone()).await?;
        let mut run = Run {
            remote: self,
            policy,
            options,
            report: RemoteCleanupReport {
                plan,
                artifacts: 0,
                bytes: 0,
                objects: 0,
                remaining: Vec::new(),
                stale_uploads: 0,
                orphaned: Vec::new(),
                failures: Vec::new(),
            },
        };
        for (session_id, why) in &unsure {
            run.refuse(session_id, format!("it is left alone: {why}"));
        }
        if !run.options.dry_run {
            for planned in run.report.plan.delete.clone() {
                if unsure.contains_key(&planned.session.session_id) {
                    continue;
                }
                if let Err(error) = run.expire(&planned).await {
                    run.fail(Some(&planned.session.session_id), None, &error);
                }
                told(&run.report);
            }
        }
        let sessions = self.artifacts().sessions().await?.sessions;
        for lost in run.options.incomplete.clone() {
            let is_known = sessions.iter().any(|session| session.session_id == lost);
            if !is_known && !unsure.contains_key(&lost) {
                if let Err(error) = run.remove_orphaned_objects(&lost).await {
                    run.fail(Some(&lost), None, &error);
                }
                told(&run.report);
            }
        }
        for session in sessions {
            if unsure.contains_key(&session.session_id) {
                continue;
            }
            if let Err(error) = run.sweep(&session.session_id, &SessionMeta::of(&session)).await {
                run.fail(Some(&session.session_id), None, &error);
            }
            told(&run.report);
        }
        run.abort_stale_uploads().await;
        Ok(run.report)
    }
}

/// Sessions of which not all can be read: one that was pinned meanwhile, or that needs an object, must lose nothing.
fn incomplete(refreshed: &RefreshReport) -> BTreeMap<SessionId, String> {
    let unreadable = refreshed.unreadable.iter();
    let unreadable = unreadable.filter_map(|segment| Some((segment.stream.as_ref()?, segment.to_string())));
    let missing = refreshed.missing_starts.iter();
    let missing = missing.map(|missing| (&missing.stream, missing.to_string()));
    let all = unreadable.chain(missing);
    let sessions = all.filter_map(|(stream, why)| {
        let id = session_of(stream)?;
        let named = format!("{why}; `--incomplete {id}` cleans it up all the same");
        Some((id, named))
    });
    sessions.collect()
}

/// Sessions that could not be brought up to date.
fn failed(refreshed: &RefreshReport) -> BTreeMap<SessionId, String> {
    let failed = refreshed.failed.iter();
    let sessions = failed.filter_map(|(stream, error)| Some((session_of(stream)?, reason(error))));
    sessions.collect()
}

fn session_of(stream: &StreamId) -> Option<SessionId> {
    match stream {
        StreamId::Session(id) => Some(id.clone()),
        StreamId::Upgrade(_) => None,
    }
}

/// A run.
pub(super) struct Run<'a> {
    pub(super) remote: &'a RemoteArchive,
    pub(super) policy: RetentionPolicy,
    pub(super) options: RemoteCleanupOptions,
    pub(super) report: RemoteCleanupReport,
}

impl Run<'_> {
    /// Notes that a session is left as it is.
    pub(super) fn refuse(&mut self, session: &SessionId, reason: String) {
        self.report.failures.push(RemoteCleanupFailure {
            session_id: Some(session.clone()),
            key: None,
            reason,
        });
    }

    pub(super) fn fail(
        &mut self,
        session: Option<&SessionId>,
        key: Option<&ObjectKey>,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.report.failures.push(RemoteCleanupFailure {
            session_id: session.cloned(),
            key: key.map(ToString::to_string),
            reason: reason(error),
        });
    }

    /// Writes the records of what is deleted, or archived, of one session.
    async fn expire(&mut self, planned: &PlannedSession) -> Result<(), TrackingError> {
        let id = &planned.session.session_id;
        let mut chosen = self
            .artifacts_of(id, |status| self.policy.may_delete(status))
            .await?;
        if let Expiry::Archive(class) = self.options.expiry {
            chosen.retain(|artifact| artifact.status.can_become(ArtifactStatus::Archived));
            chosen = self.archive(chosen, class).await;
        }
        let reason: Arc<str> = format!("retention: {}", planned.rule).into();
        let stream = StreamId::Session(id.clone());
        for page in chosen.chunks(PAGE) {
            let changes = page.iter().map(|artifact| self.change_of(artifact, &reason));
            let changes: Vec<SessionEvent> = changes.collect();
            let catalogue = self.remote.catalogue();
            catalogue
                .append(&stream, &changes, Arc::clone(&self.options.actor))
                .await
                .map_err(ArtifactError::from)?;
            self.report.artifacts += page.len() as u64;
            self.report.bytes += page.iter().filter_map(|artifact| artifact.file_size).sum::<u64>();
        }
        self.remote
            .catalogue()
            .refresh(RefreshScope::Stream(stream), None)
            .await
            .map_err(ArtifactError::from)?;
        Ok(())
    }

    fn change_of(&self, artifact: &Artifact, reason: &Arc<str>) -> SessionEvent {
        let (kind, status) = match self.options.expiry {
            Expiry::Delete => (ArtifactChangeKind::Deleted, ArtifactStatus::Deleted),
            Expiry::Archive(_) => (ArtifactChangeKind::Archived, ArtifactStatus::Archived),
        };
        let mut change = ArtifactChange::new(artifact, status);
        change.reason = Some(Arc::clone(reason));
        SessionEvent::Artifact(kind, change)
    }

    /// Moves objects to another storage class; returns the artifacts of which that was done.
    async fn archive(&mut self, chosen: Vec<Arc<Artifact>>, class: StorageClass) -> Vec<Arc<Artifact>> {
        let objects = self.remote.bucket().store().objects();
        let moves = chosen.into_iter().filter_map(|artifact| {
            let key = self.own_key(&artifact)?;
            Some(async move {
                let moved = objects.set_storage_class(&key, class).await;
                (artifact, key, moved)
            })
        });
        let moved: Vec<_> = futures_util::stream::iter(moves)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut archived = Vec::new();
        for (artifact, key, moved) in moved {
            match moved {
                Ok(()) => archived.push(artifact),
                Err(error) => self.fail(Some(&artifact.session_id), Some(&key), &error),
            }
        }
        archived
    }

    /// Removes the objects of artifacts that are deleted.
    async fn sweep(&mut self, id: &SessionId, meta: &SessionMeta) -> Result<(), TrackingError> {
        let dead = self
            .artifacts_of(id, |status| status == ArtifactStatus::Deleted)
            .await?;
        if dead.is_empty() {
            return Ok(());
        }
        let mut doomed: BTreeSet<ObjectKey> = dead.iter().filter_map(|one| self.own_key(one)).collect();
        if meta.artifacts() > 0 {
            let kept = self
                .artifacts_of(id, |status| status != ArtifactStatus::Deleted)
                .await?;
            let kept: HashSet<ObjectKey> = kept.iter().filter_map(|one| self.own_key(one)).collect();
            doomed.retain(|key| !kept.contains(key));
        }
        let there = self.listed(id, &doomed).await?;
        self.report.objects += there.len() as u64;
        if self.options.dry_run || there.is_empty() {
            return Ok(());
        }
        let objects = self.remote.bucket().store().objects();
        let deleted = objects.delete_many(&there).await;
        self.report.objects -= deleted.failed.len() as u64;
        for (key, error) in &deleted.failed {
            self.fail(Some(id), Some(key), error);
        }
        let remaining = self.listed(id, &doomed).await?;
        let remaining = remaining.iter().map(ToString::to_string);
        self.report.remaining.extend(remaining);
        Ok(())
    }

    /// Those of `keys` that a listing of the session shows.
    async fn listed(
        &self,
        id: &SessionId,
        keys: &BTreeSet<ObjectKey>,
    ) -> Result<Vec<ObjectKey>, TrackingError> {
        let objects = self.remote.bucket().store().objects();
        let all = objects.all(&format!("{}/", id.encoded())).await;
        let all = all.map_err(ArtifactError::from)?.into_iter();
        Ok(all
            .map(|object| object.key)
            .filter(|key| keys.contains(key))
            .collect())
    }

    /// The object that an artifact's record names, if it is one that an artifact of its session and collection can have.
    fn own_key(&self, artifact: &Artifact) -> Option<ObjectKey> {
        let key = self.remote.bucket().named_key(artifact).ok()?;
        let place: ArtifactKey = key.as_str().parse().ok()?;
        let own =
            *place.session_id() == artifact.session_id && *place.collection_id() == artifact.collection_id;
        own.then_some(key)
    }

    async fn artifacts_of(
        &self,
        id: &SessionId,
        wanted: impl Fn(ArtifactStatus) -> bool,
    ) -> Result<Vec<Arc<Artifact>>, TrackingError> {
        let mut query = ArtifactQuery::new().in_session(id.clone());
        query.statuses = ArtifactStatus::ALL
            .into_iter()
            .filter(|status| wanted(*status))
            .collect();
        // A query that names no status asks for all that are not deleted.
        if query.statuses.is_empty() {
            return Ok(Vec::new());
        }
        all_matching(self.remote.artifacts(), query).await
    }

    async fn abort_stale_uploads(&mut self) {
        let now = tracking_journal::Clock::now(&**self.remote.archive().clock());
        let mut options = StaleOptions::older_than(STALE_AFTER, now);
        if self.options.dry_run {
            options = options.with_dry_run();
        }
        match self.remote.bucket().store().abort_stale_uploads(&options).await {
            Ok(found) => {
                self.report.stale_uploads = if self.options.dry_run {
                    found.stale.len()
                } else {
                    found.aborted
                } as u64;
                for (key, error) in &found.failed {
                    self.report.failures.push(RemoteCleanupFailure {
                        session_id: None,
                        key: Some(key.clone()),
                        reason: reason(error),
                    });
                }
            }
            Err(error) => self.fail(None, None, &error),
        }
    }
}
