//! The sink against `moto_server`, with a rule whose target is a queue: what counts is what arrives there.

use std::path::Path;
use std::time::Duration;

use notify_eventbridge::{BusCheck, Cause, EventBridgeSink};
use serde_json::{Value, json};
use test_servers::NotifiedQueue;
use tokio_util::sync::CancellationToken;
use tracking_journal::{Delivery, EventSink};
use tracking_model::{Span, TaskAction, UpgradeCommand};

use crate::bus::builder;
use crate::upgrade::Upgrade;

fn sink(notified: &NotifiedQueue) -> EventBridgeSink {
    let arn = "arn:aws:eks:us-east-1:123456789012:cluster/prod";
    let builder = builder(&notified.server().endpoint());
    builder.resource(arn).build().unwrap()
}

#[tokio::test]
async fn every_event_that_a_rule_asks_for_arrives_in_its_queue() {
    let notified = NotifiedQueue::start(&json!({
        "source": ["eks-upgrade-agent"],
        "detail-type": [{ "prefix": "task." }, "upgrade.completed"],
        "detail": { "cluster_name": ["prod"] },
    }));
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    upgrade.task(TaskAction::Start { message: None });
    let report = |percentage| TaskAction::Progress {
        percentage,
        message: "draining".into(),
        details: tracking_model::Details::NONE,
    };
    upgrade.task(report(10.0));
    upgrade.wait(30, 10);
    upgrade.task(TaskAction::Fail {
        error: "no ü quorum".into(),
    });
    upgrade.task(TaskAction::Retry { message: None });
    upgrade.task(TaskAction::Complete { message: None });
    upgrade.submit(UpgradeCommand::Complete {
        allow_unfinished: false,
    });

    let sink = sink(&notified);
    assert!(matches!(
        sink.check().await.unwrap(),
        BusCheck::Exists { arn: Some(arn) } if arn.ends_with(":event-bus/ops")
    ));
    let report = upgrade
        .relay(&sink)
        .await
        .drain(Duration::from_secs(60))
        .await
        .unwrap();
    // All but the creation, the addition of the task and its progress.
    assert_eq!((report.delivered, report.remaining, report.parked), (36, 0, 0));

    let records = upgrade.records();
    let wanted = records.iter().filter(|record| {
        let kind = record.kind.as_str();
        kind == "upgrade.completed"
            || kind.starts_with("task.") && !["task.added", "task.progress"].contains(&kind)
    });
    let wanted: Vec<_> = wanted
        .map(|record| (record.seq, record.id.to_string(), record.kind.clone()))
        .collect();
    let received = notified.take();
    let arrived: Vec<_> = received
        .iter()
        .map(|event| {
            let detail = &event["detail"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (
                detail["seq"].as_u64().unwrap(),
                text(&detail["event_id"]),
                text(&event["detail-type"]),
            )
        })
        .collect();
    assert_eq!(arrived, wanted, "each once, in order, and nothing else");

    let failed = received
        .iter()
        .find(|event| event["detail-type"] == "task.failed")
        .unwrap();
    assert_eq!(failed["source"], "eks-upgrade-agent");
    assert_eq!(
        failed["resources"],
        json!(["arn:aws:eks:us-east-1:123456789012:cluster/prod"])
    );
    assert_eq!(failed["detail"]["error_message"], "no ü quorum");
    assert_eq!(failed["detail"]["upgrade_id"], "prod-1.31");
    assert!(
        failed["time"]
            .as_str()
            .unwrap()
            .starts_with("2025-01-01T00:07:00"),
        "{failed}"
    );
}

/// The patterns in the guide choose what it says they do.
#[tokio::test]
async fn the_rules_in_the_guide_choose_what_they_say() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/eventbridge.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = text.split_once("### Rules").unwrap();
    let (rules, _) = rest.split_once("### Targets").unwrap();
    let patterns: Vec<Value> = rules
        .split("```json\n")
        .skip(1)
        .map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap())
        .collect();
    let chosen: [&[&str]; 5] = [
        &["task.failed", "task.failed", "task.failed", "upgrade.failed"],
        &[
            "upgrade.started",
            "upgrade.failed",
            "upgrade.started",
            "upgrade.completed",
        ],
        &["task.failed"],
        &["task.retried"],
        &["upgrade.completed"],
    ];
    assert_eq!(patterns.len(), chosen.len());
    let upgrade = Upgrade::of_cluster("prod-eu");
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    upgrade.task(TaskAction::Start { message: None });
    upgrade.pass(Span::from_secs(4_000));
    upgrade.task(TaskAction::Fail { error: "slow".into() });
    upgrade.task(TaskAction::Retry { message: None });
    for _ in 0..2 {
        upgrade.task(TaskAction::Fail {
            error: "again".into(),
        });
        upgrade.task(TaskAction::Retry { message: None });
    }
    upgrade.submit(UpgradeCommand::Fail {
        error: "out of time".into(),
    });
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    upgrade.submit(UpgradeCommand::Complete {
        allow_unfinished: true,
    });
    for (pattern, chosen) in patterns.iter().zip(chosen) {
        let notified = NotifiedQueue::start(pattern);
        let sink = sink(&notified);
        let records = upgrade.records();
        let answers = sink.publish(&records[0], &records).await;
        assert!(answers.iter().all(Delivery::is_accepted), "{answers:?}");
        let received = notified.take();
        let types: Vec<_> = received
            .iter()
            .map(|event| event["detail-type"].as_str().unwrap())
            .collect();
        assert_eq!(types, chosen, "{pattern}");
    }
}

#[tokio::test]
async fn a_bus_that_does_not_exist_holds_events_back_until_it_does() {
    let notified = NotifiedQueue::start(&json!({ "source": ["eks-upgrade-agent"] }));
    let sink = notify_eventbridge::EventBridgeBuilder::new("late")
        .endpoint(notified.server().endpoint())
        .region("us-east-1")
        .credentials("AKIATEST", "secret")
        .build()
        .unwrap();
    let error = sink.check().await.unwrap_err();
    assert_eq!(error.cause, Cause::NoResource, "{error}");
    assert!(error.hint().contains("create the bus"), "{error}");

    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    let mut relay = upgrade.relay(&sink).await;
    let (mut status, cancel) = (relay.handle().subscribe(), CancellationToken::new());
    let seen = async {
        let refused = status.wait_for(|status| status.cursor.last_error.is_some()).await;
        assert_eq!(refused.unwrap().cursor.delivered, 0);
        cancel.cancel();
    };
    tokio::join!(relay.run(&cancel), seen).0.unwrap();
    let reason = relay.cursor().last_error.as_ref().unwrap().reason.clone();
    assert!(
        reason.contains("late") && reason.contains("create the bus"),
        "{reason}"
    );

    let made = json!({ "Name": "late" });
    notified
        .server()
        .call("events", "AWSEvents.CreateEventBus", &made);
    let report = relay.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (1, 0));
}
