//! A manager with this index: what it finds follows the journals, whatever happens to them.

use std::fs;
use std::sync::Arc;

use artifact_core::{ArtifactIndex, ArtifactQuery, ManagerOptions, TestArtifactsManager, TextQuery};
use artifact_index::SqliteIndex;
use tempfile::TempDir;
use tracking_journal::DataDir;
use tracking_model::{CollectionId, NewArtifact, NewCollection, NewSession, SessionId, UpgradeId};

fn open(dir: &TempDir) -> (TestArtifactsManager, Arc<SqliteIndex>) {
    let data = DataDir::open(dir.path().join("data")).unwrap();
    let index = Arc::new(SqliteIndex::new(data.path().join("index.sqlite")));
    let options = ManagerOptions::default().with_index(index.clone());
    (TestArtifactsManager::new(data, options), index)
}

async fn add(manager: &TestArtifactsManager, session: &str, text: &'static str) {
    let session = SessionId::new(session).unwrap();
    let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
    manager.ensure_session(session.clone(), new).await.unwrap();
    let collection = CollectionId::new("c").unwrap();
    let new = NewCollection::new("C").with_id(collection.clone());
    manager.ensure_collection(&session, new).await.unwrap();
    let new = NewArtifact::new().with_name(format!("{text}.log"));
    manager
        .add_stream(&session, &collection, new, text.as_bytes(), None)
        .await
        .unwrap();
}

async fn found(manager: &TestArtifactsManager) -> Vec<String> {
    let found = manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
    assert!(found.unreadable.is_empty(), "{:?}", found.unreadable);
    let mut names: Vec<String> = found
        .artifacts
        .iter()
        .map(|artifact| artifact.name.to_string())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_others_add_is_found_and_what_others_indexed_is_not_read_again() {
    let dir = TempDir::new().unwrap();
    let (one, _) = open(&dir);
    let (other, index) = open(&dir);
    add(&one, "s", "first").await;
    assert_eq!(found(&other).await, ["first.log"]);
    let position = index.position(&SessionId::new("s").unwrap()).unwrap().unwrap();
    add(&one, "s", "second").await;
    assert_eq!(found(&one).await, ["first.log", "second.log"]);
    let further = index.position(&SessionId::new("s").unwrap()).unwrap().unwrap();
    assert!(further.offset > position.offset, "it is the same file");
    assert_eq!(found(&other).await, ["first.log", "second.log"]);
    let text = ArtifactQuery::new()
        .with_text(TextQuery::new("second").unwrap())
        .with_snippets();
    let shown = other.search_artifacts(text).await.unwrap();
    assert_eq!(shown.snippets[0].as_ref().unwrap().text, "second");
}

#[tokio::test]
async fn a_journal_that_goes_or_is_replaced_takes_its_artifacts_along() {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (manager, _) = open(&dir);
    add(&manager, "s", "old").await;
    add(&manager, "gone", "gone").await;
    assert_eq!(found(&manager).await, ["gone.log", "old.log"]);
    let (another, _) = open(&elsewhere);
    for text in ["new", "newer", "newest"] {
        add(&another, "s", text).await;
    }
    manager.close().await.unwrap();
    another.close().await.unwrap();
    let artifacts = |dir: &TempDir| dir.path().join("data/artifacts");
    for file in ["session_s.jsonl", "session_s.checkpoint", "session_s.lock"] {
        let from = artifacts(&elsewhere).join(file);
        if from.exists() {
            fs::copy(from, artifacts(&dir).join(file)).unwrap();
        }
    }
    fs::remove_file(artifacts(&dir).join("session_gone.jsonl")).unwrap();
    for manager in [manager, open(&dir).0] {
        assert_eq!(found(&manager).await, ["new.log", "newer.log", "newest.log"]);
    }
}

#[tokio::test]
async fn a_search_opens_nothing_that_an_add_needs() {
    let dir = TempDir::new().unwrap();
    let (manager, _) = open(&dir);
    // A directory is in the place of the index: it can neither be opened nor replaced.
    fs::create_dir(dir.path().join("data/index.sqlite")).unwrap();
    add(&manager, "s", "kept").await;
    // What is recorded is found all the same, without it.
    assert_eq!(found(&manager).await, ["kept.log"]);
    fs::remove_dir(dir.path().join("data/index.sqlite")).unwrap();
    let (manager, _) = open(&dir);
    assert_eq!(found(&manager).await, ["kept.log"]);
    assert!(dir.path().join("data/index.sqlite").is_file());
}
