//! How many calls of PutEvents pending events take, against the fewest that the limits allow.
//!
//! `cargo xtask bench eventbridge`. The counts are exact and the same on every machine; the times are those of a
//! server on the loopback, so they are what this side costs.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and fails by panicking"
)]
#![expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use notify_eventbridge::EventBridgeBuilder;
use serde_json::{Value, json};
use test_servers::{Reply, Request, ScriptedServer};
use tracking_journal::{DataDir, Journal, JournalOptions, Relay, RelayOptions};
use tracking_model::{
    Details, NewTask, PlanId, StreamId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeId,
    UpgradeProgress,
};

const EVENTS: usize = 10_000;
const MAX_ENTRIES: usize = 10;
const MAX_BYTES: usize = 256 * 1024;

/// What is pending.
struct Case {
    name: &'static str,
    /// Bytes of free text in the event of this number.
    text: fn(usize) -> usize,
    /// Records that are not sent, for each event that is.
    others: usize,
}

const CASES: [Case; 3] = [
    Case {
        name: "small events",
        text: |_| 80,
        others: 0,
    },
    Case {
        name: "small, among 3 reports of progress each",
        text: |_| 80,
        others: 3,
    },
    Case {
        name: "three in ten of up to 60 KB",
        text: |number| {
            if number % 10 < 3 {
                1 + number * 7_919 % 60_000
            } else {
                200
            }
        },
        others: 0,
    },
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("{EVENTS} pending events, calls of at most {MAX_ENTRIES} entries and {MAX_BYTES} bytes");
    for case in &CASES {
        runtime.block_on(measure(case));
    }
}

async fn measure(case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let stream = StreamId::from(UpgradeId::new("bench").unwrap());
    write(&dir, &stream, case);
    let calls: Arc<Mutex<Vec<Vec<usize>>>> = Arc::default();
    let counted = Arc::clone(&calls);
    let server = ScriptedServer::start(move |request, _| take(request, &counted));
    let sink = EventBridgeBuilder::new("bench")
        .endpoint(server.endpoint())
        .region("us-east-1")
        .credentials("AKIABENCH", "secret")
        .build()
        .unwrap();
    let options = RelayOptions::default();
    let mut relay = Relay::open(&dir, stream, Arc::new(sink), options).await.unwrap();
    let begin = Instant::now();
    let report = relay.drain(Duration::from_secs(600)).await.unwrap();
    let took = begin.elapsed();
    assert_eq!(
        (report.delivered, report.remaining, report.parked),
        (EVENTS as u64, 0, 0)
    );

    let calls = calls.lock().unwrap();
    let sizes: Vec<usize> = calls.iter().flatten().copied().collect();
    assert_eq!(sizes.len(), EVENTS);
    for call in calls.iter() {
        assert!(call.len() <= MAX_ENTRIES && call.iter().sum::<usize>() <= MAX_BYTES);
    }
    let fewest = fewest_in_order(&sizes);
    let bytes: usize = sizes.iter().sum();
    let bound = EVENTS.div_ceil(MAX_ENTRIES).max(bytes.div_ceil(MAX_BYTES));
    println!(
        "{:40} {} calls, {fewest} are the fewest in order: {:.3}x; {bound} are the least in any order; {:.1} MB in {:.1} s",
        case.name,
        calls.len(),
        calls.len() as f64 / fewest as f64,
        bytes as f64 / 1e6,
        took.as_secs_f64(),
    );
}

/// The journal of an upgrade with a task that waits, and waits.
fn write(dir: &DataDir, stream: &StreamId, case: &Case) {
    let task = TaskId::new("drain").unwrap();
    let journal = Journal::<UpgradeProgress>::open(dir, stream.clone(), JournalOptions::default()).unwrap();
    let submit = |command| journal.submit_blocking(command).unwrap();
    submit(UpgradeCommand::Create {
        plan_id: PlanId::new("bench").unwrap(),
        cluster_name: "bench".into(),
        metadata: Details::NONE,
    });
    let new = NewTask::new(task.clone(), "Drain nodes", TaskType::UpgradeStep);
    submit(UpgradeCommand::AddTasks(vec![new]));
    let action = |action| UpgradeCommand::Task {
        task_id: task.clone(),
        action,
    };
    submit(action(TaskAction::Start { message: None }));
    let mut commands = Vec::new();
    for number in 1..EVENTS {
        commands.push(action(TaskAction::Wait {
            reason: "w".repeat((case.text)(number)).into(),
            until: None,
        }));
        for _ in 0..case.others {
            commands.push(action(TaskAction::Progress {
                percentage: 50.0,
                message: "half way".into(),
                details: Details::NONE,
            }));
        }
        if commands.len() >= 500 {
            submit(UpgradeCommand::All(std::mem::take(&mut commands)));
        }
    }
    submit(UpgradeCommand::All(commands));
}

/// Takes every entry of a call, and notes what each counts.
fn take(request: &Request, calls: &Mutex<Vec<Vec<usize>>>) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let answer = match body["Entries"].as_array() {
        None => json!({ "Name": "bench" }),
        Some(entries) => {
            calls.lock().unwrap().push(entries.iter().map(size).collect());
            let taken = vec![json!({ "EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860" }); entries.len()];
            json!({ "FailedEntryCount": 0, "Entries": taken })
        }
    };
    Reply::body(200, answer.to_string().into_bytes())
        .with_header("content-type", "application/x-amz-json-1.1")
}

/// What EventBridge counts an entry as.
fn size(entry: &Value) -> usize {
    let text = |key: &str| entry[key].as_str().unwrap().len();
    14 + text("Source") + text("DetailType") + text("Detail")
}

fn fewest_in_order(sizes: &[usize]) -> usize {
    let (mut calls, mut entries, mut bytes) = (0, MAX_ENTRIES, 0);
    for size in sizes {
        if entries == MAX_ENTRIES || bytes + size > MAX_BYTES {
            (calls, entries, bytes) = (calls + 1, 0, 0);
        }
        (entries, bytes) = (entries + 1, bytes + size);
    }
    calls
}
