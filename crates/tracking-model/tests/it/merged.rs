//! Streams with records of two machines that did not know of each other: what ended stays so.

use tracking_model::{
    Artifact, ArtifactChange, ArtifactStatus, Fold, NewTask, Status, TaskAction, TaskType, UpgradeCommand,
    UpgradeProgress,
};

use crate::upgrades::{Driven, at, create, meta, progress, task_id};

/// What both machines did after `common`, one after the other.
fn merged(common: &Driven, one: &Driven, other: &Driven) -> UpgradeProgress {
    let since = |driven: &Driven| driven.events[common.events.len()..].to_vec();
    let mut state = common.progress.clone();
    for (n, (_, event)) in since(one).into_iter().chain(since(other)).enumerate() {
        state.apply(&meta(1_000 + n as u64, 1_000), &event);
    }
    state
}

#[test]
fn what_is_completed_or_cancelled_stays_so_whatever_another_machine_reports() {
    let mut common = Driven::new("u");
    let work = NewTask::new(task_id("tidy"), "Tidy up", TaskType::Cleanup);
    common.at(0, create());
    common.at(1, UpgradeCommand::AddTasks(vec![work]));
    common.at(2, UpgradeCommand::Start { phase: "Work".into() });
    let (mut one, mut other) = (common.clone(), common.clone());
    let cancel = UpgradeCommand::Cancel { reason: None };
    one.task(900, "tidy", TaskAction::Start { message: None });
    one.task(901, "tidy", TaskAction::Complete { message: None });
    one.at(902, cancel);
    other.task(910, "tidy", progress(10.0));
    other.at(911, UpgradeCommand::Pause { reason: None });
    let state = merged(&common, &one, &other);
    assert_eq!(state.status, Status::Cancelled);
    let tidy = state.task(&task_id("tidy")).unwrap();
    assert_eq!((tidy.status, tidy.percentage.value()), (Status::Completed, 100.0));
    assert_eq!(merged(&common, &other, &one).status, Status::Cancelled);
}

#[test]
fn an_artifact_that_is_deleted_stays_so() {
    let json = r#"{"artifact_id":"a","session_id":"s","collection_id":"c","upgrade_id":"u","name":"n",
        "artifact_type":"log_file","status":"created","tags":[],"created_at":"2025-01-31T05:25:01.056236Z"}"#;
    let Ok(added) = serde_json::from_str::<Artifact>(json) else {
        panic!("{:?}", serde_json::from_str::<Artifact>(json));
    };
    let changes = [ArtifactStatus::Deleted, ArtifactStatus::Uploaded];
    let [deleted, uploaded] = changes.map(|status| ArtifactChange::new(&added, status));
    let mut artifact = added.clone();
    deleted.apply(&mut artifact, at(1));
    uploaded.apply(&mut artifact, at(2));
    assert_eq!(
        (artifact.status, artifact.uploaded_at),
        (ArtifactStatus::Deleted, None)
    );
    let mut artifact = added;
    uploaded.apply(&mut artifact, at(1));
    deleted.apply(&mut artifact, at(2));
    assert_eq!(artifact.status, ArtifactStatus::Deleted);
}
