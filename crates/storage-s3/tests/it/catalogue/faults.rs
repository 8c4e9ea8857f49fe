//! Rows 22, 35 and 36, and what others put into the bucket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use artifact_core::StoreErrorKind;
use storage_s3::{
    Catalogue, CatalogueOptions, ObjectMetadata, RefreshProgress, RefreshProgressCallback, RefreshScope,
    SegmentOptions, SegmentSink,
};
use test_servers::{FsServer, MotoServer, Reply, ScriptedServer};
use tracking_journal::{Relay, RelayOptions};

use super::machines::{Machine, stream};
use super::{Reader, ids_in, objects, put, sorted_ids};
use crate::support::FakeBucket;

/// Row 22: killed between the put and the cursor, the next process puts the same records again, under another name.
#[tokio::test]
async fn fault_22_records_that_are_put_twice_are_one_after_the_merge() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let (mut repeated, mut twice) = (0, 0);
    for config in [fs.config(), moto.config()] {
        let objects = objects(config);
        let machine = Machine::new(&stream("session:s"));
        let reader = Reader::new(&objects);
        machine.add(3);
        for round in 1..=4_usize {
            // This process dies after the put: nothing of it is in a cursor.
            let records = machine.records();
            put(
                &SegmentSink::new(objects.clone(), SegmentOptions::default()),
                &records,
            )
            .await;
            repeated += records.len();
            reader.refresh().await;
            machine.add(round);
        }
        let sink = Arc::new(SegmentSink::new(objects.clone(), SegmentOptions::default()));
        let mut relay = Relay::open(
            &machine.dir,
            machine.stream.clone(),
            sink,
            RelayOptions::default(),
        )
        .await
        .unwrap();
        let report = relay.drain(Duration::from_secs(60)).await.unwrap();
        assert_eq!((report.remaining, report.parked), (0, 0));
        let fresh = Reader::new(&objects);
        for reader in [&reader, &fresh] {
            reader.refresh().await;
            let ids = reader.ids(&machine.stream);
            assert_eq!(ids, sorted_ids(&machine.records()));
            let mut unique = ids.clone();
            unique.sort_unstable();
            unique.dedup();
            twice += ids.len() - unique.len();
        }
    }
    assert_eq!(twice, 0);
    println!("FAULT row=22 name=segments servers=2 put_again={repeated} twice_after_merge={twice}");
}

/// Row 35: two writers of one manifest, on servers of every kind: what both wrote is there.
#[tokio::test]
async fn fault_35_two_writers_of_one_manifest() {
    const ROUNDS: usize = 10;
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let (honest, ignorant) = (FakeBucket::new(true), FakeBucket::new(false));
    let honest = ScriptedServer::start(move |request, _| honest.answer(request));
    let ignorant = ScriptedServer::start(move |request, _| ignorant.answer(request));
    let (mut lost, mut written) = (0, 0);
    for config in [fs.config(), moto.config(), honest.config(), ignorant.config()] {
        let objects = objects(config);
        let session = stream("session:shared");
        let (one, two) = (Machine::new(&session), Machine::new(&session));
        let sinks = [(); 3].map(|()| SegmentSink::new(objects.clone(), SegmentOptions::default()));
        for _ in 0..ROUNDS {
            let (a, b) = (one.add(2), two.add(2));
            // The third puts the first one's records as well, at the same time: a relay that lost its lease.
            tokio::join!(put(&sinks[0], &a), put(&sinks[1], &b), put(&sinks[2], &a));
        }
        let reader = Reader::new(&objects);
        let report = reader.refresh().await;
        assert_eq!((report.segments, report.unreadable.len()), (3 * ROUNDS, 0));
        let all = [one.records(), two.records()].concat();
        let found = reader.ids(&session);
        written += all.len();
        lost += all.iter().filter(|record| !found.contains(&record.id)).count();
        assert_eq!(found, sorted_ids(&all));
    }
    assert_eq!(lost, 0);
    println!(
        "FAULT row=35 name=two-writers-of-one-manifest servers=4 rounds={ROUNDS} records={written} lost={lost}"
    );
}

