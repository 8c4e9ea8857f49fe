//! An index is derived and may be wrong; a journal may be damaged. What is said of both.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use artifact_core::{
    ArtifactError, ArtifactIndex, ArtifactQuery, DeleteOptions, DeletedBytes, IndexBatch, MemoryIndex,
    NoTexts, Problem, TestArtifactsManager, VerifyScope,
};
use tracking_journal::{Committed, DataDir};
use tracking_model::{Artifact, NewArtifact, RecordMeta, SessionEvent, Timestamp};

use crate::support::{Fixture, options};

async fn add(fixture: &Fixture, name: &str) -> Arc<Artifact> {
    let source = fixture.source(name, name.as_bytes());
    let (session, collection) = (&fixture.session, &fixture.collection);
    let added = fixture
        .manager
        .add_artifact(session, collection, source, NewArtifact::new());
    added.await.unwrap()
}

fn with_index(fixture: &Fixture, index: &Arc<MemoryIndex>) -> TestArtifactsManager {
    let data = DataDir::open(fixture.dir.path().join("data")).unwrap();
    let index = Arc::clone(index) as Arc<dyn ArtifactIndex>;
    TestArtifactsManager::new(data, options().with_index(index))
}

/// Puts a record into the index that no journal has.
fn tell(index: &MemoryIndex, lie: Artifact) {
    let meta = RecordMeta {
        seq: 1000,
        id: uuid::Uuid::nil(),
        at: Timestamp::EPOCH,
        actor: Arc::from("attacker"),
    };
    let session_id = lie.session_id.clone();
    let event = SessionEvent::ArtifactAdded(Arc::new(lie));
    let batch = IndexBatch {
        session_id,
        records: vec![Committed { meta, event }],
        position: None,
    };
    index.apply(&[batch], &NoTexts).unwrap();
}

/// Somebody alters a stored file, and the record in the index so that it fits, or so that it leads to another file.
#[tokio::test]
async fn fault_36_an_index_that_lies_hides_no_altered_bytes() {
    let fixture = Fixture::new().await;
    let (artifact, other) = (add(&fixture, "x.log").await, add(&fixture, "other.log").await);
    let stored = fixture.manager.local_path(&artifact).unwrap();
    fs::remove_file(&stored).unwrap();
    fs::write(&stored, b"other.log").unwrap();
    let mut hash_lies = Artifact::clone(&artifact);
    hash_lies.file_hash = other.file_hash;
    let mut path_lies = hash_lies.clone();
    path_lies.local_path.clone_from(&other.local_path);
    let mut lies = 0;
    for lie in [hash_lies, path_lies] {
        let index = Arc::new(MemoryIndex::new());
        let manager = with_index(&fixture, &index);
        manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
        tell(&index, lie);

        let id = &artifact.artifact_id;
        let scope = VerifyScope::Artifact(id.clone());
        let report = manager.verify_artifacts(scope, |_| {}).await.unwrap();
        assert!(
            matches!(report.findings[0].problem, Problem::Altered { expected, .. } if Some(expected) == artifact.file_hash),
            "{report:?}"
        );
        let target = fixture.dir.path().join("out");
        let downloaded = manager.download_artifact(id, &target).await;
        assert!(
            matches!(downloaded, Err(ArtifactError::Altered { .. })),
            "{downloaded:?}"
        );
        assert!(!target.exists());
        lies += 1;
    }
    println!("FAULT row=36 name=index_lies lies={lies} believed=0");
}

/// What is recorded and removed follows from the journal, whatever the index says of an artifact's tags and path.
#[tokio::test]
async fn fault_36_an_index_that_lies_removes_no_other_file() {
    let fixture = Fixture::new().await;
    let (artifact, other) = (add(&fixture, "x.log").await, add(&fixture, "other.log").await);
    let [own_file, other_file] =
        [&artifact, &other].map(|artifact| fixture.manager.local_path(artifact).unwrap());
    let index = Arc::new(MemoryIndex::new());
    let manager = with_index(&fixture, &index);
    manager.search_artifacts(ArtifactQuery::new()).await.unwrap();
    let mut lie = Artifact::clone(&artifact);
    lie.local_path.clone_from(&other.local_path);
    lie.tags = vec![Arc::from("evil")];
    let id = &artifact.artifact_id;

    tell(&index, lie.clone());
    let tags = vec![Arc::from("good")];
    let tagged = manager.tag_artifact(id, tags.clone(), Vec::new()).await.unwrap();
    assert_eq!((&tagged.tags, &tagged.local_path), (&tags, &artifact.local_path));

    tell(&index, lie);
    let deletion = manager
        .delete_artifact(id, DeleteOptions::default())
        .await
        .unwrap();
    assert!(matches!(deletion.bytes, DeletedBytes::Removed), "{deletion:?}");
    let live_deleted = usize::from(!other_file.exists());
    println!("FAULT row=36 name=index_lies_about_paths live_deleted={live_deleted}");
    assert!(!own_file.exists());
    assert_eq!(live_deleted, 0);
}

/// The record that is taken has all changes, as the index would tell them.
#[tokio::test]
async fn a_download_tells_the_artifact_as_it_is_now() {
    let fixture = Fixture::new().await;
    let artifact = add(&fixture, "x.log").await;
    let id = &artifact.artifact_id;
    let tags = vec![Arc::from("node")];
    let tagged = fixture.manager.tag_artifact(id, tags, Vec::new()).await.unwrap();
    let target = fixture.dir.path().join("out");
    let download = fixture.manager.download_artifact(id, target).await.unwrap();
    assert_eq!(download.artifact, tagged);
}

/// Of a journal that the index has taken up already, a search of everything sees what one of its session sees.
#[tokio::test]
async fn damage_is_told_alike_by_a_search_of_all_and_of_one_session() {
    let fixture = Fixture::new().await;
    add(&fixture, "x.log").await;
    fixture.manager.close().await.unwrap();
    let journal = fixture.dir.path().join("data/artifacts/session_s.jsonl");
    let index = Arc::new(MemoryIndex::new());
    let search = async |session| {
        let mut query = ArtifactQuery::new();
        query.session_id = session;
        // A process of its own each time: nothing is remembered but the index.
        with_index(&fixture, &index).search_artifacts(query).await
    };
    let all = search(None).await.unwrap();
    assert!(all.unreadable.is_empty() && all.artifacts.len() == 1);

    // In a record that was taken up long ago: only a full verification reads it.
    let file = fs::File::options().write(true).open(&journal).unwrap();
    file.write_all_at(b"#", 10).unwrap();
    let all = search(None).await.unwrap();
    let one = search(Some(fixture.session.clone())).await.unwrap();
    assert!(all.unreadable.is_empty());
    assert_eq!(all.artifacts, one.artifacts);
    let data = DataDir::open(fixture.dir.path().join("data")).unwrap();
    let stream = tracking_model::StreamId::Session(fixture.session.clone());
    assert!(tracking_journal::verify(&data, &stream, None).is_err());

    // In the last one, and a file that became shorter: both see it.
    let length = file.metadata().unwrap().len();
    file.write_all_at(b"#", length - 10).unwrap();
    let all = search(None).await.unwrap();
    assert_eq!(all.unreadable.len(), 1);
    let one = search(Some(fixture.session.clone())).await;
    assert!(matches!(one, Err(ArtifactError::Journal(_))), "{one:?}");

    let unknown = tracking_model::SessionId::new("nope").unwrap();
    let unknown = search(Some(unknown)).await;
    assert!(matches!(unknown, Err(ArtifactError::UnknownSession(_))));
}
