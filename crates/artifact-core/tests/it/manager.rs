//! Sessions, collections and artifacts: adding, finding, copying out, verifying.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artifact_core::{
    ArtifactError, ArtifactQuery, DeleteOptions, DownloadRecord, MockArtifactIndex, Problem, Sort,
    SourceError, TestArtifactsManager, TextQuery, VerifyScope,
};
use tracking_model::{
    ArtifactId, ArtifactStatus, ArtifactType, CollectionId, NewArtifact, NewCollection, NewSession,
    SessionCommandError, SessionId, SessionOutcome, TaskId, UpgradeId,
};

use crate::support::{self, Fixture, open};

#[tokio::test]
async fn a_session_is_created_found_and_completed() {
    let fixture = Fixture::new().await;
    let session = fixture.manager.session(&fixture.session).await.unwrap();
    assert_eq!((&*session.name, &*session.cluster_name), ("Test Session", "prod"));
    assert_eq!(
        session.s3_prefix.as_deref(),
        Some("eks-upgrade-agent/artifacts/s")
    );
    let again = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
    let error = fixture
        .manager
        .create_session_as(fixture.session.clone(), again.clone())
        .await;
    assert!(matches!(
        error,
        Err(ArtifactError::Refused(SessionCommandError::SessionExists { .. }))
    ));
    let same = fixture
        .manager
        .ensure_session(fixture.session.clone(), again)
        .await
        .unwrap();
    assert_eq!(same, session);

    let unknown = SessionId::new("nonexistent").unwrap();
    assert!(matches!(
        fixture.manager.session(&unknown).await,
        Err(ArtifactError::UnknownSession(_))
    ));
    assert!(matches!(
        fixture.manager.complete_session(&unknown, None).await,
        Err(ArtifactError::UnknownSession(_))
    ));
    let unknown = CollectionId::new("nonexistent").unwrap();
    let query = ArtifactQuery::new().in_session(fixture.session.clone());
    let query = query.in_collection(unknown);
    let error = fixture.manager.search_artifacts(query).await.unwrap_err();
    assert!(matches!(error, ArtifactError::UnknownCollection { .. }));
    let completed = fixture
        .manager
        .complete_session(&fixture.session, Some(SessionOutcome::Failed))
        .await
        .unwrap();
    assert_eq!(completed.outcome, Some(SessionOutcome::Failed));
    assert!(completed.completed_at.is_some());
    let error = fixture.manager.complete_session(&fixture.session, None).await;
    assert!(matches!(
        error,
        Err(ArtifactError::Refused(
            SessionCommandError::SessionCompleted { .. }
        ))
    ));
    assert_eq!(fixture.manager.sessions().await.unwrap().sessions.len(), 1);
}

#[tokio::test]
async fn collections_are_listed_in_the_order_of_their_creation() {
    let fixture = Fixture::new().await;
    let new = NewCollection::new("Screens").with_id(CollectionId::new("b").unwrap());
    fixture
        .manager
        .create_collection(&fixture.session, new.clone())
        .await
        .unwrap();
    let same = fixture
        .manager
        .ensure_collection(&fixture.session, new)
        .await
        .unwrap();
    assert_eq!(&*same.name, "Screens");
    let session = fixture.manager.session(&fixture.session).await.unwrap();
    let ids: Vec<&str> = session.collections.keys().map(CollectionId::as_str).collect();
    assert_eq!(ids, ["c", "b"]);
    let unknown = CollectionId::new("nonexistent").unwrap();
    assert!(matches!(
        fixture.manager.collection(&fixture.session, &unknown).await,
        Err(ArtifactError::UnknownCollection { .. })
    ));
}

