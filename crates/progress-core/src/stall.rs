//! Who has gone silent. Views only: they never change a state, and the next report reverses them.

use tracking_model::{TaskProgress, Timestamp, UpgradeProgress};

use crate::ProgressTracker;

/// The tasks that run and have not reported within their heartbeat interval at `now`, in the order in which they were
/// added. One that waits with a deadline is stalled when the deadline has passed.
pub fn stalled_tasks(state: &UpgradeProgress, now: Timestamp) -> impl Iterator<Item = &TaskProgress> {
    state.tasks().values().filter(move |task| task.is_stalled(now))
}

impl ProgressTracker {
    /// The tasks that run and have not reported within their heartbeat interval, by the tracker's clock.
    #[must_use]
    pub fn stalled_tasks(&self) -> Vec<TaskProgress> {
        let now = self.now();
        self.read(|state| stalled_tasks(state, now).cloned().collect())
    }
}
