//! What goes out: events, summaries, messages and snapshots as JSON.

use std::fmt::Write as _;

use serde_json::Value;
use tracking_model::{
    EventHistory, Fold, ProgressEventMessage, Snapshot, Status, StreamEvent, Summary, TaskAction, TaskTree,
    UpgradeCommand, UpgradeEvent, UpgradeImported, UpgradeProgress,
};

use crate::import::{FAILED, import};
use crate::upgrades::{Driven, at, half_done, meta, progress, task_id, through_the_journal};

/// An upgrade whose history has every kind of event.
fn eventful() -> Driven {
    let mut driven = half_done();
    driven
        .task(
            41,
            "blue",
            TaskAction::Pause {
                reason: Some("lunch".into()),
            },
        )
        .task(42, "blue", TaskAction::Resume)
        .at(
            43,
            UpgradeCommand::Pause {
                reason: Some("incident".into()),
            },
        )
        .at(50, UpgradeCommand::Resume)
        .at(
            60,
            UpgradeCommand::Fail {
                error: "quota".into(),
            },
        )
        .at(
            70,
            UpgradeCommand::Start {
                phase: "Again".into(),
            },
        )
        .at(
            80,
            UpgradeCommand::Complete {
                allow_unfinished: true,
            },
        );
    driven
}

/// The events of histories that end otherwise, and of an import.
fn other_events() -> Vec<UpgradeEvent> {
    let mut cancelled = half_done();
    cancelled.at(
        90,
        UpgradeCommand::Cancel {
            reason: Some("wrong cluster".into()),
        },
    );
    let (_, cancel) = cancelled.events.pop().unwrap();
    vec![
        cancel,
        UpgradeEvent::Imported(UpgradeImported::from_reference(FAILED).unwrap()),
    ]
}

#[test]
fn every_kind_of_event_has_its_json() {
    let mut text = String::new();
    let driven = eventful();
    for event in driven
        .events
        .iter()
        .map(|(_, event)| event)
        .chain(&other_events())
    {
        let mut data = Vec::new();
        event.write_data(&mut data);
        writeln!(text, "{} {}", event.kind(), String::from_utf8(data).unwrap()).unwrap();
        assert_eq!(through_the_journal(event), *event);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_message_has_its_json() {
    let mut text = String::new();
    let driven = eventful();
    let imported = (meta(99, 99), other_events().pop().unwrap());
    for (meta, event) in driven.events.iter().chain([&imported]) {
        match ProgressEventMessage::new(&driven.progress.upgrade_id, meta, event) {
            None => assert!(matches!(event, UpgradeEvent::Heartbeat(_))),
            Some(message) => {
                let json = serde_json::to_string(&message).unwrap();
                assert_eq!(
                    serde_json::from_str::<ProgressEventMessage>(&json).unwrap(),
                    message
                );
                let keys =
                    "event_id timestamp task_id task_type status message percentage details upgrade_id type";
                let places: Vec<_> = keys
                    .split(' ')
                    .map(|key| json.find(&format!("\"{key}\":")))
                    .collect();
                assert!(places.is_sorted() && places[0].is_some(), "{json}");
                writeln!(text, "{json}").unwrap();
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_summary_has_the_keys_of_the_contract_in_their_order() {
    let driven = half_done();
    let summary = Summary::of(&driven.progress, at(200));
    let json = serde_json::to_string_pretty(&summary).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    insta::assert_snapshot!(json);
}

#[test]
fn the_current_task_is_the_first_that_runs_else_the_last_that_failed() {
    let current = |driven: &Driven| {
        Summary::of(&driven.progress, at(100))
            .current_task
            .map(|task| format!("{} {}", task.task_id, task.status))
    };
    let mut driven = half_done();
    assert_eq!(current(&driven).unwrap(), "blue in_progress");
    driven.task(50, "blue", TaskAction::Complete { message: None });
    assert_eq!(current(&driven).unwrap(), "green in_progress");
    driven.task(51, "green", TaskAction::Pause { reason: None });
    assert_eq!(current(&driven).unwrap(), "check failed");
    driven.task(52, "green", TaskAction::Fail { error: "x".into() });
    assert_eq!(
        current(&driven).unwrap(),
        "check failed",
        "the last in the order of adding"
    );
    driven
        .task(53, "check", TaskAction::Cancel { reason: None })
        .task(54, "green", TaskAction::Cancel { reason: None });
    assert_eq!(current(&driven), None);
}

#[test]
fn the_snapshot_is_the_file_of_the_reference() {
    let driven = half_done();
    insta::assert_snapshot!(Snapshot::of(&driven.progress).to_json());
}

#[test]
fn a_snapshot_read_back_is_the_same_state() {
    for mut driven in [half_done(), eventful()] {
        for n in 0..30 {
            if driven.progress.status == Status::InProgress {
                driven.task(100 + n, "blue", progress(62.5 + n as f64));
            }
        }
        let mut bytes = Vec::new();
        Snapshot::of(&driven.progress).write_to(&mut bytes).unwrap();
        let (again, warnings) = import(&bytes);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(again, driven.progress);
    }
    let (imported, _) = import(FAILED);
    let (again, _) = import(Snapshot::of(&imported).to_json().as_bytes());
    assert_eq!(again, imported);
}

#[test]
fn an_export_has_all_events() {
    let mut driven = half_done();
    for n in 0..30 {
        driven.task(100 + n, "blue", progress(70.0));
    }
    let mut history = EventHistory::default();
    for (meta, event) in &driven.events {
        history.push(meta, event);
    }
    let snapshot: Value = serde_json::from_str(&Snapshot::of(&driven.progress).to_json()).unwrap();
    let export = Snapshot::of(&driven.progress).with_history(&history).to_json();
    let export: Value = serde_json::from_str(&export).unwrap();
    let count = |file: &Value| file["tasks"]["blue"]["events"].as_array().unwrap().len() as u64;
    assert_eq!(count(&snapshot), 20);
    assert_eq!(
        count(&export),
        20 + snapshot["tasks"]["blue"]["events_omitted"].as_u64().unwrap()
    );
    assert_eq!(export["tasks"]["blue"]["events_omitted"], 0);

    let mut imported = EventHistory::default();
    imported.push(&meta(1, 0), &other_events()[1]);
    assert_eq!(imported.task(&task_id("precheck")).len(), 2);
}

#[test]
fn an_import_that_cannot_be_read_is_kept_as_text() {
    let mut imported = UpgradeImported::from_reference(FAILED).unwrap();
    imported.state =
        serde_json::from_str(&format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200))).unwrap();
    let mut progress = UpgradeProgress::empty(&imported.upgrade_id.clone().into());
    progress.apply(&meta(1, 0), &UpgradeEvent::Imported(imported));
    assert!(progress.exists() && progress.metadata["imported"].is_string());
}

#[test]
fn the_tree_is_walked_depth_first() {
    let driven = half_done();
    let tree = TaskTree::of(&driven.progress, at(500));
    let rows: Vec<String> = tree
        .rows
        .iter()
        .map(|row| {
            let marks = (
                if row.last { " last" } else { "" },
                if row.stalled { " stalled" } else { "" },
            );
            format!(
                "{}{} {}%{}{}",
                "  ".repeat(row.level),
                row.task.task_id,
                row.percentage,
                marks.0,
                marks.1
            )
        })
        .collect();
    insta::assert_snapshot!(rows.join("\n"));
}
