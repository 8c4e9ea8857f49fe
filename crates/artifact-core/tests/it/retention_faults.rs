//! Faults that retention must survive.

use std::fs;
use std::os::unix::fs::symlink;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use artifact_core::{
    ArtifactIndex, ArtifactQuery, CleanupOptions, DeleteOptions, IndexBatch, LeftBecause, MemoryIndex,
    OrphanMode, RetentionPolicy, TestArtifactsManager, VerifyScope,
};
use tracking_journal::{Committed, DataDir};
use tracking_model::{
    ArtifactId, ArtifactStatus, CollectionId, NewArtifact, NewCollection, NewSession, RecordMeta,
    SessionEvent, SessionId, Timestamp, UpgradeId,
};

use crate::support::{Fixture, open, open_at, options_at};

const LATER: &str = "2100-01-01T00:00:00Z";

async fn findings(manager: &TestArtifactsManager) -> Vec<String> {
    let report = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
    assert!(report.unreadable.is_empty(), "{report:?}");
    let lines = report.findings.iter();
    lines
        .map(|finding| format!("{} {}", finding.local_path, finding.problem))
        .collect()
}

/// A session with some artifacts, completed.
async fn completed(artifacts: usize) -> Fixture {
    let fixture = Fixture::new().await;
    for number in 0..artifacts {
        let new = NewArtifact::new().with_name(format!("{number}.log"));
        fixture
            .manager
            .add_reader(&fixture.session, &fixture.collection, new, &b"abc"[..], None)
            .await
            .unwrap();
    }
    fixture
        .manager
        .complete_session(&fixture.session, None)
        .await
        .unwrap();
    fixture.manager.close().await.unwrap();
    fixture
}

/// A run that dies after each of its steps: no record claims bytes that are gone, and the next run finishes.
#[test]
fn fault_13_retention_that_dies_after_any_step_is_finished_by_the_next() {
    // More than one commit has.
    const ARTIFACTS: usize = 300;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    // Those that die would only fill the output.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let original = runtime.block_on(completed(ARTIFACTS));
    let mut points = 0;
    for die_after in [0, 1, 2, 3, 40, 150, 299, 300, 301, 302, 303, 1000] {
        let fixture = original.copy();
        let steps = Arc::new(AtomicU64::new(0));
        let manager = open_at(&fixture.dir, LATER);
        let run = runtime.block_on(async {
            let progress = move |_| {
                let step = steps.fetch_add(1, Ordering::Relaxed);
                if step >= die_after {
                    std::panic::resume_unwind(Box::new("dies here"));
                }
            };
            let cleanup =
                manager.cleanup_old_artifacts(RetentionPolicy::new(), CleanupOptions::default(), progress);
            futures_catch(cleanup).await
        });
        drop(manager);
        points += 1;
        let died = run.is_err();
        assert_eq!(died, die_after < 1000, "step {die_after}");
        runtime.block_on(async {
            let next = open_at(&fixture.dir, LATER);
            assert!(
                findings(&next).await.is_empty(),
                "no record claims bytes that are gone"
            );
            let report = next
                .cleanup_old_artifacts(RetentionPolicy::new(), CleanupOptions::default(), |_| {})
                .await
                .unwrap();
            assert!(report.is_complete(), "{report:?}");
            assert!(
                fixture.files().is_empty(),
                "step {die_after}: {:?}",
                fixture.files().len()
            );
            assert!(!fixture.dir.path().join("data/artifacts/s").exists());
            let session = next.session(&fixture.session).await.unwrap();
            assert_eq!(
                session.counts().of_status(ArtifactStatus::Deleted),
                ARTIFACTS as u64
            );
            assert!(findings(&next).await.is_empty());
        });
    }
    std::panic::set_hook(hook);
    println!(
        "FAULT row=13 name=retention points={points} artifacts={ARTIFACTS} unfinished=0 bytes_missing=0"
    );
}

/// Waits for a future that may panic.
async fn futures_catch<T>(future: impl Future<Output = T>) -> std::thread::Result<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(done)) => std::task::Poll::Ready(Ok(done)),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

