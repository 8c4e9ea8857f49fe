//! Faults of servers and networks, made by a scripted endpoint; each prints its numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artifact_core::{ArtifactKey, ArtifactStore, PutMode, StoreErrorKind};
use storage_s3::{
    Cause, ObjectKey, ObjectMetadata, RetryConfig, S3Config, S3Store, UploadOptions, UploadOutcome, hash_of,
};
use tempfile::TempDir;
use test_servers::{FsServer, MotoServer, Reply, ScriptedServer};
use tracking_model::stored_file_name;

use crate::support::{
    FakeBucket, MIB, attempts, cause, conditional_writes, content, file, honoured, key, of_artifact,
    open_store, store_in_parts,
};

/// Row 21: the server throttles, fails and hangs up; everything arrives in the end, and nothing is sent too fast.
#[tokio::test]
async fn fault_21_s3_throttles_and_resets() {
    let (bucket, refused) = (FakeBucket::new(true), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&refused);
    let server = ScriptedServer::start(move |request, number| {
        let reply = match number % 10 {
            0 => Reply::error(503, "SlowDown"),
            3 => Reply::error(429, "TooManyRequests"),
            5 => Reply::Hangup,
            7 => Reply::error(500, "InternalError"),
            _ => return bucket.answer(request),
        };
        counted.fetch_add(1, Ordering::SeqCst);
        reply
    });
    let store = open_store(honoured(attempts(12, server.config())));
    let uploads = (0..200).map(|number| {
        let store = store.clone();
        async move {
            let bytes = number.to_string().into_bytes();
            store
                .upload(&key(&format!("s/c/{number}")), bytes.into(), &of_artifact("a"))
                .await
        }
    });
    let outcomes = futures_util::future::join_all(uploads).await;
    let mut lost = 0;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let uploaded = outcome.unwrap();
        let read = store
            .get(&uploaded.key)
            .await
            .unwrap()
            .body
            .collect()
            .await
            .unwrap();
        lost += usize::from(read != number.to_string().into_bytes());
    }
    assert_eq!(lost, 0);
    let refused = refused.load(Ordering::SeqCst);
    assert!(refused > 0);
    println!("FAULT row=21 name=s3-throttles uploads=200 refused={refused} lost={lost}");
}

/// Row 21: an outage that lasts is told as such, and soon; afterwards all goes on.
#[tokio::test]
async fn fault_21_s3_is_out_and_comes_back() {
    let (bucket, number) = (FakeBucket::new(true), AtomicUsize::new(0));
    let server = ScriptedServer::start(move |request, _| match number.fetch_add(1, Ordering::SeqCst) {
        0..10 => Reply::error(503, "ServiceUnavailable"),
        10..15 => Reply::Hangup,
        _ => bucket.answer(request),
    });
    let store = open_store(honoured(server.config()));
    let (wanted, options) = (key("s/c/x"), UploadOptions::default());
    let upload = || store.upload(&wanted, b"x".to_vec().into(), &options);
    let mut failures = Vec::new();
    let uploaded = loop {
        match upload().await {
            Ok(uploaded) => break uploaded,
            Err(error) => failures.push((error.kind(), error.retry())),
        }
    };
    assert_eq!(uploaded.outcome, UploadOutcome::Sent);
    assert_eq!(failures.len(), 3);
    assert!(failures.iter().all(|(kind, retry)| {
        matches!(kind, StoreErrorKind::RateLimited | StoreErrorKind::Unavailable)
            && *retry == artifact_core::Retry::Exhausted
    }));
    println!(
        "FAULT row=21 name=s3-outage failed={} delivered=1 lost=0",
        failures.len()
    );
}

/// Row 21: a server that accepts and never answers is given up within half a minute by whoever only asks, however
/// patient uploads are, and it is said where nobody answered.
#[tokio::test(start_paused = true)]
async fn fault_21_who_asks_a_server_that_stalls_waits_for_half_a_minute() {
    let server = ScriptedServer::start(|_, _| Reply::Stall);
    let store = open_store(S3Config {
        retry: RetryConfig::default(),
        ..server.config()
    });
    let begun = tokio::time::Instant::now();
    let error = store.check().await.unwrap_err();
    let waited = begun.elapsed();
    assert_eq!(cause(&error), Some(Cause::TimedOut), "{error:?}");
    let text = std::error::Error::source(&error).unwrap().to_string();
    let place = format!("bucket test-bucket at {}: ", server.endpoint());
    assert!(text.starts_with(&place), "{text}");
    assert!(waited <= std::time::Duration::from_secs(26), "{waited:?}");
    assert_eq!(store.silent_endpoint(), Some(server.endpoint()));
    println!(
        "FAULT row=21 name=s3-stalls-for-who-asks waited_s={}",
        waited.as_secs()
    );
}

