//! What is said, held against `docs/websocket.asyncapi.yaml` by a validator that was not written here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use stream_ws::protocol::{
    ClientMessage, ErrorCode, Interest, Position, Query, ServerMessage, Subscribe, TypeFilter,
};
use stream_ws::{Frame, Hub, HubOptions, JournalSummaries, Viewer};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracking_model::{NewTask, TaskAction, TaskId, TaskType, Timestamp, UpgradeCommand};

use crate::support::{Agent, Keeper, data_dir, python, task_id, upgrade_id, upgrade_stream, within};

fn task(action: TaskAction) -> UpgradeCommand {
    let task_id = task_id();
    UpgradeCommand::Task { task_id, action }
}

/// Everything that can happen to an upgrade and its tasks, by way of failures and pauses to the end.
fn a_life() -> Vec<UpgradeCommand> {
    let why = || Some("because".into());
    let details = serde_json::from_str(r#"{"node":"a","deep":{"er":[1,null]}}"#).unwrap();
    let other = TaskId::new("other").unwrap();
    let second = NewTask::new(other.clone(), "Drain", TaskType::UpgradeStep).with_parent(task_id());
    let cancel = UpgradeCommand::Task {
        task_id: other,
        action: TaskAction::Cancel { reason: why() },
    };
    vec![
        UpgradeCommand::SetPhase {
            phase: "Drain".into(),
        },
        UpgradeCommand::AddTasks(vec![second]),
        cancel,
        task(TaskAction::Progress {
            percentage: 40.0,
            message: "four".into(),
            details,
        }),
        task(TaskAction::Wait {
            reason: "a pod".into(),
            until: Some(Timestamp::EPOCH),
        }),
        task(TaskAction::Pause { reason: why() }),
        task(TaskAction::Resume),
        task(TaskAction::Heartbeat),
        task(TaskAction::Fail { error: "no".into() }),
        task(TaskAction::Retry { message: None }),
        UpgradeCommand::Pause { reason: why() },
        UpgradeCommand::Resume,
        UpgradeCommand::Fail { error: "no".into() },
        UpgradeCommand::Start {
            phase: "Again".into(),
        },
        task(TaskAction::Complete { message: None }),
        UpgradeCommand::Complete {
            allow_unfinished: true,
        },
    ]
}

/// Messages, as lines that the validator reads.
#[derive(Default)]
struct Said(String);

impl Said {
    fn push(&mut self, from: &str, text: &str) {
        self.0 += &format!("{{\"from\":\"{from}\",\"message\":{text}}}\n");
    }

    /// What comes until `last` does.
    async fn hear(&mut self, viewer: &mut Viewer, last: impl Fn(&ServerMessage) -> bool) {
        loop {
            let frames = within(viewer.next()).await.unwrap();
            for text in frames.iter().map(Frame::text) {
                self.push("server", text);
            }
            let mut messages = frames
                .iter()
                .map(|frame| ServerMessage::parse(frame.text()).unwrap());
            if messages.any(|message| last(&message)) {
                return;
            }
        }
    }
}

fn client_messages() -> Vec<ClientMessage> {
    let position = Position {
        epoch: tracking_model::new_uuid(),
        seq: 7,
    };
    let interest = Interest {
        clusters: ["prod".to_owned()].into(),
        all: true,
        ..Interest::upgrade(upgrade_id("u"))
    };
    let subscribe = Subscribe {
        interest: interest.clone(),
        types: Some(TypeFilter::new(["task.*"])),
        since: BTreeMap::from([(upgrade_stream("u"), position)]),
    };
    vec![
        ClientMessage::Ping,
        ClientMessage::Summary,
        ClientMessage::Subscribe(Subscribe::default()),
        ClientMessage::Subscribe(subscribe),
        ClientMessage::Unsubscribe(Interest::default()),
        ClientMessage::Unsubscribe(interest),
        ClientMessage::Auth {
            token: "secret".to_owned(),
        },
    ]
}

#[tokio::test]
async fn everything_that_is_said_is_in_the_document() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let keeper = Keeper::open(&dir, "s", "u").await;
    keeper.keep("a.log").await;
    let summaries = JournalSummaries::new(dir.clone());
    let hub = Hub::with_source(dir.clone(), std::sync::Arc::new(summaries), HubOptions::default());
    let mut said = Said::default();

    // While it waits, and while a task has failed, summaries say more.
    for command in a_life() {
        agent.submit(command).await;
        let mut viewer = hub.view(&Query::parse("upgrade=u").unwrap()).await.unwrap();
        said.hear(&mut viewer, |message| {
            matches!(message, ServerMessage::Summary(_))
        })
        .await;
    }
    // With all tasks.
    let with_tasks = Query::parse("upgrade=u&snapshot=1").unwrap();
    let mut viewer = hub.view(&with_tasks).await.unwrap();
    said.hear(
        &mut viewer,
        |message| matches!(message, ServerMessage::Summary(summary) if summary.data.snapshot.is_some()),
    )
    .await;
    // All events, from the first on.
    let epoch = agent.journal.head().epoch;
    let everything = Query::parse(&format!("upgrade=u&epoch={epoch}&since=0&sessions=")).unwrap();
    let mut viewer = hub.view(&everything).await.unwrap();
    said.hear(&mut viewer, |message| {
        matches!(message, ServerMessage::Artifact(_))
    })
    .await;
    for code in [ErrorCode::Malformed, ErrorCode::Removed, ErrorCode::RateLimited] {
        viewer.error(code, "words");
    }
    viewer.pong();
    said.hear(&mut viewer, |message| *message == ServerMessage::Pong)
        .await;
    let future = Query::parse(&format!("upgrade=u&epoch={epoch}&since=1000")).unwrap();
    let mut viewer = hub.view(&future).await.unwrap();
    said.hear(&mut viewer, |message| {
        matches!(message, ServerMessage::Summary(_))
    })
    .await;
    for message in client_messages() {
        said.push("client", &message.to_text());
    }
    assert_eq!(validate(&said).await, "");
    hub.close().await;

    // And the validator would have noticed.
    said.push("server", "{\"type\":\"pong\",\"extra\":1}");
    said.push(
        "server",
        "{\"type\":\"error\",\"data\":{\"code\":\"odd\",\"message\":\"\"}}",
    );
    said.push("client", "{\"type\":\"pong\"}");
    let wrong = validate(&said).await;
    assert_eq!(wrong.lines().count(), 3, "{wrong}");
}

async fn validate(said: &Said) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(python())
        .arg(root.join("tests/it/schema.py"))
        .arg(root.join("../../docs/websocket.asyncapi.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(said.0.as_bytes()).await.unwrap();
    drop(input);
    let output = within(child.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
