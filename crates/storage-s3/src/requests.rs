//! A bucket and the plainest requests to it.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use artifact_core::StoreError;
use aws_connect::{Cause, Failure};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tracking_model::{FileHash, Timestamp};

use crate::client::{Client, RequestLog, connect};
use crate::config::{Settings, StorageClass};
use crate::error::{S3, store_error};
use crate::memory::Memory;
use crate::metadata::ObjectMetadata;

/// Attempts of a put that loses against another put of the same key.
const CONFLICT_ATTEMPTS: u32 = 8;
/// The reason to give up a listing whose next page is the same page.
pub(crate) const ENDLESS_LISTING: &str = "the server answers the same page of its listing again and again";

/// A bucket: its settings, its client, and the limits that all transfers share.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    pub(crate) log: Arc<RequestLog>,
    /// Reads behind bodies and files that are being filled.
    pub(crate) reads: TaskTracker,
    requests: Semaphore,
    client: OnceCell<Client>,
    /// True if the server honours `If-None-Match: *` on a put.
    pub(crate) honours_put: OnceCell<bool>,
    /// True if it does so on the completion of a multipart upload.
    pub(crate) honours_completion: OnceCell<bool>,
}

/// An object that is put in one request.
#[derive(Debug)]
pub(crate) struct Put {
    /// The key in the bucket.
    pub(crate) key: String,
    pub(crate) bytes: Bytes,
    pub(crate) hash: FileHash,
    pub(crate) metadata: HashMap<String, String>,
    /// True to fail where the key is taken.
    pub(crate) create: bool,
    /// The setting for artifacts; `None` for objects that are read again and again.
    pub(crate) class: Option<StorageClass>,
}

/// The properties of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) storage_class: Option<String>,
    pub(crate) metadata: ObjectMetadata,
}