/// Readers that list while small segments are put together find all records, old readers and new ones.
#[tokio::test]
async fn readers_and_compaction_do_not_meet() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let mut refreshes = 0;
    for config in [fs.config(), moto.config()] {
        let objects = objects(config);
        let session = stream("session:s");
        let machine = Machine::new(&session);
        let sink = SegmentSink::new(
            objects.clone(),
            SegmentOptions::default().with_compact_bytes(20_000),
        );
        let follower = Reader::new(&objects);
        for _ in 0..3 {
            for record in &machine.add(40) {
                put(&sink, std::slice::from_ref(record)).await;
            }
            let expected = sorted_ids(&machine.records());
            let epoch = machine.records()[0].epoch;
            let compaction = async { sink.compact(&session, epoch).await.unwrap() };
            let reading = async {
                for _ in 0..6 {
                    let fresh = Reader::new(&objects);
                    fresh.refresh().await;
                    follower.refresh().await;
                    assert_eq!(fresh.ids(&session), expected);
                    assert_eq!(follower.ids(&session), expected);
                    refreshes += 2;
                }
            };
            let (done, ()) = tokio::join!(compaction, reading);
            assert!(done.combined > 0 && done.left.is_empty(), "{done:?}");
        }
    }
    println!("FAULT row=35 name=compaction servers=2 refreshes={refreshes} lost=0");
}

/// Row 36: what others put into the bucket costs no record of ours and leads nowhere.
#[tokio::test]
async fn fault_36_segments_by_others() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let (mut told, mut lost) = (0, 0);
    for config in [fs.config(), moto.config()] {
        let objects = objects(config);
        let session = stream("session:s");
        let (machine, other) = (Machine::new(&session), Machine::new(&stream("session:other")));
        let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
        let records = machine.add(5);
        put(&sink, &records).await;
        let epoch = records[0].epoch;
        let line = |record: &tracking_journal::Record| {
            let mut line = Vec::new();
            record.write_line(&mut line);
            String::from_utf8(line).unwrap()
        };
        let mine = line(&records[3]);
        let lie = |from: &str, to: &str| mine.replacen(from, to, 1);
        let newer = lie("{\"v\":1", "{\"v\":9").replace("\"actor\"", "\"future\":[1],\"actor\"");
        let newer = newer.replace(
            &records[3].id.to_string(),
            &tracking_model::new_uuid().to_string(),
        );
        let bodies = [
            ("another-stream", line(&other.add(1)[0]), 1),
            (
                "another-epoch",
                lie(&epoch.to_string(), &tracking_model::new_uuid().to_string()),
                1,
            ),
            ("undecodable", lie("\"file_size\":10", "\"file_size\":\"x\""), 1),
            ("no-json", "..\u{0}/../../etc/passwd\n".to_owned(), 1),
            ("cut", mine.replace("\"}\n", ""), 1),
            ("other-tool", "{\"hello\":1}\n".repeat(100), 21),
            ("empty", String::new(), 1),
            ("newer", newer, 0),
        ];
        let folder = format!("_journal/session%3As/{epoch}");
        for (name, body, _) in &bodies {
            let key = format!("{folder}/{name}-4.jsonl").parse().unwrap();
            let bytes = body.clone().into_bytes();
            objects
                .create(&key, bytes, &ObjectMetadata::default())
                .await
                .unwrap();
        }
        for key in [
            "_journal/x",
            "_journal/session%3A..%2F..%2Fx/e/w-1.jsonl",
            "_journal/up/y/z.jsonl",
        ] {
            let key = key.parse().unwrap();
            objects
                .create(&key, &b"x"[..], &ObjectMetadata::default())
                .await
                .unwrap();
        }
        let reader = Reader::new(&objects);
        for round in 0..2 {
            let report = reader.refresh().await;
            let of = |name: &str| {
                let key = format!("{folder}/{name}-4.jsonl");
                report.unreadable.iter().filter(|one| one.key == key).count()
            };
            for (name, _, count) in &bodies {
                assert_eq!(
                    of(name),
                    *count,
                    "{name}, refresh {round}: {:#?}",
                    report.unreadable
                );
            }
            told = report.unreadable.len();
            assert_eq!(report.streams, 1);
        }
        let found = reader.ids(&session);
        lost += records
            .iter()
            .filter(|record| !found.contains(&record.id))
            .count();
        assert_eq!(found.len(), records.len() + 1, "and the one of a newer version");
        let loaded = tracking_journal::load::<tracking_model::Session>(reader.catalogue.data_dir(), &session);
        assert!(loaded.unwrap().state.exists());
        let streams = reader.catalogue.data_dir().streams().unwrap();
        assert_eq!(streams, [session], "nothing else appeared");
    }
    assert_eq!(lost, 0);
    println!("FAULT row=36 name=segments-by-others servers=2 told={told} lost={lost} outside=0");
}

