//! Uploads that are cut off in the middle, and what becomes of them.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artifact_core::PutBody;
use storage_s3::{
    S3Config, S3Store, StaleOptions, UploadOptions, UploadOutcome, UploadRecord, UploadRecords, hash_of,
};
use tempfile::TempDir;
use test_servers::{FsServer, MotoServer, Reply, ScriptedServer, config};
use tokio::sync::Notify;
use tracking_model::{Span, Timestamp};

use crate::support::{MIB, content, file, honoured, key, open_store, small_parts, store_in_parts};

/// Set in the process that is to be killed: where it uploads to, and its directory.
const VICTIM: &str = "STORAGE_S3_TEST_VICTIM";
const PARTS: usize = 4;

/// One part after the other, so that what got across before a stall is known.
fn one_by_one(endpoint: &str) -> S3Store {
    open_store(S3Config {
        max_concurrency: Some(1),
        ..small_parts(honoured(config(endpoint)))
    })
}

/// Leads to a server and stalls from the `from`th part on, telling when the first stalls.
fn stalls_from(upstream: SocketAddr, from: usize, stalled: &Arc<Notify>) -> ScriptedServer {
    let (parts, stalled) = (AtomicUsize::new(0), Arc::clone(stalled));
    ScriptedServer::start(move |request, _| {
        if request.asks("partNumber")
            && request.method == "PUT"
            && parts.fetch_add(1, Ordering::SeqCst) >= from
        {
            stalled.notify_one();
            return Reply::Stall;
        }
        Reply::Forward(upstream)
    })
}

async fn cut_off(endpoint: &str, stalled: &Notify, dir: &TempDir, options: &UploadOptions) {
    let cut = one_by_one(endpoint);
    let bytes = content(PARTS * 5 * MIB);
    let wanted = key("s/c/large.bin");
    let upload = cut.upload(&wanted, file(dir.path(), &bytes), options);
    tokio::select! {
        outcome = upload => panic!("the upload must stall, and ended: {outcome:?}"),
        () = stalled.notified() => {}
    }
}

#[tokio::test]
async fn an_upload_that_was_noted_goes_on() {
    let server = FsServer::start();
    let (dir, stalled) = (TempDir::new().unwrap(), Arc::new(Notify::new()));
    let proxy = stalls_from(server.address(), 2, &stalled);
    let records = UploadRecords::new(dir.path().join("records"));
    let options = UploadOptions::default().with_records(records);
    cut_off(&proxy.endpoint(), &stalled, &dir, &options).await;
    let bytes = content(PARTS * 5 * MIB);
    let store = store_in_parts(server.config());
    let uploaded = store
        .upload(&key("s/c/large.bin"), file(dir.path(), &bytes), &options)
        .await
        .unwrap();
    assert_eq!(uploaded.hash, hash_of(&bytes));
    let UploadOutcome::Resumed { kept_bytes } = uploaded.outcome else {
        panic!("{:?}", uploaded.outcome);
    };
    assert_eq!(kept_bytes, 10 * MIB as u64);
    assert_eq!(server.orphaned_parts(), 0);
}

#[tokio::test]
async fn stale_uploads_are_aborted_and_fresh_ones_are_left() {
    let server = MotoServer::start();
    let (dir, stalled) = (TempDir::new().unwrap(), Arc::new(Notify::new()));
    let proxy = stalls_from(server.address(), 2, &stalled);
    cut_off(&proxy.endpoint(), &stalled, &dir, &UploadOptions::default()).await;
    let store = store_in_parts(server.config());
    let long_ago = StaleOptions::older_than(Span::from_secs(0), Timestamp::EPOCH);
    assert!(
        store
            .abort_stale_uploads(&long_ago)
            .await
            .unwrap()
            .stale
            .is_empty()
    );
    let far_off = Timestamp::from_micros(4_000_000_000_000_000);
    let all = StaleOptions::older_than(Span::from_secs(0), far_off);
    let dry = store
        .abort_stale_uploads(&all.clone().with_dry_run())
        .await
        .unwrap();
    assert_eq!((dry.stale.len(), dry.aborted, dry.listed), (1, 0, true));
    let done = store.abort_stale_uploads(&all).await.unwrap();
    assert_eq!((done.stale.len(), done.aborted, done.failed.len()), (1, 1, 0));
    assert!(store.abort_stale_uploads(&all).await.unwrap().stale.is_empty());
}