impl Bucket {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            memory: Memory::new(settings.memory_bytes),
            requests: Semaphore::new(settings.concurrency),
            log: Arc::default(),
            reads: TaskTracker::new(),
            client: OnceCell::new(),
            honours_put: OnceCell::new(),
            honours_completion: OnceCell::new(),
            settings,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.settings.root.bucket()
    }

    pub(crate) async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| connect(&self.settings, &self.log))
            .await
    }

    /// The client for requests with a body, and leave to send one.
    pub(crate) async fn sdk(&self) -> (&aws_sdk_s3::Client, SemaphorePermit<'_>) {
        (&self.client().await.sdk, self.request_permit().await)
    }

    /// As [`Self::sdk`], for requests without a body: their answers begin soon.
    pub(crate) async fn metadata_sdk(&self) -> (&aws_sdk_s3::Client, SemaphorePermit<'_>) {
        (&self.client().await.metadata, self.request_permit().await)
    }

    async fn request_permit(&self) -> SemaphorePermit<'_> {
        let permit = self.requests.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    pub(crate) fn owner(&self) -> Option<String> {
        self.settings.bucket_owner.clone()
    }

    /// The address of requests, once it is known.
    pub(crate) fn endpoint(&self) -> Option<String> {
        self.client.get().map(|client| client.endpoint.clone())
    }

    pub(crate) fn sdk_failure<E>(&self, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let mut failure = Failure::from_sdk(S3, format!("bucket {}", self.name()), error);
        if failure.status.is_none() {
            failure.endpoint = self.endpoint();
        }
        failure
    }

    /// A failure that is found here, not by the server.
    pub(crate) fn failure(&self, cause: Cause, message: impl Into<String>) -> Failure {
        Failure::new(S3, format!("bucket {}", self.name()), cause, message)
    }

    /// As [`Self::failure`], as the error of `operation` on `key`.
    pub(crate) fn error(
        &self,
        cause: Cause,
        operation: &'static str,
        key: impl fmt::Display,
        message: impl Into<String>,
    ) -> StoreError {
        store_error(self.failure(cause, message), operation, key)
    }

    /// Refuses metadata whose names cannot be those of headers.
    pub(crate) fn check_metadata(&self, metadata: &ObjectMetadata, key: &str) -> Result<(), StoreError> {
        let Some(name) = metadata.invalid_name() else {
            return Ok(());
        };
        let message = format!("{name:?} cannot name metadata: use lower-case letters, digits and `-`");
        Err(self.error(Cause::InvalidRequest, "put", key, message))
    }

    /// Checks that a success has an ETag: S3 sends one with each object that it stores, makes or shows, a proxy or captive
    /// portal does not.
    pub(crate) fn check_etag(&self, operation: &str, etag: Option<&String>) -> Result<(), Failure> {
        match etag {
            Some(_) => Ok(()),
            None => Err(self.failure(
                Cause::NotTheService,
                format!("the answer to {operation} has no ETag, so it is not an answer of S3; a proxy or captive portal?"),
            )),
        }
    }

    /// Puts bytes and returns the ETag; a conflict with another request for the same key is tried again.
    pub(crate) async fn put(&self, put: &Put) -> Result<Option<String>, Failure> {
        let mut attempt = 1;
        loop {
            match self.put_once(put).await {
                Err(failure) if failure.cause == Cause::Conflict && attempt < CONFLICT_ATTEMPTS => {
                    self.pause(attempt).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn put_once(&self, put: &Put) -> Result<Option<String>, Failure> {
        let (sdk, _permit) = self.sdk().await;
        let request = sdk
            .put_object()
            .bucket(self.name())
            .key(&put.key)
            .body(ByteStream::from(put.bytes.clone()))
            .set_if_none_match(put.create.then(|| "*".to_owned()))
            .checksum_sha256(encode_hash(put.hash))
            .set_metadata(Some(put.metadata.clone()))
            .set_server_side_encryption(self.settings.encryption.clone())
            .set_ssekms_key_id(self.settings.kms_key.clone())
            .set_storage_class(put.class.map(|class| class.name().into()))
            .set_tagging(self.settings.tagging.clone())
            .set_expected_bucket_owner(self.owner());
        let answer = request
            .customize()
            .interceptor(PayloadHash(put.hash))
            .send()
            .await;
        let output = answer.map_err(|error| self.sdk_failure(&error))?;
        let stored = output.checksum_sha256().and_then(decode_hash);
        if stored.is_some_and(|stored| stored != put.hash) {
            return Err(self.failure(
                Cause::ChecksumMismatch,
                "the server stored other bytes than were sent",
            ));
        }
        self.check_etag("a PUT", output.e_tag.as_ref())?;
        Ok(output.e_tag)
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Head, Failure> {
        let (sdk, _permit) = self.metadata_sdk().await;
        let request = sdk
            .head_object()
            .bucket(self.name())
            .key(key)
            .set_expected_bucket_owner(self.owner());
        let output = request.send().await.map_err(|error| self.sdk_failure(&error))?;
        self.check_etag("a HEAD", output.e_tag.as_ref())?;
        Ok(Head {
            size: output.content_length().map_or(0, unsigned),
            etag: output.e_tag,
            modified: output.last_modified.as_ref().map(timestamp),
            storage_class: output.storage_class.map(|class| class.as_str().to_owned()),
            metadata: ObjectMetadata::decode(output.metadata.as_ref()),
        })
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), Failure> {
        let (sdk, _permit) = self.metadata_sdk().await;
        let request = sdk
            .delete_object()
            .bucket(self.name())
            .key(key)
            .set_expected_bucket_owner(self.owner());
        match request.send().await.map_err(|error| self.sdk_failure(&error)) {
            // S3 answers a success where nothing is; other servers answer 404.
            Err(failure) if failure.cause != Cause::NoObject => Err(failure),
            _ => Ok(()),
        }
    }

    /// Waits before attempt `attempt` + 1 of something that the SDK does not try again by itself.
    pub(crate) async fn pause(&self, attempt: u32) {
        let retry = &self.settings.retry;
        let pause = retry
            .backoff
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
            .min(retry.max_backoff);
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
    }
}

pub(crate) fn timestamp(time: &DateTime) -> Timestamp {
    Timestamp::from_micros(time.secs().saturating_mul(1_000_000) + i64::from(time.subsec_nanos() / 1000))
}

/// S3 counts bytes with a sign; a negative count is none.
pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The SHA-256 that a server names. The checksum of checksums of a multipart upload is none.
fn decode_hash(text: &str) -> Option<FileHash> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(FileHash::new(bytes.try_into().ok()?))
}

pub(crate) fn encode_hash(hash: FileHash) -> String {
    STANDARD.encode(hash.as_bytes())
}

pub(crate) fn sha256(bytes: &[u8]) -> FileHash {
    FileHash::new(Sha256::digest(bytes).into())
}

/// Signs the payload with its known hash, so that bodies are hashed once and the server verifies this hash.
#[derive(Debug)]
pub(crate) struct PayloadHash(pub(crate) FileHash);

impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "payload-hash"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config
            .interceptor_state()
            .store_put(PayloadSigningOverride::Precomputed(self.0.to_string()));
        Ok(())
    }
}
