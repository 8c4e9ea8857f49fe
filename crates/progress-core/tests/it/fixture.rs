//! What most tests begin with.

use std::sync::Arc;

use progress_core::{NewUpgrade, ProgressTracker, ProgressTrackerOptions};
use tracking_journal::{DataDir, ManualClock};
use tracking_model::{NewTask, PlanId, TaskId, TaskType, UpgradeId};

pub(crate) const UPGRADE: &str = "test-upgrade-123";

pub(crate) fn upgrade_id() -> UpgradeId {
    UpgradeId::new(UPGRADE).unwrap()
}

pub(crate) fn upgrade() -> NewUpgrade {
    NewUpgrade::new(
        upgrade_id(),
        PlanId::new("test-plan-123").unwrap(),
        "test-cluster",
    )
}

pub(crate) fn task(id: &str, name: &str, kind: TaskType) -> NewTask {
    NewTask::new(TaskId::new(id).unwrap(), name, kind)
}

/// Three tasks of a flat list.
pub(crate) fn sample_tasks() -> Vec<NewTask> {
    vec![
        task("task-1", "First Task", TaskType::UpgradeStep),
        task("task-2", "Second Task", TaskType::UpgradeStep),
        task("task-3", "Third Task", TaskType::Validation),
    ]
}

/// A tracker in memory and the clock that it goes by.
pub(crate) fn in_memory() -> (ProgressTracker, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let options = ProgressTrackerOptions::default().with_clock(Arc::<ManualClock>::clone(&clock));
    (ProgressTracker::in_memory(upgrade(), options).unwrap(), clock)
}

/// A tracker in memory with the three tasks.
pub(crate) async fn with_tasks() -> (ProgressTracker, Arc<ManualClock>) {
    let (tracker, clock) = in_memory();
    tracker.add_tasks(sample_tasks()).await.unwrap();
    (tracker, clock)
}

/// An empty data directory.
pub(crate) fn data_dir() -> (tempfile::TempDir, DataDir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temporary.path()).unwrap();
    (temporary, dir)
}

/// A tracker of `dir` that acts as `actor`.
pub(crate) fn open(dir: &DataDir, actor: &str) -> ProgressTracker {
    let options = ProgressTrackerOptions::default().with_actor(actor);
    ProgressTracker::open_or_create(dir, upgrade(), options).unwrap()
}
