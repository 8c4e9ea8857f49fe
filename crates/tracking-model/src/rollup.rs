//! Percentages and statuses of parents and of the upgrade, computed from what the tasks reported.
//!
//! They are computed when asked for and never stored, so that an update costs the same however many tasks there are.

use std::collections::HashMap;

use crate::{Percent, Status, TaskId, TaskProgress, UpgradeProgress};

/// What is shown instead of 100 while any work is incomplete.
const ALMOST: f64 = 99.9;
/// How far rounding may take a mean of hundreds from 100.
const ROUNDING: f64 = 1e-9;

/// The percentages and statuses that are shown for an upgrade and for all of its tasks.
///
/// A parent shows the weighted mean of its parts. A parent on which nobody reported itself shows the status that
/// follows from its parts: in progress, failed or paused if any part is, in this order; cancelled if all are; completed
/// if all that are not cancelled are; in progress if some are completed; else not started.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// Of the upgrade.
    pub overall: Percent,
    tasks: HashMap<TaskId, Shown>,
}

/// How far a task is and where it stands, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    pub(crate) percentage: Percent,
    pub(crate) status: Status,
}

impl Rollup {
    /// Computes the percentages and statuses of `progress`, each task once.
    #[must_use]
    pub fn of(progress: &UpgradeProgress) -> Self {
        let mut tasks = HashMap::with_capacity(progress.tasks().len());
        let mut keep = |task_id: &TaskId, shown| {
            tasks.insert(task_id.clone(), shown);
        };
        let top = progress
            .tasks()
            .values()
            .filter(|task| task.parent_task_id.is_none());
        let parts: Vec<_> = top
            .map(|task| (task.weight, visit(progress, task, &mut keep)))
            .collect();
        Self {
            overall: overall(progress, mean(&parts)),
            tasks,
        }
    }

    /// The percentage of a task; `None` if the upgrade has no such task.
    #[must_use]
    pub fn task(&self, task_id: &TaskId) -> Option<Percent> {
        self.tasks.get(task_id).map(|shown| shown.percentage)
    }

    /// The status of a task; `None` if the upgrade has no such task.
    #[must_use]
    pub fn status(&self, task_id: &TaskId) -> Option<Status> {
        self.tasks.get(task_id).map(|shown| shown.status)
    }
}

/// Percentage and status that are shown for one task, from its subtree alone.
pub(crate) fn shown(progress: &UpgradeProgress, task: &TaskProgress) -> Shown {
    visit(progress, task, &mut |_, _| {})
}

fn visit(progress: &UpgradeProgress, task: &TaskProgress, seen: &mut impl FnMut(&TaskId, Shown)) -> Shown {
    let children = task.children.iter().filter_map(|child| progress.task(child));
    let parts: Vec<_> = children
        .map(|child| (child.weight, visit(progress, child, seen)))
        .collect();
    let status = if task.derives_status() {
        derived(&parts)
    } else {
        task.status
    };
    let percentage = if status == Status::Completed {
        Percent::FULL
    } else {
        mean(&parts).unwrap_or(task.percentage)
    };
    let shown = Shown { percentage, status };
    seen(&task.task_id, shown);
    shown
}

/// The status that follows from the parts of a task on which nobody reported itself.
fn derived(parts: &[(f64, Shown)]) -> Status {
    let any = |status| parts.iter().any(|(_, part)| part.status == status);
    let all_are = |status| parts.iter().all(|(_, part)| part.status == status);
    for status in [Status::InProgress, Status::Failed, Status::Paused] {
        if any(status) {
            return status;
        }
    }
    if all_are(Status::Cancelled) {
        Status::Cancelled
    } else if parts.iter().all(|(_, part)| part.status.is_final()) {
        Status::Completed
    } else if any(Status::Completed) {
        Status::InProgress
    } else {
        Status::NotStarted
    }
}

/// The weighted mean of those that are not cancelled, `None` if there are none.
fn mean(parts: &[(f64, Shown)]) -> Option<Percent> {
    let (mut sum, mut weights, mut all_complete) = (0.0, 0.0, true);
    for (weight, shown) in parts.iter().filter(|(_, part)| part.status != Status::Cancelled) {
        sum += shown.percentage.value() * weight;
        weights += weight;
        all_complete &= shown.status == Status::Completed;
    }
    if weights == 0.0 {
        return None;
    }
    let shown = match sum / weights {
        _ if all_complete => 100.0,
        value if value > 100.0 - ROUNDING => ALMOST,
        value => value,
    };
    Some(Percent::new(shown).expect("a mean of finite numbers with finite positive weights is finite"))
}

fn overall(progress: &UpgradeProgress, mean: Option<Percent>) -> Percent {
    if progress.status == Status::Completed && !progress.completed_with_failures {
        return Percent::FULL;
    }
    mean.unwrap_or(Percent::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fold, NewTask, RecordMeta, StreamId, TaskAction, TaskType, Timestamp, UpgradeCommand};

    /// An upgrade whose flat tasks have these weights and reported these percentages.
    fn flat(tasks: &[(f64, f64)]) -> UpgradeProgress {
        let stream: StreamId = "upgrade:u".parse().unwrap();
        let mut progress = UpgradeProgress::empty(&stream);
        let meta = RecordMeta {
            seq: 1,
            id: uuid::Uuid::nil(),
            at: Timestamp::EPOCH,
            actor: "a".into(),
        };
        let create = UpgradeCommand::Create {
            plan_id: "p".parse().unwrap(),
            cluster_name: "c".into(),
            metadata: crate::Details::NONE,
        };
        let mut commands = vec![create];
        for (place, (weight, percentage)) in tasks.iter().enumerate() {
            let task_id: TaskId = format!("t{place}").parse().unwrap();
            let task = NewTask::new(task_id.clone(), "Task", TaskType::UpgradeStep).with_weight(*weight);
            let action = TaskAction::Progress {
                percentage: *percentage,
                message: "m".into(),
                details: crate::Details::NONE,
            };
            commands.extend([
                UpgradeCommand::AddTasks(vec![task]),
                UpgradeCommand::Task { task_id, action },
            ]);
        }
        for event in progress
            .check(UpgradeCommand::All(commands), Timestamp::EPOCH)
            .unwrap()
        {
            progress.apply(&meta, &event);
        }
        progress
    }

    #[test]
    fn a_hundred_is_kept_for_complete_work() {
        for weight in [1.0, 14.956_158_873_362_61, 1e-300, crate::MAX_WEIGHT] {
            let progress = flat(&[(weight, 100.0), (weight, 100.0)]);
            assert_eq!(progress.overall_percentage().value(), ALMOST, "{weight}");
        }
    }

    #[test]
    fn a_flat_list_has_the_mean() {
        let reported = [10.0, 33.3, 71.25];
        let progress = flat(&reported.map(|percentage| (1.0, percentage)));
        assert_eq!(
            progress.overall_percentage().value(),
            reported.iter().sum::<f64>() / 3.0
        );
        assert_eq!(
            flat(&[(3.0, 50.0), (1.0, 10.0)]).overall_percentage().value(),
            40.0
        );
        assert_eq!(flat(&[]).overall_percentage(), Percent::ZERO);
    }
}
