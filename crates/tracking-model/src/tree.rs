//! The task tree in the order in which it is shown, so that every renderer walks it alike.

use crate::{Percent, Rollup, Status, TaskProgress, Timestamp, UpgradeProgress};

/// A task in its place in the tree.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TreeRow<'a> {
    /// The task.
    pub task: &'a TaskProgress,
    /// Its level, from 0 for top-level tasks.
    pub level: usize,
    /// The percentage that is shown for it.
    pub percentage: Percent,
    /// The status that is shown for it.
    pub status: Status,
    /// Whether it runs and has not reported within its heartbeat interval.
    pub stalled: bool,
    /// Whether it is the last of its siblings.
    pub last: bool,
}

/// An upgrade's tasks, each before its parts, siblings in the order in which they were added.
#[derive(Debug, Clone)]
pub struct TaskTree<'a> {
    /// The percentage of the upgrade.
    pub overall: Percent,
    /// The tasks.
    pub rows: Vec<TreeRow<'a>>,
}

impl<'a> TaskTree<'a> {
    /// Walks the tasks of `progress` as of `now`, which decides which are stalled.
    #[must_use]
    pub fn of(progress: &'a UpgradeProgress, now: Timestamp) -> Self {
        let rollup = Rollup::of(progress);
        let mut rows = Vec::with_capacity(progress.tasks().len());
        let top = progress
            .tasks()
            .values()
            .filter(|task| task.parent_task_id.is_none());
        let mut waiting: Vec<(&TaskProgress, usize, bool)> = Vec::new();
        push_siblings(&mut waiting, top, 0);
        while let Some((task, level, last)) = waiting.pop() {
            rows.push(TreeRow {
                task,
                level,
                percentage: rollup.task(&task.task_id).unwrap_or(task.percentage),
                status: rollup.status(&task.task_id).unwrap_or(task.status),
                stalled: task.is_stalled(now),
                last,
            });
            let children = task.children.iter().filter_map(|child| progress.task(child));
            push_siblings(&mut waiting, children, level + 1);
        }
        Self {
            overall: rollup.overall,
            rows,
        }
    }
}

/// Puts siblings on the stack, the first on top.
fn push_siblings<'a>(
    waiting: &mut Vec<(&'a TaskProgress, usize, bool)>,
    siblings: impl Iterator<Item = &'a TaskProgress>,
    level: usize,
) {
    let first = waiting.len();
    waiting.extend(siblings.map(|task| (task, level, false)));
    if let Some((_, _, last)) = waiting.get_mut(first..).and_then(<[_]>::last_mut) {
        *last = true;
    }
    waiting[first..].reverse();
}
