//! Tasks, one by one and together.

use progress_core::ProgressError;
use serde_json::json;
use tracking_model::{CommandError, Percent, Span, Status, TaskId, TaskType, TransitionError};

use crate::fixture::{sample_tasks, task, with_tasks};

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

#[tokio::test]
async fn a_task_runs_from_start_to_end() {
    let (tracker, clock) = with_tasks().await;
    assert_eq!(tracker.read(|state| state.tasks().len()), 3);
    let started = tracker.start_task("task-1").await.unwrap();
    assert_eq!(
        (started.task_id.as_str(), started.status),
        ("task-1", Status::InProgress)
    );
    assert_eq!(tracker.current_task().unwrap().started_at, Some(tracker.now()));
    clock.advance(Span::from_secs(5));
    let completed = tracker.complete_task(id("task-1")).await.unwrap();
    assert_eq!(
        (completed.status, completed.percentage),
        (Status::Completed, Some(Percent::FULL))
    );
    let report = tracker.task_progress("task-1").unwrap();
    assert_eq!(
        (report.status, report.duration),
        (Status::Completed, Some(Span::from_secs(5)))
    );
    assert_eq!(tracker.tasks_by_status(Status::NotStarted).len(), 2);
}

#[tokio::test]
async fn a_restarted_agent_adds_its_tasks_again_without_harm() {
    let (tracker, _) = with_tasks().await;
    let drain = || task("drain", "Drain nodes", TaskType::Cleanup);
    assert_eq!(tracker.ensure_task(drain()).await.unwrap(), Status::NotStarted);
    tracker.start_task("drain").await.unwrap();
    let head = tracker.head();
    assert_eq!(tracker.ensure_task(drain()).await.unwrap(), Status::InProgress);
    assert_eq!(tracker.head(), head, "nothing is written");
    let error = tracker
        .ensure_task(task("drain", "Another", TaskType::Cleanup))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ProgressError::Refused(CommandError::TaskExists(_))
    ));
}

#[tokio::test]
async fn unknown_tasks_and_invalid_ids_are_errors() {
    let (tracker, _) = with_tasks().await;
    let head = tracker.head();
    let error = tracker.start_task("nonexistent").await.unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::UnknownTask(_))),
        "{error}"
    );
    let error = tracker.task_progress("nonexistent").unwrap_err();
    assert!(matches!(error, ProgressError::UnknownTask { .. }), "{error}");
    let error = tracker.heartbeat("../etc").await.unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::Id(_))),
        "{error}"
    );
    assert_eq!(tracker.head(), head);
}

#[tokio::test]
async fn a_failed_task_says_why_and_can_be_retried() {
    let (tracker, _) = with_tasks().await;
    tracker.start_task("task-1").await.unwrap();
    let failed = tracker.fail_task("task-1", "due to error").await.unwrap();
    assert_eq!(
        (failed.status, &*failed.message),
        (Status::Failed, "Task failed: due to error")
    );
    assert_eq!(
        tracker.task_progress("task-1").unwrap().error_message.as_deref(),
        Some("due to error")
    );
    let late = tracker
        .update_task_progress("task-1", 50.0, "still at it")
        .await
        .unwrap_err();
    assert!(
        matches!(
            late,
            ProgressError::Refused(CommandError::Transition(TransitionError {
                from: Status::Failed,
                ..
            }))
        ),
        "{late}"
    );
    tracker.retry("task-1").await.unwrap();
    assert_eq!(tracker.task_progress("task-1").unwrap().retry_count, 1);
}

#[tokio::test]
async fn a_completed_task_stays_completed() {
    let (tracker, _) = with_tasks().await;
    tracker.complete_task("task-1").await.unwrap();
    for error in [
        tracker.start_task("task-1").await.unwrap_err(),
        tracker
            .update_task_progress("task-1", 10.0, "late")
            .await
            .unwrap_err(),
        tracker.cancel_task("task-1", None).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, ProgressError::Refused(CommandError::Transition(_))),
            "{error}"
        );
    }
}

#[tokio::test]
async fn percentages_are_clamped_and_no_numbers_refused() {
    let (tracker, _) = with_tasks().await;
    let event = tracker
        .update_task_progress("task-1", 150.0, "more than all")
        .await
        .unwrap();
    assert_eq!(event.percentage, Some(Percent::FULL));
    let event = tracker
        .update_task_progress("task-1", -5.0, "less than nothing")
        .await
        .unwrap();
    assert_eq!(event.percentage, Some(Percent::ZERO));
    let error = tracker
        .update_task_progress("task-1", f64::NAN, "")
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ProgressError::Refused(CommandError::InvalidPercentage { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn details_travel_with_the_event() {
    let (tracker, _) = with_tasks().await;
    let details = json!({"nodes_ready": 3}).as_object().unwrap().clone();
    let event = tracker
        .update_task_progress_with("task-1", 50.0, "Half way", details)
        .await
        .unwrap();
    assert_eq!(event.details.to_map()["nodes_ready"], 3);
}

#[tokio::test]
async fn steps_give_the_percentage() {
    let (tracker, _) = with_tasks().await;
    let error = tracker.update_task_steps("task-1", 1, None).await.unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::UnknownTotal(_))),
        "{error}"
    );
    tracker.update_task_steps("task-1", 1, Some(4)).await.unwrap();
    let event = tracker.update_task_steps("task-1", 2, None).await.unwrap();
    assert_eq!(event.percentage, Some(Percent::new(50.0).unwrap()));
    let report = tracker.task_progress("task-1").unwrap();
    assert_eq!((report.completed_steps, report.total_steps), (2, Some(4)));
}