/// Somebody pins the session after the first page of it is deleted: the rest stays.
#[tokio::test(flavor = "multi_thread")]
async fn fault_36_a_pin_in_the_middle_of_a_run_saves_the_rest() {
    const ARTIFACTS: usize = 700;
    let fixture = completed(ARTIFACTS).await;
    let manager = open_at(&fixture.dir, LATER);
    let (other, session) = (open(&fixture.dir), fixture.session.clone());
    let pinned = AtomicBool::new(false);
    let progress = move |_| {
        if !pinned.swap(true, Ordering::Relaxed) {
            let (other, session) = (other.clone(), session.clone());
            let pin = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(other.pin_session(&session, true)).unwrap();
            });
            pin.join().unwrap();
        }
    };
    let report = manager
        .cleanup_old_artifacts(RetentionPolicy::new(), CleanupOptions::default(), progress)
        .await
        .unwrap();
    assert_eq!(report.spared_meanwhile.len(), 1, "{report:?}");
    let deleted = report.deleted_artifacts as usize;
    assert!(deleted > 0 && deleted < ARTIFACTS);
    assert_eq!(fixture.files().len(), ARTIFACTS - deleted);
    assert!(findings(&manager).await.is_empty());
    println!(
        "FAULT row=36 name=pin_during_retention artifacts={ARTIFACTS} deleted_before={deleted} live_files_deleted=0"
    );
}

