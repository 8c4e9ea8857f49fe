//! What viewers cost whoever writes.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use notify_eventbridge::EventBridgeBuilder;
use tokio_util::sync::CancellationToken;
use tracking_journal::{Relay, RelayOptions};

use super::crowd::Crowd;
use super::served::{Agent, Served, median, paced, print, quantile, report, spread};

/// An update with 100 viewers and an EventBridge that takes connections and answers nothing, beside one without either,
/// in interleaved pairs.
pub(crate) fn update() {
    let alone = Agent::start();
    let served = Served::start(Agent::start());
    let mut crowd = Crowd::gather(served.address, 100, 0, false);
    let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
    announce(&served, &format!("http://{}", stalled.local_addr().unwrap()));
    let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let measure = |agent: &Agent| {
            let mut times = Vec::new();
            paced(100, 200, |_| {
                let begin = Instant::now();
                agent.journal.submit_blocking(report()).unwrap();
                times.push(begin.elapsed().as_secs_f64() * 1e6);
            });
            (quantile(&mut times, 0.5), quantile(&mut times, 0.99))
        };
        let without = measure(&alone);
        let with = measure(&served.agent);
        crowd.wait_for_silence();
        p50s.push(with.0 / without.0);
        p99s.push(with.1 / without.1);
    }
    let details = "100 viewers and a stalled EventBridge at 100 events/s, ten interleaved pairs";
    print(
        "update p50 with viewers / without",
        &spread(&p50s),
        "<= 1.1",
        details,
    );
    print(
        "update p99 with viewers / without",
        &spread(&p99s),
        "<= 1.5",
        details,
    );
    assert!(median(&p50s) > 0.0);
}

/// Feeds a bus from the upgrade, for as long as the viewers are served.
fn announce(served: &Served, endpoint: &str) {
    let sink = EventBridgeBuilder::new("ops")
        .region("us-east-1")
        .credentials("key", "secret")
        .endpoint(endpoint)
        .events(["default", "task.progress"])
        .build()
        .unwrap();
    let dir = served.agent.dir();
    served.spawn(async move {
        let options = RelayOptions::default();
        let mut relay = Relay::open(&dir, scenarios::stream(), Arc::new(sink), options)
            .await
            .unwrap();
        relay.run(&CancellationToken::new()).await.unwrap();
    });
}
