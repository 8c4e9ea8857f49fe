//! Row 33: downloads that are not what was put, and connections that break in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use artifact_core::{ArtifactStore, StoreErrorKind};
use storage_s3::{Cause, DownloadOptions, ObjectKey, ObjectMetadata, UploadOptions, hash_of};
use tempfile::TempDir;
use test_servers::{Reply, ScriptedServer};

use crate::support::{
    FakeBucket, MIB, attempts, cause, content, key, names_in, open_store, small_parts, store_in_parts,
};

/// Row 33: bytes that are not those that were put never get the name that they should have.
#[tokio::test]
async fn fault_33_corrupt_downloads() {
    let bytes = content(11 * MIB);
    let (mut refused, mut appeared) = (0, 0);
    for alteration in ["flipped", "cut", "longer", "swapped", "truncated-on-the-way"] {
        let bucket = Arc::new(FakeBucket::new(true));
        let (answering, truncates) = (Arc::clone(&bucket), alteration == "truncated-on-the-way");
        let server = ScriptedServer::start(move |request, _| {
            let reply = answering.answer(request);
            match reply {
                Reply::Answer {
                    status,
                    headers,
                    mut body,
                } if truncates && request.method == "GET" => {
                    let length = body.len();
                    body.clear();
                    Reply::Cut {
                        status,
                        headers,
                        length,
                        body,
                    }
                }
                reply => reply,
            }
        });
        let store = store_in_parts(server.config());
        let (wanted, options) = (key("s/c/small"), UploadOptions::default());
        let small = store.upload(&wanted, bytes[..1000].to_vec().into(), &options);
        let small = small.await.unwrap();
        let metadata = ObjectMetadata::default();
        let large = ObjectKey::new("s/c/large").unwrap();
        store
            .objects()
            .replace(&large, bytes.clone(), &metadata)
            .await
            .unwrap();
        for name in ["/small", "/large"] {
            bucket.alter(name, |bytes| match alteration {
                "flipped" => bytes[500] ^= 1,
                "cut" => bytes.truncate(999),
                "longer" => bytes.push(0),
                "swapped" => bytes.reverse(),
                _ => {}
            });
        }
        let dir = TempDir::new().unwrap();
        let cases = [
            (ObjectKey::from(&small.key), small.hash, 1000),
            (large, hash_of(&bytes), bytes.len() as u64),
        ];
        for (object, hash, size) in cases {
            for options in [
                DownloadOptions::default().with_hash(hash),
                DownloadOptions::default().with_hash(hash).with_size(size),
            ] {
                let path = dir.path().join("copy");
                let error = store
                    .objects()
                    .download(&object, &path, &options)
                    .await
                    .unwrap_err();
                let expected = if truncates {
                    StoreErrorKind::Unavailable
                } else {
                    StoreErrorKind::Corrupt
                };
                assert_eq!(error.kind(), expected, "{alteration}: {error:?}");
                refused += 1;
                appeared += usize::from(path.exists());
            }
        }
        if !truncates {
            let error = store.get(&small.key).await.unwrap_err();
            assert_eq!(
                (error.kind(), cause(&error)),
                (StoreErrorKind::Corrupt, Some(Cause::Altered))
            );
            assert!(names_in(dir.path()).is_empty(), "{:?}", names_in(dir.path()));
        }
    }
    assert_eq!(appeared, 0);
    println!("FAULT row=33 name=corrupt-downloads refused={refused} under_the_final_name={appeared}");
}

/// Row 33: connections that break in the middle are made again, and the download is whole.
#[tokio::test]
async fn fault_33_downloads_that_break_off_go_on() {
    let bucket = Arc::new(FakeBucket::new(true));
    let (answering, cuts) = (Arc::clone(&bucket), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&cuts);
    let server = ScriptedServer::start(move |request, number| match answering.answer(request) {
        Reply::Answer {
            status,
            headers,
            mut body,
        } if request.method == "GET" && number % 2 == 0 && body.len() > 1 => {
            let length = body.len();
            body.truncate(length / 2);
            counted.fetch_add(1, Ordering::SeqCst);
            Reply::Cut {
                status,
                headers,
                length,
                body,
            }
        }
        reply => reply,
    });
    let store = open_store(small_parts(attempts(20, server.config())));
    let bytes = content(11 * MIB);
    let large = ObjectKey::new("s/c/large").unwrap();
    store
        .objects()
        .replace(&large, bytes.clone(), &ObjectMetadata::default())
        .await
        .unwrap();
    let dir = TempDir::new().unwrap();
    let options = DownloadOptions::default().with_hash(hash_of(&bytes));
    store
        .objects()
        .download(&large, &dir.path().join("copy"), &options)
        .await
        .unwrap();
    assert!(std::fs::read(dir.path().join("copy")).unwrap() == bytes);
    let cuts = cuts.load(Ordering::SeqCst);
    assert!(cuts > 0);
    println!("FAULT row=33 name=broken-downloads cuts={cuts} lost_bytes=0");
}