#[tokio::test]
async fn a_task_pauses_resumes_and_is_cancelled() {
    let (tracker, _) = with_tasks().await;
    tracker.start_task("task-1").await.unwrap();
    tracker.pause_task("task-1", Some("lunch")).await.unwrap();
    assert!(tracker.start_task("task-1").await.is_err());
    tracker.resume_task("task-1").await.unwrap();
    let event = tracker.cancel_task("task-1", Some("not needed")).await.unwrap();
    assert_eq!((event.status, &*event.message), (Status::Cancelled, "not needed"));
}

#[tokio::test]
async fn a_wait_is_shown_until_the_next_report() {
    let (tracker, clock) = with_tasks().await;
    tracker.start_task("task-1").await.unwrap();
    let until = tracker.now() + Span::from_secs(3600);
    tracker
        .waiting_on("task-1", "approval of the change", Some(until))
        .await
        .unwrap();
    let waiting = tracker.task_progress("task-1").unwrap().waiting_on.unwrap();
    assert_eq!(
        (&*waiting.reason, waiting.until),
        ("approval of the change", Some(until))
    );
    clock.advance(Span::from_secs(3600));
    assert!(tracker.stalled_tasks().is_empty());
    clock.advance(Span::from_secs(1));
    assert_eq!(tracker.stalled_tasks().len(), 1);
    tracker
        .update_task_progress("task-1", 10.0, "approved")
        .await
        .unwrap();
    assert_eq!(tracker.task_progress("task-1").unwrap().waiting_on, None);
    assert!(tracker.stalled_tasks().is_empty());
}

#[tokio::test]
async fn a_silent_task_is_stalled_until_it_reports() {
    let (tracker, clock) = with_tasks().await;
    tracker.start_task("task-1").await.unwrap();
    clock.advance(Span::from_secs(301));
    assert_eq!(tracker.stalled_tasks()[0].task_id, id("task-1"));
    assert!(tracker.task_progress("task-1").unwrap().stalled);
    tracker.heartbeat("task-1").await.unwrap();
    assert!(tracker.stalled_tasks().is_empty());
    assert_eq!(tracker.tasks_by_status(Status::InProgress).len(), 1);
}

#[tokio::test]
async fn several_tasks_add_up() {
    let (tracker, _) = with_tasks().await;
    for (done, expected) in [(0, "0.0"), (1, "33.3"), (2, "66.6"), (3, "100.0")] {
        if done > 0 {
            tracker.start_task(format!("task-{done}")).await.unwrap();
            tracker.complete_task(format!("task-{done}")).await.unwrap();
        }
        assert_eq!(tracker.calculate_progress_percentage().to_string(), expected);
    }
    assert_eq!(tracker.tasks_by_status(Status::Completed).len(), 3);
    assert_eq!(tracker.current_task(), None);
}

#[tokio::test]
async fn the_current_task_is_the_first_that_runs() {
    let (tracker, _) = with_tasks().await;
    assert_eq!(tracker.current_task(), None);
    tracker.start_task("task-2").await.unwrap();
    tracker.start_task("task-1").await.unwrap();
    assert_eq!(tracker.current_task().unwrap().task_id, id("task-1"));
    tracker.complete_task("task-1").await.unwrap();
    assert_eq!(tracker.current_task().unwrap().task_id, id("task-2"));
}

#[tokio::test]
async fn children_give_their_parent_its_percentage() {
    let (tracker, _) = with_tasks().await;
    tracker
        .add_tasks(vec![
            task("nodes", "Replace nodes", TaskType::UpgradeStep),
            task("drain", "Drain", TaskType::UpgradeStep)
                .with_parent(id("nodes"))
                .with_weight(3.0),
            task("delete", "Delete", TaskType::Cleanup).with_parent(id("nodes")),
        ])
        .await
        .unwrap();
    tracker.complete_task("drain").await.unwrap();
    assert_eq!(
        tracker.task_progress("nodes").unwrap().percentage,
        Percent::new(75.0).unwrap()
    );
    assert_eq!(
        tracker.task_progress("drain").unwrap().parent_task_id,
        Some(id("nodes"))
    );
}

#[tokio::test]
async fn bad_tasks_are_refused_all_together() {
    let (tracker, _) = with_tasks().await;
    let head = tracker.head();
    let orphan = task("b", "B", TaskType::Validation).with_parent(id("missing"));
    let error = tracker
        .add_tasks(vec![task("a", "A", TaskType::Validation), orphan])
        .await
        .unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::UnknownParent { .. })),
        "{error}"
    );
    let error = tracker.add_tasks(sample_tasks()).await.unwrap_err();
    assert!(
        matches!(error, ProgressError::Refused(CommandError::TaskExists(_))),
        "{error}"
    );
    assert_eq!(tracker.head(), head);
}

#[tokio::test]
async fn a_task_report_has_the_keys_of_the_reference() {
    let (tracker, _) = with_tasks().await;
    tracker.start_task("task-1").await.unwrap();
    for n in 1..=6 {
        tracker
            .update_task_progress("task-1", f64::from(n) * 10.0, format!("step {n}"))
            .await
            .unwrap();
    }
    insta::assert_json_snapshot!(tracker.task_progress("task-1").unwrap());
}
