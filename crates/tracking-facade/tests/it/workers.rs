//! The workers of the runtime touch no files: one slow disk, or one held lock, would stall all who share them.

use std::sync::Arc;
use std::time::Duration;

use tracking_facade::live::protocol::{ClientMessage, Interest, Query, ServerMessage, Subscribe};
use tracking_facade::live::{Client, ClientEvent, ClientOptions, Hub, HubOptions};
use tracking_facade::{
    Archive, CollectionId, MemorySink, NewArtifact, NewCollection, NewSession, NewTask, SessionId, SinkSet,
    StreamId, TaskId, TaskType, Tracking, UpgradeId,
};
use tracking_journal::NoBlocking;

const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ends in time")
}

/// Runs a part on a runtime whose only worker is this thread, and fails if that thread touched a file.
macro_rules! off_workers {
    ($guard:expr, $part:literal, $work:expr) => {{
        let result = $work;
        assert_eq!($guard.operations(), [""; 0], "{}", $part);
        result
    }};
}

/// Waits for a message of a viewer on its socket.
async fn hear(client: &mut Client, wanted: impl Fn(&ServerMessage) -> bool) {
    loop {
        if let ClientEvent::Message(message) = within(client.next()).await.unwrap()
            && wanted(&message)
        {
            return;
        }
    }
}

#[tokio::test]
async fn no_worker_of_the_runtime_touches_a_file() {
    let temp = tempfile::tempdir().unwrap();
    let upgrade = UpgradeId::new("u").unwrap();
    let guard = NoBlocking::on_this_thread();
    let (sink, later) = (
        Arc::new(MemorySink::new("now")),
        Arc::new(MemorySink::new("later")),
    );

    // An agent that serves its viewers.
    let agent = Tracking::builder()
        .data_dir(temp.path())
        .upgrade("u", "plan", "prod")
        .sink(sink.clone())
        .websocket("127.0.0.1:0");
    let agent = off_workers!(guard, "building", agent.build().await.unwrap());
    let progress = agent.progress();
    progress.start_upgrade("Nodes").await.unwrap();
    let task = NewTask::new(TaskId::new("nodes").unwrap(), "Nodes", TaskType::UpgradeStep);
    progress.add_task(task).await.unwrap();
    progress.start_task("nodes").await.unwrap();
    off_workers!(guard, "reporting", progress.heartbeat("nodes").await.unwrap());
    let (session, new) = (
        SessionId::new("s").unwrap(),
        NewSession::new(upgrade.clone(), "prod"),
    );
    agent
        .artifacts()
        .create_session_as(session.clone(), new)
        .await
        .unwrap();
    let collection = NewCollection::new("Logs").with_id(CollectionId::new("c").unwrap());
    agent
        .artifacts()
        .create_collection(&session, collection)
        .await
        .unwrap();
    let (collection, named) = (
        CollectionId::new("c").unwrap(),
        NewArtifact::new().with_name("a.log"),
    );
    let add = agent
        .artifacts()
        .add_reader(&session, &collection, named, &b"text"[..], None);
    off_workers!(guard, "adding an artifact", add.await.unwrap());
    let address = agent.websocket_addresses()[0];
    let url = format!("ws://{address}/?upgrade=u&snapshot=1&sessions=");
    let mut client = Client::new(&url, ClientOptions::default()).unwrap();
    hear(&mut client, |message| {
        matches!(message, ServerMessage::Summary(_))
    })
    .await;
    let everything = Subscribe {
        interest: Interest::everything(),
        ..Subscribe::default()
    };
    client.send(&ClientMessage::Subscribe(everything));
    client.send(&ClientMessage::Summary);
    client.send(&ClientMessage::Ping);
    hear(&mut client, |message| *message == ServerMessage::Pong).await;
    progress
        .update_task_progress("nodes", 50.0, "half")
        .await
        .unwrap();
    off_workers!(
        guard,
        "viewers of an agent",
        hear(
            &mut client,
            |message| matches!(message, ServerMessage::Progress(event) if &*event.data.message == "half")
        )
        .await
    );

    // Somebody else looks, and feeds other sinks.
    let path = temp.path().to_owned();
    let archive = tokio::task::spawn_blocking(move || Archive::open(path).unwrap());
    let archive = archive.await.unwrap();
    assert_eq!(guard.operations(), [""; 0]);
    let hub: Hub = off_workers!(guard, "a hub", archive.hub(HubOptions::default()));
    for query in ["", "upgrade=u&snapshot=1", "upgrade=none"] {
        let mut viewer = within(hub.view(&Query::parse(query).unwrap())).await.unwrap();
        if query == "upgrade=none" {
            let interest = Interest::upgrade(upgrade.clone());
            let subscribe = Subscribe {
                interest,
                ..Subscribe::default()
            };
            viewer.subscribe(subscribe).await.unwrap();
        }
        viewer.summarize().await.unwrap();
        within(viewer.next()).await.unwrap();
        viewer.unsubscribe(&Interest::everything());
    }
    off_workers!(guard, "viewers of a hub", hub.settle().await);
    let (following, id) = (archive.clone(), upgrade.clone());
    let follower = tokio::task::spawn_blocking(move || following.follow(&id).unwrap());
    let mut follower = follower.await.unwrap();
    let (commit, report) = tokio::join!(
        within(follower.next()),
        progress.update_task_progress("nodes", 60.0, "more")
    );
    report.unwrap();
    off_workers!(guard, "a follower", commit.unwrap());
    let sinks = SinkSet::new().with_sink(later.clone());
    let streams = [StreamId::Upgrade(upgrade.clone()), StreamId::Session(session)];
    off_workers!(
        guard,
        "delivering",
        sinks.deliver(&archive, &streams, PATIENCE).await
    );
    let (followed, before) = (sinks.follow(&archive, upgrade), later.received().len());
    progress.complete_task("nodes").await.unwrap();
    within(later.wait_for(before + 1)).await;
    off_workers!(guard, "following with sinks", followed.stop(PATIENCE).await);
    off_workers!(guard, "closing a hub", hub.close().await);
    let (report, ()) = tokio::join!(agent.shutdown(), client.close(PATIENCE));
    assert!(off_workers!(guard, "shutting down", report).is_clean());
    assert!(!sink.received().is_empty());
}
