//! A relay in a process of its own that is killed between delivery and cursor.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tracking_journal::{Delivery, EventSink, JournalReader, Record, RelayOptions};

use super::notes::Fixture;

const DIR: &str = "TRACKING_TEST_DIR";
const CALLS: &str = "TRACKING_TEST_CALLS";
const RECORDS: usize = 200;

/// Appends the ids it gets to a file; dies after a number of calls, after the last one has taken effect.
#[derive(Debug)]
struct DyingSink {
    received: PathBuf,
    calls_left: AtomicUsize,
}

#[async_trait]
impl EventSink for DyingSink {
    fn name(&self) -> &str {
        "bus"
    }

    async fn publish(&self, _: &Record, batch: &[Record]) -> Vec<Delivery> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.received)
            .unwrap();
        for record in batch {
            writeln!(file, "{}", record.id).unwrap();
        }
        if self.calls_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
        vec![Delivery::Delivered; batch.len()]
    }
}

/// What the test does in the process that it starts and that dies.
async fn relay_that_dies(dir: PathBuf, calls: usize) {
    let sink = Arc::new(DyingSink {
        received: dir.join("received"),
        calls_left: AtomicUsize::new(calls),
    });
    let options = RelayOptions::default()
        .with_batch_records(20)
        .with_save_every(Duration::ZERO);
    let mut relay = Fixture::at(dir).relay(&sink, options).await;
    relay.drain(Duration::from_secs(60)).await.unwrap();
}

/// Where and how long to relay, if this is the process that is to die.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is how the parent process tells what to do"
)]
fn told_to_die() -> Option<(PathBuf, usize)> {
    let dir = std::env::var_os(DIR)?;
    let calls = std::env::var(CALLS).expect("set beside the directory");
    Some((PathBuf::from(dir), calls.parse().expect("a number")))
}

/// Runs this very test in a process of its own, which takes the other branch.
fn run_child(dir: &Path, calls: usize) -> bool {
    let this = "relay::killed::fault_22_killed_between_delivery_and_cursor_delivers_again_with_the_same_ids";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(DIR, dir)
        .env(CALLS, calls.to_string())
        .output()
        .unwrap();
    child.status.success()
}

#[test]
fn fault_22_killed_between_delivery_and_cursor_delivers_again_with_the_same_ids() {
    if let Some((dir, calls)) = told_to_die() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.unwrap().block_on(relay_that_dies(dir, calls));
    }
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::at(folder.path().to_owned());
    fixture.write(RECORDS);
    let mut kills = 0;
    for calls in [1, 2, 3, 1, 4] {
        assert!(!run_child(folder.path(), calls), "the process should have died");
        kills += 1;
    }
    assert!(run_child(folder.path(), usize::MAX));
    let written: BTreeSet<String> = JournalReader::open(&fixture.dir, &fixture.stream)
        .unwrap()
        .map(|record| record.unwrap().id.to_string())
        .collect();
    let text = std::fs::read_to_string(folder.path().join("received")).unwrap();
    let received: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(written.len(), RECORDS);
    assert_eq!(written, received, "none lost, none with another id");
    let duplicates = text.lines().count() - received.len();
    assert!(
        duplicates >= 20 * kills,
        "each death came after a delivery and before its cursor"
    );
    println!(
        "FAULT row=22 name=killed_before_cursor kills={kills} records={RECORDS} lost=0 duplicates={duplicates}"
    );
}
