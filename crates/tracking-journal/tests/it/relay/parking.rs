//! Records that a sink never accepts, and sinks that fail over them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracking_journal::{
    Delivery, EventSink, FailureCause, MemorySink, MockEventSink, Record, RelayOptions, SinkName,
    request_retry,
};

use super::FIVE_SECONDS;
use super::notes::{Fixture, seqs};

/// Panics over the seventh record, and miscounts over the twentieth.
#[derive(Debug)]
struct ClumsySink(MemorySink);

#[async_trait::async_trait]
impl EventSink for ClumsySink {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        assert_eq!(first.seq, 1);
        assert!(!batch.iter().any(|record| record.seq == 7), "cannot bear seven");
        if batch.iter().any(|record| record.seq == 20) {
            return vec![Delivery::Delivered; batch.len() + 1];
        }
        self.0.publish(first, batch).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_always_panics_parks_nothing() {
    let fixture = Fixture::new();
    fixture.write(30);
    let mut sink = MockEventSink::new();
    sink.expect_name().return_const("bus".to_owned());
    sink.expect_publish().returning(|_, _| panic!("not today"));
    let mut relay = fixture.relay(&Arc::new(sink), RelayOptions::default()).await;
    let report = relay.drain(Duration::from_secs(3_600)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (0, 30, 0));
    assert_eq!(
        relay.cursor().last_error.as_ref().unwrap().cause,
        FailureCause::Panicked
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_miscounts_over_one_record_loses_no_other() {
    let fixture = Fixture::new();
    fixture.write(30);
    let sink = Arc::new(ClumsySink(MemorySink::new("bus")));
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    let report = relay.drain(Duration::from_secs(600)).await.unwrap();
    assert_eq!((report.delivered, report.remaining, report.parked), (28, 0, 2));
    let expected: Vec<u64> = (1..=30).filter(|seq| ![7, 20].contains(seq)).collect();
    let mut delivered = seqs(&sink.0);
    delivered.sort_unstable();
    assert_eq!(delivered, expected);
    let parked = &relay.cursor().parked;
    assert!(parked[0].reason.contains("cannot bear seven"), "{parked:?}");
    assert!(
        parked[1].reason.contains("answered for 2 records of 1"),
        "{parked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_while_others_get_through_is_parked_in_the_end() {
    let fixture = Fixture::new();
    fixture.write(3_000);
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|record| {
        if record.seq == 2 {
            Delivery::retry("internal")
        } else {
            Delivery::Delivered
        }
    });
    let options = RelayOptions::default()
        .with_batch_records(1)
        .with_window_records(500)
        .with_max_overtaken(3);
    let mut relay = fixture.relay(&sink, options).await;
    let cancel = CancellationToken::new();
    let writes = async {
        sink.wait_for(2_999).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(relay.run(&cancel), writes);
    result.unwrap();
    let parked = &relay.cursor().parked;
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].seq, parked[0].kind.as_str()), (2, "note"));
    assert!(parked[0].reason.starts_with("refused "), "{parked:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_parked_than_there_is_room_for() {
    let fixture = Fixture::new();
    fixture.write(10);
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|_| Delivery::park("wrong"));
    let mut relay = fixture
        .relay(&sink, RelayOptions::default().with_max_parked(4))
        .await;
    let report = relay.drain(FIVE_SECONDS).await.unwrap();
    assert_eq!((report.parked, report.remaining), (4, 6));
    assert_eq!(relay.cursor().seq, 4);
    assert!(
        relay
            .cursor()
            .last_error
            .as_ref()
            .unwrap()
            .reason
            .contains("no more records can be parked")
    );
}

#[tokio::test(start_paused = true)]
async fn parked_records_are_sent_again_when_somebody_asks() {
    let fixture = Fixture::new();
    fixture.write(10);
    let sink = Arc::new(MemorySink::new("bus"));
    sink.answer_with(|record| {
        if record.seq % 3 == 0 {
            Delivery::park("no")
        } else {
            Delivery::Delivered
        }
    });
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().parked, 3);

    // By the relay that runs: six is accepted now, the others are parked again.
    sink.answer_with(|record| {
        if record.seq == 6 {
            Delivery::Delivered
        } else {
            Delivery::park("still no")
        }
    });
    relay.handle().retry_parked();
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().parked, 2);
    let parked: Vec<_> = relay
        .cursor()
        .parked
        .iter()
        .map(|parked| (parked.seq, parked.reason.as_str()))
        .collect();
    assert_eq!(parked, [(3, "still no"), (9, "still no")]);
    assert_eq!(relay.cursor().seq, 10);
    drop(relay);

    // By another process, while no relay runs.
    let bus = SinkName::new("bus").unwrap();
    let request = request_retry(&fixture.dir, &fixture.stream, &bus).unwrap();
    assert_eq!((request.parked, request.holder), (2, None));
    sink.answer_with(|_| Delivery::Delivered);
    let mut relay = fixture.relay(&sink, RelayOptions::default()).await;
    assert_eq!(relay.drain(FIVE_SECONDS).await.unwrap().parked, 0);
    assert_eq!(seqs(&sink), [1, 2, 4, 5, 7, 8, 10, 6, 3, 9]);
    assert!(!fixture.cursor_path("bus").with_extension("retry").exists());
    let nobody = SinkName::new("nobody").unwrap();
    request_retry(&fixture.dir, &fixture.stream, &nobody).unwrap_err();
}
