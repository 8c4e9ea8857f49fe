//! A process that is killed after EventBridge took a batch and before the cursor says so.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use notify_eventbridge::EventBridgeSink;
use tracking_journal::{Delivery, EventSink, Record, RelayOptions};

use crate::bus::{FakeBus, builder};
use crate::upgrade::Upgrade;

const DIR: &str = "EVENTBRIDGE_TEST_DIR";
const ENDPOINT: &str = "EVENTBRIDGE_TEST_ENDPOINT";
const CALLS: &str = "EVENTBRIDGE_TEST_CALLS";
const EVENTS: usize = 200;

/// Dies after a number of calls, when the last one has taken effect.
#[derive(Debug)]
struct Dying {
    sink: EventBridgeSink,
    calls_left: AtomicUsize,
}

#[async_trait]
impl EventSink for Dying {
    fn name(&self) -> &str {
        self.sink.name()
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        let answers = self.sink.publish(first, batch).await;
        if self.calls_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
        answers
    }
}

/// What the test does in the process that it starts and that dies.
async fn relay_that_dies((dir, endpoint, calls): (PathBuf, String, usize)) {
    let sink = builder(&endpoint).build().unwrap();
    let options = sink
        .relay_options(RelayOptions::default())
        .with_batch_records(20)
        .with_save_every(Duration::ZERO);
    let dying = Arc::new(Dying {
        sink,
        calls_left: AtomicUsize::new(calls),
    });
    let mut relay = Upgrade::at(dir).relay_with(dying, options).await;
    relay.drain(Duration::from_secs(60)).await.unwrap();
}

/// What to relay and to where, if this is the process that is to die.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how the parent process tells what to do"
)]
fn told_to_die() -> Option<(PathBuf, String, usize)> {
    let dir = std::env::var_os(DIR)?.into();
    Some((
        dir,
        std::env::var(ENDPOINT).unwrap(),
        std::env::var(CALLS).unwrap().parse().unwrap(),
    ))
}

#[test]
fn fault_22_killed_before_the_cursor_sends_again_with_the_same_event_ids() {
    if let Some(told) = told_to_die() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.unwrap().block_on(relay_that_dies(told));
    }
    let (bus, folder) = (FakeBus::new(), tempfile::tempdir().unwrap());
    let server = bus.serve();
    let upgrade = Upgrade::at(folder.path().to_owned()).begun("prod");
    upgrade.wait(EVENTS, 10);
    // This very test in a process of its own, which takes the other branch.
    let lives = |calls: usize| {
        let this = "killed::fault_22_killed_before_the_cursor_sends_again_with_the_same_event_ids";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this, "--nocapture"])
            .env(DIR, folder.path())
            .env(ENDPOINT, server.endpoint())
            .env(CALLS, calls.to_string())
            .output()
            .unwrap();
        child.status.success()
    };
    let mut kills = 0;
    for calls in [1, 2, 3, 1, 2] {
        assert!(!lives(calls), "the process should have died");
        kills += 1;
    }
    assert!(lives(usize::MAX));
    let records = upgrade.records();
    let written: BTreeSet<_> = records
        .iter()
        .skip(2)
        .map(|record| record.id.to_string())
        .collect();
    let sent = bus.event_ids();
    let received: BTreeSet<_> = sent.iter().cloned().collect();
    assert_eq!(written.len(), EVENTS);
    assert_eq!(written, received, "none lost, none with another id");
    let duplicates = sent.len() - received.len();
    assert!(
        duplicates >= 20 * kills,
        "each death came after a delivery and before its cursor"
    );
    println!(
        "FAULT row=22 name=eventbridge_killed kills={kills} events={EVENTS} lost=0 duplicates={duplicates}"
    );
}