/// Row 21: a server that accepts and never answers.
#[tokio::test]
async fn fault_21_s3_stalls() {
    let server = ScriptedServer::start(|_, _| Reply::Stall);
    let mut config = attempts(2, server.config());
    config.retry.metadata_timeout = std::time::Duration::from_millis(50);
    let store = open_store(config);
    let error = store.get(&key("s/c/x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), cause(&error)),
        (StoreErrorKind::Unavailable, Some(Cause::TimedOut)),
        "{error:?}"
    );
    println!("FAULT row=21 name=s3-stalls attempts={}", server.requests().len());
}

/// Row 31: names of any bytes come back exactly, as metadata and by way of keys.
#[tokio::test]
async fn fault_31_names_as_metadata_and_keys() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let mut names = 0;
    // Beside each object s3s-fs keeps a file whose name is longer than the key, so that long keys are not possible there.
    for (config, longest) in [(fs.config(), 100), (moto.config(), usize::MAX)] {
        let store = open_store(honoured(config));
        let names_here = || odd_names().into_iter().filter(|name| name.len() <= longest);
        for name in names_here() {
            let stored = ArtifactKey::new(
                key("s/c/x").session_id().clone(),
                key("s/c/x").collection_id().clone(),
                stored_file_name(name.as_bytes()),
            )
            .unwrap();
            let metadata = ObjectMetadata::default().with_extra("artifact-name", name.clone());
            let options = UploadOptions::default()
                .with_mode(PutMode::Numbered)
                .with_metadata(metadata.clone());
            let uploaded = store
                .upload(&stored, name.clone().into_bytes().into(), &options)
                .await
                .unwrap();
            assert!(uploaded.omitted_metadata.is_empty(), "{name:?}");
            let head = store
                .objects()
                .head(&ObjectKey::from(&uploaded.key))
                .await
                .unwrap();
            assert_eq!(head.metadata.extra["artifact-name"], name);
            let read = store
                .get(&uploaded.key)
                .await
                .unwrap()
                .body
                .collect()
                .await
                .unwrap();
            assert_eq!(read, name.as_bytes());
            names += 1;
        }
        let session = key("s/c/x").session_id().clone();
        let listed = store
            .list(&artifact_core::KeyPrefix::Session(session))
            .await
            .unwrap();
        assert_eq!(listed.len(), names_here().count());
        store.close().await;
    }
    println!("FAULT row=31 name=names-in-s3 servers=2 names={names} altered=0");
}

fn odd_names() -> Vec<String> {
    let plain = [
        "log.txt",
        "a b",
        " ends ",
        "ü",
        "日本語.log",
        "CON",
        "..",
        ".hidden",
        "-rf",
        "~",
        "a/b",
        "a\\b",
        "100%",
        "%41",
        "new\nline",
        "tab\t",
        "nul\0",
        "\u{202e}txt.exe",
        "e\u{301}",
        "\"quoted\"",
        "<xml>&amp;",
        "a+b=c?d#e",
        "'",
    ];
    let mut names: Vec<_> = plain.map(str::to_owned).to_vec();
    names.push("x".repeat(255));
    names.push("é".repeat(127));
    names
}

/// Row 34: parts that are refused, damaged or cut off are sent again, and nothing stays behind.
#[tokio::test]
async fn fault_34_parts_that_fail_are_sent_again() {
    let (server, faults) = (FsServer::start(), Arc::new(AtomicUsize::new(0)));
    let (upstream, counted, parts) = (server.address(), Arc::clone(&faults), AtomicUsize::new(0));
    let proxy = ScriptedServer::start(move |request, _| {
        if request.method != "PUT" || !request.asks("partNumber") {
            return Reply::Forward(upstream);
        }
        let reply = match parts.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::error(503, "SlowDown"),
            2 => Reply::Hangup,
            3 => Reply::error(400, "BadDigest"),
            5 => Reply::error(500, "InternalError"),
            _ => return Reply::Forward(upstream),
        };
        counted.fetch_add(1, Ordering::SeqCst);
        reply
    });
    let store = store_in_parts(proxy.config());
    let (dir, bytes) = (TempDir::new().unwrap(), content(28 * MIB));
    let uploaded = store
        .upload(&key("s/c/x"), file(dir.path(), &bytes), &UploadOptions::default())
        .await
        .unwrap();
    assert_eq!(uploaded.hash, hash_of(&bytes));
    assert!(std::fs::read(server.file(uploaded.url.split_once("test-bucket/").unwrap().1)).unwrap() == bytes);
    let (faults, orphans) = (faults.load(Ordering::SeqCst), server.orphaned_parts());
    assert_eq!((faults, orphans), (4, 0));
    println!("FAULT row=34 name=failing-parts parts=6 faults={faults} orphaned_parts={orphans}");
}

