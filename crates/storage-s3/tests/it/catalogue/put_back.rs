//! Records that somebody deleted from the bucket, put there again.

use std::sync::Arc;

use storage_s3::{Delivered, ObjectKey, ObjectMetadata, S3Objects, SegmentOptions, SegmentSink};
use test_servers::{FsServer, MotoServer};
use tracking_journal::Record;

use super::machines::{Machine, stream};
use super::{Reader, objects, put, sorted_ids};

/// All that a machine wrote, but for records of these kinds.
fn delivered(machine: &Machine, skipped: &[&str]) -> Delivered {
    let records = machine.records();
    let last = records.last().unwrap();
    Delivered {
        stream: machine.stream.clone(),
        epoch: last.epoch,
        seq: last.seq,
        skipped_kinds: skipped.iter().map(|kind| Arc::from(*kind)).collect(),
    }
}

async fn put_back(sink: &SegmentSink, machine: &Machine) -> u64 {
    let delivered = delivered(machine, &[]);
    sink.put_back(&machine.dir, &delivered).await.unwrap()
}

async fn keys(objects: &S3Objects) -> Vec<ObjectKey> {
    let listed = objects.all("_journal/").await.unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

async fn lay(objects: &S3Objects, key: &ObjectKey, bytes: Vec<u8>) {
    let metadata = ObjectMetadata::default();
    objects.replace(key, bytes, &metadata).await.unwrap();
}

/// Whichever segments of five are deleted, two of which have the same records.
#[tokio::test]
async fn whatever_is_deleted_comes_back() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    for config in [fs.config(), moto.config()] {
        let objects = objects(config);
        let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
        let machine = Machine::new(&stream("session:s"));
        for count in [3, 1, 2, 1] {
            put(&sink, &machine.add(count)).await;
        }
        // A process that was killed before its cursor was written.
        let again = SegmentSink::new(objects.clone(), SegmentOptions::default());
        put(&again, &machine.records()[2..6]).await;
        let expected = sorted_ids(&machine.records());
        let mut segments = Vec::new();
        for key in keys(&objects).await {
            let bytes = objects.read(&key).await.unwrap().bytes;
            segments.push((key, bytes));
        }
        assert_eq!(segments.len(), 5);
        for kept in 0_u32..1 << segments.len() {
            objects.delete_many(&keys(&objects).await).await;
            for (at, (key, bytes)) in segments.iter().enumerate() {
                if kept & (1 << at) != 0 {
                    lay(&objects, key, bytes.clone()).await;
                }
            }
            let before = Reader::new(&objects);
            before.refresh().await;
            let there = if kept == 0 {
                0
            } else {
                before.ids(&machine.stream).len()
            };
            let sent = if there == expected.len() {
                0
            } else {
                expected.len()
            };
            assert_eq!(put_back(&sink, &machine).await, sent as u64, "{kept:05b}");
            let reader = Reader::new(&objects);
            assert!(reader.refresh().await.missing_starts.is_empty(), "{kept:05b}");
            assert_eq!(reader.ids(&machine.stream), expected, "{kept:05b}");
            let requests = || objects.request_counts().values().sum::<u64>();
            let before = requests();
            assert_eq!(put_back(&sink, &machine).await, 0, "{kept:05b}");
            assert_eq!(requests() - before, 1, "one LIST says that all is there");
        }
    }
}

/// Small segments that were put together are one, whose size says what is in it too.
#[tokio::test]
async fn a_combined_segment_comes_back() {
    let fs = FsServer::start();
    let objects = objects(fs.config());
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let machine = Machine::new(&stream("session:s"));
    for _ in 0..4 {
        put(&sink, &machine.add(2)).await;
    }
    put(&sink, &machine.complete()).await;
    sink.finish().await;
    let combined = keys(&objects).await;
    assert_eq!(combined.len(), 1);
    assert_eq!(put_back(&sink, &machine).await, 0);
    objects.delete(&combined[0]).await.unwrap();
    assert_eq!(put_back(&sink, &machine).await, 11);
    let reader = Reader::new(&objects);
    reader.refresh().await;
    assert_eq!(reader.ids(&machine.stream), sorted_ids(&machine.records()));
}

/// Records that never go there are not missed, and a segment that was cut counts as missing.
#[tokio::test]
async fn what_never_goes_there_is_not_missed_and_what_is_cut_is() {
    let fs = FsServer::start();
    let objects = objects(fs.config());
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let machine = Machine::new(&stream("session:s"));
    machine.add(4);
    let records = machine.records();
    let sent: Vec<Record> = records
        .iter()
        .filter(|record| record.kind != "collection.created")
        .cloned()
        .collect();
    put(&sink, &sent).await;
    let expected = delivered(&machine, &["collection.created"]);
    let done = sink.put_back(&machine.dir, &expected).await.unwrap();
    assert_eq!(done, 0);
    // Its last line is cut.
    let key = keys(&objects).await.remove(0);
    let mut bytes = objects.read(&key).await.unwrap().bytes;
    bytes.truncate(bytes.len() - 10);
    lay(&objects, &key, bytes).await;
    let other: ObjectKey = format!("_journal/session%3As/{}/other-9.jsonl", records[0].epoch)
        .parse()
        .unwrap();
    lay(&objects, &other, b"{}\n".to_vec()).await;
    let done = sink.put_back(&machine.dir, &expected).await.unwrap();
    assert_eq!(done, sent.len() as u64);
    let reader = Reader::new(&objects);
    reader.refresh().await;
    assert_eq!(reader.ids(&machine.stream), sorted_ids(&sent));
}
