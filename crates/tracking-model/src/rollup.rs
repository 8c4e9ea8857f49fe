//! Percentages of parents and of the upgrade, computed from what the leaves reported.
//!
//! They are computed when asked for and never stored, so that an update costs the same however many tasks there are.

use std::collections::HashMap;

use crate::{Percent, Status, TaskId, TaskProgress, UpgradeProgress};

/// What is shown instead of 100 while any work is incomplete.
const ALMOST: f64 = 99.9;
/// How far rounding may take a mean of hundreds from 100.
const ROUNDING: f64 = 1e-9;

/// The percentages that are shown for an upgrade and for all of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    /// Of the upgrade.
    pub overall: Percent,
    tasks: HashMap<TaskId, Percent>,
}

impl Rollup {
    /// Computes the percentages of `progress`, each task once.
    #[must_use]
    pub fn of(progress: &UpgradeProgress) -> Self {
        let mut tasks = HashMap::with_capacity(progress.tasks().len());
        let top = progress
            .tasks()
            .values()
            .filter(|task| task.parent_task_id.is_none());
        let mean = mean(top.map(|task| (task, visit(progress, task, &mut tasks))));
        Self {
            overall: overall(progress, mean),
            tasks,
        }
    }

    /// Of a task; `None` if the upgrade has no such task.
    #[must_use]
    pub fn task(&self, task_id: &TaskId) -> Option<Percent> {
        self.tasks.get(task_id).copied()
    }
}

/// The percentage of one task, from its subtree alone.
pub(crate) fn task_percentage(progress: &UpgradeProgress, task: &TaskProgress) -> Percent {
    if task.status == Status::Completed {
        return Percent::FULL;
    }
    if task.children.is_empty() {
        return task.percentage;
    }
    let parts = children(progress, task).map(|child| (child, task_percentage(progress, child)));
    mean(parts).unwrap_or(task.percentage)
}

fn visit(progress: &UpgradeProgress, task: &TaskProgress, seen: &mut HashMap<TaskId, Percent>) -> Percent {
    let parts: Vec<_> = children(progress, task)
        .map(|child| (child, visit(progress, child, seen)))
        .collect();
    let percent = if task.status == Status::Completed {
        Percent::FULL
    } else {
        mean(parts.into_iter()).unwrap_or(task.percentage)
    };
    seen.insert(task.task_id.clone(), percent);
    percent
}

fn children<'a>(
    progress: &'a UpgradeProgress,
    task: &'a TaskProgress,
) -> impl Iterator<Item = &'a TaskProgress> {
    task.children.iter().filter_map(|child| progress.task(child))
}

/// The weighted mean of those that are not cancelled, `None` if there are none.
fn mean<'a>(parts: impl Iterator<Item = (&'a TaskProgress, Percent)>) -> Option<Percent> {
    let (mut sum, mut weights, mut all_complete) = (0.0, 0.0, true);
    for (task, percent) in parts.filter(|(task, _)| task.status != Status::Cancelled) {
        sum += percent.value() * task.weight;
        weights += task.weight;
        all_complete &= task.status == Status::Completed;
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
