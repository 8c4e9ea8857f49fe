//! The events that all measurements write.

use std::path::Path;
use std::time::Duration;

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

/// Processor time that this process has used so far, all threads together.
pub(crate) fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap(),
        u32::try_from(now.tv_nsec).unwrap(),
    )
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints one result: what was measured, the ratio, what it is measured against, and the aim.
pub(crate) fn print(name: &str, ratio: f64, aim: &str, details: &str) {
    println!("BENCH {name}: {ratio:.2} (aim {aim}); {details}");
}
