//! Relays from a real journal to scripted sinks. Time is virtual wherever nothing else is at stake.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod killed;
mod notes;
mod parking;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracking_journal::{
    Delivery, EventSink, FailureCause, LeaseError, MemorySink, Record, Relay, RelayError, RelayOptions,
    RestartCause, SinkPace, sink_statuses, vouched_points,
};
use uuid::Uuid;

use notes::{Fixture, seqs};

const FIVE_SECONDS: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn delivers_in_order_skips_kinds_and_continues_where_it_stopped() {
    let fixture = Fixture::new();
    fixture.write(250);
    fixture.note("task.heartbeat", "alive");
    fixture.write(3);
    let sink = Arc::new(MemorySink::new("bus"));
    let options = RelayOptions::default().with_skip_kinds(vec!["task.heartbeat".into()]);
    let mut relay = fixture.relay(&sink, options.clone()).await;
    let report = relay.drain(FIVE_SECONDS).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (253, 0, 0));
    assert_eq!(seqs(&sink), (1..=250).chain(252..=254).collect::<Vec<_>>());
    assert_eq!(sink.batch_sizes(), [100, 100, 53]);
    assert_eq!((relay.cursor().seq, relay.cursor().skipped), (254, 1));
    drop(relay);

    fixture.write(2);
    let mut relay = fixture.relay(&sink, options).await;
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().delivered, 2);
    assert_eq!(seqs(&sink).len(), 255, "nothing twice");
    let points = vouched_points(&fixture.dir, &fixture.stream).unwrap();
    assert_eq!(points[0].position.head, fixture.journal.head());
    assert_eq!(
        points[0].position.offset,
        std::fs::metadata(fixture.dir.journal_path(&fixture.stream))
            .unwrap()
            .len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_runs_delivers_what_comes() {
    let fixture = Fixture::new();
    let sink = Arc::new(MemorySink::new("bus"));
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let cancel = CancellationToken::new();
    let writes = async {
        for count in 1..=5 {
            fixture.write(1);
            sink.wait_for(count).await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), writes);
    result.unwrap();
    assert_eq!(seqs(&sink), [1, 2, 3, 4, 5]);
    let status = &sink_statuses(&fixture.dir).unwrap()[0];
    assert_eq!(
        (status.cursor.seq, status.lag, status.problem.clone()),
        (5, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn one_relay_for_each_sink_and_stream() {
    let fixture = Fixture::new();
    let sink = Arc::new(MemorySink::new("bus"));
    let relay = fixture.relay(&sink, RelayOptions::default()).await;
    let second = fixture.try_relay(&sink, RelayOptions::default()).await;
    let Err(RelayError::Lease(LeaseError::Held(held))) = second else {
        panic!("{second:?}")
    };
    assert_eq!(held.pid, Some(std::process::id()));
    fixture
        .relay(&Arc::new(MemorySink::new("other")), RelayOptions::default())
        .await;
    drop(relay);
    fixture.relay(&sink, RelayOptions::default()).await;
    let named = Arc::new(MemorySink::new("no name"));
    assert!(matches!(
        fixture.try_relay(&named, RelayOptions::default()).await,
        Err(RelayError::Name(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn lingers_for_fuller_batches_unless_it_must_end() {
    let fixture = Fixture::new();
    let sink = Arc::new(MemorySink::new("bus"));
    let options = RelayOptions::default()
        .with_linger(FIVE_SECONDS)
        .with_batch_records(10);
    let mut relay = fixture.relay(&sink, options).await;
    let cancel = CancellationToken::new();
    let writes = async {
        fixture.write(25);
        sink.wait_for(20).await;
        let full = tokio::time::Instant::now();
        sink.wait_for(25).await;
        assert!(full.elapsed() >= Duration::from_secs(4), "{:?}", full.elapsed());
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), writes);
    result.unwrap();
    assert_eq!(sink.batch_sizes(), [10, 10, 5]);
    fixture.write(1);
    let before = tokio::time::Instant::now();
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().delivered, 1);
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_pace_of_a_sink_goes_before_the_options_of_its_relay() {
    let fixture = Fixture::new();
    let pace = SinkPace::default()
        .with_linger(FIVE_SECONDS)
        .with_max_records(1_500)
        .with_max_bytes(300 * 400);
    let sink = Arc::new(MemorySink::new("segments").with_pace(pace));
    fixture.write(1_000);
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let cancel = CancellationToken::new();
    let reads = async {
        let start = tokio::time::Instant::now();
        sink.wait_for(1).await;
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "enough bytes go at once"
        );
        let full = sink.batch_sizes()[0];
        assert!(
            (300..=460).contains(&full),
            "{full} records of some 270 bytes each"
        );
        sink.wait_for(1_000).await;
        assert_eq!(start.elapsed().as_secs(), 5, "the rest waits for more");
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), reads);
    result.unwrap();
    assert_eq!(sink.batch_sizes().len(), 3, "{:?}", sink.batch_sizes());
    fixture.write(1);
    let before = tokio::time::Instant::now();
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().delivered, 1);
    assert!(before.elapsed() < Duration::from_secs(1), "a drain does not wait");
}

#[tokio::test(start_paused = true)]
async fn more_records_than_the_window_holds_by_default_wait_together() {
    let fixture = Fixture::new();
    let pace = SinkPace::default()
        .with_linger(FIVE_SECONDS)
        .with_max_records(1_500)
        .with_max_bytes(1 << 20);
    let sink = Arc::new(MemorySink::new("segments").with_pace(pace));
    fixture.write(1_600);
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let cancel = CancellationToken::new();
    let reads = async {
        sink.wait_for(1_600).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), reads);
    result.unwrap();
    assert_eq!(sink.batch_sizes(), [1_500, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_says_how_long_a_call_may_take() {
    let fixture = Fixture::new();
    fixture.write(1);
    let pace = SinkPace::default().with_timeout(Duration::from_secs(600));
    let patient = SlowSink {
        inner: MemorySink::new("bus").with_pace(pace),
        takes: Duration::from_secs(300),
    };
    let mut relay = fixture.relay(&Arc::new(patient), RelayOptions::default()).await;
    let report = relay.drain(Duration::from_secs(900)).await.unwrap();
    assert_eq!((report.delivered, report.remaining), (1, 0));
    assert_eq!(relay.cursor().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_and_tells_what_is_left() {
    let fixture = Fixture::new();
    fixture.write(1_500);
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|record| {
        if record.seq <= 40 {
            Delivery::Delivered
        } else {
            Delivery::retry("503")
        }
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let before = tokio::time::Instant::now();
    let report = relay.drain(FIVE_SECONDS).await.unwrap();
    assert_eq!(before.elapsed().as_secs(), 5);
    assert_eq!((report.delivered, report.remaining), (40, 1_460));
    let status = relay.handle().status();
    assert_eq!(status.lag, 1_460);
    let error = status.cursor.last_error.unwrap();
    assert_eq!(
        (error.cause, error.reason.as_str()),
        (FailureCause::Refused, "503")
    );
    assert!(status.cursor.next_retry_at.is_some());
    assert_eq!(sink_statuses(&fixture.dir).unwrap()[0].lag, 1_460);
}

/// Answers after a while, or never.
#[derive(Debug)]
struct SlowSink {
    inner: MemorySink,
    takes: Duration,
}

#[async_trait::async_trait]
impl EventSink for SlowSink {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn pace(&self) -> SinkPace {
        self.inner.pace()
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        tokio::time::sleep(self.takes).await;
        self.inner.publish(first, batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_may_end_when_the_relay_is_told_to_stop() {
    let fixture = Fixture::new();
    fixture.write(1);
    let sink = SlowSink {
        inner: MemorySink::new("bus"),
        takes: Duration::from_secs(3),
    };
    let sink = Arc::new(sink);
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let cancel = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), stop);
    result.unwrap();
    assert_eq!(seqs(&sink.inner), [1]);
    assert_eq!(sink_statuses(&fixture.dir).unwrap()[0].cursor.seq, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_dropped_and_tried_again() {
    let fixture = Fixture::new();
    fixture.write(3);
    let sink = Arc::new(SlowSink {
        inner: MemorySink::new("bus"),
        takes: Duration::from_secs(600),
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let report = relay.drain(Duration::from_secs(200)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (0, 3, 0));
    let error = relay.cursor().last_error.clone().unwrap();
    assert_eq!((error.cause, error.attempts), (FailureCause::TimedOut, 3));
}

#[tokio::test(start_paused = true)]
async fn a_journal_begun_anew_is_delivered_from_its_start() {
    let mut fixture = Fixture::new();
    fixture.write(5);
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|record| {
        if record.seq == 3 {
            Delivery::park("no")
        } else {
            Delivery::Delivered
        }
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    relay.drain(FIVE_SECONDS).await.unwrap();
    let old = fixture.journal.head().epoch;

    // While the relay is there, and with fewer records than before.
    fixture.begin_anew();
    fixture.write(2);
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().delivered, 2);
    assert_eq!(seqs(&sink), [1, 2, 4, 5, 1, 2]);
    let restart = relay.cursor().restarted.clone().unwrap();
    assert_eq!(
        (restart.cause, restart.parked),
        (RestartCause::Replaced { epoch: old, seq: 5 }, 1)
    );
    drop(relay);

    // While it is not, and with more.
    fixture.begin_anew();
    fixture.write(9);
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().delivered, 8);
    assert_eq!(relay.cursor().epoch, fixture.journal.head().epoch);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_cannot_be_read_is_kept_and_costs_duplicates_only() {
    let fixture = Fixture::new();
    fixture.write(5);
    let sink = Arc::new(MemorySink::new("bus"));
    fixture
        .relay(&sink, RelayOptions::default())
        .await
        .drain(FIVE_SECONDS)
        .await
        .unwrap();
    let path = fixture.cursor_path("bus");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text.as_bytes()[..text.len() / 2]).unwrap();
    assert!(sink_statuses(&fixture.dir).unwrap()[0].problem.is_some());

    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let RestartCause::Corrupt { kept_as, .. } = relay.cursor().restarted.clone().unwrap().cause else {
        panic!("{:?}", relay.cursor())
    };
    assert_eq!(
        std::fs::metadata(path.with_file_name(kept_as)).unwrap().len() as usize,
        text.len() / 2
    );
    relay.drain(FIVE_SECONDS).await.unwrap();
    assert_eq!(seqs(&sink), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    let ids = sink.received_ids();
    assert_eq!(ids[..5], ids[5..], "duplicates have the same ids");
}

#[tokio::test(start_paused = true)]
async fn damage_is_reported_and_delivery_goes_on_after_it_is_gone() {
    let fixture = Fixture::new();
    fixture.write(5);
    fixture.write(5);
    let path = fixture.dir.journal_path(&fixture.stream);
    let intact = std::fs::read(&path).unwrap();
    let mut damaged = intact.clone();
    let at = intact.len() / 2;
    damaged[at] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let sink = Arc::new(MemorySink::new("bus"));
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    assert!(matches!(
        relay.drain(FIVE_SECONDS).await,
        Err(RelayError::Journal(_))
    ));
    assert!(relay.handle().status().problem.unwrap().contains("damaged"));
    std::fs::write(&path, &intact).unwrap();
    tokio::time::sleep(FIVE_SECONDS).await;
    relay.drain(FIVE_SECONDS).await.unwrap();
    assert_eq!(seqs(&sink), (1..=10).collect::<Vec<_>>());
    assert_eq!(relay.handle().status().problem, None);
}

/// Nothing is to be delivered before the damage, so that only reading on can meet it.
#[tokio::test(start_paused = true)]
async fn damage_behind_skipped_records_is_reported() {
    let fixture = Fixture::new();
    fixture.write(1);
    let sink = Arc::new(MemorySink::new("bus"));
    let options = RelayOptions::default().with_skip_kinds(vec!["task.heartbeat".into()]);
    let mut relay = fixture.relay(&sink, options.clone()).await;
    relay.drain(FIVE_SECONDS).await.unwrap();
    drop(relay);
    fixture.note("task.heartbeat", "alive");
    fixture.note("note", "to be damaged");
    fixture.write(1);
    let path = fixture.dir.journal_path(&fixture.stream);
    let damaged = std::fs::read_to_string(&path)
        .unwrap()
        .replace("to be damaged", "to be Damaged");
    std::fs::write(&path, damaged).unwrap();
    let mut relay = fixture.relay(&sink, options).await;
    let drained = relay.drain(FIVE_SECONDS).await;
    assert!(matches!(drained, Err(RelayError::Journal(_))), "{drained:?}");
}

#[tokio::test(start_paused = true)]
async fn a_relay_dropped_in_the_middle_loses_nothing() {
    let fixture = Fixture::new();
    fixture.write(500);
    let sink = Arc::new(MemorySink::new("bus"));
    let slow = SlowSink {
        inner: MemorySink::new("bus"),
        takes: Duration::from_millis(10),
    };
    let slow = Arc::new(slow);
    for round in 0..8 {
        let mut relay = fixture
            .relay(&slow, RelayOptions::default().with_batch_records(20))
            .await;
        let run = relay.drain(FIVE_SECONDS);
        // Every round is cut off at another moment.
        tokio::time::timeout(Duration::from_millis(15 + 7 * round), run)
            .await
            .unwrap_err();
    }
    drop(sink);
    let mut relay = fixture.relay(&slow, RelayOptions::default()).await;
    assert_eq!(relay.drain(Duration::from_secs(60)).await.unwrap().remaining, 0);
    let mut ids: Vec<Uuid> = slow.inner.received_ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 500);
}

#[test]
fn relays_can_be_moved_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let run = |mut relay: Relay| async move {
        let cancel = CancellationToken::new();
        relay.run(&cancel).await
    };
    fn check<Fut: Future + Send>(_: impl Fn(Relay) -> Fut) {}
    check(run);
    sendable(&RelayOptions::default());
}
