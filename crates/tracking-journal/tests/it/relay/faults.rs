//! What a relay must survive, with a number for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracking_journal::{Delivery, MemorySink, RelayOptions};

use super::notes::{Fixture, seqs};

#[tokio::test(start_paused = true)]
async fn fault_19_after_a_partial_failure_only_the_refused_are_sent_again() {
    let fixture = Fixture::new();
    fixture.write(1_000);
    let sink = Arc::new(MemorySink::new("bus"));
    let sent = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let counts = Arc::clone(&sent);
    sink.answer_with(move |record| {
        let mut counts = counts.lock().unwrap();
        let times = counts.entry(record.seq).or_default();
        *times += 1;
        // Every third is refused as often as its number says.
        let refusals = if record.seq % 3 == 0 {
            record.seq as u32 % 4
        } else {
            0
        };
        if *times <= refusals {
            Delivery::retry("ThrottlingException")
        } else {
            Delivery::Delivered
        }
    });
    let mut relay = fixture
        .relay(&sink, RelayOptions::default().with_batch_records(10))
        .await;
    let report = relay.drain(Duration::from_secs(300)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (1_000, 0, 0));
    let sent = sent.lock().unwrap();
    for (seq, times) in &*sent {
        let refusals = if seq % 3 == 0 { *seq as u32 % 4 } else { 0 };
        assert_eq!(*times, 1 + refusals, "record {seq}");
    }
    let again: u32 = sent.values().map(|times| times - 1).sum();
    assert_eq!(seqs(&sink).iter().collect::<BTreeSet<_>>().len(), 1_000);
    println!("FAULT row=19 name=partial_failure records=1000 sent_again={again} lost=0 duplicates=0");
}

#[tokio::test(start_paused = true)]
async fn fault_20_what_can_never_be_accepted_is_parked_and_the_rest_moves_on() {
    let fixture = Fixture::new();
    for number in 0..50 {
        let text = if number == 10 {
            "x".repeat(300 << 10)
        } else {
            "small".to_owned()
        };
        fixture.note(if number == 20 { "malformed" } else { "note" }, &text);
    }
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|record| {
        if record.data.get().len() > 256 << 10 {
            return Delivery::park("entry over 256 KiB");
        }
        if record.kind == "malformed" {
            Delivery::park("MalformedDetail")
        } else {
            Delivery::Delivered
        }
    });
    let mut relay = fixture
        .relay(&sink, RelayOptions::default().with_batch_records(10))
        .await;
    let report = relay.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (48, 0, 2));
    let parked: Vec<_> = relay
        .cursor()
        .parked
        .iter()
        .map(|parked| (parked.seq, parked.reason.as_str()))
        .collect();
    assert_eq!(parked, [(11, "entry over 256 KiB"), (21, "MalformedDetail")]);
    assert_eq!(relay.cursor().seq, 50);
    println!("FAULT row=20 name=never_accepted delivered=48 parked=2 held_up=0");
}

