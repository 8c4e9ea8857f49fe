//! The life of an upgrade.

use progress_core::{CompleteOptions, NewUpgrade, ProgressError, ProgressTracker, ProgressTrackerOptions};
use tracking_journal::JournalError;
use tracking_model::{CommandError, Percent, PlanId, Span, Status, UpgradeCommand, UpgradeId};

use crate::fixture::{data_dir, in_memory, open, sample_tasks, upgrade, upgrade_id, with_tasks};

#[tokio::test]
async fn a_new_upgrade_has_not_started() {
    let (tracker, _) = in_memory();
    let state = tracker.state();
    assert_eq!(tracker.upgrade_id().as_str(), "test-upgrade-123");
    assert_eq!(state.plan_id.unwrap().as_str(), "test-plan-123");
    assert_eq!(&*state.cluster_name, "test-cluster");
    assert_eq!(state.status, Status::NotStarted);
    assert_eq!(state.duration, None);
}

#[tokio::test]
async fn starting_sets_phase_and_time() {
    let (tracker, _) = in_memory();
    tracker.start_upgrade("Test Phase").await.unwrap();
    let state = tracker.state();
    assert_eq!(state.status, Status::InProgress);
    assert_eq!(state.current_phase.as_deref(), Some("Test Phase"));
    assert_eq!(state.started_at, Some(tracker.now()));
    tracker.set_current_phase("Validation").await.unwrap();
    assert_eq!(tracker.state().current_phase.as_deref(), Some("Validation"));
}

#[tokio::test]
async fn completing_gives_the_duration() {
    let (tracker, clock) = in_memory();
    tracker.start_upgrade("Test Phase").await.unwrap();
    clock.advance(Span::from_secs(90));
    tracker
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap();
    let state = tracker.state();
    assert_eq!(state.status, Status::Completed);
    assert_eq!(state.completed_at, Some(tracker.now()));
    assert_eq!(state.duration, Some(Span::from_secs(90)));
    assert_eq!(state.overall_percentage(), Percent::FULL);
}

#[tokio::test]
async fn completing_with_unfinished_tasks_is_refused_unless_allowed() {
    let (tracker, _) = with_tasks().await;
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.complete_task("task-1").await.unwrap();
    let refused = tracker
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap_err();
    let ProgressError::Refused(CommandError::Unfinished { unfinished }) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(unfinished.len(), 2);
    assert_eq!(tracker.state().status, Status::InProgress);
    tracker
        .complete_upgrade(CompleteOptions::default().allow_unfinished())
        .await
        .unwrap();
    let state = tracker.state();
    assert!(state.completed_with_failures);
    assert_eq!(state.overall_percentage().to_string(), "33.3");
}

#[tokio::test]
async fn a_failed_upgrade_says_why_and_can_start_again() {
    let (tracker, _) = in_memory();
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.fail_upgrade("Test error occurred").await.unwrap();
    let state = tracker.state();
    assert_eq!(state.status, Status::Failed);
    assert_eq!(state.error_message.as_deref(), Some("Test error occurred"));
    tracker.start_upgrade("Second try").await.unwrap();
    let state = tracker.state();
    assert_eq!(
        (state.status, state.retry_count, state.error_message),
        (Status::InProgress, 1, None)
    );
}

#[tokio::test]
async fn starting_twice_is_refused_and_ensuring_is_not() {
    let (tracker, _) = in_memory();
    let ensured = || async { tracker.ensure_started("Initialization").await };
    assert_eq!(ensured().await.unwrap(), Status::NotStarted);
    let head = tracker.head();
    assert_eq!(ensured().await.unwrap(), Status::InProgress);
    assert_eq!(tracker.head(), head);
    let refused = tracker.start_upgrade("Initialization").await.unwrap_err();
    assert!(
        matches!(
            refused,
            ProgressError::Refused(CommandError::AlreadyStarted { .. })
        ),
        "{refused}"
    );
    tracker.pause(None).await.unwrap();
    assert_eq!(ensured().await.unwrap(), Status::Paused);
    assert_eq!(tracker.state().status, Status::Paused);
    tracker.fail_upgrade("no").await.unwrap();
    assert_eq!(ensured().await.unwrap(), Status::Failed);
    assert_eq!(tracker.state().retry_count, 1);
    tracker
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap();
    let head = tracker.head();
    assert_eq!(ensured().await.unwrap(), Status::Completed);
    assert_eq!(tracker.head(), head);
    let (tracker, _) = in_memory();
    tracker.cancel(None).await.unwrap();
    let refused = tracker.ensure_started("Initialization").await.unwrap_err();
    assert!(
        matches!(refused, ProgressError::Refused(CommandError::Transition(_))),
        "{refused}"
    );
}