#[tokio::test]
async fn noted_uploads_are_aborted_where_the_server_cannot_list_them() {
    let server = FsServer::start();
    let (dir, stalled) = (TempDir::new().unwrap(), Arc::new(Notify::new()));
    let proxy = stalls_from(server.address(), 2, &stalled);
    let records = UploadRecords::new(dir.path().join("records"));
    let options = UploadOptions::default().with_records(records.clone());
    cut_off(&proxy.endpoint(), &stalled, &dir, &options).await;
    assert!(server.orphaned_parts() > 0);
    let stale = StaleOptions::older_than(Span::from_secs(0), Timestamp::EPOCH).with_records(records);
    let done = store_in_parts(server.config())
        .abort_stale_uploads(&stale)
        .await
        .unwrap();
    assert_eq!((done.aborted, done.listed), (1, false));
    assert_eq!(server.orphaned_parts(), 0);
}

#[tokio::test]
async fn an_upload_that_is_gone_begins_anew() {
    let server = FsServer::start();
    let dir = TempDir::new().unwrap();
    let records = UploadRecords::new(dir.path().join("records"));
    let bytes = content(11 * MIB);
    // s3s-fs lists no parts of an upload that it does not know, and denies everything else.
    let gone = serde_json::json!({
        "key": "eks-upgrade-agent/artifacts/s/c/gone", "upload_id": "01234567-89ab-7def-8123-456789abcdef",
        "size": bytes.len(), "hash": hash_of(&bytes), "part_bytes": 5 * MIB, "etags": {"1": "\"e\""}
    });
    let gone: UploadRecord = serde_json::from_value(gone).unwrap();
    records.begin(&gone).unwrap();
    let options = UploadOptions::default().with_records(records.clone());
    let store = store_in_parts(server.config());
    let uploaded = store
        .upload(&key("s/c/gone"), file(dir.path(), &bytes), &options)
        .await
        .unwrap();
    assert_eq!(uploaded.outcome, UploadOutcome::Sent);
    // What a process left that died after its upload was completed goes when that is noticed.
    records.begin(&gone).unwrap();
    let again = store
        .upload(&key("s/c/gone"), file(dir.path(), &bytes), &options)
        .await
        .unwrap();
    assert_eq!(again.outcome, UploadOutcome::AlreadyThere);
    assert!(records.all().unwrap().is_empty());
    assert_eq!(server.orphaned_parts(), 0);
}

/// Row 34: the process is killed in the middle of an upload in parts; another one continues it.
#[tokio::test]
async fn fault_34_killed_in_the_middle_of_an_upload() {
    if let Some(place) = victim() {
        return be_killed(&place).await;
    }
    let server = FsServer::start();
    let (mut kept, mut resent, kills) = (0, 0, 3);
    for kill in 1..=kills {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("source"), content(PARTS * 5 * MIB)).unwrap();
        let stalled = Arc::new(Notify::new());
        let proxy = stalls_from(server.address(), kill, &stalled);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["resume::fault_34_killed_in_the_middle_of_an_upload", "--exact"])
            .env(
                VICTIM,
                format!("{}|{kill}|{}", proxy.endpoint(), dir.path().display()),
            )
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        stalled.notified().await;
        child.kill().unwrap();
        child.wait().unwrap();
        let store = store_in_parts(server.config());
        let records = UploadRecords::new(dir.path().join("records"));
        let options = UploadOptions::default().with_records(records);
        let source = std::fs::File::open(dir.path().join("source")).unwrap();
        let wanted = key(&format!("s/c/killed-{kill}"));
        let uploaded = store
            .upload(&wanted, PutBody::File(source), &options)
            .await
            .unwrap();
        assert_eq!(uploaded.hash, hash_of(&content(PARTS * 5 * MIB)));
        if let UploadOutcome::Resumed { kept_bytes } = uploaded.outcome {
            kept += kept_bytes / (5 * MIB as u64);
        }
        resent += store.objects().request_counts()["UploadPart"];
    }
    assert_eq!(kept + resent, (kills * PARTS) as u64);
    assert_eq!(kept, (1..=kills as u64).sum::<u64>());
    let orphans = server.orphaned_parts();
    assert_eq!(orphans, 0);
    println!(
        "FAULT row=34 name=killed-in-upload kills={kills} parts_kept={kept} parts_sent={resent} orphaned_parts={orphans}"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "how a test tells the process that it starts what to do"
)]
fn victim() -> Option<String> {
    std::env::var(VICTIM).ok()
}

async fn be_killed(place: &str) {
    let mut words = place.split('|');
    let (endpoint, kill, dir) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    let dir = std::path::Path::new(dir);
    let records = UploadRecords::new(dir.join("records"));
    let options = UploadOptions::default().with_records(records);
    let source = std::fs::File::open(dir.join("source")).unwrap();
    let wanted = key(&format!("s/c/killed-{kill}"));
    let outcome = one_by_one(endpoint)
        .upload(&wanted, PutBody::File(source), &options)
        .await;
    panic!("the upload stalls until this process is killed, and ended: {outcome:?}");
}