#[tokio::test(start_paused = true)]
async fn fault_21_an_hour_without_the_receiver_loses_nothing_and_leaves_the_writer_alone() {
    const RECORDS: usize = 900;
    let fixture = Fixture::new();
    let sink = Arc::new(MemorySink::new("bus"));
    let (begin, calls) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    sink.answer_with(move |_| {
        if begin.elapsed() < Duration::from_secs(3_600) {
            counted.fetch_add(1, Ordering::SeqCst);
            return Delivery::retry("503 service unavailable");
        }
        Delivery::Delivered
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let cancel = CancellationToken::new();
    let mut acked = 0;
    let writer = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..RECORDS {
            let before = std::time::Instant::now();
            fixture.write(1);
            slowest = slowest.max(before.elapsed());
            acked += 1;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        sink.wait_for(RECORDS).await;
        cancel.cancel();
        slowest
    };
    let (result, slowest) = tokio::join!(relay.run(&cancel), writer);
    result.unwrap();
    let received = seqs(&sink);
    let lost = (1..=RECORDS as u64).filter(|seq| !received.contains(seq)).count();
    assert_eq!((lost, received.len()), (0, RECORDS), "each once");
    assert!(received.is_sorted(), "an outage keeps the order");
    let caught_up = begin.elapsed() - Duration::from_secs(3_600);
    assert!(caught_up <= Duration::from_secs(62), "{caught_up:?}");
    println!(
        "FAULT row=21 name=outage_1h acked={acked} lost={lost} duplicates=0 refused={} caught_up_s={:.1} slowest_ack_ms={:.1}",
        calls.load(Ordering::SeqCst),
        caught_up.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_within_a_batch_keeps_the_order_and_full_batches() {
    let fixture = Fixture::new();
    fixture.write(300);
    let sink = Arc::new(MemorySink::new("bus"));
    let mut refused = BTreeSet::new();
    sink.answer_with(move |record| {
        // The call that begins with the 31st fails, and what follows in its batch is held back, once.
        if (31..=100).contains(&record.seq) && refused.insert(record.seq) {
            return Delivery::retry("503 service unavailable");
        }
        Delivery::Delivered
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let report = relay.drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (300, 0, 0));
    assert!(seqs(&sink).into_iter().eq(1..=300), "{:?}", seqs(&sink));
    assert_eq!(sink.batch_sizes(), [100, 100, 100, 70]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_a_little_of_each_batch_gets_all_in_order_and_parks_nothing() {
    const RECORDS: u64 = 1_000;
    let fixture = Fixture::new();
    fixture.write(1_000);
    let sink = Arc::new(MemorySink::new("bus"));
    // Two of each batch, so that the last is refused far more often than a record that is refused alone may be.
    let mut next = 1;
    let mut room = 0;
    sink.answer_with(move |record| {
        if record.seq == next && room == 0 {
            room = 2;
            return Delivery::retry("ThrottlingException");
        }
        if record.seq == next {
            (next, room) = (next + 1, room - 1);
            return Delivery::Delivered;
        }
        Delivery::retry("held back")
    });
    let mut relay = fixture
        .relay(&sink, RelayOptions::default().with_batch_records(1_000))
        .await;
    let report = relay.drain(Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(
        (report.delivered, report.remaining, report.parked),
        (RECORDS, 0, 0)
    );
    assert!(seqs(&sink).into_iter().eq(1..=RECORDS));
}

#[tokio::test(start_paused = true)]
async fn fault_23_far_behind_memory_stays_bounded_and_the_sink_catches_up() {
    const RECORDS: usize = 20_000;
    const WINDOW: usize = 500;
    let fixture = Fixture::new();
    for _ in 0..RECORDS / 1_000 {
        fixture.write(1_000);
    }
    let sink = Arc::new(MemorySink::new("bus"));
    let furthest = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&furthest);
    let begin = Instant::now();
    sink.answer_with(move |record| {
        if begin.elapsed() < Duration::from_secs(7_200) {
            seen.fetch_max(record.seq, Ordering::SeqCst);
            return Delivery::retry("down");
        }
        Delivery::Delivered
    });
    let options = RelayOptions::default().with_window_records(WINDOW);
    let mut relay = fixture.relay(&sink, options).await;
    let down = relay.drain(Duration::from_secs(7_000)).await.unwrap();
    assert_eq!((down.delivered, down.remaining), (0, RECORDS as u64));
    let held = furthest.load(Ordering::SeqCst);
    assert!(held <= WINDOW as u64, "{held} records were taken into memory");
    let report = relay.drain(Duration::from_secs(3_600)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (RECORDS as u64, 0));
    assert!(seqs(&sink).into_iter().eq(1..=RECORDS as u64));
    println!("FAULT row=23 name=far_behind records={RECORDS} held_at_most={WINDOW} lost=0 duplicates=0");
}
