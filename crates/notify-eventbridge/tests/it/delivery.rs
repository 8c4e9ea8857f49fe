//! How events are divided into calls, and what is left out of those that are too large.

use std::sync::Arc;
use std::time::Duration;

use notify_eventbridge::EventBridgeSink;
use serde_json::{Value, json};
use test_servers::{Reply, ScriptedServer};
use tracking_journal::{Delivery, EventSink, RelayOptions};
use tracking_model::{StreamId, TaskAction, UpgradeCommand};

use crate::bus::{FakeBus, builder, is_look, puts, sink};
use crate::raw::{Raw, change};
use crate::upgrade::{Upgrade, details, record, task_id};

/// What EventBridge counts an entry as.
fn size(entry: &Value) -> usize {
    let text = |key: &str| entry[key].as_str().unwrap().len();
    let resources = entry["Resources"].as_array().into_iter().flatten();
    let resources: usize = resources.map(|arn| arn.as_str().unwrap().len()).sum();
    14 + text("Source") + text("DetailType") + text("Detail") + resources
}

/// The fewest calls in this order.
fn fewest(sizes: &[usize], max_bytes: usize) -> usize {
    let (mut calls, mut entries, mut bytes) = (0, 10, 0);
    for size in sizes {
        if entries == 10 || bytes + size > max_bytes {
            (calls, entries, bytes) = (calls + 1, 0, 0);
        }
        (entries, bytes) = (entries + 1, bytes + size);
    }
    calls
}

#[tokio::test]
async fn the_sink_conforms() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let data = json!({
        "upgrade_id": "u", "plan_id": "p", "cluster_name": "c", "status": "in_progress", "percentage": 0.0,
    });
    tracking_journal::sink::conformance::run(
        Arc::new(sink(&server)),
        "upgrade.started",
        &data.to_string(),
        || async { bus.event_ids().iter().map(|id| id.parse().unwrap()).collect() },
    )
    .await;
}

#[tokio::test]
async fn calls_are_as_few_as_the_limits_allow() {
    for max_bytes in [256 << 10, 1 << 20] {
        let bus = FakeBus::new();
        let server = bus.serve();
        let upgrade = Upgrade::new();
        let task = |action| UpgradeCommand::Task {
            task_id: task_id(),
            action,
        };
        let mut commands = vec![task(TaskAction::Start { message: None })];
        // From tiny to 60 KB, so that now the count and now the size limits a call; `ü` has two bytes.
        for number in 0..99 {
            commands.push(task(TaskAction::Wait {
                reason: "ü".repeat(1 + number * 7_919 % 30_000).into(),
                until: None,
            }));
            // Not sent, and not in the way.
            commands.push(task(TaskAction::Heartbeat));
        }
        upgrade.submit(UpgradeCommand::All(commands));
        let sink = builder(&server.endpoint()).max_bytes(max_bytes).build().unwrap();
        let report = upgrade
            .relay(&sink)
            .await
            .drain(Duration::from_secs(120))
            .await
            .unwrap();
        assert_eq!((report.delivered, report.remaining), (100, 0));
        let calls = puts(&server);
        let sizes: Vec<usize> = calls.iter().flatten().map(size).collect();
        for call in &calls {
            let bytes: usize = call.iter().map(size).sum();
            assert!(
                call.len() <= 10 && bytes <= max_bytes,
                "{} entries, {bytes} bytes",
                call.len()
            );
        }
        let fewest = fewest(&sizes, max_bytes);
        // The relay hands them over in two batches, of which the first may end with a call that is not full. The ratio
        // for thousands is measured by the benchmark `eventbridge`.
        assert!(
            calls.len() <= fewest + 1,
            "{} calls, {fewest} are possible",
            calls.len()
        );
        assert!(bus.seqs().is_sorted(), "in order");
    }
}

#[tokio::test]
async fn what_is_too_large_keeps_its_ids_and_says_what_is_left_out() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let raw = Raw::new();
    let text = |bytes: usize| "y".repeat(bytes);
    raw.write(vec![
        (
            "task.failed",
            change(json!({
                "details": { "log": text(200 << 10) }, "message": text(200 << 10), "error_message": text(60 << 10),
                "duration": "0:01:00",
            })),
        ),
        ("upgrade.completed", {
            let unfinished: Vec<String> = (0..40_000).map(|number| format!("task-{number}")).collect();
            json!({ "status": "completed", "percentage": 99.0, "unfinished": unfinished })
        }),
    ]);
    let sink = sink(&server);
    let options = RelayOptions::default();
    let report = raw
        .relay(Arc::new(sink), options)
        .await
        .drain(Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!((report.delivered, report.parked), (2, 0));
    let taken = bus.taken();
    let failed = &taken[0].detail;
    assert_eq!(failed["truncated"], true);
    assert_eq!(
        failed["truncated_fields"],
        json!(["details", "message"]),
        "the largest first, and no more than needed"
    );
    assert_eq!(failed["error_message"].as_str().unwrap().len(), 60 << 10);
    assert_eq!(failed["message"].as_str().unwrap().len(), 1024);
    assert_eq!(failed["whole"]["journal"], "progress/upgrade_raw.jsonl");
    assert_eq!((&failed["whole"]["seq"], &failed["seq"]), (&json!(2), &json!(2)));
    assert_eq!(
        (&failed["task_id"], &failed["duration_seconds"]),
        (&json!("t"), &json!(60.0))
    );
    assert_eq!(taken[1].detail["truncated_fields"], json!(["unfinished"]));
    assert!(taken.iter().all(|taken| size(&taken.entry) <= 256 << 10));
}

