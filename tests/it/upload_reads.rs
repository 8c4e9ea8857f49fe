//! An upload reads the record of its artifact once.

use std::sync::Arc;
use std::time::Duration;

use artifact_core::{ArtifactIndex, ManagerOptions, MemoryIndex, MockArtifactIndex, TestArtifactsManager};
use storage_s3::{S3Config, S3Store};
use test_servers::FsServer;
use tracking_facade::s3::SharedBucket;
use tracking_facade::{
    Archive, ArtifactStatus, CollectionId, NewArtifact, NewCollection, NewSession, SessionId, StreamId,
    UpgradeId,
};

use tracking_journal::DataDir;

/// Answers from an index in memory, and fails the test at a second read of a record.
fn index_that_is_read_once() -> MockArtifactIndex {
    let (memory, mut index) = (Arc::new(MemoryIndex::new()), MockArtifactIndex::new());
    let of = || Arc::clone(&memory);
    index.expect_name().return_const("memory");
    let answers = of();
    index.expect_position().returning(move |id| answers.position(id));
    let answers = of();
    index
        .expect_apply()
        .returning(move |batches, texts| answers.apply(batches, texts));
    let answers = of();
    index
        .expect_artifact()
        .times(1)
        .returning(move |id| answers.artifact(id));
    let answers = of();
    index.expect_sessions().returning(move || answers.sessions());
    let answers = of();
    index.expect_query().returning(move |query| answers.query(query));
    index
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reads_its_record_once() {
    let (server, data) = (FsServer::start(), tempfile::tempdir().unwrap());
    let config = S3Config {
        conditional_writes: Some("honoured".into()),
        ..server.config()
    };
    let bucket = SharedBucket::of(S3Store::new(config).unwrap());
    let options = ManagerOptions::default().with_index(Arc::new(index_that_is_read_once()));
    let artifacts = TestArtifactsManager::new(DataDir::open(data.path()).unwrap(), options);
    let (session, collection) = (SessionId::new("s").unwrap(), CollectionId::new("c").unwrap());
    let new = NewSession::new(UpgradeId::new("u").unwrap(), "cluster");
    artifacts.create_session_as(session.clone(), new).await.unwrap();
    let new = NewCollection::new("C").with_id(collection.clone());
    artifacts.create_collection(&session, new).await.unwrap();
    let new = NewArtifact::new().with_name("step.log");
    let text = std::io::Cursor::new(b"step 1".to_vec());
    artifacts
        .add_reader(&session, &collection, new, text, None)
        .await
        .unwrap();

    let archive = Archive::open(data.path()).unwrap();
    let sinks = bucket.sinks(archive.data_dir(), &artifacts, true);
    let streams = [StreamId::Session(session)];
    let delivered = sinks
        .deliver_all(&archive, &streams, Duration::from_secs(60))
        .await;
    assert!(delivered.undrained.is_empty(), "{delivered:?}");
    // A query, which is no read of one record.
    let found = artifacts
        .search_artifacts(tracking_facade::ArtifactQuery::new())
        .await
        .unwrap();
    assert_eq!(found.artifacts[0].status, ArtifactStatus::Uploaded);
}
