//! Uploads and downloads, small and in parts, on two independent servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use artifact_core::{ArtifactStore, Chunks, PutBody, StoreErrorKind};
use storage_s3::{
    DownloadOptions, ObjectKey, ProgressCallback, S3Config, S3Store, UploadOptions, UploadOutcome, hash_of,
};
use tempfile::TempDir;
use test_servers::{FsServer, MotoServer};

use crate::support::{
    MIB, conditional_writes, content, file, key, names_in, of_artifact, open_store, small_parts,
    store_in_parts,
};

async fn transfers(config: S3Config) {
    let store = store_in_parts(config);
    let dir = TempDir::new().unwrap();
    for (name, length) in [
        ("empty", 0),
        ("small", 10),
        ("first-look", 3 * MIB),
        ("parts", 12 * MIB + 7),
    ] {
        there_and_back(&store, &dir, name, &content(length)).await;
    }
    the_same_is_not_sent_again(&store, &dir).await;
    store.close().await;
}

async fn there_and_back(store: &S3Store, dir: &TempDir, name: &str, bytes: &[u8]) {
    let (wanted, path) = (key(&format!("s/c/{name}")), dir.path().join(name));
    let (done, total) = (Arc::new(AtomicU64::new(0)), bytes.len() as u64);
    let told = Arc::clone(&done);
    let progress = ProgressCallback::new(move |progress| {
        assert_eq!(progress.total, total);
        told.fetch_max(progress.done, Ordering::SeqCst);
    });
    let options = UploadOptions::default().with_progress(progress);
    let uploaded = store
        .upload(&wanted, file(dir.path(), bytes), &options)
        .await
        .unwrap();
    assert_eq!((uploaded.size, uploaded.hash), (total, hash_of(bytes)));
    assert_eq!(uploaded.outcome, UploadOutcome::Sent);
    assert_eq!(done.load(Ordering::SeqCst), total);
    assert!(
        uploaded.url.ends_with(&format!("/s/c/{name}")),
        "{}",
        uploaded.url
    );

    let streamed = store.get(&wanted).await.unwrap();
    assert_eq!(streamed.meta.size, total);
    assert!(streamed.body.collect().await.unwrap() == bytes);

    let object = ObjectKey::from(&wanted);
    let options = DownloadOptions::default()
        .with_hash(uploaded.hash)
        .with_size(total);
    let downloaded = store.objects().download(&object, &path, &options).await.unwrap();
    assert_eq!((downloaded.size, downloaded.hash), (total, uploaded.hash));
    assert!(std::fs::read(&path).unwrap() == bytes);
    let again = store
        .objects()
        .download(&object, &path, &options)
        .await
        .unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::AlreadyExists);
    assert!(!names_in(dir.path()).iter().any(|name| name.ends_with(".part")));
}

async fn the_same_is_not_sent_again(store: &S3Store, dir: &TempDir) {
    for (name, length) in [("again-small.log", 1000), ("again-large.log", 6 * MIB)] {
        let wanted = key(&format!("s/c/{name}"));
        let bytes = content(length);
        let first = store
            .upload(&wanted, file(dir.path(), &bytes), &of_artifact("a"))
            .await
            .unwrap();
        let same = store
            .upload(&wanted, file(dir.path(), &bytes), &of_artifact("a"))
            .await
            .unwrap();
        assert_eq!(
            (same.key, same.outcome),
            (first.key.clone(), UploadOutcome::AlreadyThere)
        );
        // Another artifact with the same bytes is another object: deleting the one must leave the other.
        let twin = store
            .upload(&wanted, file(dir.path(), &bytes), &of_artifact("b"))
            .await
            .unwrap();
        assert_ne!(twin.key, first.key);
        let other = store
            .upload(&wanted, file(dir.path(), &bytes[1..]), &of_artifact("a"))
            .await
            .unwrap();
        assert_eq!(other.outcome, UploadOutcome::Sent);
        assert!(other.key.file_name().ends_with("-3.log"), "{}", other.key);
        let create = UploadOptions::default();
        let refused = store
            .upload(&wanted, file(dir.path(), &bytes[2..]), &create)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::AlreadyExists);
    }
}

#[tokio::test]
async fn transfers_work_on_s3s_fs() {
    let server = FsServer::start();
    transfers(server.config()).await;
    assert_eq!(server.orphaned_parts(), 0);
}

#[tokio::test]
async fn transfers_work_on_moto() {
    let server = MotoServer::start();
    transfers(server.config()).await;
}

#[tokio::test]
async fn bodies_of_unknown_length_are_stored_whole() {
    let server = FsServer::start();
    let store = store_in_parts(server.config());
    for (name, length) in [("little", 100), ("spooled", 2 * MIB), ("in-parts", 11 * MIB)] {
        let bytes = content(length);
        let (sender, chunks) = Chunks::channel();
        let sent = bytes.clone();
        let send = async move {
            for chunk in sent.chunks(300_000) {
                sender.send(chunk.to_vec()).await.unwrap();
            }
            sender.finish().await.unwrap();
        };
        let wanted = key(&format!("s/c/{name}"));
        let options = UploadOptions::default();
        let upload = store.upload(&wanted, PutBody::Chunks(chunks), &options);
        let ((), uploaded) = tokio::join!(send, upload);
        assert_eq!(uploaded.unwrap().hash, hash_of(&bytes));
        let read = store.get(&wanted).await.unwrap().body.collect().await.unwrap();
        assert!(read == bytes, "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_its_record_says_is_not_stored() {
    let server = FsServer::start();
    let store = store_in_parts(server.config());
    let dir = TempDir::new().unwrap();
    for length in [100, 12 * MIB] {
        let bytes = content(length);
        let options = UploadOptions::default().with_hash(hash_of(b"something else"));
        let error = store
            .upload(&key("s/c/x"), file(dir.path(), &bytes), &options)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Body, "{error}");
    }
    assert!(store.objects().all("s/").await.unwrap().is_empty());
    assert_eq!(server.orphaned_parts(), 0);
}

#[tokio::test]
async fn many_small_objects_go_at_once() {
    let server = FsServer::start();
    let store = open_store(server.config());
    let failures = Mutex::new(Vec::new());
    let uploads = (0..200).map(|number| {
        let (store, failures) = (store.clone(), &failures);
        async move {
            let options = UploadOptions::default();
            let body = number.to_string().into_bytes().into();
            let outcome = store.upload(&key(&format!("s/c/{number}")), body, &options).await;
            if let Err(error) = outcome {
                failures.lock().unwrap().push(error);
            }
        }
    });
    futures_util::future::join_all(uploads).await;
    assert!(failures.lock().unwrap().is_empty(), "{failures:?}");
    assert_eq!(store.objects().all("s/").await.unwrap().len(), 200);
}

#[tokio::test]
async fn what_is_put_again_is_where_it_was_whatever_the_server_honours() {
    let server = FsServer::start();
    for known in ["honoured", "ignored"] {
        let store = open_store(small_parts(conditional_writes(known, server.config())));
        for (name, length) in [("small.log", 10), ("large.log", 12 * MIB)] {
            let name = key(&format!("{known}/c/{name}"));
            let options = of_artifact("a-1").again();
            let bytes = content(length);
            let uploaded = store.upload(&name, bytes.into(), &options).await.unwrap();
            assert_eq!((uploaded.key, uploaded.outcome), (name, UploadOutcome::Sent));
        }
        store.close().await;
    }
}
