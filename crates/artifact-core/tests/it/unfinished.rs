//! Between its name and its record an artifact is neither there nor put there by hand.

use std::fs;
use std::time::{Duration, Instant};

use artifact_core::VerifyScope;
use tracking_model::NewArtifact;

use crate::support::{Fixture, open};

/// Waits until `happened`, for as long as no machine takes.
fn wait_until(mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_beside_an_add_reports_nothing() {
    let fixture = Fixture::new().await;
    let journal = fixture.dir.path().join("data/artifacts/session_s.jsonl");
    let (named, live_named) = (
        fixture.dir.path().join("data/artifacts/s/c/slow.log"),
        fixture.dir.path().join("data/artifacts/s/c/output.log"),
    );
    // While this test holds the journal's lock, no add records a file that has its name already.
    let journal = fs::File::open(&journal).unwrap();
    journal.lock().unwrap();
    let (session, collection) = (fixture.session.clone(), fixture.collection.clone());
    let (manager, source) = (open(&fixture.dir), fixture.source("slow.log", b"slow"));
    let mut adding = tokio::task::JoinSet::new();
    adding.spawn(async move {
        let added = manager.add_artifact(&session, &collection, source, NewArtifact::new());
        added.await.unwrap();
        let new = NewArtifact::new().with_name("output.log");
        let begun = manager.begin_artifact(&session, &collection, new).await;
        let mut output = begun.unwrap();
        std::io::Write::write_all(&mut output, b"words").unwrap();
        output.finish().await.unwrap();
    });
    let verify = async |scope| open(&fixture.dir).verify_artifacts(scope, |_| {}).await.unwrap();
    wait_until(|| named.exists());
    for _ in 0..3 {
        let report = verify(VerifyScope::All).await;
        assert!(report.is_clean() && report.unfinished.is_empty(), "{report:?}");
        assert_eq!(report.artifacts, 0, "it has no record yet");
    }
    journal.unlock().unwrap();
    while adding.try_join_next().is_none() {
        let report = verify(VerifyScope::All).await;
        assert!(report.is_clean() && report.unfinished.is_empty(), "{report:?}");
    }
    assert!(live_named.exists());
    let report = verify(VerifyScope::All).await;
    assert!(report.is_clean() && report.unfinished.is_empty(), "{report:?}");
    assert_eq!(report.artifacts, 2);
}

/// A completed session takes nothing more, so nobody who adds takes up what is left there.
#[tokio::test]
async fn retention_takes_up_what_is_left_in_a_completed_session() {
    use artifact_core::{CleanupOptions, OrphanMode, RetentionPolicy};

    let fixture = Fixture::new().await;
    let manager = open(&fixture.dir);
    manager.complete_session(&fixture.session, None).await.unwrap();
    let incoming = fixture.dir.path().join("data/artifacts/s/.incoming");
    fs::create_dir_all(&incoming).unwrap();
    fs::write(incoming.join("live~c~dead"), b"the last words").unwrap();
    let report = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(&*report.unfinished[0], "artifacts/s/.incoming/live~c~dead");
    let manager = crate::support::open_at(&fixture.dir, "2100-01-01T00:00:00Z");
    let policy = RetentionPolicy::new().with_retention_days(u32::MAX);
    let options = CleanupOptions::default().with_orphans(OrphanMode::Remove);
    let report = manager
        .cleanup_old_artifacts(policy, options, |_| {})
        .await
        .unwrap();
    assert_eq!((report.orphan_files, report.removed_files), (1, 1), "{report:?}");
    assert!(!incoming.exists());
}
