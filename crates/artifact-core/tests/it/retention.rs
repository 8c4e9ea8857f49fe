//! Retention: what it deletes, what it leaves alone, what it leaves behind.

use std::sync::Arc;

use artifact_core::{
    ArtifactError, ArtifactQuery, CleanupOptions, CleanupReport, DeleteOptions, DeletedBytes, OrphanMode,
    RetentionPolicy, RetentionRule, SpareReason, TestArtifactsManager, VerifyScope,
};
use tracking_model::{
    Artifact, ArtifactStatus, CollectionId, IfPinned, NewArtifact, NewCollection, NewSession,
    SessionCommandError, SessionId, SessionOutcome, UpgradeId,
};

use crate::support::{Fixture, open, open_at};

/// Later than the 30 days that sessions are kept, and than any file of a test.
const LATER: &str = "2100-01-01T00:00:00Z";

async fn add(fixture: &Fixture, name: &str) -> Arc<Artifact> {
    let new = NewArtifact::new().with_name(name);
    let content = std::io::Cursor::new(name.to_owned());
    fixture
        .manager
        .add_reader(&fixture.session, &fixture.collection, new, content, None)
        .await
        .unwrap()
}

async fn clean(
    manager: &TestArtifactsManager,
    policy: RetentionPolicy,
    options: CleanupOptions,
) -> CleanupReport {
    let report = manager
        .cleanup_old_artifacts(policy, options, |_| {})
        .await
        .unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    report
}

async fn is_clean(manager: &TestArtifactsManager) -> bool {
    let report = manager.verify_artifacts(VerifyScope::All, |_| {}).await;
    report.unwrap().is_clean()
}

