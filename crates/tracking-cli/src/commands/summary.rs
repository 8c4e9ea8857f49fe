//! The summary of an upgrade, with the reference's keys.

use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Percent, Rollup, Span, Status, TaskId, TaskProgress, Timestamp, UpgradeId, UpgradeProgress,
};

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) upgrade_id: UpgradeId,
    pub(crate) cluster_name: Arc<str>,
    pub(crate) status: &'static str,
    pub(crate) overall_percentage: Percent,
    pub(crate) progress_percentage: Percent,
    pub(crate) current_phase: Option<Arc<str>>,
    pub(crate) current_task: Option<CurrentTask>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) duration: Option<Span>,
    pub(crate) total_tasks: usize,
    pub(crate) active_tasks: usize,
    pub(crate) failed_tasks: usize,
    pub(crate) completed_tasks: usize,
    pub(crate) active_task_names: Vec<Arc<str>>,
    pub(crate) failed_task_names: Vec<Arc<str>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CurrentTask {
    task_id: TaskId,
    task_name: Arc<str>,
    status: &'static str,
    percentage: Percent,
}

impl Summary {
    pub(crate) fn of(progress: &UpgradeProgress) -> Self {
        let rollup = Rollup::of(progress);
        let names = |status| -> Vec<Arc<str>> {
            progress
                .tasks_by_status(status)
                .map(|task| Arc::clone(&task.task_name))
                .collect()
        };
        let (active, failed) = (names(Status::InProgress), names(Status::Failed));
        let current = |task: &TaskProgress| CurrentTask {
            task_id: task.task_id.clone(),
            task_name: Arc::clone(&task.task_name),
            status: task.status.as_upper_str(),
            percentage: rollup.task(&task.task_id).unwrap_or(task.percentage),
        };
        Self {
            upgrade_id: progress.upgrade_id.clone(),
            cluster_name: Arc::clone(&progress.cluster_name),
            status: progress.status.as_upper_str(),
            overall_percentage: rollup.overall,
            progress_percentage: rollup.overall,
            current_phase: progress.current_phase.clone(),
            current_task: progress.current_task().map(current),
            started_at: progress.started_at,
            duration: progress.duration,
            total_tasks: progress.tasks().len(),
            active_tasks: active.len(),
            failed_tasks: failed.len(),
            completed_tasks: progress.tasks_by_status(Status::Completed).count(),
            active_task_names: active,
            failed_task_names: failed,
        }
    }
}
