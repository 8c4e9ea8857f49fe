//! Summaries and what the tracker says of itself.

use progress_core::{CompleteOptions, EstimateBasis};
use tracking_model::{Span, Status};

use crate::fixture::{data_dir, in_memory, open, sample_tasks, with_tasks};

#[tokio::test]
async fn a_summary_before_the_start() {
    let (tracker, _) = with_tasks().await;
    let summary = tracker.progress_summary();
    assert_eq!(summary.upgrade_id.as_str(), "test-upgrade-123");
    assert_eq!(&*summary.cluster_name, "test-cluster");
    assert_eq!(
        (summary.status, summary.total_tasks, summary.completed_tasks),
        (Status::NotStarted, 3, 0)
    );
    assert_eq!(summary.progress_percentage.value(), 0.0);
    assert_eq!(summary.current_task, None);
}

#[tokio::test]
async fn a_summary_on_the_way() {
    let (tracker, _) = with_tasks().await;
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.start_task("task-1").await.unwrap();
    let summary = tracker.progress_summary();
    assert_eq!(summary.status, Status::InProgress);
    assert_eq!(summary.current_phase.as_deref(), Some("Test Phase"));
    assert_eq!(summary.current_task.unwrap().task_id.as_str(), "task-1");
    tracker.complete_task("task-1").await.unwrap();
    tracker.start_task("task-2").await.unwrap();
    let summary = tracker.progress_summary();
    assert_eq!(summary.completed_tasks, 1);
    assert_eq!(summary.progress_percentage.to_string(), "33.3");
    assert_eq!(summary.current_task.unwrap().task_id.as_str(), "task-2");
    tracker.fail_task("task-2", "Test error").await.unwrap();
    let summary = tracker.progress_summary();
    assert_eq!((summary.completed_tasks, summary.failed_tasks), (1, 1));
    assert_eq!(summary.current_task.unwrap().status, Status::Failed);
}

#[tokio::test]
async fn a_summary_survives_json() {
    let (tracker, _) = with_tasks().await;
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.start_task("task-1").await.unwrap();
    let summary = tracker.progress_summary();
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["upgrade_id"], "test-upgrade-123");
    assert_eq!(json["status"], "IN_PROGRESS");
    assert_eq!(
        serde_json::from_value::<tracking_model::Summary>(json).unwrap(),
        summary
    );
}

#[tokio::test]
async fn an_estimate_comes_with_progress() {
    let (tracker, clock) = with_tasks().await;
    assert_eq!(
        tracker.estimated_completion().unwrap().basis,
        EstimateBasis::Unknown
    );
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.start_task("task-1").await.unwrap();
    clock.advance(Span::from_secs(60));
    assert_eq!(
        tracker.estimated_completion().unwrap().basis,
        EstimateBasis::Unknown
    );
    tracker
        .update_task_progress("task-1", 50.0, "Half way done")
        .await
        .unwrap();
    let estimate = tracker.estimated_completion().unwrap();
    assert_eq!(estimate.basis, EstimateBasis::Rate);
    // A sixth in a minute: another minute for the rest of the first task, four for the others.
    assert_eq!(estimate.p50.unwrap().since(tracker.now()), Span::from_secs(300));
    let task = tracker.estimated_task_completion("task-1").unwrap();
    assert_eq!(task.p50.unwrap().since(tracker.now()), Span::from_secs(60));
}

#[test]
fn estimates_are_learned_from_other_upgrades_of_the_data_directory() {
    use progress_core::{NewUpgrade, ProgressTracker, ProgressTrackerOptions};
    use tracking_journal::ManualClock;
    use tracking_model::{PlanId, TaskAction, TaskId, UpgradeCommand, UpgradeId};

    let (_temporary, dir) = data_dir();
    let clock = std::sync::Arc::new(ManualClock::default());
    let run = |id: &str, minutes: Option<i64>| {
        let upgrade = NewUpgrade::new(UpgradeId::new(id).unwrap(), PlanId::new("p").unwrap(), "c");
        let options = ProgressTrackerOptions::default()
            .with_clock(clock.clone())
            .with_long_lived(false);
        let tracker = ProgressTracker::open_or_create(&dir, upgrade, options).unwrap();
        let submit = |command| tracker.submit(command).wait().unwrap();
        submit(UpgradeCommand::Start { phase: "x".into() });
        submit(UpgradeCommand::AddTasks(sample_tasks()));
        for task in ["task-1", "task-2", "task-3"].map(|id| TaskId::new(id).unwrap()) {
            let Some(minutes) = minutes else { continue };
            submit(UpgradeCommand::Task {
                task_id: task.clone(),
                action: TaskAction::Start { message: None },
            });
            clock.advance(Span::from_secs(60 * minutes));
            submit(UpgradeCommand::Task {
                task_id: task,
                action: TaskAction::Complete { message: None },
            });
        }
        tracker
    };
    for (id, minutes) in [("one", 10), ("two", 20), ("three", 30)] {
        run(id, Some(minutes)).close_blocking().unwrap();
    }
    // Neither a damaged upgrade nor one that is empty keeps the others from it.
    std::fs::write(dir.path().join("progress/upgrade_damaged.jsonl"), "no record\n").unwrap();
    let tracker = run("now", None);
    let estimate = tracker.estimated_completion().unwrap();
    assert_eq!(estimate.basis, EstimateBasis::History { runs: 3 });
    assert_eq!(
        estimate.p50.unwrap().since(tracker.now()),
        Span::from_secs(60 * 60)
    );
    assert!(estimate.p90 > estimate.p50);
}

#[tokio::test]
async fn the_tracker_tells_where_it_keeps_what() {
    let (_temporary, dir) = data_dir();
    let tracker = open(&dir, "agent@build-7");
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap();
    tracker.close().await.unwrap();
    let info = tracker.system_info();
    assert_eq!(&*info.actor, "agent@build-7");
    assert_eq!((info.storage.file_exists, info.storage.journal_seq), (true, 3));
    assert!(info.storage.file_size > 0 && info.storage.journal_size > 0);
    let snapshots = info.storage.snapshots.unwrap();
    assert_eq!((snapshots.failed, snapshots.last_error), (0, None));
    assert!(snapshots.written > 0);
    let (tracker, _) = in_memory();
    let info = serde_json::to_value(tracker.system_info()).unwrap();
    assert_eq!(info["storage"]["storage_path"], serde_json::Value::Null);
    assert_eq!(info["callbacks"]["event_callbacks"], 0);
}
