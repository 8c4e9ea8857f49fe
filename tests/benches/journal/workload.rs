//! The events that all measurements write.

use std::path::Path;

use scenarios::stream;
use tracking_journal::{DataDir, Journal, JournalOptions, Pending};
use tracking_model::{
    Details, NewTask, PlanId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeProgress,
};

pub(crate) type UpgradeJournal = Journal<UpgradeProgress>;

/// Tasks of the upgrade; events go round them.
pub(crate) const TASKS: usize = 1_000;

pub(crate) fn open(data_dir: &Path) -> UpgradeJournal {
    let dir = DataDir::open(data_dir).unwrap();
    Journal::open(&dir, stream(), JournalOptions::default().with_actor("bench")).unwrap()
}

/// An upgrade in progress with `tasks` tasks in progress.
pub(crate) fn prepared(data_dir: &Path, tasks: usize) -> UpgradeJournal {
    let journal = open(data_dir);
    let create = UpgradeCommand::Create {
        plan_id: PlanId::new("plan").unwrap(),
        cluster_name: "cluster".into(),
        metadata: Details::NONE,
    };
    let start = UpgradeCommand::Start {
        phase: "phase".into(),
    };
    let add = (0..tasks)
        .map(|n| NewTask::new(task_id(n), "Upgrade a node group", TaskType::UpgradeStep))
        .collect();
    journal
        .submit(UpgradeCommand::All(vec![
            create,
            start,
            UpgradeCommand::AddTasks(add),
        ]))
        .wait()
        .unwrap();
    let pending: Vec<_> = (0..tasks).map(|n| journal.submit(report(n))).collect();
    pending
        .into_iter()
        .for_each(|pending| drop(pending.wait().unwrap()));
    journal
}

pub(crate) fn task_id(n: usize) -> TaskId {
    TaskId::new(format!("node-group-{n}")).unwrap()
}

/// A report of progress, as an agent makes them.
pub(crate) fn report(n: usize) -> UpgradeCommand {
    let action = TaskAction::Progress {
        percentage: 42.5,
        message: "replaced 17 of 40 nodes".into(),
        details: Details::NONE,
    };
    UpgradeCommand::Task {
        task_id: task_id(n),
        action,
    }
}

/// Writes `events` reports over `tasks` tasks with `window` in flight.
pub(crate) fn write(journal: &UpgradeJournal, tasks: usize, events: usize, window: usize) {
    let commands: Vec<UpgradeCommand> = (0..tasks).map(report).collect();
    let mut pending: std::collections::VecDeque<Pending<UpgradeProgress>> = std::collections::VecDeque::new();
    for event in 0..events {
        pending.push_back(journal.submit(commands[event % tasks].clone()));
        if pending.len() == window {
            drop(pending.pop_front().expect("the window is full").wait().unwrap());
        }
    }
    pending
        .into_iter()
        .for_each(|pending| drop(pending.wait().unwrap()));
}
