//! What the tracker tells about an upgrade and about itself, in the reference's words.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tracking_journal::storage;
use tracking_model::{
    Percent, PlanId, ProgressEvent, Span, Status, Summary, TaskId, TaskProgress, TaskType, Timestamp,
    UpgradeId, UpgradeProgress, Waiting,
};

use crate::callbacks::CallbackInfo;
use crate::snapshot::SnapshotInfo;
use crate::{ProgressError, ProgressTracker};

/// How many events a task's report shows.
const REPORTED_EVENTS: usize = 5;

/// How one task stands, with its last events. Serialises with the reference's keys, and some more.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TaskReport {
    /// Its id.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// Its type.
    pub task_type: TaskType,
    /// Where it stands.
    pub status: Status,
    /// Its percentage, or that of its children.
    pub percentage: Percent,
    /// The step that runs, in words.
    pub current_step: Option<Arc<str>>,
    /// Steps done.
    pub completed_steps: u64,
    /// Steps in all.
    pub total_steps: Option<u64>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// From start to end; `None` until it ended.
    pub duration: Option<Span>,
    /// Why it failed.
    pub error_message: Option<Arc<str>>,
    /// Its last five events, oldest first.
    pub recent_events: Vec<RecentEvent>,
    /// The task that it is part of.
    pub parent_task_id: Option<TaskId>,
    /// How often it was retried.
    pub retry_count: u32,
    /// What it waits for.
    pub waiting_on: Option<Waiting>,
    /// When it last reported anything, heartbeats included.
    pub last_report_at: Option<Timestamp>,
    /// Whether it runs and has gone silent.
    pub stalled: bool,
}

/// One of a task's last events.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecentEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// The task's status after it.
    pub status: Status,
    /// What happened, in words.
    pub message: Arc<str>,
    /// The task's percentage after it.
    pub percentage: Option<Percent>,
}

impl From<&ProgressEvent> for RecentEvent {
    fn from(event: &ProgressEvent) -> Self {
        Self {
            timestamp: event.timestamp,
            status: event.status,
            message: Arc::clone(&event.message),
            percentage: event.percentage,
        }
    }
}

impl TaskReport {
    /// How `task` of `state` stands at `now`.
    #[must_use]
    pub fn new(state: &UpgradeProgress, task: &TaskProgress, now: Timestamp) -> Self {
        let skipped = task.events.len().saturating_sub(REPORTED_EVENTS);
        Self {
            task_id: task.task_id.clone(),
            task_name: Arc::clone(&task.task_name),
            task_type: task.task_type,
            status: state.task_status(task),
            percentage: state.task_percentage(task),
            current_step: task.current_step.clone(),
            completed_steps: task.completed_steps,
            total_steps: task.total_steps,
            started_at: task.started_at,
            duration: task.duration,
            error_message: task.error_message.clone(),
            recent_events: task.events.iter().skip(skipped).map(RecentEvent::from).collect(),
            parent_task_id: task.parent_task_id.clone(),
            retry_count: task.retry_count,
            waiting_on: task.waiting_on.clone(),
            last_report_at: task.last_report_at,
            stalled: task.is_stalled(now),
        }
    }
}

fn as_shown(task: &TaskProgress, status: Status) -> TaskProgress {
    let mut shown = task.clone();
    shown.status = status;
    shown
}

/// How the tracker itself fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SystemInfo {
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The plan that it follows.
    pub plan_id: Option<PlanId>,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// Who is named in records that this tracker writes.
    pub actor: Arc<str>,
    /// Where everything is kept.
    pub storage: StorageInfo,
    /// How the callbacks fare.
    pub callbacks: CallbackInfo,
}

/// Where an upgrade is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StorageInfo {
    /// The directory of journals and snapshots; `None` in memory.
    pub storage_path: Option<PathBuf>,
    /// The snapshot; `None` in memory.
    pub progress_file: Option<PathBuf>,
    /// Whether the snapshot exists.
    pub file_exists: bool,
    /// Bytes of the snapshot.
    pub file_size: u64,
    /// The journal; `None` in memory.
    pub journal_file: Option<PathBuf>,
    /// Bytes of the journal.
    pub journal_size: u64,
    /// Sequence of the journal's last record.
    pub journal_seq: u64,
    /// Bytes that opening cut off as torn by a crash.
    pub torn_bytes: u64,
    /// How the snapshots fare; `None` in memory.
    pub snapshots: Option<SnapshotInfo>,
}

/// Reports.
impl ProgressTracker {
    /// The upgrade in a few lines.
    #[must_use]
    pub fn progress_summary(&self) -> Summary {
        let now = self.now();
        self.read(|state| Summary::of(state, now))
    }

    /// How a task stands, with its last five events.
    ///
    /// # Errors
    /// [`ProgressError::UnknownTask`], or an invalid id.
    pub fn task_progress(&self, task_id: impl AsRef<str>) -> Result<TaskReport, ProgressError> {
        let task_id = TaskId::new(task_id)?;
        let now = self.now();
        self.read(|state| state.task(&task_id).map(|task| TaskReport::new(state, task, now)))
            .ok_or_else(|| ProgressError::UnknownTask {
                upgrade_id: self.upgrade_id().clone(),
                task_id,
            })
    }

    /// The first task that reported that it runs, in the order in which they were added; `None` if none did.
    #[must_use]
    pub fn current_task(&self) -> Option<TaskProgress> {
        self.read(|state| {
            let mut tasks = state.tasks().values();
            tasks.find(|task| task.status == Status::InProgress).cloned()
        })
    }

    /// The tasks that are shown with this status, in the order in which they were added.
    #[must_use]
    pub fn tasks_by_status(&self, status: Status) -> Vec<TaskProgress> {
        self.read(|state| {
            let tasks = state.tasks_by_status(status);
            tasks.map(|task| as_shown(task, status)).collect()
        })
    }

    /// The overall percentage.
    #[must_use]
    pub fn calculate_progress_percentage(&self) -> Percent {
        self.read(UpgradeProgress::overall_percentage)
    }

    /// How the tracker itself fares: where it keeps what, and how its snapshots and callbacks do.
    #[must_use]
    pub fn system_info(&self) -> SystemInfo {
        let (plan_id, cluster_name) =
            self.read(|state| (state.plan_id.clone(), Arc::clone(&state.cluster_name)));
        SystemInfo {
            upgrade_id: self.upgrade_id().clone(),
            plan_id,
            cluster_name,
            actor: Arc::clone(&self.inner.actor),
            storage: self.storage_info(),
            callbacks: self.inner.callbacks.info(),
        }
    }

    fn storage_info(&self) -> StorageInfo {
        let stream = self.inner.journal.stream();
        let dir = self.inner.data_dir.as_ref();
        let size = |path: Option<&PathBuf>| {
            path.and_then(|path| storage::metadata(path).ok())
                .map(|file| file.len())
        };
        let progress_file = dir.map(|dir| dir.snapshot_path(stream));
        let journal_file = dir.map(|dir| dir.journal_path(stream));
        let file_size = size(progress_file.as_ref());
        StorageInfo {
            storage_path: dir.map(|dir| dir.progress_dir()),
            file_exists: file_size.is_some(),
            file_size: file_size.unwrap_or(0),
            progress_file,
            journal_size: size(journal_file.as_ref()).unwrap_or(0),
            journal_file,
            journal_seq: self.head().seq,
            torn_bytes: self.inner.journal.recovery().torn_bytes,
            snapshots: self.inner.snapshots.as_ref().map(|snapshots| snapshots.info()),
        }
    }
}