#[tokio::test]
async fn a_file_is_kept_byte_for_byte() {
    let fixture = Fixture::new().await;
    let source = fixture.source("test_file.log", b"abc");
    let new = NewArtifact::new()
        .with_description("Test log file")
        .with_task(TaskId::new("t").unwrap());
    let artifact = fixture
        .manager
        .add_artifact(&fixture.session, &fixture.collection, &source, new)
        .await
        .unwrap();
    assert_eq!(&*artifact.name, "test_file.log");
    assert_eq!(artifact.artifact_type, ArtifactType::LogFile);
    assert_eq!(artifact.status, ArtifactStatus::Created);
    assert_eq!(artifact.file_size, Some(3));
    assert_eq!(
        artifact.file_hash.unwrap().to_string(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        artifact.local_path.as_deref(),
        Some("artifacts/s/c/test_file.log")
    );
    let path = fixture.manager.local_path(&artifact).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o400);

    // A second manager, as another process would, finds it.
    let other = open(&fixture.dir);
    assert_eq!(other.artifact(&artifact.artifact_id).await.unwrap(), artifact);
    let mut bytes = Vec::new();
    let mut reader = other.open_artifact(&artifact.artifact_id).await.unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"abc");
}

#[tokio::test]
async fn two_files_of_one_name_are_two_artifacts() {
    let fixture = Fixture::new().await;
    for content in ["1", "2", "3"] {
        let source = fixture.source("log.txt", content.as_bytes());
        fixture
            .manager
            .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
            .await
            .unwrap();
    }
    assert_eq!(fixture.files(), ["c/log-2.txt", "c/log-3.txt", "c/log.txt"]);
    let found = fixture.manager.search_by_name("log.txt", None).await.unwrap();
    assert_eq!(found.artifacts.len(), 3);
}

#[tokio::test]
async fn what_does_not_exist_is_refused_by_name() {
    let fixture = Fixture::new().await;
    let source = fixture.source("a.log", b"a");
    let add = |session: &str, collection: &str, path: std::path::PathBuf| {
        let (session, collection) = (
            SessionId::new(session).unwrap(),
            CollectionId::new(collection).unwrap(),
        );
        let manager = fixture.manager.clone();
        async move {
            manager
                .add_artifact(&session, &collection, path, NewArtifact::new())
                .await
                .unwrap_err()
        }
    };
    assert!(matches!(
        add("nonexistent", "c", source.clone()).await,
        ArtifactError::UnknownSession(_)
    ));
    assert!(matches!(
        add("s", "nonexistent", source).await,
        ArtifactError::UnknownCollection { .. }
    ));
    assert!(matches!(
        add("s", "c", "nonexistent/file.log".into()).await,
        ArtifactError::Source(SourceError::Missing { .. })
    ));
    let unknown = ArtifactId::new("nonexistent").unwrap();
    assert!(matches!(
        fixture.manager.artifact(&unknown).await,
        Err(ArtifactError::UnknownArtifact(_))
    ));
    assert!(fixture.files().is_empty());
    assert!(
        !fixture
            .dir
            .path()
            .join("data/artifacts/session_nonexistent.jsonl")
            .exists()
    );
}

#[tokio::test]
async fn streams_are_kept_up_to_their_limit() {
    let fixture = Fixture::new().await;
    let (session, collection) = (&fixture.session, &fixture.collection);
    let manager = &fixture.manager;
    let big = vec![b'x'; 1 << 20];
    let new = NewArtifact::new().with_name("out.log");
    let artifact = manager
        .add_stream(session, collection, new.clone(), big.as_slice(), Some(1 << 20))
        .await
        .unwrap();
    assert_eq!(artifact.file_size, Some(1 << 20));
    let error = manager
        .add_stream(session, collection, new.clone(), big.as_slice(), Some(1000))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ArtifactError::Source(SourceError::TooLong { limit: 1000 })
    ));
    let error = manager
        .add_stream(session, collection, NewArtifact::new(), big.as_slice(), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("artifact name is empty"), "{error}");

    let mut writer = manager
        .begin_artifact(session, collection, new.clone())
        .await
        .unwrap();
    writer.write_all(b"line 1\n").unwrap();
    writer.write_all(b"line 2\n").unwrap();
    assert_eq!(writer.finish().await.unwrap().file_size, Some(14));
    let mut unfinished = manager.begin_artifact(session, collection, new).await.unwrap();
    unfinished.write_all(b"lost").unwrap();
    drop(unfinished);
    let summary = manager.session_summary(session).await.unwrap();
    assert_eq!(
        (summary.total_artifacts, summary.total_size_bytes),
        (2, (1 << 20) + 14)
    );
}

