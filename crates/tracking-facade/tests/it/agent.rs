//! Building, working, shutting down.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracking_facade::{
    CollectionId, CompleteOptions, Delivery, ErrorKind, EventSink, MemorySink, NewArtifact, NewCollection,
    NewSession, NewTask, Problem, Record, SessionId, SessionOutcome, StreamId, TaskId, TaskType, Tracking,
    TrackingError, UpgradeId, blocking,
};

/// A sink that is down.
#[derive(Debug)]
struct Down;

#[async_trait]
impl EventSink for Down {
    fn name(&self) -> &'static str {
        "down"
    }

    async fn publish(&self, _: &Record, batch: &[Record]) -> Vec<Delivery> {
        batch
            .iter()
            .map(|_| Delivery::retry("connection refused"))
            .collect()
    }
}

fn node() -> NewTask {
    NewTask::new(
        TaskId::new("nodes").unwrap(),
        "Create nodes",
        TaskType::UpgradeStep,
    )
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_reported_before_anything_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let refused = Tracking::builder()
        .data_dir(temp.path().join("data"))
        .actor("")
        .upgrade("a/b", "p q", "\u{7}")
        .sink(Arc::new(Down))
        .sink(Arc::new(Down))
        .build()
        .await
        .unwrap_err();
    let TrackingError::Configuration(problems) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(problems.len(), 5, "{refused}");
    assert!(problems.contains(&Problem::SameSink("down".to_owned())));
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(!temp.path().join("data").exists());
    let refused = Tracking::builder().build().await.unwrap_err();
    assert!(refused.to_string().contains("no data directory") && refused.to_string().contains("no upgrade"));
}

#[tokio::test]
async fn sinks_get_everything_by_the_end_and_the_report_names_those_that_did_not() {
    let temp = tempfile::tempdir().unwrap();
    let memory = Arc::new(MemorySink::new("memory"));
    let tracking = Tracking::builder()
        .data_dir(temp.path())
        .upgrade("u", "p", "c")
        .sink(Arc::clone(&memory) as Arc<dyn EventSink>)
        .sink(Arc::new(Down))
        .shutdown_deadline(Duration::from_secs(2))
        .build()
        .await
        .unwrap();
    let progress = tracking.progress();
    progress.start_upgrade("One").await.unwrap();
    progress.add_task(node()).await.unwrap();
    progress.start_task("nodes").await.unwrap();
    progress.heartbeat("nodes").await.unwrap();
    progress.complete_task("nodes").await.unwrap();
    progress
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap();
    let artifacts = tracking.artifacts();
    let session = SessionId::new("s").unwrap();
    let upgrade = UpgradeId::new("u").unwrap();
    artifacts
        .create_session_as(session.clone(), NewSession::new(upgrade, "c"))
        .await
        .unwrap();
    let report = tracking.shutdown().await;

    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let kinds: Vec<String> = memory
        .received()
        .iter()
        .map(|record| record.kind.clone())
        .collect();
    assert!(kinds.contains(&"upgrade.completed".to_owned()), "{kinds:?}");
    assert!(
        kinds.contains(&"session.created".to_owned()),
        "what came last is delivered too: {kinds:?}"
    );
    assert!(!kinds.contains(&"task.heartbeat".to_owned()));
    let mut undrained: Vec<StreamId> = report.undrained.iter().map(|left| left.stream.clone()).collect();
    undrained.sort();
    assert_eq!(
        undrained,
        ["upgrade:u".parse().unwrap(), StreamId::Session(session)]
    );
    assert!(
        report
            .undrained
            .iter()
            .all(|left| left.sink == "down" && left.records > Some(0))
    );
    assert_eq!(report.undrained[0].reason.as_deref(), Some("connection refused"));
}

