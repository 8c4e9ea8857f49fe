//! The reference's files in.

use tracking_model::{
    Fold, ReferenceError, ReferenceKind, Span, Status, StreamId, UpgradeEvent, UpgradeImported,
    UpgradeProgress,
};

use crate::upgrades::{half_done, meta};

pub(crate) const FAILED: &[u8] = include_bytes!("../fixtures/reference/upgrade_failed.json");
const IMPOSSIBLE: &[u8] = include_bytes!("../fixtures/reference/upgrade_impossible.json");

pub(crate) fn import(file: &[u8]) -> (UpgradeProgress, Vec<String>) {
    let imported = UpgradeImported::from_reference(file).unwrap();
    let warnings = imported.warnings.clone();
    let mut progress = UpgradeProgress::empty(&StreamId::Upgrade(imported.upgrade_id.clone()));
    progress.apply(&meta(1, 0), &UpgradeEvent::Imported(imported));
    (progress, warnings)
}

#[test]
fn a_file_of_the_reference_is_taken_over_as_it_is() {
    let (progress, warnings) = import(FAILED);
    assert_eq!(progress.status, Status::Failed);
    assert_eq!(
        progress.error_message.as_deref(),
        Some("control plane did not come back")
    );
    assert_eq!(progress.duration, Some(Span::ZERO), "the file's is negative");
    assert_eq!(
        progress.metadata["imported"]["duration"],
        "-1 day, 23:59:59.899900"
    );
    assert_eq!(progress.metadata["region"], "eu-west-1");
    let ids: Vec<&str> = progress.tasks().keys().map(|id| id.as_str()).collect();
    assert_eq!(ids, ["precheck", "control-plane"], "in the order of the file");
    assert_eq!(progress.overall_percentage().value(), 75.0);
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&progress).unwrap());
}

#[test]
fn what_is_impossible_is_kept_and_reported() {
    let (progress, warnings) = import(IMPOSSIBLE);
    insta::assert_snapshot!(warnings.join("\n"));
    insta::assert_json_snapshot!(progress.metadata);
    assert_eq!(
        progress.last_report_at,
        Some(meta(1, 0).at),
        "no time in the file is one: that of the import"
    );
    let tree: Vec<String> = progress
        .tasks()
        .values()
        .map(|task| {
            let parent = task.parent_task_id.as_ref().map_or("-", |id| id.as_str());
            format!(
                "{} {} under {parent} on {}, {}",
                task.task_id, task.status, task.depth, task.percentage
            )
        })
        .collect();
    insta::assert_snapshot!(tree.join("\n"));
}

#[test]
fn the_event_survives_the_journal() {
    for file in [FAILED, IMPOSSIBLE] {
        let (progress, _) = import(file);
        let event = UpgradeEvent::Imported(UpgradeImported::from_reference(file).unwrap());
        let again = crate::upgrades::through_the_journal(&event);
        assert_eq!(again, event);
        let mut replayed = UpgradeProgress::empty(&StreamId::Upgrade(progress.upgrade_id.clone()));
        replayed.apply(&meta(1, 0), &again);
        assert_eq!(replayed, progress);
    }
}

#[test]
fn the_last_twenty_events_stay() {
    let events: Vec<String> = (0..50)
        .map(|n| format!("{{\"timestamp\":\"2025-01-01 00:00:{n:02}\",\"message\":\"{n}\"}}"))
        .collect();
    let file = format!(
        "{{\"upgrade_id\":\"u\",\"tasks\":{{\"t\":{{\"events\":[{}]}}}}}}",
        events.join(",")
    );
    let (progress, _) = import(file.as_bytes());
    let task = &progress.tasks()[0];
    assert_eq!(
        (task.events.len(), task.events_omitted, &*task.events[0].message),
        (20, 30, "30")
    );
    assert_eq!(task.last_report_at, Some("2025-01-01T00:00:49Z".parse().unwrap()));
}

#[test]
fn a_tree_too_deep_is_made_flatter() {
    let tasks: Vec<String> = (0..300)
        .rev()
        .map(|n: i32| format!("\"t{n}\":{{\"parent_task_id\":\"t{}\"}}", n - 1))
        .collect();
    let file = format!("{{\"upgrade_id\":\"u\",\"tasks\":{{{}}}}}", tasks.join(","));
    let (progress, warnings) = import(file.as_bytes());
    assert_eq!(
        progress.tasks().values().map(|task| task.depth).max(),
        Some(tracking_model::MAX_DEPTH)
    );
    assert_eq!(
        progress.tasks()["t299"].parent_task_id.as_ref().unwrap().as_str(),
        "t62"
    );
    assert!(
        warnings.last().unwrap().starts_with("and "),
        "not one by one for ever"
    );
}

#[test]
fn what_is_no_file_of_the_reference_says_why() {
    let error = |file: &str| {
        UpgradeImported::from_reference(file.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let texts = [
        error(""),
        error("{\n  \"upgrade_id\": \"u\",\n  \"tasks\": {"),
        error("[1, 2]"),
        error("{\"plan_id\": \"p\"}"),
        error("{\"upgrade_id\": null}"),
        error("{\"upgrade_id\": {}}"),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn kinds_are_told_apart() {
    assert_eq!(ReferenceKind::of(FAILED), Ok(ReferenceKind::Upgrade));
    assert_eq!(ReferenceKind::of(IMPOSSIBLE), Ok(ReferenceKind::Upgrade));
    assert_eq!(
        ReferenceKind::of(br#"{"session_id": "s", "upgrade_id": "u"}"#),
        Ok(ReferenceKind::Session)
    );
    assert!(matches!(
        ReferenceKind::of(b"{}"),
        Err(ReferenceError::NoId { .. })
    ));
}

/// What the reference made of a snapshot of ours when it read it and wrote it again: its own fields, unchanged.
#[test]
fn a_snapshot_that_the_reference_rewrote_is_the_same_but_for_what_it_does_not_know() {
    let rewritten = include_bytes!("../fixtures/reference/upgrade_rewritten.json");
    let (again, warnings) = import(rewritten);
    assert_eq!(warnings, Vec::<String>::new());
    let ours = half_done().progress;
    assert!(ours.tasks().keys().eq(again.tasks().keys()));
    for (task, ours) in again.tasks().values().zip(ours.tasks().values()) {
        assert_eq!(task.status, ours.status);
        assert_eq!(task.children, ours.children);
        assert_eq!(task.events, ours.events);
        assert_eq!(
            (task.started_at, task.completed_at, task.duration),
            (ours.started_at, ours.completed_at, ours.duration)
        );
        assert_eq!(
            (&task.error_message, task.retry_count),
            (&ours.error_message, ours.retry_count)
        );
    }
    assert_eq!(
        (again.status, again.started_at, again.metadata),
        (ours.status, ours.started_at, ours.metadata)
    );
}
