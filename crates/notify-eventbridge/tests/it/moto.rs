//! The sink against `moto_server`, with a rule whose target is a queue: what counts is what arrives there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use notify_eventbridge::{BusCheck, EventBridgeCause, EventBridgeSink};
use serde_json::{Value, json};
use storage_s3::test_servers::MotoServer;
use tracking_journal::{Delivery, EventSink};
use tracking_model::{Span, TaskAction, UpgradeCommand};

use crate::bus::builder;
use crate::upgrade::Upgrade;

/// A bus `ops`, a rule on it, and the queue that the rule sends to.
struct Notified {
    server: MotoServer,
    queue: String,
}

impl Notified {
    fn new(pattern: &Value) -> Self {
        let server = MotoServer::start();
        let events =
            |action: &str, body: &Value| call(&server, "events", &format!("AWSEvents.{action}"), body);
        events("CreateEventBus", &json!({ "Name": "ops" }));
        let made = call(
            &server,
            "sqs",
            "AmazonSQS.CreateQueue",
            &json!({ "QueueName": "notified" }),
        );
        events(
            "PutRule",
            &json!({ "Name": "rule", "EventBusName": "ops", "EventPattern": pattern.to_string() }),
        );
        let target = json!({ "Id": "queue", "Arn": "arn:aws:sqs:us-east-1:123456789012:notified" });
        let put = json!({ "Rule": "rule", "EventBusName": "ops", "Targets": [target] });
        events("PutTargets", &put);
        Self {
            queue: made["QueueUrl"].as_str().unwrap().to_owned(),
            server,
        }
    }

    fn sink(&self) -> EventBridgeSink {
        let arn = "arn:aws:eks:us-east-1:123456789012:cluster/prod";
        builder(&self.server.endpoint()).resource(arn).build().unwrap()
    }

    /// Everything in the queue, in the order in which it was given out.
    fn received(&self) -> Vec<Value> {
        let mut received = Vec::new();
        loop {
            let ask = json!({ "QueueUrl": self.queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0 });
            let answer = call(&self.server, "sqs", "AmazonSQS.ReceiveMessage", &ask);
            let Some(messages) = answer["Messages"]
                .as_array()
                .filter(|messages| !messages.is_empty())
            else {
                return received;
            };
            for message in messages {
                received.push(serde_json::from_str(message["Body"].as_str().unwrap()).unwrap());
                let done = json!({ "QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"] });
                call(&self.server, "sqs", "AmazonSQS.DeleteMessage", &done);
            }
        }
    }
}

/// One request in the JSON protocol of AWS.
fn call(server: &MotoServer, service: &str, target: &str, body: &Value) -> Value {
    let address: SocketAddr = server
        .endpoint()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: {target}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20250101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    serde_json::from_str(body).unwrap_or_default()
}

#[tokio::test]
async fn every_event_that_a_rule_asks_for_arrives_in_its_queue() {
    let notified = Notified::new(&json!({
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

    let sink = notified.sink();
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
    let received = notified.received();
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
        let notified = Notified::new(pattern);
        let sink = notified.sink();
        let records = upgrade.records();
        let answers = sink.publish(&records[0], &records).await;
        assert!(answers.iter().all(Delivery::is_accepted), "{answers:?}");
        let received = notified.received();
        let types: Vec<_> = received
            .iter()
            .map(|event| event["detail-type"].as_str().unwrap())
            .collect();
        assert_eq!(types, chosen, "{pattern}");
    }
}

#[tokio::test]
async fn a_bus_that_does_not_exist_holds_events_back_until_it_does() {
    let notified = Notified::new(&json!({ "source": ["eks-upgrade-agent"] }));
    let sink = notify_eventbridge::EventBridgeBuilder::new("late")
        .endpoint(notified.server.endpoint())
        .region("us-east-1")
        .credentials("AKIATEST", "secret")
        .build()
        .unwrap();
    let error = sink.check().await.unwrap_err();
    assert_eq!(error.cause, EventBridgeCause::NoBus, "{error}");
    assert!(error.to_string().contains("create the bus"), "{error}");

    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start {
        phase: "nodes".into(),
    });
    let mut relay = upgrade.relay(&sink).await;
    let report = relay.drain(Duration::from_millis(100)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (0, 1));
    let reason = relay.cursor().last_error.as_ref().unwrap().reason.clone();
    assert!(
        reason.contains("late") && reason.contains("create the bus"),
        "{reason}"
    );

    call(
        &notified.server,
        "events",
        "AWSEvents.CreateEventBus",
        &json!({ "Name": "late" }),
    );
    let report = relay.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (1, 0));
}