#[tokio::test]
async fn work_continues_where_it_stopped() {
    let temp = tempfile::tempdir().unwrap();
    let open = || {
        Tracking::builder()
            .data_dir(temp.path())
            .upgrade("u", "p", "c")
            .build()
    };
    let first = open().await.unwrap();
    first.progress().start_upgrade("One").await.unwrap();
    first.progress().add_task(node()).await.unwrap();
    first
        .progress()
        .update_task_progress("nodes", 40.0, "")
        .await
        .unwrap();
    let left = first.progress().state();
    assert!(first.shutdown().await.is_clean());
    let second = open().await.unwrap();
    assert_eq!(second.progress().state(), left);
    assert!(second.shutdown().await.is_clean());
    let other = Tracking::builder()
        .data_dir(temp.path())
        .upgrade("u", "other", "c")
        .build();
    assert_eq!(other.await.unwrap_err().kind(), ErrorKind::Refused);
    let unknown = Tracking::builder()
        .data_dir(temp.path())
        .existing_upgrade("v")
        .build();
    assert_eq!(unknown.await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_blocking_api_does_the_same_without_async() {
    let temp = tempfile::tempdir().unwrap();
    let memory = Arc::new(MemorySink::new("memory"));
    let tracking = blocking::Tracking::builder()
        .data_dir(temp.path().join("data"))
        .upgrade("u", "p", "c")
        .sink(Arc::clone(&memory) as Arc<dyn EventSink>)
        .build()
        .unwrap();
    tracking.progress().start_upgrade("One").unwrap();
    tracking.progress().add_task(node()).unwrap();
    tracking
        .progress()
        .update_task_steps("nodes", 1, Some(4))
        .unwrap();
    let file = temp.path().join("report.txt");
    std::fs::write(&file, "all well").unwrap();
    let artifacts = tracking.artifacts();
    let upgrade = UpgradeId::new("u").unwrap();
    let session = artifacts
        .create_session(NewSession::new(upgrade, "c"))
        .unwrap()
        .session_id;
    let collection = NewCollection::new("Logs").with_id(CollectionId::new("logs").unwrap());
    let collection = artifacts
        .create_collection(&session, collection)
        .unwrap()
        .collection_id;
    let added = artifacts
        .add_artifact(&session, &collection, file, NewArtifact::new())
        .unwrap();
    assert_eq!(added.file_size, Some(8));
    assert_eq!(
        tracking
            .progress()
            .task_progress("nodes")
            .unwrap()
            .percentage
            .value(),
        25.0
    );
    assert!(tracking.shutdown().is_clean());
    assert!(
        memory
            .received()
            .iter()
            .any(|record| record.kind == "artifact.added")
    );
}

#[tokio::test]
async fn the_end_of_an_upgrade_is_noted_in_its_sessions() {
    let temp = tempfile::tempdir().unwrap();
    let tracking = Tracking::builder()
        .data_dir(temp.path())
        .upgrade("u", "p", "c")
        .build()
        .await
        .unwrap();
    let (artifacts, upgrade) = (tracking.artifacts().clone(), UpgradeId::new("u").unwrap());
    let before = SessionId::new("before").unwrap();
    let new = NewSession::new(upgrade, "c");
    artifacts
        .create_session_as(before.clone(), new.clone())
        .await
        .unwrap();
    tracking.progress().start_upgrade("One").await.unwrap();
    tracking.progress().fail_upgrade("no quorum").await.unwrap();
    // It is noted while the agent goes on.
    while artifacts.session(&before).await.unwrap().outcome.is_none() {
        tokio::task::yield_now().await;
    }
    // What comes after the end hears of it at the shutdown.
    let after = SessionId::new("after").unwrap();
    artifacts.create_session_as(after.clone(), new).await.unwrap();
    assert!(tracking.shutdown().await.is_clean());
    for id in [&before, &after] {
        let session = artifacts.session(id).await.unwrap();
        assert_eq!(session.outcome, Some(SessionOutcome::Failed));
        assert!(session.is_open());
    }
}
