//! Faults of EventBridge and of the way to it, each with its numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use notify_eventbridge::{EventBridgeSink, Patience};
use serde_json::{Value, json};
use test_servers::{Reply, ScriptedServer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracking_journal::{Backoff, Delivery, EventSink, Record, RelayOptions, SinkPace};
use tracking_model::UpgradeCommand;

use crate::bus::{FakeBus, builder, error, is_look, puts, sink};
use crate::raw::{Raw, change};
use crate::upgrade::Upgrade;

/// Lets the paused time stand while a call goes over a real socket: it would jump to the call's timeout at once.
#[derive(Debug)]
struct TimeStands(EventBridgeSink);

#[async_trait]
impl EventSink for TimeStands {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn pace(&self) -> SinkPace {
        self.0.pace()
    }

    fn skips(&self) -> Vec<Arc<str>> {
        self.0.skips()
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        // Time does not move by itself while there is work on a blocking thread.
        let (ended, call) = std::sync::mpsc::channel::<()>();
        let standing = tokio::task::spawn_blocking(move || call.recv());
        let answers = self.0.publish(first, batch).await;
        drop(ended);
        standing.await.unwrap().unwrap_err();
        answers
    }
}

fn seq_of(entry: &Value) -> u64 {
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    detail["seq"].as_u64().unwrap()
}

/// Row 19: entries of a call are refused for now; they alone come again.
#[tokio::test(start_paused = true)]
async fn fault_19_eventbridge_refuses_a_part() {
    const EVENTS: u64 = 300;
    // Every third is refused as often as its number says.
    let refusals = |seq: u64| if seq.is_multiple_of(3) { seq % 4 } else { 0 };
    let mut sent = BTreeMap::<u64, u64>::new();
    let bus = FakeBus::deciding(move |entry| {
        let seq = seq_of(entry);
        let times = sent.entry(seq).or_default();
        *times += 1;
        let code = ["InternalFailure", "ThrottlingException"][(seq % 2) as usize];
        (*times <= refusals(seq)).then_some(code)
    });
    let server = bus.serve();
    let (upgrade, sink) = (Upgrade::new(), sink(&server));
    upgrade.wait(EVENTS as usize, 10);
    let options = RelayOptions::default();
    let mut relay = upgrade.relay_with(Arc::new(TimeStands(sink)), options).await;
    let report = relay.drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!(
        (report.delivered, report.remaining, report.parked),
        (EVENTS, 0, 0)
    );
    let mut times = BTreeMap::<u64, u64>::new();
    for entry in puts(&server).iter().flatten() {
        *times.entry(seq_of(entry)).or_default() += 1;
    }
    for (seq, times) in &times {
        assert_eq!(*times, 1 + refusals(*seq), "event {seq}");
    }
    let taken: BTreeSet<_> = bus.seqs().into_iter().collect();
    assert_eq!(
        (taken.len(), bus.seqs().len()),
        (EVENTS as usize, EVENTS as usize),
        "each once"
    );
    let again: u64 = times.values().map(|times| times - 1).sum();
    println!(
        "FAULT row=19 name=eventbridge_partial_failure events={EVENTS} sent_again={again} lost=0 duplicates=0"
    );
}

/// Row 20: what is too large is sent without its details; what can never be accepted is parked; the rest moves on.
#[tokio::test]
async fn fault_20_what_eventbridge_never_accepts_is_parked() {
    let bus = FakeBus::deciding(|entry| {
        let malformed = entry["Detail"].as_str().unwrap().contains("malformed");
        malformed.then_some("MalformedDetail")
    });
    let answering = Arc::clone(&bus);
    let server = ScriptedServer::start(move |request, _| {
        // One entry lets all of its call be refused.
        if request.body.windows(6).any(|window| window == b"poison") {
            return error(400, "ValidationException", "one entry is not valid");
        }
        answering.answer(request)
    });
    let raw = Raw::new();
    let large = "x".repeat(300 << 10);
    let events = (2..=51).map(|seq| {
        let data = match seq {
            10 => change(json!({ "details": { "text": large } })),
            20 => change(json!({ "task_name": large })),
            30 => change(json!({ "message": "malformed" })),
            35 => json!({ "task_id": "t" }),
            40 => change(json!({ "message": "poison" })),
            _ => change(json!({ "message": "small" })),
        };
        ("task.started", data)
    });
    raw.write(events.collect());
    let sink = sink(&server);
    let options = RelayOptions::default();
    let mut relay = raw.relay(Arc::new(sink), options).await;
    let report = relay.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (46, 0, 4));
    let parked: Vec<_> = relay.cursor().parked.iter().map(|parked| parked.seq).collect();
    let reasons: Vec<_> = relay
        .cursor()
        .parked
        .iter()
        .map(|parked| parked.reason.as_str())
        .collect();
    assert_eq!(parked, [20, 30, 35, 40], "{reasons:#?}");
    for (reason, part) in reasons.iter().zip([
        "262144 bytes",
        "MalformedDetail",
        "task.started",
        "one entry is not valid",
    ]) {
        assert!(reason.contains(part), "{reason}");
    }
    let cut = bus.taken().into_iter().find(|taken| taken.seq() == 10).unwrap();
    assert_eq!(cut.detail["truncated_fields"], json!(["details"]));
    assert!(bus.seqs().is_sorted() && bus.seqs().len() == 46);

    // Somebody asks for what is parked.
    relay.handle().retry_parked();
    let report = relay.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!(
        (report.delivered, report.parked),
        (0, 4),
        "they are what they were"
    );
    println!("FAULT row=20 name=eventbridge_never_accepts delivered=46 truncated=1 parked=4 held_up=0");
}