/// Being denied the deletion of small segments, or dying before it, changes nothing for readers.
#[tokio::test]
async fn small_segments_that_cannot_be_deleted_harm_nothing() {
    let bucket = FakeBucket::new(true);
    let server = ScriptedServer::start(move |request, _| match request.method.as_str() {
        "POST" => Reply::error(403, "AccessDenied"),
        _ => bucket.answer(request),
    });
    let objects = objects(server.config());
    let machine = Machine::new(&stream("session:s"));
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    for _ in 0..5 {
        put(&sink, &machine.add(1)).await;
    }
    let reader = Reader::new(&objects);
    reader.refresh().await;
    let epoch = machine.records()[0].epoch;
    for segments in [6, 7] {
        let done = sink.compact(&machine.stream, epoch).await.unwrap();
        assert_eq!((done.combined, done.left.len()), (1, segments - 1), "{done:?}");
        let report = reader.refresh().await;
        assert_eq!(
            (report.segments, report.gets, report.new_records),
            (segments, 1, 0)
        );
    }
    assert_eq!(reader.ids(&machine.stream), sorted_ids(&machine.records()));
}

/// What cannot be read of one stream keeps no other from being read, and is told until it can be.
#[tokio::test]
async fn a_stream_that_cannot_be_read_is_told_and_the_others_are_read() {
    let bucket = FakeBucket::new(true);
    let denied = Arc::new(AtomicBool::new(true));
    let closed = Arc::clone(&denied);
    let server = ScriptedServer::start(move |request, _| {
        let secret = request.method == "GET" && request.path().contains("secret");
        if secret && closed.load(Ordering::SeqCst) {
            return Reply::error(403, "AccessDenied");
        }
        bucket.answer(request)
    });
    let objects = objects(server.config());
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let machines = ["session:open", "session:secret"].map(|id| Machine::new(&stream(id)));
    for machine in &machines {
        put(&sink, &machine.add(2)).await;
    }
    let reader = Reader::new(&objects);
    let seen = Arc::new(Mutex::new(RefreshProgress::default()));
    let (told, all) = (Arc::clone(&seen), RefreshScope::All);
    let progress = RefreshProgressCallback::new(move |progress| *told.lock().unwrap() = progress);
    let report = reader
        .catalogue
        .refresh(all.clone(), Some(progress))
        .await
        .unwrap();
    let (failed, error) = &report.failed[0];
    assert_eq!((report.failed.len(), failed), (1, &machines[1].stream));
    assert_eq!(error.kind(), StoreErrorKind::PermissionDenied);
    assert_eq!(reader.ids(&machines[0].stream).len(), 4);
    let seen = *seen.lock().unwrap();
    assert_eq!(
        (seen.segments, seen.bytes),
        (seen.total_segments, seen.total_bytes)
    );
    denied.store(false, Ordering::SeqCst);
    assert_eq!(reader.refresh().await.gets, 1);
    assert_eq!(
        reader.ids(&machines[1].stream),
        sorted_ids(&machines[1].records())
    );
}