#[tokio::test]
async fn several_commands_are_committed_together_or_not_at_all() {
    let (tracker, _) = in_memory();
    let head = tracker.head();
    let all = UpgradeCommand::All(vec![
        UpgradeCommand::Start {
            phase: "Initialization".into(),
        },
        UpgradeCommand::AddTasks(sample_tasks()),
        UpgradeCommand::AddTasks(sample_tasks()),
    ]);
    let refused = tracker.submit(all).await.unwrap_err();
    assert!(
        matches!(refused, ProgressError::Refused(CommandError::TaskExists(_))),
        "{refused}"
    );
    assert_eq!(tracker.head(), head);
    let all = UpgradeCommand::All(vec![
        UpgradeCommand::Start {
            phase: "Initialization".into(),
        },
        UpgradeCommand::AddTasks(sample_tasks()),
    ]);
    assert_eq!(tracker.submit(all).await.unwrap().records().len(), 4);
}

#[test]
fn opening_continues_where_it_stopped() {
    let (_temporary, dir) = data_dir();
    let tracker = open(&dir, "first");
    tracker
        .submit(UpgradeCommand::Start {
            phase: "Initialization".into(),
        })
        .wait()
        .unwrap();
    tracker
        .submit(UpgradeCommand::AddTasks(sample_tasks()))
        .wait()
        .unwrap();
    let state = tracker.state();
    drop(tracker);
    let again = ProgressTracker::open(&dir, &upgrade_id(), ProgressTrackerOptions::default()).unwrap();
    assert_eq!(again.state(), state);
    let again = open(&dir, "third");
    assert_eq!(again.state(), state);
}

#[test]
fn an_unknown_upgrade_is_an_error_and_leaves_nothing() {
    let (temporary, dir) = data_dir();
    let unknown = UpgradeId::new("nonexistent").unwrap();
    let error = ProgressTracker::open(&dir, &unknown, ProgressTrackerOptions::default()).unwrap_err();
    assert!(matches!(error, ProgressError::UnknownUpgrade { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(temporary.path().join("progress"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn the_same_id_for_another_cluster_or_plan_is_an_error() {
    let (_temporary, dir) = data_dir();
    let tracker = open(&dir, "first");
    for other in [
        NewUpgrade::new(
            upgrade_id(),
            PlanId::new("test-plan-123").unwrap(),
            "another-cluster",
        ),
        NewUpgrade::new(upgrade_id(), PlanId::new("another-plan").unwrap(), "test-cluster"),
    ] {
        let error =
            ProgressTracker::open_or_create(&dir, other, ProgressTrackerOptions::default()).unwrap_err();
        assert!(
            matches!(&error, ProgressError::OtherUpgrade { cluster_name, .. } if &**cluster_name == "test-cluster"),
            "{error}"
        );
    }
    assert_eq!(tracker.head().seq, 1);
}

#[test]
fn invalid_names_create_nothing() {
    let nameless = NewUpgrade::new(upgrade_id(), PlanId::new("p").unwrap(), " ");
    let (temporary, dir) = data_dir();
    let error =
        ProgressTracker::open_or_create(&dir, nameless, ProgressTrackerOptions::default()).unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::Text(_))),
        "{error}"
    );
    assert!(
        !temporary
            .path()
            .join("progress/upgrade_test-upgrade-123.jsonl")
            .exists()
    );
}

#[tokio::test]
async fn a_closed_tracker_refuses_and_can_be_read() {
    let (_temporary, dir) = data_dir();
    let tracker = open(&dir, "agent");
    let clone = tracker.clone();
    tracker.start_upgrade("Initialization").await.unwrap();
    tracker.close().await.unwrap();
    tracker.close().await.unwrap();
    let error = clone.pause(None).await.unwrap_err();
    assert!(
        matches!(error, ProgressError::Journal(JournalError::Closed)),
        "{error}"
    );
    assert_eq!(clone.state().status, Status::InProgress);
}

#[test]
fn a_snapshot_is_exact_after_closing() {
    let (_temporary, dir) = data_dir();
    let tracker =
        ProgressTracker::open_or_create(&dir, upgrade(), ProgressTrackerOptions::default()).unwrap();
    tracker
        .submit(UpgradeCommand::Start {
            phase: "Initialization".into(),
        })
        .wait()
        .unwrap();
    tracker.close_blocking().unwrap();
    let file = tracker.system_info().storage.progress_file.unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(snapshot["status"], "in_progress");
    assert_eq!(snapshot["current_phase"], "Initialization");
}

#[test]
fn the_last_of_several_writers_leaves_an_exact_snapshot() {
    let (_temporary, dir) = data_dir();
    let open = || {
        let options = ProgressTrackerOptions::default().with_long_lived(false);
        ProgressTracker::open_or_create(&dir, upgrade(), options).unwrap()
    };
    let (slow, quick) = (open(), open());
    let start = UpgradeCommand::Start {
        phase: "Initialization".into(),
    };
    slow.submit(start).wait().unwrap();
    let phase = UpgradeCommand::SetPhase {
        phase: "Validation".into(),
    };
    quick.submit(phase).wait().unwrap();
    quick.close_blocking().unwrap();
    slow.close_blocking().unwrap();
    let file = slow.system_info().storage.progress_file.unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(snapshot["current_phase"], "Validation");
}

#[test]
fn trackers_are_shared_between_tasks_and_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send>(_: T) {}
    let (tracker, _) = in_memory();
    shared(&tracker);
    sent(tracker.start_task("task-1"));
    sent(tracker.wait_while_paused());
    sent(tracker.close());
}