#[tokio::test]
async fn what_is_due_is_deleted_and_its_records_tell_what_it_was() {
    let fixture = Fixture::new().await;
    let artifact = add(&fixture, "a.log").await;
    add(&fixture, "b.log").await;
    fixture
        .manager
        .complete_session(&fixture.session, None)
        .await
        .unwrap();
    let policy = RetentionPolicy::new()
        .with_retention_days(0)
        .with_min_age(tracking_model::Span::ZERO);

    let dry = clean(
        &fixture.manager,
        policy.clone(),
        CleanupOptions::default().dry_run(),
    )
    .await;
    assert_eq!((dry.plan.deleted_artifacts, dry.plan.deleted_bytes), (2, 10));
    assert_eq!((dry.deleted_artifacts, dry.removed_files), (0, 0));
    assert_eq!(
        dry.plan,
        fixture.manager.plan_retention(policy.clone()).await.unwrap()
    );

    let report = clean(&fixture.manager, policy.clone(), CleanupOptions::default()).await;
    assert_eq!((report.deleted_artifacts, report.deleted_bytes), (2, 10));
    assert_eq!(report.removed_files, 2);
    assert!(matches!(
        report.plan.delete[0].rule,
        RetentionRule::Age { days: 0, factor: 1 }
    ));
    let deleted = fixture.manager.artifact(&artifact.artifact_id).await.unwrap();
    assert_eq!(deleted.status, ArtifactStatus::Deleted);
    assert_eq!(deleted.file_hash, artifact.file_hash);
    let summary = fixture.manager.session_summary(&fixture.session).await.unwrap();
    assert_eq!((summary.total_artifacts, summary.total_size_bytes), (0, 0));
    assert!(is_clean(&fixture.manager).await);
    let session_dir = fixture.dir.path().join("data/artifacts/s");
    assert!(!session_dir.exists(), "empty directories are removed");
    let again = clean(&fixture.manager, policy, CleanupOptions::default()).await;
    assert_eq!(
        (
            again.deleted_artifacts,
            again.removed_files,
            again.removed_directories
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn open_pinned_and_failed_sessions_stay() {
    let fixture = Fixture::new().await;
    add(&fixture, "open.log").await;
    for (id, outcome, pinned) in [
        ("failed", Some(SessionOutcome::Failed), false),
        ("pinned", None, true),
        ("well", Some(SessionOutcome::Succeeded), false),
    ] {
        let session = SessionId::new(id).unwrap();
        let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
        let manager = &fixture.manager;
        manager.create_session_as(session.clone(), new).await.unwrap();
        let collection = NewCollection::new("Logs").with_id(CollectionId::new("c").unwrap());
        manager.create_collection(&session, collection).await.unwrap();
        let new = NewArtifact::new().with_name("x.log");
        manager
            .add_reader(&session, &fixture.collection, new, &b"x"[..], None)
            .await
            .unwrap();
        manager.complete_session(&session, outcome).await.unwrap();
        manager.pin_session(&session, pinned).await.unwrap();
    }
    // 31 days later.
    let manager = open_at(&fixture.dir, "2025-03-03T05:25:02Z");
    let report = clean(&manager, RetentionPolicy::new(), CleanupOptions::default()).await;
    let deleted: Vec<&str> = report
        .plan
        .delete
        .iter()
        .map(|one| one.session.session_id.as_str())
        .collect();
    assert_eq!(deleted, ["well"]);
    let spared: Vec<String> = report
        .plan
        .spare
        .iter()
        .map(|one| format!("{} {}", one.session.session_id, one.reason))
        .collect();
    assert_eq!(
        spared,
        [
            "failed failed, kept 3 times longer, until 2025-05-01T05:25:01.000000Z",
            "pinned pinned",
            "s open"
        ]
    );
    let left = manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
    assert_eq!(left.artifacts.len(), 3);
    assert!(is_clean(&manager).await);
}

/// The clock of this machine runs behind the one that completed the session.
#[tokio::test]
async fn a_session_completed_in_the_future_stays() {
    let fixture = Fixture::new().await;
    add(&fixture, "a.log").await;
    fixture
        .manager
        .complete_session(&fixture.session, None)
        .await
        .unwrap();
    let manager = open_at(&fixture.dir, "2024-01-01T00:00:00Z");
    let policy = RetentionPolicy::new().with_max_total_bytes(0);
    let report = clean(&manager, policy, CleanupOptions::default()).await;
    assert!(matches!(
        report.plan.spare[0].reason,
        SpareReason::CompletedInFuture { .. }
    ));
    assert_eq!(fixture.files().len(), 1);
}

/// The clock was set back between the session's beginning and its completion, or only while an artifact was added.
#[tokio::test]
async fn a_session_whose_times_contradict_the_order_of_its_records_stays() {
    const LONG_AGO: &str = "2020-01-01T00:00:00Z";
    for completed_long_ago in [true, false] {
        let fixture = Fixture::new().await;
        add(&fixture, "a.log").await;
        let back = open_at(&fixture.dir, LONG_AGO);
        let new = NewArtifact::new().with_name("b.log");
        back.add_reader(&fixture.session, &fixture.collection, new, &b"b"[..], None)
            .await
            .unwrap();
        let completing = if completed_long_ago {
            &back
        } else {
            &fixture.manager
        };
        completing.complete_session(&fixture.session, None).await.unwrap();
        // As retention days or the size would have it; also what other processes make of the journal.
        for manager in [open_at(&fixture.dir, LATER), open(&fixture.dir)] {
            let policy = RetentionPolicy::new()
                .with_max_total_bytes(0)
                .with_retention_days(0);
            let policy = policy.with_min_age(tracking_model::Span::ZERO);
            let report = clean(&manager, policy, CleanupOptions::default()).await;
            let SpareReason::ClockContradiction { at, after } = report.plan.spare[0].reason else {
                panic!("{:?}", report.plan)
            };
            assert!(at < after);
            assert!(
                report.plan.to_string().contains("a clock was wrong"),
                "{}",
                report.plan
            );
        }
        assert_eq!(fixture.files().len(), 2);
    }
}

#[tokio::test]
async fn orphans_are_reported_and_removed_only_on_request() {
    let fixture = Fixture::new().await;
    add(&fixture, "kept.log").await;
    std::fs::write(fixture.dir.path().join("data/artifacts/s/c/orphan"), b"1234").unwrap();
    let policy = RetentionPolicy::new().with_retention_days(u32::MAX);
    let remove = CleanupOptions::default().with_orphans(OrphanMode::Remove);

    // A file of today may belong to an artifact that is being added.
    let now = open(&fixture.dir);
    let report = clean(&now, policy.clone(), remove).await;
    assert_eq!(report.orphan_files, 0);

    let manager = open_at(&fixture.dir, LATER);
    let report = clean(&manager, policy.clone(), CleanupOptions::default()).await;
    assert_eq!((report.orphan_files, report.orphans[0].size), (1, 4));
    assert_eq!(&*report.orphans[0].local_path, "artifacts/s/c/orphan");
    assert!(!report.orphans[0].removed);

    // Nothing is removed from a session to which something may still be added.
    let report = clean(&manager, policy.clone(), remove).await;
    assert!(!report.orphans[0].removed);
    manager.complete_session(&fixture.session, None).await.unwrap();
    let report = clean(&manager, policy, remove).await;
    assert!(report.orphans[0].removed);
    assert_eq!(fixture.files(), ["c/kept.log"]);
    assert!(is_clean(&manager).await);
}

#[tokio::test]
async fn one_artifact_is_deleted_by_hand() {
    let fixture = Fixture::new().await;
    let (first, second) = (add(&fixture, "a.log").await, add(&fixture, "a.log").await);
    let delete = async |id: &tracking_model::ArtifactId, pinned| {
        let options = DeleteOptions::default()
            .with_reason("has a password in it")
            .with_pinned(pinned);
        fixture.manager.delete_artifact(id, options).await
    };
    let deletion = delete(&first.artifact_id, IfPinned::Refuse).await.unwrap();
    assert_eq!(deletion.artifact.status, ArtifactStatus::Deleted);
    assert!(matches!(deletion.bytes, DeletedBytes::Removed));
    assert!(matches!(
        delete(&first.artifact_id, IfPinned::Refuse).await,
        Err(ArtifactError::Refused(SessionCommandError::ArtifactDeleted(_)))
    ));
    // Its name is free again, for the bytes of another artifact.
    let third = add(&fixture, "a.log").await;
    assert_eq!(third.local_path, first.local_path);

    fixture.manager.pin_session(&fixture.session, true).await.unwrap();
    assert!(matches!(
        delete(&second.artifact_id, IfPinned::Refuse).await,
        Err(ArtifactError::Refused(SessionCommandError::SessionPinned(_)))
    ));
    delete(&second.artifact_id, IfPinned::Delete).await.unwrap();
    assert!(is_clean(&fixture.manager).await);

    // The record of the first names the file of the third, which stays.
    fixture
        .manager
        .complete_session(&fixture.session, None)
        .await
        .unwrap();
    let report = clean(
        &fixture.manager,
        RetentionPolicy::new(),
        CleanupOptions::default(),
    )
    .await;
    assert_eq!(report.removed_files, 0);
    assert!(is_clean(&fixture.manager).await);
}

/// The reference let a file be overwritten by another of the same name: two of its artifacts then name one file.
#[tokio::test]
async fn a_file_that_two_records_name_stays_until_both_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("old");
    std::fs::create_dir_all(base.join("s/c")).unwrap();
    let file = base.join("s/c/x.log");
    std::fs::write(&file, b"abc").unwrap();
    let artifact = |id: &str| {
        serde_json::json!({"artifact_id": id, "name": "x.log", "artifact_type": "log_file",
            "local_path": file, "file_size": 3, "status": "created", "upgrade_id": "up",
            "created_at": "2025-01-30 05:25:01+00:00"})
    };
    let session = serde_json::json!({"session_id": "s", "name": "Old", "upgrade_id": "up", "cluster_name": "prod",
        "started_at": "2025-01-30 05:25:01+00:00", "completed_at": null, "collections": {"c": {
            "collection_id": "c", "name": "Logs", "upgrade_id": "up",
            "created_at": "2025-01-30 05:25:01+00:00", "artifacts": [artifact("a1"), artifact("a2")]}}});
    std::fs::write(base.join("session_s.json"), session.to_string()).unwrap();
    let manager = open(&dir);
    let imported = manager
        .import_reference_sessions(&base, artifact_core::ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(imported.sessions.len(), 1, "{imported:?}");
    let (first, second) = (
        tracking_model::ArtifactId::new("a1").unwrap(),
        tracking_model::ArtifactId::new("a2").unwrap(),
    );
    let paths = (
        manager.artifact(&first).await.unwrap().local_path.clone(),
        manager.artifact(&second).await.unwrap().local_path.clone(),
    );
    let shared = paths.0 == paths.1;
    let deletion = manager
        .delete_artifact(&first, DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(
        shared,
        matches!(deletion.bytes, DeletedBytes::Shared),
        "{deletion:?}"
    );
    assert!(is_clean(&manager).await);
    manager
        .delete_artifact(&second, DeleteOptions::default())
        .await
        .unwrap();
    manager
        .complete_session(&SessionId::new("s").unwrap(), None)
        .await
        .unwrap();
    let report = clean(&manager, RetentionPolicy::new(), CleanupOptions::default()).await;
    assert_eq!(report.leftover_files, 0);
    assert!(!dir.path().join("data/artifacts/s").exists());
}
