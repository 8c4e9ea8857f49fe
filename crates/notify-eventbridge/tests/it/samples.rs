//! The samples in `docs/eventbridge.md` are what is sent.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use indexmap::IndexMap;
use serde_json::json;
use serde_json::value::RawValue;
use tracking_journal::{EventSink, Record};
use tracking_model::{NewTask, TaskAction, TaskId, TaskType, Timestamp, UpgradeCommand};

use crate::bus::{FakeBus, Taken, builder};
use crate::raw::change;
use crate::upgrade::{Upgrade, details, record};

const BEGIN: &str = "<!-- samples: begin -->\n";
const END: &str = "<!-- samples: end -->";

/// An upgrade in which everything happens that can, but for its being cancelled.
fn eventful() -> Vec<Record> {
    let upgrade = Upgrade::new();
    let other = TaskId::new("cleanup").unwrap();
    upgrade.submit(UpgradeCommand::AddTasks(vec![NewTask::new(
        other.clone(),
        "Remove old nodes",
        TaskType::Cleanup,
    )]));
    upgrade.submit(UpgradeCommand::Start {
        phase: "preflight".into(),
    });
    upgrade.submit(UpgradeCommand::SetPhase {
        phase: "nodes".into(),
    });
    upgrade.task(TaskAction::Start { message: None });
    upgrade.task(TaskAction::Progress {
        percentage: 40.0,
        message: "2 of 5 nodes drained".into(),
        details: details(json!({ "node": "ip-10-0-1-7" })),
    });
    upgrade.task(TaskAction::Wait {
        reason: "PodDisruptionBudget web/frontend".into(),
        until: Some(Timestamp::parse("2025-01-01T01:00:00Z").unwrap()),
    });
    upgrade.task(TaskAction::Pause {
        reason: Some("change freeze".into()),
    });
    upgrade.task(TaskAction::Resume);
    upgrade.task(TaskAction::Fail {
        error: "node ip-10-0-1-9 does not drain".into(),
    });
    upgrade.task(TaskAction::Retry { message: None });
    upgrade.task(TaskAction::Complete { message: None });
    upgrade.submit(UpgradeCommand::Task {
        task_id: other,
        action: TaskAction::Cancel {
            reason: Some("kept for a week".into()),
        },
    });
    upgrade.submit(UpgradeCommand::Pause {
        reason: Some("business hours".into()),
    });
    upgrade.submit(UpgradeCommand::Resume);
    upgrade.submit(UpgradeCommand::Fail {
        error: "control plane unreachable".into(),
    });
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    upgrade.submit(UpgradeCommand::Complete {
        allow_unfinished: true,
    });
    upgrade.records()
}

fn cancelled() -> Vec<Record> {
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start {
        phase: "preflight".into(),
    });
    upgrade.submit(UpgradeCommand::Cancel {
        reason: Some("wrong cluster".into()),
    });
    upgrade.records()
}

/// The detail as it was sent, a key a line, with what is different each time replaced by what is not.
fn rendered(taken: &Taken) -> String {
    let sent = taken.entry["Detail"].as_str().unwrap();
    let mut fields: IndexMap<String, Box<RawValue>> = serde_json::from_str(sent).unwrap();
    let fixed = [
        ("event_id", format!("01941f29-7c00-7000-8000-{:012}", taken.seq())),
        ("epoch", "5f0c3ab2-6d1e-4c53-9a57-2b8e4f6d7c10".to_owned()),
        ("head", "0123456789abcdef".repeat(4)),
    ];
    for (key, value) in fixed {
        if let Some(field) = fields.get_mut(key) {
            *field = serde_json::value::to_raw_value(&value).unwrap();
        }
    }
    let lines: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("  \"{key}\": {value}"))
        .collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

#[tokio::test]
async fn the_samples_in_the_guide_are_what_is_sent() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let sink = builder(&server.endpoint()).events(["*"]).build().unwrap();
    let (all, cancelled) = (eventful(), cancelled());
    let imported =
        json!({ "upgrade_id": "prod-1.31", "plan_id": "blue-green", "cluster_name": "prod", "state": {} });
    let large = change(json!({
        "task_id": "drain", "task_name": "Drain nodes", "task_type": "upgrade_step", "percentage": 40.0,
        "message": "the log is in the details", "details": { "log": "x".repeat(300 << 10) },
    }));
    let rare = [
        record(&all[0], 1, "upgrade.imported", imported),
        record(&all[0], 12, "task.progress", large),
    ];
    for batch in [&all[..], &cancelled, &rare] {
        let answers = sink.publish(&all[0], batch).await;
        assert!(answers.iter().all(|answer| answer.is_accepted()), "{answers:?}");
    }

    let mut samples = String::new();
    let mut seen = BTreeSet::new();
    let (cut, whole): (Vec<_>, Vec<_>) = bus
        .taken()
        .into_iter()
        .partition(|taken| taken.detail.get("truncated").is_some());
    for taken in &whole {
        let kind = taken.entry["DetailType"].as_str().unwrap();
        if seen.insert(kind.to_owned()) {
            write!(samples, "\n`{kind}`\n\n```json\n{}\n```\n", rendered(taken)).unwrap();
        }
    }
    let every: BTreeSet<_> = sink.event_types().map(str::to_owned).collect();
    assert_eq!(seen, every, "a sample of each event");
    write!(
        samples,
        "\n`task.progress`, too large\n\n```json\n{}\n```\n\n",
        rendered(&cut[0])
    )
    .unwrap();

    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/eventbridge.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = text.split_once(BEGIN).unwrap();
    let (shown, _) = rest.split_once(END).unwrap();
    if shown != samples {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("eventbridge-samples.md");
        std::fs::write(&place, &samples).unwrap();
        panic!(
            "the samples in docs/eventbridge.md are not what is sent: put in what is in {}",
            place.display()
        );
    }
}