/// Records that the sink has no use for cost no call.
#[tokio::test]
async fn what_is_not_sent_is_ignored() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let upgrade = Upgrade::new();
    upgrade.task(TaskAction::Progress {
        percentage: 1.0,
        message: "m".into(),
        details: details(json!({})),
    });
    upgrade.task(TaskAction::Heartbeat);
    let mut records = upgrade.records();
    assert_eq!(
        records.remove(2).kind,
        "task.started",
        "which the first report leads to"
    );
    let answers = sink(&server).publish(&records[0], &records).await;
    assert_eq!(answers, [const { Delivery::Ignored }; 4]);
    let session: StreamId = "session:s".parse().unwrap();
    let added = tracking_journal::sink::conformance::records(&session, "artifact.added", "{}", 2);
    assert_eq!(
        sink(&server).publish(&added[0], &added).await,
        [const { Delivery::Ignored }; 2]
    );
    assert!(server.requests().is_empty());

    let asked = builder(&server.endpoint())
        .events(["task.progress"])
        .build()
        .unwrap();
    let answers = asked.publish(&records[0], &records).await;
    assert_eq!(answers[2], Delivery::Delivered);
    assert_eq!(bus.seqs(), [4]);
}

/// What is sent for a record does not depend on when, by whom and in which batch.
#[tokio::test]
async fn a_record_is_the_same_entry_every_time() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start { phase: "p".into() });
    upgrade.wait(3, 10);
    let records = upgrade.records();
    let all = sink(&server).publish(&records[0], &records).await;
    for record in &records[2..] {
        sink(&server)
            .publish(&records[0], std::slice::from_ref(record))
            .await;
    }
    assert!(all[2..].iter().all(|answer| *answer == Delivery::Delivered));
    let entries: Vec<_> = bus.taken().into_iter().map(|taken| taken.entry).collect();
    assert_eq!(entries[..4], entries[4..]);
}

/// A newer program's first record may not say what this one looks for.
#[tokio::test]
async fn without_a_known_first_record_events_still_go_out() {
    let bus = FakeBus::new();
    let server = bus.serve();
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start { phase: "p".into() });
    let records = upgrade.records();
    let newer = record(&records[0], 1, "upgrade.begotten", json!({ "cluster_name": 7 }));
    let answers = sink(&server).publish(&newer, &records[2..]).await;
    assert_eq!(answers, [Delivery::Delivered]);
    assert_eq!(bus.taken()[0].detail["upgrade_id"], "prod-1.31");
    assert_eq!(bus.taken()[0].detail.get("cluster_name"), None);
}

/// One call in flight for each upgrade, several for several.
#[tokio::test]
async fn upgrades_do_not_wait_for_each_other() {
    let bus = FakeBus::new();
    let answering = Arc::clone(&bus);
    let server = ScriptedServer::start(move |request, _| {
        let stalls = !is_look(request)
            && String::from_utf8_lossy(&request.body).contains("\\\"upgrade_id\\\":\\\"raw\\\"");
        if stalls {
            Reply::Stall
        } else {
            answering.answer(request)
        }
    });
    let shared: EventBridgeSink = sink(&server);
    let (raw, upgrade) = (Raw::new(), Upgrade::new());
    raw.write(vec![("task.started", change(json!({})))]);
    upgrade.wait(20, 10);
    let options = RelayOptions::default();
    let mut stalled = raw.relay(Arc::new(shared.clone()), options).await;
    let mut relay = upgrade.relay(&shared).await;
    let report = tokio::select! {
        report = relay.drain(Duration::from_secs(60)) => report.unwrap(),
        _ = stalled.drain(Duration::from_secs(60)) => panic!("the stalled call cannot end first"),
    };
    assert_eq!((report.delivered, report.remaining), (20, 0));
}

#[test]
fn the_sink_has_records_passed_by_that_it_does_not_send() {
    let sink = builder("http://127.0.0.1:1").build().unwrap();
    let skips = |kind: &str| sink.skips().iter().any(|skipped| &**skipped == kind);
    assert!(skips("task.progress") && skips("artifact.added") && !skips("task.failed"));
    assert_eq!(sink.name(), "eventbridge:ops");
}
