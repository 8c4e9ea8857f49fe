//! What every [`EventSink`] must do, one check for each sentence of its contract.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use serde_json::value::RawValue;
use tracking_model::{StreamId, Timestamp};
use uuid::Uuid;

use super::{Delivery, EventSink, SinkName};
use crate::{ChainHash, Record};

/// Checks `sink`. `received` tells the ids of all records that the receiving side has, in any order, duplicates or not;
/// it is asked after each call. The sink must be able to accept at least the records whose kind is `kind`, with the
/// data `data`, a JSON object.
///
/// # Panics
/// If the sink breaks its contract; the message says which part.
pub async fn run<S, R, Fut>(sink: Arc<S>, kind: &str, data: &str, received: R)
where
    S: EventSink + ?Sized,
    R: Fn() -> Fut,
    Fut: Future<Output = Vec<Uuid>>,
{
    let name = sink.name().to_owned();
    SinkName::new(&name).expect("a sink's name follows the rules of ids");
    let one = records(&stream("conformance-1"), kind, data, 25);
    let two = records(&stream("conformance-2"), kind, data, 5);

    assert_eq!(
        sink.publish(&one[0], &[]).await,
        [],
        "an empty batch gives an empty answer"
    );
    for batch in [&one[..1], &one[1..3], &one[3..]] {
        let deliveries = sink.publish(&one[0], batch).await;
        assert_eq!(deliveries.len(), batch.len(), "one answer for each record");
        has(&received().await, batch, &deliveries);
    }

    let again = sink.publish(&one[0], &one[..10]).await;
    assert_eq!(again.len(), 10, "a record that comes again is answered again");
    assert!(
        again.iter().all(Delivery::is_accepted),
        "a record that comes again is accepted: {again:?}"
    );

    let (first, second) = tokio::join!(sink.publish(&one[0], &one[5..8]), sink.publish(&two[0], &two));
    assert_eq!(
        (first.len(), second.len()),
        (3, 5),
        "two streams at the same time do not mix"
    );
    has(&received().await, &two, &second);

    let later = records(&stream("conformance-3"), kind, data, 3);
    drop_after_one_poll(sink.publish(&later[0], &later));
    let deliveries = sink.publish(&later[0], &later).await;
    assert_eq!(deliveries.len(), 3, "a dropped call leaves the sink usable");
    has(&received().await, &later, &deliveries);

    let unknown = records(
        &stream("conformance-4"),
        "kind.of.a.newer.version",
        "{\"ünknown\":[1,null,\"\\u0000\"]}",
        2,
    );
    let answers = sink.publish(&unknown[0], &unknown).await;
    assert_eq!(answers.len(), 2, "an unknown kind is answered");
    let refused = answers
        .iter()
        .any(|answer| matches!(answer, Delivery::Retry { .. }));
    assert!(
        !refused,
        "an unknown kind is not sent again and again: {answers:?}"
    );
    assert_eq!(sink.name(), name, "the name stays the same");
}

fn has(received: &[Uuid], batch: &[Record], deliveries: &[Delivery]) {
    let received: BTreeSet<_> = received.iter().collect();
    for (record, delivery) in batch.iter().zip(deliveries) {
        assert!(
            delivery.is_accepted(),
            "record {} is answered {delivery:?}",
            record.seq
        );
        let there = received.contains(&record.id);
        assert!(
            *delivery != Delivery::Delivered || there,
            "record {} is delivered and not there",
            record.seq
        );
    }
}

fn drop_after_one_poll(call: impl Future<Output = Vec<Delivery>>) {
    let mut call = Box::pin(call);
    // Whether it is ready at once does not matter: its answer is lost.
    drop(call.as_mut().poll(&mut Context::from_waker(Waker::noop())));
}

fn stream(id: &str) -> StreamId {
    format!("upgrade:{id}").parse().expect("a valid id")
}

/// A chain of `count` records of one kind, as a journal would hold them; for tests of sinks.
///
/// # Panics
/// If `data` is no JSON.
#[must_use]
pub fn records(stream: &StreamId, kind: &str, data: &str, count: u64) -> Vec<Record> {
    let epoch = tracking_model::new_uuid();
    let mut hash = ChainHash::genesis(stream, epoch);
    let record = |seq| {
        let mut record = Record {
            v: crate::FORMAT_VERSION,
            stream: stream.clone(),
            epoch,
            seq,
            batch: seq,
            id: tracking_model::new_uuid(),
            at: Timestamp::from_micros(1_735_689_600_000_000 + i64::try_from(seq).expect("a small number")),
            actor: "conformance".into(),
            kind: kind.to_owned(),
            data: RawValue::from_string(data.to_owned()).expect("the data is JSON"),
            hash,
        };
        let mut body = Vec::new();
        record.write_body(&mut body);
        hash = hash.next(&body);
        record.hash = hash;
        record
    };
    (1..=count).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySink;

    #[tokio::test]
    async fn the_memory_sink_conforms() {
        let sink = Arc::new(MemorySink::new("memory"));
        run(
            Arc::clone(&sink),
            "task.started",
            "{\"task_id\":\"t\"}",
            || async { sink.received_ids() },
        )
        .await;
    }

    #[test]
    fn records_chain() {
        let records = records(&stream("u"), "k", "{}", 3);
        assert!(records[0].follows(&ChainHash::genesis(&stream("u"), records[0].epoch)));
        assert!(records.windows(2).all(|pair| pair[1].follows(&pair[0].hash)));
    }
}
