//! The summary of an upgrade: what viewers get first, and what `upgrade show` prints.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Percent, PlanId, Rollup, Span, Status, TaskId, TaskProgress, Timestamp, UpgradeId, UpgradeProgress,
    Waiting,
};

/// An upgrade in a few lines: the reference's keys in its order, then ours.
///
/// Statuses are in upper case, times ISO 8601 with `+00:00`, durations Python's `str(timedelta)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// Where it stands.
    #[serde(with = "upper_case")]
    pub status: Status,
    /// How far it is.
    pub overall_percentage: Percent,
    /// The same under the name that older viewers know.
    pub progress_percentage: Percent,
    /// The phase that it is in.
    pub current_phase: Option<Arc<str>>,
    /// The first task that runs, else the last that failed. A parent on which nobody reported itself does no work of
    /// its own, so it is never the current task.
    pub current_task: Option<CurrentTask>,
    /// When it was started first.
    pub started_at: Option<Timestamp>,
    /// From start to end; `None` until it is finished.
    pub duration: Option<Span>,
    /// How many tasks there are.
    pub total_tasks: usize,
    /// How many run. As in all counts and names, a parent on which nobody reported itself counts by its parts.
    pub active_tasks: usize,
    /// How many failed.
    pub failed_tasks: usize,
    /// How many are complete.
    pub completed_tasks: usize,
    /// The names of those that run, in the order in which they were added.
    pub active_task_names: Vec<Arc<str>>,
    /// The names of those that failed, in the order in which they were added.
    pub failed_task_names: Vec<Arc<str>>,

    /// The plan that it follows.
    #[serde(default)]
    pub plan_id: Option<PlanId>,
    /// When it was completed, failed or was cancelled.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// Whether it was completed although tasks were unfinished or failed.
    #[serde(default)]
    pub completed_with_failures: bool,
    /// How often it was started again after a failure.
    #[serde(default)]
    pub retry_count: u32,
    /// Why it failed.
    #[serde(default)]
    pub error_message: Option<Arc<str>>,
    /// Why it was paused or cancelled.
    #[serde(default)]
    pub reason: Option<Arc<str>>,
    /// When anything was last recorded.
    #[serde(default)]
    pub last_report_at: Option<Timestamp>,
    /// The tasks that wait for something outside, in the order in which they were added.
    #[serde(default)]
    pub waiting_tasks: Vec<WaitingTask>,
    /// The tasks that run and have not reported within their heartbeat intervals.
    #[serde(default)]
    pub stalled_tasks: Vec<TaskId>,
}

/// The task that a summary shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CurrentTask {
    /// Its id.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// Where it stands.
    #[serde(with = "upper_case")]
    pub status: Status,
    /// How far it is.
    pub percentage: Percent,
}

/// A task that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WaitingTask {
    /// Its id.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// What for, in words.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// When it should be over at the latest.
    pub until: Option<Timestamp>,
}

impl Summary {
    /// Sums up `progress` as of `now`, which decides only which tasks are stalled.
    #[must_use]
    pub fn of(progress: &UpgradeProgress, now: Timestamp) -> Self {
        Self::with_rollup(progress, &Rollup::of(progress), now)
    }

    /// As [`Self::of`], with percentages that were computed before.
    #[must_use]
    pub fn with_rollup(progress: &UpgradeProgress, rollup: &Rollup, now: Timestamp) -> Self {
        let status_of = |task: &TaskProgress| rollup.status(&task.task_id).unwrap_or(task.status);
        let by_status = |status| -> Vec<&TaskProgress> {
            let tasks = progress.tasks().values();
            tasks.filter(|task| status_of(task) == status).collect()
        };
        let names = |tasks: &[&TaskProgress]| tasks.iter().map(|task| Arc::clone(&task.task_name)).collect();
        let (active, failed) = (by_status(Status::InProgress), by_status(Status::Failed));
        Self {
            upgrade_id: progress.upgrade_id.clone(),
            cluster_name: Arc::clone(&progress.cluster_name),
            status: progress.status,
            overall_percentage: rollup.overall,
            progress_percentage: rollup.overall,
            current_phase: progress.current_phase.clone(),
            current_task: progress.current_task().map(|task| CurrentTask {
                task_id: task.task_id.clone(),
                task_name: Arc::clone(&task.task_name),
                status: task.status,
                percentage: rollup.task(&task.task_id).unwrap_or(task.percentage),
            }),
            started_at: progress.started_at,
            duration: progress.duration,
            total_tasks: progress.tasks().len(),
            active_tasks: active.len(),
            failed_tasks: failed.len(),
            completed_tasks: by_status(Status::Completed).len(),
            active_task_names: names(&active),
            failed_task_names: names(&failed),
            plan_id: progress.plan_id.clone(),
            completed_at: progress.completed_at,
            completed_with_failures: progress.completed_with_failures,
            retry_count: progress.retry_count,
            error_message: progress.error_message.clone(),
            reason: progress.reason.clone(),
            last_report_at: progress.last_report_at,
            waiting_tasks: progress.tasks().values().filter_map(WaitingTask::of).collect(),
            stalled_tasks: progress
                .tasks()
                .values()
                .filter(|task| task.is_stalled(now))
                .map(|task| task.task_id.clone())
                .collect(),
        }
    }
}

impl WaitingTask {
    fn of(task: &TaskProgress) -> Option<Self> {
        let Waiting { reason, since, until } = task.waiting_on.as_ref()?;
        Some(Self {
            task_id: task.task_id.clone(),
            task_name: Arc::clone(&task.task_name),
            reason: Arc::clone(reason),
            since: *since,
            until: *until,
        })
    }
}

/// Statuses as summaries write them: `IN_PROGRESS`.
mod upper_case {
    use super::{Deserialize, Deserializer, Serializer, Status};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(status.as_upper_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