/// A stream of which somebody deleted the first segment is told, by who reads it for the first time and ever after.
#[tokio::test]
async fn a_beginning_that_somebody_deleted_is_told() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    for config in [fs.config(), moto.config()] {
        let objects = objects(config);
        let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
        let whole = Machine::new(&stream("session:whole"));
        let headless = Machine::new(&stream("session:headless"));
        for machine in [&whole, &headless] {
            put(&sink, &machine.add(1)).await;
            put(&sink, &machine.add(2)).await;
        }
        let early = Reader::new(&objects);
        early.refresh().await;
        let listed = objects.all("_journal/session%3Aheadless/").await.unwrap();
        objects.delete(&listed[0].key).await.unwrap();
        let reader = Reader::new(&objects);
        for _ in 0..2 {
            let report = reader.refresh().await;
            let missing = report.missing_starts.as_slice();
            assert_eq!(missing.len(), 1, "{missing:?}");
            assert_eq!((&missing[0].stream, missing[0].first_seq), (&headless.stream, 4));
            assert_eq!(missing[0].epoch, headless.records()[0].epoch);
            assert_eq!(reader.ids(&headless.stream).len(), 2, "what is there is there");
        }
        assert!(
            early.refresh().await.missing_starts.is_empty(),
            "whoever read it has it"
        );
    }
}

/// An endpoint that stops to answer in the middle of a refresh is waited for once, and not by each of many streams.
#[tokio::test]
async fn fault_21_an_endpoint_that_falls_silent_is_waited_for_once() {
    const STREAMS: usize = 64;
    let bucket = FakeBucket::new(true);
    let silent = Arc::new(AtomicBool::new(false));
    let falls = Arc::clone(&silent);
    let server = ScriptedServer::start(move |request, _| {
        let reads = request.method == "GET" && !request.asks("list-type");
        if reads && falls.load(Ordering::SeqCst) {
            return Reply::Stall;
        }
        bucket.answer(request)
    });
    let mut config = crate::support::attempts(5, server.config());
    config.retry.metadata_deadline = Duration::from_secs(2);
    let objects = objects(config);
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    for number in 0..STREAMS {
        put(&sink, &Machine::new(&stream(&format!("session:{number}"))).add(1)).await;
    }
    silent.store(true, Ordering::SeqCst);
    let reader = Reader::new(&objects);
    let report = reader.catalogue.refresh(RefreshScope::All, None).await.unwrap();
    assert_eq!(report.failed.len(), STREAMS);
    // Those that were read at the same time found it out together.
    let at_once = CatalogueOptions::default().streams_at_once as u64;
    assert_eq!(report.gets, at_once, "one for each stream at a time");
    println!(
        "FAULT row=21 name=falls-silent streams={STREAMS} waited_for={}",
        report.gets
    );
}

/// Two programs that share a cache, and segments that are larger than is read.
#[tokio::test]
async fn programs_share_a_cache_and_what_is_too_large_is_told() {
    let fs = FsServer::start();
    let objects = objects(fs.config());
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let machines: Vec<_> = (0..8)
        .map(|n| Machine::new(&stream(&format!("session:s{n}"))))
        .collect();
    let cache = tempfile::tempdir().unwrap();
    let open = || {
        let mut options = CatalogueOptions::default();
        options.max_segment_bytes = 20_000;
        Catalogue::open(objects.clone(), cache.path(), options).unwrap()
    };
    let (one, two) = (open(), open());
    for _ in 0..5 {
        for machine in &machines {
            put(&sink, &machine.add(3)).await;
        }
        let (a, b) = tokio::join!(
            one.refresh(RefreshScope::All, None),
            two.refresh(RefreshScope::All, None)
        );
        for report in [a.unwrap(), b.unwrap()] {
            assert!(report.failed.is_empty(), "{:?}", report.failed);
        }
        for machine in &machines {
            assert_eq!(ids_in(&one, &machine.stream), sorted_ids(&machine.records()));
        }
    }
    put(&sink, &machines[0].add(100)).await;
    for _ in 0..2 {
        let report = two.refresh(RefreshScope::All, None).await.unwrap();
        assert_eq!((report.gets, report.unreadable.len()), (0, 1));
        assert!(
            report.unreadable[0].reason.contains("more than 20000"),
            "{:?}",
            report.unreadable
        );
    }
}
