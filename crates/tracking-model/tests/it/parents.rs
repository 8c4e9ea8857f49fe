//! Parents on which nobody reported itself: their parts decide where they stand.

use tracking_model::{
    NewTask, Snapshot, Status, Summary, TaskAction, TaskTree, TaskType, UpgradeCommand, UpgradeMirror,
};

use crate::upgrades::{Driven, at, create, task_id};

/// An upgrade with a group of these parts, each taken to its status.
fn group(parts: &[Status]) -> Driven {
    let mut driven = Driven::new("u");
    let mut tasks = vec![NewTask::new(task_id("group"), "Group", TaskType::UpgradeStep)];
    tasks.extend((0..parts.len()).map(|place| {
        NewTask::new(task_id(&format!("t{place}")), "Part", TaskType::UpgradeStep)
            .with_parent(task_id("group"))
    }));
    let phase = "Phase".into();
    driven
        .at(0, create())
        .at(0, UpgradeCommand::AddTasks(tasks))
        .at(0, UpgradeCommand::Start { phase });
    for (place, status) in parts.iter().enumerate() {
        let part = format!("t{place}");
        if *status != Status::NotStarted {
            driven.task(0, &part, TaskAction::Start { message: None });
        }
        let reason = || None;
        match status {
            Status::NotStarted | Status::InProgress => {}
            Status::Completed => drop(driven.task(1, &part, TaskAction::Complete { message: None })),
            Status::Failed => drop(driven.task(1, &part, TaskAction::Fail { error: "e".into() })),
            Status::Paused => drop(driven.task(1, &part, TaskAction::Pause { reason: reason() })),
            Status::Cancelled => drop(driven.task(1, &part, TaskAction::Cancel { reason: reason() })),
        }
    }
    driven
}

#[test]
fn a_parent_shows_what_follows_from_its_parts() {
    use Status::{Cancelled, Completed, Failed, InProgress, NotStarted, Paused};
    let table: &[(&[Status], Status)] = &[
        (&[NotStarted, NotStarted], NotStarted),
        (&[NotStarted, Cancelled], NotStarted),
        (&[InProgress, NotStarted], InProgress),
        (&[InProgress, Failed, Paused], InProgress),
        (&[Completed, NotStarted], InProgress),
        (&[Completed, NotStarted, Failed], Failed),
        (&[Failed, Paused, Completed], Failed),
        (&[Paused, Completed, NotStarted], Paused),
        (&[Cancelled, Cancelled], Cancelled),
        (&[Completed, Cancelled], Completed),
        (&[Completed, Completed], Completed),
    ];
    for (parts, expected) in table {
        let driven = group(parts);
        let progress = &driven.progress;
        let summary = Summary::of(progress, at(1));
        assert_eq!(
            progress.task_status(&progress.tasks()["group"]),
            *expected,
            "{parts:?}"
        );
        assert_eq!(
            TaskTree::of(progress, at(1)).rows[0].status,
            *expected,
            "{parts:?}"
        );
        let active = parts.iter().filter(|part| **part == InProgress).count();
        assert_eq!(
            summary.active_tasks,
            active + usize::from(*expected == InProgress)
        );
        let current = summary.current_task.map(|task| task.task_id);
        assert_ne!(current, Some(task_id("group")), "it does no work of its own");

        // A viewer that begins with the snapshot sees the same, also after a part reports again.
        let json = Snapshot::of(progress).to_json();
        let mirror = UpgradeMirror::begin(&json, &Summary::of(progress, at(1)), 1).unwrap();
        assert_eq!(mirror.progress().tasks(), progress.tasks(), "{parts:?}");
    }
}

#[test]
fn a_parent_without_reports_does_not_keep_an_upgrade_from_completing() {
    let mut driven = group(&[Status::Completed, Status::Cancelled]);
    assert_eq!(driven.progress.overall_percentage().value(), 100.0);
    driven.at(
        2,
        UpgradeCommand::Complete {
            allow_unfinished: false,
        },
    );
    assert_eq!(driven.progress.status, Status::Completed);
    assert!(!driven.progress.completed_with_failures);
}
