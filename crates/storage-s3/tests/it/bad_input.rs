//! What is wrong with credentials, places and objects: each a typed error with a hint.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use artifact_core::{ArtifactStore, PutBody, StoreErrorKind};
use storage_s3::{
    Cause, DownloadOptions, MAX_KEY_BYTES, ObjectKey, ObjectMetadata, S3Config, StaticCredentials,
    UploadOptions, failure_of,
};
use tempfile::TempDir;
use test_servers::{FsServer, Reply, ScriptedServer, config};

use crate::support::{attempts, cause, key, open_store};

const CHILD: &str = "STORAGE_S3_TEST_CHILD";

/// The cause and the text of what a server's refusal becomes, and what to do about it.
async fn refusal(reply: Reply) -> (Cause, StoreErrorKind, String, String) {
    let server = ScriptedServer::start(move |_, _| reply.clone());
    let error = open_store(server.config()).check().await.unwrap_err();
    let failure = failure_of(&error).unwrap();
    (failure.cause, error.kind(), failure.to_string(), failure.hint())
}

#[tokio::test]
async fn refusals_have_their_cause_and_a_hint() {
    let cases = [
        (
            Reply::error(403, "AccessDenied"),
            Cause::Denied,
            StoreErrorKind::PermissionDenied,
        ),
        (
            Reply::error(403, "InvalidAccessKeyId"),
            Cause::WrongCredentials,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(403, "SignatureDoesNotMatch"),
            Cause::WrongCredentials,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(400, "ExpiredToken"),
            Cause::ExpiredCredentials,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(403, "RequestTimeTooSkewed"),
            Cause::ClockSkew,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(404, "NoSuchBucket"),
            Cause::NoResource,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(404, ""),
            Cause::NoResource,
            StoreErrorKind::Misconfigured,
        ),
        (
            Reply::error(503, "SlowDown"),
            Cause::Throttled,
            StoreErrorKind::RateLimited,
        ),
        (
            Reply::error(500, "InternalError"),
            Cause::ServerFailed,
            StoreErrorKind::Unavailable,
        ),
        (
            Reply::error(501, "NotImplemented"),
            Cause::Unsupported,
            StoreErrorKind::Unexpected,
        ),
        (Reply::Hangup, Cause::NoConnection, StoreErrorKind::Unavailable),
        (
            Reply::body(200, b"this is no XML".to_vec()),
            Cause::NoConnection,
            StoreErrorKind::Unavailable,
        ),
    ];
    for (reply, cause, kind) in cases {
        let (found, found_kind, text, hint) = refusal(reply.clone()).await;
        assert_eq!((found, found_kind), (cause, kind), "{reply:?}: {text}");
        assert!(text.contains("test-bucket") && !text.contains(&hint), "{text}");
        let advice = match cause {
            Cause::Denied => "credentials' policy",
            Cause::WrongCredentials => "access key and its secret",
            Cause::ExpiredCredentials => "renew the credentials",
            Cause::ClockSkew => "clock",
            Cause::NoResource => "create the bucket",
            Cause::Throttled => "fewer requests",
            Cause::ServerFailed => "try again",
            Cause::Unsupported => "lacks the operation",
            Cause::NoConnection => "endpoint is up",
            other => panic!("no advice for {other:?}"),
        };
        assert!(hint.contains(advice), "{cause:?}: {hint}");
    }
    let (_, _, text, _) = refusal(Reply::error(403, "AccessDenied")).await;
    assert!(text.contains("403 AccessDenied (request SCRIPTED-1)"), "{text}");
}

#[tokio::test]
async fn another_region_is_named() {
    for status in [301, 307, 400] {
        let code = if status == 400 {
            "AuthorizationHeaderMalformed"
        } else {
            "PermanentRedirect"
        };
        let reply = Reply::error(status, code).with_header("x-amz-bucket-region", "eu-west-1");
        let (cause, _, text, hint) = refusal(reply).await;
        assert_eq!(cause, Cause::WrongRegion, "{text}");
        assert_eq!(hint, "set the region to the bucket's, which is eu-west-1");
    }
}

#[tokio::test]
async fn wrong_secrets_and_missing_buckets_are_told_by_a_real_server() {
    let server = FsServer::start();
    let wrong = open_store(S3Config {
        credentials: Some(StaticCredentials::new("TESTACCESSKEY", "wrong")),
        ..server.config()
    });
    let error = wrong.check().await.unwrap_err();
    assert_eq!(cause(&error), Some(Cause::WrongCredentials), "{error:?}");
    let elsewhere = open_store(S3Config {
        bucket: Some("no-such-bucket".into()),
        ..server.config()
    });
    let error = elsewhere.check().await.unwrap_err();
    assert_eq!(cause(&error), Some(Cause::NoResource), "{error:?}");
}

