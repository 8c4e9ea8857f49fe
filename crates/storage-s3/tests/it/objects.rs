//! Objects of any key, on two independent servers.

use std::time::Duration;

use artifact_core::StoreErrorKind;
use storage_s3::{ListRequest, ObjectKey, ObjectMetadata, PresignOptions, S3Config, S3Objects};
use test_servers::{FsServer, MotoServer};

use crate::support::{below, http_get, open_store};

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

async fn behaves(config: S3Config) -> (u16, String) {
    let store = open_store(below("pre/fix", config));
    store.check().await.unwrap();
    let objects = store.objects();
    reads_and_writes(objects).await;
    lists_in_pages(objects).await;
    deletes_and_copies(objects).await;
    presigns(objects).await
}

async fn reads_and_writes(objects: &S3Objects) {
    let journal = key("_journal/upgrade%3Au/e/w-1.jsonl");
    let metadata = ObjectMetadata::default().with_extra("note", "für alle");
    objects
        .create(&journal, &b"one\ntwo\n"[..], &metadata)
        .await
        .unwrap();
    let taken = objects.create(&journal, &b"x"[..], &metadata).await.unwrap_err();
    assert_eq!(taken.kind(), StoreErrorKind::AlreadyExists);
    let read = objects.read(&journal).await.unwrap();
    assert_eq!((read.bytes.as_slice(), read.size), (&b"one\ntwo\n"[..], 8));
    assert_eq!(read.metadata.extra["note"], "für alle");
    let part = objects.read_range(&journal, 4, 100).await.unwrap();
    assert_eq!((part.bytes.as_slice(), part.size), (&b"two\n"[..], 8));
    assert!(objects.read_range(&journal, 4, 4).await.unwrap().bytes.is_empty());
    objects.replace(&journal, &b"new"[..], &metadata).await.unwrap();
    let head = objects.head(&journal).await.unwrap();
    assert_eq!((head.size, head.metadata), (3, metadata));
    assert!(head.modified.is_some());
    let missing = objects.read(&key("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    let missing = objects.head(&key("missing")).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
}

async fn lists_in_pages(objects: &S3Objects) {
    for number in 0..5 {
        for stream in ["a", "b"] {
            let key = key(&format!("list/{stream}/{number}"));
            objects
                .create(&key, &b"x"[..], &ObjectMetadata::default())
                .await
                .unwrap();
        }
    }
    let streams = objects
        .page(&ListRequest::prefix("list/").with_delimiter("/"))
        .await
        .unwrap();
    assert_eq!(streams.prefixes, ["list/a/", "list/b/"]);
    assert!(streams.objects.is_empty());
    let mut request = ListRequest::prefix("list/")
        .with_limit(4)
        .with_start_after("list/a/1");
    let mut pages = Vec::new();
    loop {
        let page = objects.page(&request).await.unwrap();
        pages.push(
            page.objects
                .iter()
                .map(|object| object.key.to_string())
                .collect::<Vec<_>>(),
        );
        match page.next {
            Some(next) => request.continuation = Some(next),
            None => break,
        }
    }
    assert_eq!(pages.len(), 2);
    assert_eq!(pages.concat().first().map(String::as_str), Some("list/a/2"));
    assert_eq!(pages.concat().len(), 8);
    assert_eq!(objects.all("list/").await.unwrap().len(), 10);
    assert!(objects.all("nothing/").await.unwrap().is_empty());
}

async fn deletes_and_copies(objects: &S3Objects) {
    let (from, to) = (key("list/a/0"), key("copy/ü of it"));
    let metadata = ObjectMetadata::default().with_extra("kept", "yes");
    objects.replace(&from, &b"copied"[..], &metadata).await.unwrap();
    objects.copy(&from, &to).await.unwrap();
    let copy = objects.read(&to).await.unwrap();
    assert_eq!((copy.bytes.as_slice(), copy.metadata), (&b"copied"[..], metadata));
    let keys: Vec<_> = objects
        .all("list/")
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.key)
        .collect();
    let report = objects.delete_many(&keys).await;
    assert_eq!((report.deleted, report.failed.len()), (keys, 0));
    assert!(objects.all("list/").await.unwrap().is_empty());
    objects.delete(&to).await.unwrap();
    objects.delete(&to).await.unwrap();
}

async fn presigns(objects: &S3Objects) -> (u16, String) {
    let report = key("s/c/report.html");
    objects
        .create(&report, &b"<script>"[..], &ObjectMetadata::default())
        .await
        .unwrap();
    let options = PresignOptions::new(Duration::from_secs(60)).with_file_name("Bericht für alle.html");
    let url = objects.presigned_url(&report, &options).await.unwrap();
    let (status, head, body) = http_get(url.as_str());
    assert_eq!((status, body.as_slice()), (200, &b"<script>"[..]), "{head}");
    assert!(!format!("{url:?}").contains("Signature"), "{url:?}");
    for bad in [Duration::ZERO, Duration::from_secs(8 * 24 * 60 * 60)] {
        let options = PresignOptions::new(bad);
        objects.presigned_url(&report, &options).await.unwrap_err();
    }
    (status, head)
}

#[tokio::test]
async fn objects_behave_on_s3s_fs() {
    let server = FsServer::start();
    let (_, head) = behaves(server.config()).await;
    // A page in the bucket never runs in a browser; moto pays no heed to that.
    assert!(head.contains("content-disposition: attachment"), "{head}");
    // Nothing was written outside the prefix.
    assert!(server.file("pre").exists());
    assert!(!server.file("_journal").exists() && !server.file("_probe").exists());
}

#[tokio::test]
async fn objects_behave_on_moto() {
    let server = MotoServer::start();
    behaves(server.config()).await;
}

#[tokio::test]
async fn an_address_without_its_signature_leads_nowhere() {
    let server = FsServer::start();
    let store = open_store(server.config());
    let report = key("s/c/x");
    store
        .objects()
        .create(&report, &b"x"[..], &ObjectMetadata::default())
        .await
        .unwrap();
    let options = PresignOptions::new(Duration::from_secs(60));
    let url = store.objects().presigned_url(&report, &options).await.unwrap();
    let (bare, _) = url.as_str().split_once('?').unwrap();
    let (status, _, body) = http_get(bare);
    assert_eq!(status, 403, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn requests_are_counted() {
    let server = FsServer::start();
    let store = open_store(server.config());
    for number in 0..3 {
        let key = key(&format!("n/{number}"));
        store
            .objects()
            .create(&key, &b"x"[..], &ObjectMetadata::default())
            .await
            .unwrap();
    }
    store.objects().all("n/").await.unwrap();
    let counts = store.objects().request_counts();
    assert_eq!(
        (counts["PutObject"], counts["ListObjectsV2"]),
        (3, 1),
        "{counts:?}"
    );
}
