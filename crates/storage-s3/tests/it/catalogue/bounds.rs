//! Row 36: nothing in a bucket, and no answer of a server, decides how much memory or time a reader spends.

use artifact_core::StoreErrorKind;
use storage_s3::{Cause, RefreshScope, SegmentOptions, SegmentSink};
use test_servers::{FsServer, Reply, ScriptedServer};

use super::machines::{Machine, stream};
use super::{Reader, objects, put, sorted_ids};
use crate::support::{FakeBucket, MIB, cause};

/// A segment of line feeds is given up and named; the other segments of its stream, and other streams, are read.
#[tokio::test]
async fn fault_36_a_segment_of_line_feeds_is_given_up() {
    let server = FsServer::start();
    let objects = objects(server.config());
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let machines = ["session:one", "session:two"].map(|id| Machine::new(&stream(id)));
    for machine in &machines {
        put(&sink, &machine.add(3)).await;
    }
    let epoch = machines[0].records()[0].epoch;
    let key = format!("_journal/session%3Aone/{epoch}/harm-2.jsonl");
    std::fs::write(server.file(&format!("team/a/{key}")), vec![b'\n'; 16 * MIB]).unwrap();
    let reader = Reader::new(&objects);
    for refresh in 0..2 {
        let report = reader.refresh().await;
        let whole = report.unreadable.iter().find(|one| one.line.is_none()).unwrap();
        assert_eq!(whole.key, key, "refresh {refresh}");
        assert!(
            whole
                .reason
                .contains("more than 1000 of its lines are no records"),
            "{whole}"
        );
        assert!(report.unreadable.len() <= 21, "{}", report.unreadable.len());
        for machine in &machines {
            assert_eq!(reader.ids(&machine.stream), sorted_ids(&machine.records()));
        }
    }
}

/// Objects without a segment's name are told one by one up to a hundred, and counted after that.
#[tokio::test]
async fn many_objects_that_are_no_segments_are_counted() {
    let server = FsServer::start();
    let objects = objects(server.config());
    let folder = server.file("team/a/_journal");
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..150 {
        std::fs::write(folder.join(format!("x{number:03}")), "x").unwrap();
    }
    let report = Reader::new(&objects).refresh().await;
    assert_eq!(report.unreadable.len(), 101);
    let more = report
        .unreadable
        .iter()
        .filter(|one| one.reason.starts_with("50 more objects"));
    assert_eq!(more.count(), 1);
}

/// A listing whose next page is itself ends with an error.
#[tokio::test]
async fn a_listing_that_never_ends_is_refused() {
    let page = "<ListBucketResult><IsTruncated>true</IsTruncated>\
                <NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    let server = ScriptedServer::start(move |_, _| Reply::body(200, page.as_bytes().to_vec()));
    let objects = objects(server.config());
    let error = Reader::new(&objects)
        .catalogue
        .refresh(RefreshScope::All, None)
        .await
        .unwrap_err();
    assert!(format!("{:?}", error).contains("again and again"), "{error:?}");
    assert_eq!(server.requests().len(), 2);
}

/// An answer that is read into memory as a whole is read up to a limit: a listing, and the body of an error.
#[tokio::test]
async fn an_answer_without_measure_is_refused() {
    for (status, expected) in [
        (200, StoreErrorKind::Unavailable),
        (403, StoreErrorKind::PermissionDenied),
    ] {
        let server = ScriptedServer::start(move |_, _| {
            let mut body = b"<ListBucketResult><IsTruncated>false</IsTruncated>".to_vec();
            body.resize(20 * MIB, b' ');
            Reply::body(status, body)
        });
        let error = objects(server.config()).all("_journal/").await.unwrap_err();
        assert_eq!(error.kind(), expected, "{error:?}");
        let told = format!("{error:?}");
        assert!(told.contains("length limit exceeded"), "{told}");
    }
}

/// A segment that grew since it was listed is read as far as it was listed.
#[tokio::test]
async fn compaction_reads_no_more_than_was_listed() {
    let bucket = std::sync::Arc::new(FakeBucket::new(true));
    let answering = std::sync::Arc::clone(&bucket);
    let server = ScriptedServer::start(move |request, _| answering.answer(request));
    let objects = objects(server.config());
    let machine = Machine::new(&stream("session:s"));
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    for _ in 0..3 {
        put(&sink, &machine.add(1)).await;
    }
    let epoch = machine.records()[0].epoch;
    sink.compact(&machine.stream, epoch).await.unwrap();
    let gets = server.requests();
    let gets = gets
        .iter()
        .filter(|request| request.method == "GET" && !request.asks("list-type"));
    assert!(gets.clone().count() > 0);
    assert!(gets.clone().all(|request| request.header("range").is_some()));
    assert_eq!(
        cause(&objects.read(&"none".parse().unwrap()).await.unwrap_err()),
        Some(Cause::NoObject)
    );
}
