//! Conformance suites of stores and indexes, one check for each sentence of the documentation of [`ArtifactStore`] and
//! [`ArtifactIndex`](crate::ArtifactIndex). Each panics where the implementation differs.

mod index;

use crate::{ArtifactKey, ArtifactStore, Chunks, KeyPrefix, PutBody, PutMode, PutOptions, StoreErrorKind};
pub use index::index;

/// Runs all checks against an empty store.
///
/// # Panics
/// Where the store differs from the documentation.
pub async fn store(store: &dyn ArtifactStore) {
    assert!(!store.name().is_empty());
    put_then_get(store).await;
    put_never_replaces(store).await;
    put_is_whole_or_nothing(store).await;
    list_tells_what_has_the_prefix(store).await;
    delete_is_idempotent(store).await;
}

fn key(text: &str) -> ArtifactKey {
    text.parse().expect("keys of this suite are valid")
}

async fn bytes_of(store: &dyn ArtifactStore, key: &ArtifactKey) -> Vec<u8> {
    let object = store.get(key).await.expect("an object that was put can be got");
    let size = object.meta.size;
    let bytes = object.body.collect().await.expect("its bytes can be read");
    assert_eq!(bytes.len() as u64, size);
    bytes
}

async fn put_then_get(store: &dyn ArtifactStore) {
    let options = PutOptions::default();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("small", b"hello".to_vec()),
        ("large", vec![7; 1 << 20]),
    ] {
        let key = key(&format!("s1/c/{name}"));
        let put = store
            .put(&key, bytes.clone().into(), &options)
            .await
            .expect("a free key takes bytes");
        assert_eq!((&put.key, put.size), (&key, bytes.len() as u64));
        assert_eq!(bytes_of(store, &key).await, bytes);
    }
    let put = store
        .put(&key("s1/c/hash"), b"abc".to_vec().into(), &options)
        .await
        .expect("a free key takes bytes");
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(put.hash.to_string(), expected);
    let missing = store.get(&key("s1/c/missing")).await;
    assert_eq!(
        missing.err().map(|error| error.kind()),
        Some(StoreErrorKind::NotFound)
    );
}

async fn put_never_replaces(store: &dyn ArtifactStore) {
    let taken = key("s2/c/log.txt");
    let create = PutOptions::default();
    let numbered = PutOptions::default().with_mode(PutMode::Numbered);
    store
        .put(&taken, b"1".to_vec().into(), &create)
        .await
        .expect("a free key takes bytes");
    let refused = store.put(&taken, b"x".to_vec().into(), &create).await;
    assert_eq!(
        refused.err().map(|error| error.kind()),
        Some(StoreErrorKind::AlreadyExists)
    );
    for number in 2..=12 {
        let put = store
            .put(&taken, number.to_string().into_bytes().into(), &numbered)
            .await
            .expect("another name is free");
        assert_eq!(put.key, key(&format!("s2/c/log-{number}.txt")));
    }
    assert_eq!(bytes_of(store, &taken).await, b"1");
    assert_eq!(bytes_of(store, &key("s2/c/log-12.txt")).await, b"12");
}

async fn put_is_whole_or_nothing(store: &dyn ArtifactStore) {
    let broken = key("s3/c/broken");
    let (sender, body) = Chunks::channel();
    sender
        .send(vec![1; 10])
        .await
        .expect("the body is not dropped yet");
    drop(sender);
    let error = store
        .put(&broken, PutBody::Chunks(body), &PutOptions::default())
        .await;
    assert_eq!(error.err().map(|error| error.kind()), Some(StoreErrorKind::Body));
    let limit = PutOptions::default().with_max_bytes(9);
    let error = store.put(&broken, vec![1; 10].into(), &limit).await;
    assert_eq!(
        error.err().map(|error| error.kind()),
        Some(StoreErrorKind::TooLarge)
    );
    let missing = store.get(&broken).await;
    assert_eq!(
        missing.err().map(|error| error.kind()),
        Some(StoreErrorKind::NotFound)
    );
    store
        .put(&broken, vec![1; 9].into(), &limit)
        .await
        .expect("as many bytes as allowed are");
}

async fn list_tells_what_has_the_prefix(store: &dyn ArtifactStore) {
    for name in ["s4/a/1", "s4/b/2", "s40/a/3"] {
        store
            .put(&key(name), b"x".to_vec().into(), &PutOptions::default())
            .await
            .expect("a free key takes bytes");
    }
    let listed = |prefix: KeyPrefix| async move {
        let mut keys: Vec<String> = store
            .list(&prefix)
            .await
            .expect("what is there can be listed")
            .iter()
            .map(|object| format!("{} {}", object.key, object.size))
            .collect();
        keys.sort();
        keys
    };
    let session = key("s4/a/1").session_id().clone();
    let collection = key("s4/a/1").collection_id().clone();
    assert_eq!(
        listed(KeyPrefix::Session(session.clone())).await,
        ["s4/a/1 1", "s4/b/2 1"]
    );
    assert_eq!(
        listed(KeyPrefix::Collection(session, collection)).await,
        ["s4/a/1 1"]
    );
    let nothing = KeyPrefix::Session(key("s5/a/1").session_id().clone());
    assert!(listed(nothing).await.is_empty());
}

async fn delete_is_idempotent(store: &dyn ArtifactStore) {
    let gone = key("s4/a/1");
    for _ in 0..2 {
        store
            .delete(&gone)
            .await
            .expect("deleting succeeds, also what is not there");
    }
    let missing = store.get(&gone).await;
    assert_eq!(
        missing.err().map(|error| error.kind()),
        Some(StoreErrorKind::NotFound)
    );
}