#[tokio::test]
async fn artifacts_are_found_by_name_tag_and_the_rest() {
    let fixture = Fixture::new().await;
    let add = |name: &'static str, tags: &'static [&'static str], size: usize| {
        let fixture = &fixture;
        async move {
            let new = NewArtifact::new().with_name(name).with_tags(tags.iter().copied());
            fixture
                .manager
                .add_stream(
                    &fixture.session,
                    &fixture.collection,
                    new,
                    vec![0; size].as_slice(),
                    None,
                )
                .await
                .unwrap()
        }
    };
    add("node-1.log", &["node", "cordon"], 10).await;
    add("node-2.log", &["node"], 30).await;
    let screenshot = add("grafana.png", &["screens"], 20).await;
    let names = |query: ArtifactQuery| async {
        let found = fixture.manager.search_artifacts(query).await.unwrap();
        found
            .artifacts
            .iter()
            .map(|a| a.name.to_string())
            .collect::<Vec<_>>()
    };
    let query = ArtifactQuery::new;
    assert_eq!(names(query()).await, ["grafana.png", "node-2.log", "node-1.log"]);
    assert_eq!(
        names(query().with_text(TextQuery::new("NODE cordon").unwrap())).await,
        ["node-1.log"]
    );
    assert_eq!(
        names(query().with_tag("node")).await,
        ["node-2.log", "node-1.log"]
    );
    assert_eq!(
        names(query().with_tag("node").with_tag("cordon")).await,
        ["node-1.log"]
    );
    assert_eq!(
        names(query().with_type(ArtifactType::Screenshot)).await,
        ["grafana.png"]
    );
    assert_eq!(
        names(query().with_sort(Sort::Size)).await,
        ["node-2.log", "grafana.png", "node-1.log"]
    );
    assert_eq!(
        names(query().with_sort(Sort::Name).with_limit(1)).await,
        ["grafana.png"]
    );
    let by_name = fixture.manager.search_by_name("NODE-?.log", None).await.unwrap();
    assert_eq!(by_name.artifacts.len(), 2);
    let recent = fixture.manager.recent_artifacts(1, None).await.unwrap();
    assert_eq!(recent.artifacts.len(), 3);

    let tagged = fixture
        .manager
        .tag_artifact(
            &screenshot.artifact_id,
            vec!["p99".into()],
            vec!["screens".into()],
        )
        .await
        .unwrap();
    assert_eq!(tagged.tags, [Arc::from("p99")]);
    assert_eq!(names(query().with_tag("p99")).await, ["grafana.png"]);
}

#[tokio::test]
async fn verifying_finds_what_is_missing_altered_and_extra() {
    let fixture = Fixture::new().await;
    for name in ["good", "missing", "altered"] {
        let source = fixture.source(name, name.as_bytes());
        fixture
            .manager
            .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
            .await
            .unwrap();
    }
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let clean = fixture
        .manager
        .verify_artifacts(VerifyScope::All, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .await
        .unwrap();
    assert!(clean.is_clean(), "{clean:?}");
    assert_eq!(
        (clean.artifacts, clean.bytes, calls.load(Ordering::Relaxed)),
        (3, 18, 3)
    );

    let stored = fixture.dir.path().join("data/artifacts/s/c");
    std::fs::remove_file(stored.join("missing")).unwrap();
    std::fs::remove_file(stored.join("altered")).unwrap();
    std::fs::write(stored.join("altered"), b"ALTERED").unwrap();
    std::fs::write(stored.join("extra"), b"?").unwrap();
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    let found: Vec<String> = report
        .findings
        .iter()
        .map(|finding| {
            let problem = match &finding.problem {
                Problem::Missing => "missing",
                Problem::Altered { .. } => "altered",
                Problem::Extra { .. } => "extra",
                _ => "other",
            };
            format!("{} {problem}", finding.local_path)
        })
        .collect();
    assert_eq!(
        found,
        [
            "artifacts/s/c/altered altered",
            "artifacts/s/c/extra extra",
            "artifacts/s/c/missing missing"
        ]
    );
}

/// An index is derived and may be wrong, so verifying asks none.
#[tokio::test]
async fn verifying_reads_the_journals_alone() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for name in ["kept", "altered", "deleted"] {
        let source = fixture.source(name, name.as_bytes());
        let added = fixture
            .manager
            .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
            .await
            .unwrap();
        ids.push(added);
    }
    let options = DeleteOptions::default();
    fixture
        .manager
        .delete_artifact(&ids[2].artifact_id, options)
        .await
        .unwrap();
    let altered = fixture.manager.local_path(&ids[1]).unwrap();
    std::fs::remove_file(&altered).unwrap();
    std::fs::write(&altered, b"ALTERED").unwrap();

    let data = fixture.manager.data_dir().clone();
    // It would panic if it were asked anything.
    let options = support::options().with_index(Arc::new(MockArtifactIndex::new()));
    let report = TestArtifactsManager::new(data, options)
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert_eq!((report.artifacts, report.without_bytes), (2, 1));
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        report.findings[0].artifact.as_ref().unwrap().artifact_id,
        ids[1].artifact_id
    );
}

