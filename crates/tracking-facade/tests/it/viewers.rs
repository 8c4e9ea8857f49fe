//! An agent that serves its viewers itself.

use std::time::Duration;

use tracking_facade::live::{
    Client, ClientError, ClientEvent, ClientOptions, ServeError, ServerOptions, protocol::ServerMessage,
};
use tracking_facade::{
    CompleteOptions, ErrorKind, NewTask, TaskId, TaskType, Tracking, TrackingBuilder, TrackingError,
    UpgradeMirror, blocking,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn builder(data: &std::path::Path) -> TrackingBuilder {
    Tracking::builder()
        .data_dir(data)
        .upgrade("prod-1.33", "plan", "prod")
}

/// What a viewer saw: the words of each event.
async fn hear(client: &mut Client) -> Result<Option<String>, ClientError> {
    let event = tokio::time::timeout(PATIENCE, client.next()).await.unwrap()?;
    Ok(match event {
        ClientEvent::Message(ServerMessage::Summary(summary)) => {
            Some(summary.data.summary.status.as_str().to_owned())
        }
        ClientEvent::Message(ServerMessage::Progress(event)) => Some(event.data.message.to_string()),
        ClientEvent::Stale { error, .. } => return Err(error),
        _ => None,
    })
}

#[tokio::test]
async fn viewers_of_an_agent_see_everything_and_are_told_when_it_ends() {
    let temp = tempfile::tempdir().unwrap();
    let tracking = builder(temp.path())
        .websocket("127.0.0.1:0")
        .build()
        .await
        .unwrap();
    let [address] = tracking.websocket_addresses() else {
        panic!("{:?}", tracking.websocket_addresses())
    };
    let mut client = Client::new(&format!("ws://{address}"), ClientOptions::default()).unwrap();
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard.extend(hear(&mut client).await.unwrap());
    }
    tracking.progress().start_upgrade("Nodes").await.unwrap();
    tracking
        .progress()
        .complete_upgrade(CompleteOptions::default())
        .await
        .unwrap();
    let (report, ended) = tokio::join!(tracking.shutdown(), async {
        loop {
            match hear(&mut client).await {
                Ok(words) => heard.extend(words),
                Err(error) => return error,
            }
        }
    });
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.viewers_cut_off, 0);
    assert!(matches!(ended, ClientError::Closed { code: 1001, .. }), "{ended}");
    assert_eq!(
        heard,
        ["not_started", "Upgrade started: Nodes", "Upgrade completed"]
    );
}

#[tokio::test]
async fn what_cannot_be_served_is_said_before_anything_is_changed() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = taken.local_addr().unwrap().to_string();
    for (address, kind) in [
        (in_use.as_str(), ErrorKind::Unavailable),
        ("0.0.0.0:0", ErrorKind::Invalid),
        ("nonsense", ErrorKind::Invalid),
    ] {
        let error = builder(&data).websocket(address).build().await.unwrap_err();
        assert!(matches!(error, TrackingError::Serve(_)), "{error:?}");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!data.exists());
    }
    let error = builder(&data).websocket("0.0.0.0:0").build().await.unwrap_err();
    assert!(
        matches!(error, TrackingError::Serve(ServeError::NeedsToken { .. })),
        "{error}"
    );
}

#[test]
fn an_agent_without_async_serves_too() {
    let temp = tempfile::tempdir().unwrap();
    let tracking = blocking::Tracking::builder()
        .data_dir(temp.path())
        .upgrade("prod-1.33", "plan", "prod")
        .websocket("localhost:0")
        .build()
        .unwrap();
    let address = tracking.websocket_addresses()[0];
    let heard = tracking.block_on(async {
        let mut client = Client::new(&format!("ws://{address}"), ClientOptions::default()).unwrap();
        loop {
            if let Some(heard) = hear(&mut client).await.unwrap() {
                return heard;
            }
        }
    });
    assert_eq!(heard, "not_started");
    assert!(tracking.shutdown().is_clean());
}

/// A viewer that is told all tasks is told how long they took before, too.
#[tokio::test]
async fn viewers_are_told_what_estimates_are_learned_from() {
    let temp = tempfile::tempdir().unwrap();
    for upgrade in ["a", "b", "c"] {
        let earlier = Tracking::builder()
            .data_dir(temp.path())
            .upgrade(upgrade, "plan", "prod")
            .build()
            .await
            .unwrap();
        let progress = earlier.progress();
        progress.start_upgrade("Nodes").await.unwrap();
        let task = NewTask::new(TaskId::new("drain").unwrap(), "Drain", TaskType::UpgradeStep);
        progress.add_task(task).await.unwrap();
        progress.start_task("drain").await.unwrap();
        progress.complete_task("drain").await.unwrap();
        assert!(earlier.shutdown().await.is_clean());
    }
    let tracking = builder(temp.path())
        .websocket("127.0.0.1:0")
        .build()
        .await
        .unwrap();
    let url = format!(
        "ws://{}/?upgrade=prod-1.33&snapshot=1",
        tracking.websocket_addresses()[0]
    );
    let mut client = Client::new(&url, ClientOptions::default()).unwrap();
    let summary = loop {
        let event = tokio::time::timeout(PATIENCE, client.next())
            .await
            .unwrap()
            .unwrap();
        if let ClientEvent::Message(ServerMessage::Summary(summary)) = event {
            break summary;
        }
    };
    let history: serde_json::Value = serde_json::from_str(&summary.data.history.unwrap()).unwrap();
    assert_eq!(history[0]["task_name"], "Drain", "{history}");
    assert_eq!(history[0]["durations"].as_array().unwrap().len(), 3, "{history}");
    let snapshot = summary.data.snapshot.unwrap();
    assert!(UpgradeMirror::begin(&snapshot, &summary.data.summary, summary.position.seq).is_ok());
    client.close(PATIENCE).await;
    assert!(tracking.shutdown().await.is_clean());
}

#[tokio::test]
async fn names_that_no_viewer_can_come_by_are_refused_together() {
    let temp = tempfile::tempdir().unwrap();
    let options = ServerOptions::default()
        .with_hosts(["https://dash.example.com"])
        .with_origins(["dash.example.com"]);
    let built = builder(temp.path()).websocket_with("127.0.0.1:0", options);
    let error = built.build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let told = error.to_string();
    assert!(told.contains("it has a scheme"), "{told}");
    assert!(told.contains("it has no scheme"), "{told}");
}