#[tokio::test]
async fn nobody_listens_and_no_tls() {
    // No free port: the next test to ask for one may get it, and then these requests too.
    let down = open_store(config("http://127.0.0.1:1"));
    let down = down.check().await.unwrap_err();
    assert_eq!(
        (cause(&down), down.kind()),
        (Some(Cause::NoConnection), StoreErrorKind::Unavailable),
        "{down:?}"
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = format!("https://{}", listener.local_addr().unwrap());
    let speaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    });
    let once = open_store(attempts(1, config(&plain)));
    let error = once.check().await.unwrap_err();
    assert_eq!(cause(&error), Some(Cause::Tls), "{error:?}");
    drop(speaker.join().unwrap());
    let nowhere = open_store(attempts(1, config("http://nowhere.invalid:1")));
    let error = nowhere.check().await.unwrap_err();
    assert_eq!(cause(&error), Some(Cause::NoAddress), "{error:?}");
}

/// In a process of its own, whose environment has no credentials.
#[tokio::test]
async fn no_credentials_and_no_region_are_told() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how a test tells the process that it starts what to do"
    )]
    let child = std::env::var(CHILD).is_ok();
    if child {
        let store = open_store(S3Config {
            region: Some("us-east-1".into()),
            ..S3Config::at("s3://some-bucket")
        });
        let error = store.check().await.unwrap_err();
        assert_eq!(cause(&error), Some(Cause::NoCredentials), "{error:?}");
        let text = failure_of(&error).unwrap().to_string();
        assert!(!text.contains('\n') && text.contains("at AWS"), "{text}");
        let store = open_store(S3Config {
            credentials: Some(StaticCredentials::new("a", "b")),
            ..S3Config::at("s3://some-bucket")
        });
        let error = store.check().await.unwrap_err();
        assert_eq!(cause(&error), Some(Cause::NoRegion), "{error:?}");
        return;
    }
    let home = TempDir::new().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["bad_input::no_credentials_and_no_region_are_told", "--exact"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn keys_and_metadata_that_do_not_fit_are_refused_here() {
    let server = ScriptedServer::start(|_, _| Reply::status(200));
    let store = open_store(server.config());
    let long = ObjectKey::new("x".repeat(MAX_KEY_BYTES)).unwrap();
    let error = store.objects().read(&long).await.unwrap_err();
    assert_eq!(cause(&error), Some(Cause::TooLarge));
    let bad = ObjectMetadata::default().with_extra("Not A Name", "x");
    let options = UploadOptions::default().with_metadata(bad);
    let error = store
        .upload(&key("s/c/x"), PutBody::Bytes(Vec::new()), &options)
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("cannot put"), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_does_not_fit_the_metadata_is_told_and_the_rest_is_done() {
    let server = FsServer::start();
    let store = open_store(server.config());
    let metadata = ObjectMetadata::default()
        .with_extra("big", "x".repeat(3000))
        .with_extra("kept", "y");
    let options = UploadOptions::default().with_metadata(metadata);
    let uploaded = store
        .upload(&key("s/c/x"), b"x".to_vec().into(), &options)
        .await
        .unwrap();
    assert_eq!(uploaded.omitted_metadata, ["big"]);
    let head = store
        .objects()
        .head(&ObjectKey::from(&uploaded.key))
        .await
        .unwrap();
    assert_eq!(
        head.metadata.extra,
        BTreeMap::from([("kept".to_owned(), "y".to_owned())])
    );
}

/// Somebody laid an object there that says nothing, or lies, about itself.
#[tokio::test]
async fn objects_of_others_are_verified_or_refused() {
    let server = FsServer::start();
    let store = open_store(server.config());
    let (silent, lying) = (
        ObjectKey::new("s/c/silent").unwrap(),
        ObjectKey::new("s/c/lying").unwrap(),
    );
    store
        .objects()
        .replace(&silent, &b"x"[..], &ObjectMetadata::default())
        .await
        .unwrap();
    let mut lie = ObjectMetadata::default();
    lie.file_hash = Some(storage_s3::hash_of(b"other"));
    store.objects().replace(&lying, &b"x"[..], &lie).await.unwrap();
    let dir = TempDir::new().unwrap();
    for object in [&silent, &lying] {
        let path = dir.path().join("copy");
        let error = store
            .objects()
            .download(object, &path, &DownloadOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
        assert!(!path.exists());
    }
    assert_eq!(
        store.get(&key("s/c/lying")).await.unwrap_err().kind(),
        StoreErrorKind::Corrupt
    );
    // Deleted by somebody.
    store.delete(&key("s/c/lying")).await.unwrap();
    assert_eq!(
        store.get(&key("s/c/lying")).await.unwrap_err().kind(),
        StoreErrorKind::NotFound
    );
    // Denied on one operation only.
    let denied = ScriptedServer::start(move |request, _| match request.method.as_str() {
        "DELETE" => Reply::error(403, "AccessDenied"),
        _ => Reply::Forward(server.address()),
    });
    let denied = open_store(denied.config());
    denied.get(&key("s/c/silent")).await.unwrap();
    let error = denied.delete(&key("s/c/silent")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (StoreErrorKind::PermissionDenied, "delete")
    );
}