#[tokio::test]
async fn a_download_is_verified_before_it_has_a_name() {
    let fixture = Fixture::new().await;
    let source = fixture.source("log.txt", b"content");
    let artifact = fixture
        .manager
        .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
        .await
        .unwrap();
    let target = fixture.dir.path().join("out");
    std::fs::create_dir(&target).unwrap();
    let id = &artifact.artifact_id;
    let download = fixture.manager.download_artifact(id, &target).await.unwrap();
    assert!(matches!(download.record, DownloadRecord::Written));
    let path = download.path;
    assert_eq!(path, target.join("log.txt"));
    assert_eq!(std::fs::read(path).unwrap(), b"content");
    let again = fixture.manager.download_artifact(id, &target).await;
    assert!(matches!(again, Err(ArtifactError::Io { .. })));

    let stored = fixture.manager.local_path(&artifact).unwrap();
    std::fs::remove_file(&stored).unwrap();
    std::fs::write(&stored, b"CONTENT").unwrap();
    let error = fixture
        .manager
        .download_artifact(id, target.join("other"))
        .await
        .unwrap_err();
    assert!(matches!(error, ArtifactError::Altered { .. }));
    assert_eq!(std::fs::read_dir(target).unwrap().count(), 1);
}

/// Several managers, as several processes would, and many tasks in each.
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_a_session() {
    const TASKS: usize = 12;
    let fixture = Fixture::new().await;
    let source = fixture.source("log.txt", b"content");
    let managers = [fixture.manager.clone(), open(&fixture.dir), open(&fixture.dir)];
    let mut tasks = tokio::task::JoinSet::new();
    for manager in &managers {
        for _ in 0..TASKS {
            let (manager, source) = (manager.clone(), source.clone());
            let (session, collection) = (fixture.session.clone(), fixture.collection.clone());
            tasks.spawn(async move {
                let new = NewArtifact::new();
                manager
                    .add_artifact(&session, &collection, source, new)
                    .await
                    .unwrap()
            });
        }
    }
    let added = tasks.join_all().await;
    let paths: std::collections::HashSet<_> =
        added.iter().map(|artifact| artifact.local_path.clone()).collect();
    assert_eq!(paths.len(), 3 * TASKS);
    for manager in &managers {
        let found = manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
        assert_eq!(found.artifacts.len(), 3 * TASKS);
        let summary = manager.session_summary(&fixture.session).await.unwrap();
        assert_eq!(summary.total_artifacts, 3 * TASKS as u64);
    }
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn snapshots_are_exact_once_the_manager_is_closed() {
    for _ in 0..50 {
        let fixture = Fixture::new().await;
        fixture.manager.close().await.unwrap();
        let artifacts = fixture.dir.path().join("data/artifacts");
        let snapshot = std::fs::read(artifacts.join("session_s.json")).unwrap();
        let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
        assert_eq!(snapshot["collections"]["c"]["name"], "Logs", "{snapshot}");
        assert!(!artifacts.join("session_s.json.part").exists());
    }
}
