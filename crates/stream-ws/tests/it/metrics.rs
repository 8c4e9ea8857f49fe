//! What the recorder of a program is told.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use stream_ws::protocol::{Query, ServerMessage};
use stream_ws::{Client, ClientEvent, ClientOptions, HubOptions, QueueLimits, ServerOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::hostile::status;
use crate::support::{Agent, Served, data_dir, hub, hub_with, see, within};

/// The metrics by name and labels; of histograms, how many values there are.
fn metrics(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    metrics
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()));
            let labels: Vec<_> = labels.collect();
            let value = match value {
                #[expect(clippy::cast_precision_loss, reason = "a few messages")]
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                #[expect(clippy::cast_precision_loss, reason = "a few messages")]
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (format!("{}{{{}}}", key.name(), labels.join(",")), value)
        })
        .collect()
}

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

async fn until_live(client: &mut Client) {
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
}

#[tokio::test]
async fn viewers_messages_and_refusals_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _here = metrics::set_default_local_recorder(&recorder);
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let mut client = Client::new(&served.url(""), ClientOptions::default()).unwrap();
    until_live(&mut client).await;
    agent.reports(0..3).await;
    let mut events = 0;
    while events < 3 {
        let event = within(client.next()).await.unwrap();
        events += u64::from(matches!(event, ClientEvent::Message(ServerMessage::Progress(_))));
    }
    let seen = metrics(&snapshotter);
    assert_eq!(seen["ekstrack_ws_viewers{}"], 1.0);
    assert_eq!(seen["ekstrack_ws_sent_total{}"], 4.0);
    assert!(seen["ekstrack_ws_sent_bytes_total{}"] > 1_000.0);
    assert!(
        (1.0..=3.0).contains(&seen["ekstrack_ws_lag_seconds{}"]),
        "one for each batch"
    );

    assert_eq!(
        status(served.address, b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n").await,
        Some(403)
    );
    let mut garbage = TcpStream::connect(served.address).await.unwrap();
    garbage.write_all(b"\x16\x03\x01\r\n\r\n").await.unwrap();
    drop(garbage);
    client.close(Duration::from_secs(5)).await;
    served.stop().await;
    let seen = metrics(&snapshotter);
    assert_eq!(seen["ekstrack_ws_refused_total{reason=host}"], 1.0);
    assert_eq!(seen["ekstrack_ws_refused_total{reason=malformed}"], 1.0);
    assert_eq!(seen["ekstrack_ws_closed_total{code=1000}"], 1.0);
}

#[tokio::test]
async fn what_is_thrown_away_and_what_is_read_again_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _here = metrics::set_default_local_recorder(&recorder);
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let limits = QueueLimits {
        messages: 3,
        ..QueueLimits::default()
    };
    let hub = hub_with(&dir, HubOptions::default().with_queue(limits));
    let mut viewer = hub.view(&query("upgrade=u")).await.unwrap();
    see(&mut viewer, 1).await;
    agent.reports(0..10).await;
    // Until the feed has handed out what no longer fits.
    while hub.stats().dropped < 7 {
        tokio::task::yield_now().await;
    }
    assert_eq!(see(&mut viewer, 2).await, ["reset overflow", "summary 14"]);
    drop(viewer);
    let seen = metrics(&snapshotter);
    assert_eq!(seen["ekstrack_ws_dropped_total{}"], 10.0);
    assert_eq!(seen["ekstrack_ws_resets_total{}"], 1.0);
    assert_eq!(seen["ekstrack_ws_viewers{}"], 0.0);

    let epoch = agent.journal.head().epoch;
    let mut viewer = hub
        .view(&query(&format!("upgrade=u&epoch={epoch}&since=4")))
        .await
        .unwrap();
    see(&mut viewer, 11).await;
    assert_eq!(metrics(&snapshotter)["ekstrack_ws_resumed_total{}"], 10.0);
    hub.close().await;
}
