//! Who did what and when, and how the upgrade ended.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use artifact_core::{ArtifactError, DeleteOptions, DownloadRecord, TestArtifactsManager};
use tracking_model::{NewArtifact, NewSession, SessionId, SessionOutcome, StreamEvent, UpgradeId};

use crate::support::{Fixture, open, options};

async fn kinds(manager: &TestArtifactsManager, id: &SessionId, most: usize) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&seen);
    let each = move |record: tracking_journal::Committed<tracking_model::SessionEvent>| {
        let mut seen = into.lock().unwrap();
        seen.push(format!(
            "{} {} {}",
            record.meta.seq,
            record.meta.actor,
            record.event.kind()
        ));
        if seen.len() == most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    manager.session_history(id, each).await.unwrap();
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test]
async fn everything_that_was_done_stands_in_the_history() {
    let fixture = Fixture::new().await;
    let source = fixture.source("a.log", b"abc");
    let (manager, session) = (&fixture.manager, &fixture.session);
    let artifact = manager
        .add_artifact(session, &fixture.collection, source, NewArtifact::new())
        .await
        .unwrap();
    let id = &artifact.artifact_id;
    manager
        .tag_artifact(id, vec!["node".into()], Vec::new())
        .await
        .unwrap();
    manager
        .download_artifact(id, fixture.dir.path().join("copy"))
        .await
        .unwrap();
    manager
        .delete_artifact(id, DeleteOptions::default())
        .await
        .unwrap();
    manager.complete_session(session, None).await.unwrap();
    manager.pin_session(session, true).await.unwrap();
    assert_eq!(
        kinds(manager, session, usize::MAX).await,
        [
            "1 test session.created",
            "2 test collection.created",
            "3 test artifact.added",
            "4 test artifact.tagged",
            "5 test artifact.downloaded",
            "6 test artifact.deleted",
            "7 test session.completed",
            "8 test session.pinned"
        ]
    );
    assert_eq!(kinds(manager, session, 2).await.len(), 2);
    let unknown = manager
        .session_history(&SessionId::new("nope").unwrap(), |_| ControlFlow::Continue(()))
        .await;
    assert!(matches!(unknown, Err(ArtifactError::UnknownSession(_))));
}

/// Somebody holds the journal's lock: the copy is delivered, and the caller is told that no record tells of it.
#[tokio::test]
async fn a_download_that_cannot_be_recorded_is_delivered() {
    let fixture = Fixture::new().await;
    let source = fixture.source("a.log", b"abc");
    let artifact = fixture
        .manager
        .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
        .await
        .unwrap();
    let data = tracking_journal::DataDir::open(fixture.dir.path().join("data")).unwrap();
    let mut options = options();
    options.journal = options
        .journal
        .with_lock_timeout(std::time::Duration::from_millis(50));
    let manager = TestArtifactsManager::new(data, options);
    let journal = std::fs::File::open(fixture.dir.path().join("data/artifacts/session_s.jsonl")).unwrap();
    journal.lock().unwrap();
    let copy = fixture.dir.path().join("copy");
    let download = manager
        .download_artifact(&artifact.artifact_id, &copy)
        .await
        .unwrap();
    assert!(
        matches!(
            download.record,
            DownloadRecord::NotWritten(ArtifactError::Journal(
                tracking_journal::JournalError::Locked { .. }
            ))
        ),
        "{download:?}"
    );
    assert_eq!(std::fs::read(copy).unwrap(), b"abc");
}

#[tokio::test]
async fn the_end_of_an_upgrade_is_noted_in_its_sessions_and_leaves_them_open() {
    let fixture = Fixture::new().await;
    let upgrade = UpgradeId::new("up").unwrap();
    let (named, other) = (SessionId::new("up").unwrap(), SessionId::new("other").unwrap());
    let new = NewSession::new(upgrade.clone(), "prod");
    fixture
        .manager
        .create_session_as(named.clone(), new)
        .await
        .unwrap();
    let new = NewSession::new(UpgradeId::new("another").unwrap(), "prod");
    fixture
        .manager
        .create_session_as(other.clone(), new)
        .await
        .unwrap();
    let noted = fixture
        .manager
        .record_outcome(&upgrade, SessionOutcome::Failed)
        .await
        .unwrap();
    assert_eq!(noted, [fixture.session.clone(), named.clone()]);
    let session = fixture.manager.session(&fixture.session).await.unwrap();
    assert!(session.is_open());
    assert_eq!(session.outcome, Some(SessionOutcome::Failed));
    assert_eq!(fixture.manager.session(&other).await.unwrap().outcome, None);

    // Evidence comes after the end; completing takes what was noted.
    let completed = fixture.manager.complete_session(&named, None).await.unwrap();
    assert_eq!(completed.outcome, Some(SessionOutcome::Failed));
    // A process that knows nothing yet notes it in the session that is named as the upgrade, and an outcome that
    // somebody settled stays.
    let noted = open(&fixture.dir)
        .record_outcome(&upgrade, SessionOutcome::Succeeded)
        .await
        .unwrap();
    assert!(noted.is_empty(), "{noted:?}");
}