/// Row 34: an upload that was aborted under way, or met a conflict at its end, begins anew.
#[tokio::test]
async fn fault_34_uploads_that_vanish_begin_anew() {
    for (code, status) in [
        ("NoSuchUpload", 404),
        ("ConditionalRequestConflict", 409),
        ("InvalidPart", 400),
    ] {
        let server = FsServer::start();
        let (upstream, completions) = (server.address(), AtomicUsize::new(0));
        let proxy = ScriptedServer::start(move |request, _| {
            let completes = request.method == "POST" && request.asks("uploadId");
            if completes && completions.fetch_add(1, Ordering::SeqCst) == 0 {
                return Reply::error(status, code);
            }
            Reply::Forward(upstream)
        });
        let store = store_in_parts(proxy.config());
        let (dir, bytes) = (TempDir::new().unwrap(), content(11 * MIB));
        let uploaded = store
            .upload(&key("s/c/x"), file(dir.path(), &bytes), &UploadOptions::default())
            .await
            .unwrap();
        assert_eq!(uploaded.outcome, UploadOutcome::Sent, "{code}");
        assert_eq!(server.orphaned_parts(), 0, "{code}");
        assert_eq!(
            store.objects().request_counts()["CreateMultipartUpload"],
            2,
            "{code}"
        );
    }
    println!("FAULT row=34 name=vanished-uploads cases=3 orphaned_parts=0");
}

/// Row 35: two uploaders of one key, on servers of every kind: both artifacts are there, whole.
#[tokio::test]
async fn fault_35_two_uploaders_of_one_key() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    let (honest, ignorant) = (FakeBucket::new(true), FakeBucket::new(false));
    let honest = ScriptedServer::start(move |request, _| honest.answer(request));
    let ignorant = ScriptedServer::start(move |request, _| ignorant.answer(request));
    let mut lost = 0;
    const ROUNDS: usize = 10;
    // What s3s-fs does under contention differs from one moment to the next; the others are asked.
    let servers = [
        (conditional_writes("ignored", fs.config()), 's'),
        (moto.config(), 'm'),
        (honest.config(), 'h'),
        (ignorant.config(), 'i'),
    ];
    for (config, letter) in servers {
        let (one, two) = (open_store(config.clone()), open_store(config));
        for round in 0..ROUNDS {
            let wanted = key(&format!("s/c/log-{letter}{round}.txt"));
            let (first, second) = (
                format!("one {round}").into_bytes(),
                format!("two {round}").into_bytes(),
            );
            let (mine, theirs) = (of_artifact("a"), of_artifact("b"));
            let (a, b) = tokio::join!(
                one.upload(&wanted, first.clone().into(), &mine),
                two.upload(&wanted, second.clone().into(), &theirs)
            );
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_ne!(a.key, b.key);
            for (uploaded, bytes) in [(a, first), (b, second)] {
                let read = one
                    .get(&uploaded.key)
                    .await
                    .unwrap()
                    .body
                    .collect()
                    .await
                    .unwrap();
                lost += usize::from(read != bytes);
            }
        }
        names_follow_the_probe(&one, letter).await;
        one.close().await;
    }
    assert_eq!(lost, 0);
    println!("FAULT row=35 name=two-uploaders servers=4 rounds={ROUNDS} lost={lost}");
}

async fn names_follow_the_probe(store: &S3Store, letter: char) {
    let options = of_artifact("id-1");
    let uploaded = store
        .upload(&key("s/c/probed.txt"), b"x".to_vec().into(), &options)
        .await
        .unwrap();
    let expected = match letter {
        's' | 'i' => "probed~id-1.txt",
        _ => "probed.txt",
    };
    assert_eq!(uploaded.key.file_name(), expected, "{letter}");
}

/// Row 35: a put that meets another of its key is made again, and one that got its answer lost counts as there.
#[tokio::test]
async fn fault_35_conflicts_and_lost_answers() {
    let (bucket, conflicts) = (FakeBucket::new(true), AtomicUsize::new(0));
    let server = ScriptedServer::start(move |request, _| {
        let number = conflicts.fetch_add(1, Ordering::SeqCst);
        if request.method == "PUT" && request.path().ends_with("/conflict") && number < 3 {
            return Reply::error(409, "ConditionalRequestConflict");
        }
        let reply = bucket.answer(request);
        // The object is there, but nobody is told.
        if request.method == "PUT"
            && request.path().ends_with("/lost")
            && matches!(reply, Reply::Answer { status: 200, .. })
        {
            return Reply::Hangup;
        }
        reply
    });
    let store = open_store(honoured(server.config()));
    let conflict = store
        .upload(&key("s/c/conflict"), b"x".to_vec().into(), &of_artifact("a"))
        .await
        .unwrap();
    assert_eq!(
        (conflict.outcome, conflict.key),
        (UploadOutcome::Sent, key("s/c/conflict"))
    );
    let lost = store
        .upload(&key("s/c/lost"), b"x".to_vec().into(), &of_artifact("a"))
        .await
        .unwrap();
    assert_eq!(
        (lost.outcome, lost.key),
        (UploadOutcome::AlreadyThere, key("s/c/lost"))
    );
    println!("FAULT row=35 name=conflicts conflicts=3 lost_answers=1 duplicates=0");
}
