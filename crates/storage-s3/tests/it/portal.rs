//! Answers that are not S3's: a captive portal or a proxy on the way gives them, with status 200.

use artifact_core::{PutBody, Retry, StoreErrorKind};
use storage_s3::{Cause, ObjectMetadata, StorageClass, UploadOptions, failure_of};
use test_servers::{Reply, Request, ScriptedServer};

use crate::support::{FakeBucket, MIB, attempts, cause, content, honoured, key, open_store, store_in_parts};

const PAGE: &str = "<!DOCTYPE html><html><title>Sign in to this network</title></html>";

fn page() -> Reply {
    Reply::body(200, PAGE.as_bytes().to_vec()).with_header("content-type", "text/html; charset=utf-8")
}

/// A portal that lets nothing through.
fn portal(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |request, _| answer(request))
}

/// Each of our operations is refused, as something that passes, and says who may have answered.
#[tokio::test]
async fn fault_21_a_page_is_no_success() {
    // A page of its own, one that says an ETag, and a success with nothing in it.
    let replies = [page(), page().with_header("etag", "\"site\""), Reply::status(200)];
    let mut refused = 0;
    for reply in replies {
        let has_etag = format!("{reply:?}").contains("etag");
        let server = portal(move |_| reply.clone());
        let store = open_store(honoured(attempts(5, server.config())));
        let objects = store.objects();
        let place = "s/c/a".parse().unwrap();
        let body = PutBody::Bytes(b"x".to_vec());
        let mut errors = vec![
            store
                .upload(&key("s/c/a"), body, &UploadOptions::default())
                .await
                .unwrap_err(),
            objects
                .replace(&place, &b"x"[..], &ObjectMetadata::default())
                .await
                .unwrap_err(),
            objects.all("s/").await.unwrap_err(),
            store.check().await.unwrap_err(),
        ];
        // Callers compare the result of a HEAD or GET with what they put.
        if !has_etag {
            errors.push(objects.head(&place).await.unwrap_err());
            errors.push(objects.read(&place).await.unwrap_err());
            errors.push(
                objects
                    .set_storage_class(&place, StorageClass::named("STANDARD_IA").unwrap())
                    .await
                    .unwrap_err(),
            );
        }
        for error in errors {
            refused += 1;
            if cause(&error) == Some(Cause::NotTheService) {
                assert_eq!(
                    (error.kind(), error.retry()),
                    (StoreErrorKind::Unavailable, Retry::Later)
                );
                let failure = failure_of(&error).unwrap();
                assert!(
                    failure.to_string().contains("a proxy or captive portal?"),
                    "{failure}"
                );
                assert!(
                    failure.hint().contains("sign in to this network"),
                    "{}",
                    failure.hint()
                );
            }
        }
    }
    println!("FAULT row=21 name=captive-portal refused={refused} accepted=0");
}

/// Where the portal comes in at one step of an upload in parts, nothing counts as uploaded.
#[tokio::test]
async fn fault_21_a_page_at_any_step_of_an_upload_in_parts_is_no_success() {
    for step in ["create", "part", "complete"] {
        let server = portal(move |request| {
            let (method, parts) = (request.method.as_str(), request.asks("partNumber"));
            match (method, step) {
                ("POST", _) if request.asks("uploads") && step != "create" => Reply::body(
                    200,
                    b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                        .to_vec(),
                ),
                ("PUT", "complete") if parts => Reply::status(200).with_header("etag", "\"p\""),
                ("HEAD", _) => Reply::status(404),
                ("GET", _) => Reply::error(501, "NotImplemented"),
                _ => page(),
            }
        });
        let store = store_in_parts(attempts(5, server.config()));
        let body = PutBody::Bytes(content(6 * MIB));
        let error = store
            .upload(&key("s/c/a"), body, &UploadOptions::default())
            .await
            .unwrap_err();
        assert_eq!(cause(&error), Some(Cause::NotTheService), "{step}: {error:?}");
    }
}

/// A server that says that it stored other bytes is believed.
#[tokio::test]
async fn a_checksum_of_other_bytes_is_no_success() {
    let bucket = FakeBucket::new(true);
    let server = portal(move |request| {
        let reply = bucket.answer(request);
        match request.method.as_str() {
            "PUT" => reply.with_header(
                "x-amz-checksum-sha256",
                "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            ),
            _ => reply,
        }
    });
    let store = open_store(attempts(5, server.config()));
    let objects = store.objects();
    let put = objects
        .replace(&"a".parse().unwrap(), &b"x"[..], &ObjectMetadata::default())
        .await;
    assert_eq!(cause(&put.unwrap_err()), Some(Cause::ChecksumMismatch));
}