/// Row 21: an hour in which EventBridge answers with everything but success.
#[tokio::test(start_paused = true)]
async fn fault_21_eventbridge_is_out_for_an_hour() {
    const EVENTS: u64 = 300;
    let down = Arc::new(AtomicBool::new(true));
    let (bus, refused) = (FakeBus::new(), Arc::new(AtomicUsize::new(0)));
    let (answering, counted, out) = (Arc::clone(&bus), Arc::clone(&refused), Arc::clone(&down));
    let server = ScriptedServer::start(move |request, _| {
        if !out.load(Ordering::SeqCst) {
            return answering.answer(request);
        }
        match counted.fetch_add(1, Ordering::SeqCst) % 5 {
            // The bus was found before the outage began.
            _ if is_look(request) => answering.answer(request),
            0 => error(503, "ServiceUnavailable", "later"),
            1 => error(429, "TooManyRequestsException", "slowly").with_header("retry-after", "20"),
            2 => Reply::Hangup,
            3 => error(400, "ThrottlingException", "Rate exceeded"),
            _ => error(500, "InternalException", "oh"),
        }
    });
    let (upgrade, sink) = (Upgrade::new(), sink(&server));
    let options = RelayOptions::default();
    let mut relay = upgrade.relay_with(Arc::new(TimeStands(sink)), options).await;
    let mut status = relay.handle().subscribe();
    let (cancel, begin) = (CancellationToken::new(), Instant::now());
    let writer = async {
        let mut acks = Vec::new();
        for _ in 0..EVENTS {
            let before = std::time::Instant::now();
            upgrade.wait(1, 10);
            acks.push(before.elapsed());
            tokio::time::sleep(Duration::from_secs(12)).await;
        }
        down.store(false, Ordering::SeqCst);
        status
            .wait_for(|status| status.cursor.delivered == EVENTS)
            .await
            .unwrap();
        let caught_up = begin.elapsed() - Duration::from_secs(3_600);
        cancel.cancel();
        acks.sort();
        (acks, caught_up)
    };
    let (result, (acks, caught_up)) = tokio::join!(relay.run(&cancel), writer);
    result.unwrap();
    assert!(bus.seqs().into_iter().eq(3..3 + EVENTS), "each once, in order");
    assert!(caught_up <= Duration::from_secs(62), "{caught_up:?}");
    println!(
        "FAULT row=21 name=eventbridge_outage_1h acked={EVENTS} lost=0 duplicates=0 refused={} caught_up_s={:.1} p99_ack_ms={:.1}",
        refused.load(Ordering::SeqCst),
        caught_up.as_secs_f64(),
        acks[acks.len() * 99 / 100].as_secs_f64() * 1e3,
    );
}

/// Row 21: a server that takes a call and never answers, hangs up, or breaks off within its answer.
#[tokio::test]
async fn fault_21_eventbridge_stalls_and_breaks_off() {
    const EVENTS: u64 = 60;
    let bus = FakeBus::new();
    let (answering, number) = (Arc::clone(&bus), Mutex::new(0));
    let server = ScriptedServer::start(move |request, _| {
        if is_look(request) {
            return answering.answer(request);
        }
        let mut number = number.lock().unwrap();
        *number += 1;
        match *number {
            1 | 4 => Reply::Stall,
            2 | 5 => Reply::Hangup,
            // It took the entries, and its answer is lost.
            3 => match answering.answer(request) {
                Reply::Answer {
                    status,
                    headers,
                    body,
                } => Reply::Cut {
                    status,
                    headers,
                    length: body.len(),
                    body: body[..20].to_vec(),
                },
                other => other,
            },
            _ => answering.answer(request),
        }
    });
    let mut patience = Patience::default();
    patience.call_timeout = Duration::from_millis(300);
    let sink = builder(&server.endpoint()).patience(patience).build().unwrap();
    let upgrade = Upgrade::new();
    upgrade.wait(EVENTS as usize, 10);
    let backoff = Backoff {
        initial: Duration::from_millis(1),
        max: Duration::from_millis(5),
        jitter: 0.5,
    };
    let options = RelayOptions::default().with_backoff(backoff);
    let mut relay = upgrade.relay_with(Arc::new(sink), options).await;
    let report = relay.drain(Duration::from_secs(120)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (EVENTS, 0));
    let ids = bus.event_ids();
    let distinct: BTreeSet<_> = ids.iter().collect();
    let duplicates = ids.len() - distinct.len();
    assert_eq!(distinct.len(), EVENTS as usize, "none lost");
    assert!(
        duplicates >= 10,
        "an answer that is lost is asked for again, with the same ids"
    );
    println!("FAULT row=21 name=eventbridge_stalls_resets events={EVENTS} lost=0 duplicates={duplicates}");
}

/// A pause that the server asks for is the relay's to keep.
#[tokio::test]
async fn a_pause_that_is_asked_for_reaches_the_relay() {
    let bus = FakeBus::new();
    let server = ScriptedServer::start(move |request, _| match is_look(request) {
        true => bus.answer(request),
        false => error(503, "ServiceUnavailable", "later").with_header("retry-after", "7"),
    });
    let upgrade = Upgrade::new();
    upgrade.submit(UpgradeCommand::Start { phase: "p".into() });
    let records = upgrade.records();
    let answers = sink(&server).publish(&records[0], &records).await;
    let [
        Delivery::Ignored,
        Delivery::Ignored,
        Delivery::Retry { reason, after },
    ] = answers.as_slice()
    else {
        panic!("{answers:?}");
    };
    assert_eq!(*after, Some(Duration::from_secs(7)), "{reason}");
}