/// Retention with nothing to wait for, beside writers that add, delete, complete and pin.
#[tokio::test(flavor = "multi_thread")]
async fn fault_36_retention_beside_writers_deletes_no_live_file() {
    const SESSIONS: usize = 12;
    const FILES: usize = 12;
    let fixture = Fixture::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut runs = tokio::task::JoinSet::new();
    runs.spawn({
        let (manager, stop) = (open_at(&fixture.dir, LATER), Arc::clone(&stop));
        async move {
            let mut runs = 0;
            while !stop.load(Ordering::Relaxed) {
                let options = CleanupOptions::default().with_orphans(OrphanMode::Remove);
                let report = manager
                    .cleanup_old_artifacts(RetentionPolicy::new(), options, |_| {})
                    .await
                    .unwrap();
                assert!(report.is_complete(), "{:?}", report.failures);
                runs += 1;
            }
            runs
        }
    });
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..SESSIONS {
        let manager = open(&fixture.dir);
        writers.spawn(async move {
            let session = SessionId::new(format!("w{number}")).unwrap();
            let collection = CollectionId::new("c").unwrap();
            let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
            manager.create_session_as(session.clone(), new).await.unwrap();
            let new = NewCollection::new("Logs").with_id(collection.clone());
            manager.create_collection(&session, new).await.unwrap();
            for file in 0..FILES {
                // One name for all: what a deletion frees is taken at once.
                let new = NewArtifact::new().with_name("same.log");
                let content = std::io::Cursor::new(format!("{number} {file}"));
                let added = manager
                    .add_reader(&session, &collection, new, content, None)
                    .await
                    .unwrap();
                if file % 3 == 1 {
                    manager
                        .delete_artifact(&added.artifact_id, DeleteOptions::default())
                        .await
                        .unwrap();
                }
            }
            if number % 3 == 0 {
                manager.pin_session(&session, true).await.unwrap();
            }
            if number % 2 == 0 {
                manager.complete_session(&session, None).await.unwrap();
            }
            manager.close().await.unwrap();
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let runs = runs.join_all().await[0];
    let manager = open(&fixture.dir);
    let live = manager
        .search_artifacts(ArtifactQuery::new().with_limit(10_000))
        .await
        .unwrap()
        .artifacts
        .len();
    let lost = findings(&manager).await;
    println!(
        "FAULT row=36 name=retention_beside_writers runs={runs} live={live} live_files_deleted={}",
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    // Open sessions, and the pinned ones, still hold all that was not deleted by hand.
    assert!(live >= SESSIONS / 2 * FILES * 2 / 3, "{live}");
}

/// Records that were tampered with, and directories that are links: nothing outside the data directory is deleted.
#[tokio::test]
async fn fault_36_tampered_records_and_links_delete_nothing_outside() {
    let mut victims = 0;
    let paths = [
        "artifacts/../victim",
        "artifacts/s/c/../../../../victim",
        "artifacts/s/../../victim",
        "artifacts/other/c/x.log",
        "../victim",
        "/VICTIM",
        "artifacts/s/c/",
        "artifacts/session_s.jsonl",
        "artifacts/s/.incoming/x",
    ];
    for path in paths {
        let fixture = completed(1).await;
        let victim = fixture.source("victim", b"precious");
        let beside = fixture.dir.path().join("data/artifacts/other/c");
        fs::create_dir_all(&beside).unwrap();
        fs::write(beside.join("x.log"), b"precious").unwrap();
        let path = path.replace("/VICTIM", victim.to_str().unwrap());
        let record = serde_json::json!({
            "artifact_id": "a1", "session_id": "s", "collection_id": "c", "upgrade_id": "up", "name": "x",
            "artifact_type": "log_file", "local_path": path, "created_at": "2025-01-31T05:25:01Z",
            "status": "created"
        });
        let event = SessionEvent::ArtifactAdded(Arc::new(serde_json::from_value(record).unwrap()));
        // Behind those of the journal, so that they are taken too.
        let meta = RecordMeta {
            seq: 1000,
            id: uuid::Uuid::nil(),
            at: Timestamp::EPOCH,
            actor: Arc::from("attacker"),
        };
        let index = Arc::new(MemoryIndex::new());
        let data = DataDir::open(fixture.dir.path().join("data")).unwrap();
        let at = Arc::clone(&index) as Arc<dyn ArtifactIndex>;
        let manager = TestArtifactsManager::new(data, options_at(LATER).with_index(at));
        manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
        let batch = IndexBatch {
            session_id: fixture.session.clone(),
            records: vec![Committed { meta, event }],
            position: None,
        };
        index.apply(&[batch], &artifact_core::NoTexts).unwrap();

        let options = CleanupOptions::default().with_orphans(OrphanMode::Remove);
        let report = manager
            .cleanup_old_artifacts(RetentionPolicy::new(), options, |_| {})
            .await
            .unwrap();
        assert_eq!(
            (report.failed, report.deleted_artifacts),
            (1, 1),
            "{path}: {report:?}"
        );
        let by_hand = manager
            .delete_artifact(&ArtifactId::new("a1").unwrap(), DeleteOptions::default())
            .await;
        drop(by_hand);
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{path}");
        assert_eq!(fs::read(beside.join("x.log")).unwrap(), b"precious", "{path}");
        victims += 2;
    }

    // The session's directory, or the collection's, is a link to one of somebody else.
    for link in ["s", "s/c"] {
        let fixture = completed(1).await;
        let place = fixture.dir.path().join("data/artifacts").join(link);
        let outside = fixture.dir.path().join("outside");
        fs::rename(&place, &outside).unwrap();
        fs::create_dir_all(outside.join("c")).unwrap();
        fs::write(outside.join("precious"), b"precious").unwrap();
        fs::write(outside.join("c/precious"), b"precious").unwrap();
        symlink(&outside, &place).unwrap();
        let before = fs::read_dir(&outside).unwrap().count();
        let manager = open_at(&fixture.dir, LATER);
        let options = CleanupOptions::default().with_orphans(OrphanMode::Remove);
        let report = manager
            .cleanup_old_artifacts(RetentionPolicy::new(), options, |_| {})
            .await
            .unwrap();
        assert_eq!(report.removed_files, 0, "{report:?}");
        let left: Vec<_> = report.orphans.iter().map(|orphan| orphan.left).collect();
        let expected = match link {
            "s" => Vec::new(),
            _ => vec![Some(LeftBecause::InPlaceOfCollection)],
        };
        assert_eq!(left, expected);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), before);
        assert_eq!(fs::read(outside.join("c/precious")).unwrap(), b"precious");
        victims += 3;
    }
    println!("FAULT row=36 name=tampered_retention victims={victims} deleted_outside=0");
}
