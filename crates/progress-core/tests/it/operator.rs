//! What somebody else asks of an upgrade that an agent runs.

use progress_core::{ProgressError, ProgressTracker};
use tokio::task::JoinSet;
use tracking_model::{Status, UpgradeChangeKind, UpgradeEvent};

use crate::fixture::{data_dir, in_memory, open};

/// A task that waits while the upgrade is paused.
fn waits(tracker: &ProgressTracker) -> JoinSet<Result<(), ProgressError>> {
    let tracker = tracker.clone();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { tracker.wait_while_paused().await });
    waiting
}

#[tokio::test]
async fn a_pause_from_elsewhere_reaches_the_agent() {
    let (_temporary, dir) = data_dir();
    let agent = open(&dir, "agent");
    agent.start_upgrade("Initialization").await.unwrap();
    agent.wait_while_paused().await.unwrap();
    let mut commits = agent.subscribe(16);
    let operator = open(&dir, "operator");
    operator.pause(Some("change freeze")).await.unwrap();
    let commit = commits.next().await.unwrap();
    assert_eq!(&*commit.records[0].meta.actor, "operator");
    assert!(matches!(
        commit.records[0].event,
        UpgradeEvent::Upgrade(UpgradeChangeKind::Paused, _)
    ));
    assert_eq!(agent.state().status, Status::Paused);
    let mut waiting = waits(&agent);
    operator.resume().await.unwrap();
    waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(agent.state().status, Status::InProgress);
}

#[tokio::test]
async fn a_cancel_from_elsewhere_fires_the_token_and_ends_the_wait() {
    let (_temporary, dir) = data_dir();
    let agent = open(&dir, "agent");
    let token = agent.cancellation_token();
    agent.start_upgrade("Initialization").await.unwrap();
    agent.pause(None).await.unwrap();
    let mut waiting = waits(&agent);
    let operator = open(&dir, "operator");
    operator.cancel(Some("wrong cluster")).await.unwrap();
    token.cancelled().await;
    let error = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(
        matches!(&error, ProgressError::Cancelled { reason: Some(reason), .. } if &**reason == "wrong cluster"),
        "{error}"
    );
    assert!(open(&dir, "late").cancellation_token().is_cancelled());
}

#[tokio::test]
async fn a_failure_ends_the_wait_and_closing_does() {
    let (tracker, _) = in_memory();
    tracker.start_upgrade("Initialization").await.unwrap();
    tracker.pause(None).await.unwrap();
    let mut waiting = waits(&tracker);
    tracker.fail_upgrade("no capacity").await.unwrap();
    assert!(matches!(
        waiting.join_next().await.unwrap().unwrap(),
        Err(ProgressError::Failed { .. })
    ));
    let (tracker, _) = in_memory();
    tracker.start_upgrade("Initialization").await.unwrap();
    tracker.pause(None).await.unwrap();
    let mut waiting = waits(&tracker);
    tracker.close().await.unwrap();
    assert!(matches!(
        waiting.join_next().await.unwrap().unwrap(),
        Err(ProgressError::Closed { .. })
    ));
}
