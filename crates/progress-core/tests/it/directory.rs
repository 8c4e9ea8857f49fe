//! All upgrades of a data directory.

use std::time::Duration;

use progress_core::{
    Agent, ProgressError, ProgressTracker, ProgressTrackerOptions, remove_upgrade, upgrades,
};
use tracking_journal::Liveness;
use tracking_model::{Span, Status};

use crate::fixture::{data_dir, in_memory, open, sample_tasks, upgrade, upgrade_id};

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_list_shows_each_and_hides_none_for_anothers_damage() {
    let (_temporary, dir) = data_dir();
    let tracker = open(&dir, "agent");
    tracker.start_upgrade("Test Phase").await.unwrap();
    tracker.add_tasks(sample_tasks()).await.unwrap();
    tracker.complete_task("task-1").await.unwrap();
    let damaged = dir.path().join("progress/upgrade_damaged.jsonl");
    std::fs::write(&damaged, "no record\n".repeat(3)).unwrap();
    std::fs::write(dir.path().join("progress/notes.jsonl"), "").unwrap();
    let entries = upgrades(&dir, tracker.now()).unwrap();
    let header = entries
        .iter()
        .find(|entry| entry.upgrade_id == upgrade_id())
        .unwrap()
        .header
        .as_ref()
        .unwrap();
    assert_eq!((header.status, header.agent), (Status::InProgress, Agent::Live));
    assert_eq!(header.overall_percentage.to_string(), "33.3");
    assert_eq!(header.started_at, tracker.state().started_at);
    assert_eq!(header.head, tracker.head());
    assert_eq!(serde_json::to_value(header).unwrap()["agent"], "live");
}

#[tokio::test]
async fn an_upgrade_is_removed_once_its_agent_has_left() {
    let (temporary, dir) = data_dir();
    let tracker = open(&dir, "agent");
    let refused = remove_upgrade(&dir, &upgrade_id(), PATIENCE).unwrap_err();
    assert!(matches!(refused, ProgressError::AgentAtWork { .. }), "{refused}");
    tracker.close().await.unwrap();
    remove_upgrade(&dir, &upgrade_id(), PATIENCE).unwrap();
    assert_eq!(
        std::fs::read_dir(temporary.path().join("progress"))
            .unwrap()
            .count(),
        0
    );
    let unknown = remove_upgrade(&dir, &upgrade_id(), PATIENCE).unwrap_err();
    assert!(
        matches!(unknown, ProgressError::UnknownUpgrade { .. }),
        "{unknown}"
    );
}

#[test]
fn a_removed_upgrade_gets_no_snapshot_any_more() {
    let (temporary, dir) = data_dir();
    let options = ProgressTrackerOptions::default().with_long_lived(false);
    let tracker = ProgressTracker::open_or_create(&dir, upgrade(), options).unwrap();
    remove_upgrade(&dir, &upgrade_id(), PATIENCE).unwrap();
    tracker.close_blocking().unwrap();
    assert!(
        !temporary
            .path()
            .join("progress/upgrade_test-upgrade-123.json")
            .exists()
    );
}

#[tokio::test]
async fn an_agent_is_gone_when_its_marker_or_its_silence_says_so() {
    let (tracker, clock) = in_memory();
    assert_eq!(tracker.agent().unwrap(), Agent::NotNeeded);
    tracker.start_upgrade("Test Phase").await.unwrap();
    assert_eq!(tracker.agent().unwrap(), Agent::Live);
    let agent = |liveness| Agent::of(&tracker.state(), liveness, tracker.now());
    assert_eq!(agent(Liveness::Gone), Agent::Gone);
    clock.advance(Span::from_secs(300));
    assert_eq!(agent(Liveness::Unmarked), Agent::Recent);
    clock.advance(Span::from_secs(1));
    assert_eq!(agent(Liveness::Unmarked), Agent::Gone);
    assert_eq!(agent(Liveness::Live), Agent::Live);
    clock.advance(Span::from_secs(-86_400));
    assert_eq!(agent(Liveness::Unmarked), Agent::Recent);
    tracker.pause(None).await.unwrap();
    assert_eq!(
        Agent::of(&tracker.state(), Liveness::Gone, tracker.now()),
        Agent::NotNeeded
    );
}
