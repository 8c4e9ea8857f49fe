//! What all parts of a store share: the client, the limits, the settings, and requests in their plainest form.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use artifact_core::StoreError;
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass as SdkStorageClass};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tracking_model::{FileHash, Timestamp};

use crate::buffers::Buffers;
use crate::cause::S3Cause;
use crate::client::{Connected, RequestLog, connect};
use crate::error::S3Failure;
use crate::limits::{Concurrency, Memory};
use crate::metadata::ObjectMetadata;
use crate::settings::{Encryption, Settings, StorageClass};

/// How often a request that lost against another for the same key is made again.
const CONFLICT_ATTEMPTS: u32 = 8;

/// A bucket, reached.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) settings: Settings,
    pub(crate) concurrency: Arc<Concurrency>,
    pub(crate) memory: Memory,
    pub(crate) buffers: Buffers,
    pub(crate) log: Arc<RequestLog>,
    connected: OnceCell<Connected>,
    /// Whether the server honours `If-None-Match: *` on a put, and on the completion of a multipart upload.
    pub(crate) honours_put: OnceCell<bool>,
    pub(crate) honours_completion: OnceCell<bool>,
}

/// What is put in one request.
#[derive(Debug)]
pub(crate) struct Put {
    /// The key in the bucket.
    pub(crate) key: String,
    pub(crate) bytes: Bytes,
    pub(crate) hash: FileHash,
    pub(crate) metadata: HashMap<String, String>,
    /// Whether it fails where something is.
    pub(crate) create: bool,
    /// That of artifacts is the bucket's setting; what is read again and again has none of its own.
    pub(crate) class: StorageClass,
}

/// What is known of an object.
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
        let limits = settings.limits;
        Self {
            concurrency: Concurrency::new(limits.min_concurrency, limits.max_concurrency),
            memory: Memory::new(limits.memory_bytes),
            buffers: Buffers::default(),
            log: Arc::default(),
            connected: OnceCell::new(),
            honours_put: OnceCell::new(),
            honours_completion: OnceCell::new(),
            settings,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.settings.root.bucket()
    }

    pub(crate) async fn connected(&self) -> &Connected {
        self.connected
            .get_or_init(|| connect(&self.settings, &self.log, &self.concurrency))
            .await
    }

    pub(crate) async fn sdk(&self) -> &aws_sdk_s3::Client {
        &self.connected().await.sdk
    }

    /// As [`Self::sdk`], for requests whose answers begin soon, whatever is asked: they send no body.
    pub(crate) async fn asking(&self) -> &aws_sdk_s3::Client {
        &self.connected().await.asking
    }

    pub(crate) fn owner(&self) -> Option<String> {
        self.settings.bucket_owner.clone()
    }

    /// Where requests go, once it is known.
    pub(crate) fn place(&self) -> Option<String> {
        self.connected.get().map(|connected| connected.place.clone())
    }

    pub(crate) fn failure<E>(&self, error: SdkError<E, HttpResponse>) -> S3Failure
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let mut failure = S3Failure::from_sdk(self.name(), error);
        if failure.status.is_none() {
            failure.place = self.place();
        }
        failure
    }

    /// A failure that is found here, not by the server.
    pub(crate) fn own_failure(
        &self,
        cause: S3Cause,
        operation: &'static str,
        key: impl fmt::Display,
        message: impl Into<String>,
    ) -> StoreError {
        S3Failure::new(cause, self.name(), message).into_store_error(operation, key)
    }

    /// Puts bytes; a conflict with another request for the same key is tried again. Returns the ETag.
    pub(crate) async fn put(&self, put: &Put) -> Result<Option<String>, S3Failure> {
        let mut attempt = 1;
        loop {
            match self.put_once(put).await {
                Err(failure) if failure.cause == S3Cause::Conflict && attempt < CONFLICT_ATTEMPTS => {
                    self.pause(attempt).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn put_once(&self, put: &Put) -> Result<Option<String>, S3Failure> {
        let sdk = self.sdk().await;
        let _slot = self.concurrency.slot().await;
        let (encryption, kms_key) = self.encryption();
        let request = sdk
            .put_object()
            .bucket(self.name())
            .key(&put.key)
            .body(ByteStream::from(put.bytes.clone()))
            .set_if_none_match(put.create.then(|| "*".to_owned()))
            .checksum_sha256(STANDARD.encode(put.hash.as_bytes()))
            .set_metadata(Some(put.metadata.clone()))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .set_storage_class(sdk_class(put.class))
            .set_tagging(self.settings.tagging.clone())
            .set_expected_bucket_owner(self.owner());
        let answer = request
            .customize()
            .interceptor(PayloadHash(put.hash))
            .send()
            .await;
        let output = answer.map_err(|error| self.failure(error))?;
        let stored = output.checksum_sha256().and_then(decode_hash);
        if stored.is_some_and(|stored| stored != put.hash) {
            let message = "the server stored other bytes than were sent";
            return Err(S3Failure::new(S3Cause::Checksum, self.name(), message));
        }
        match self.foreign("a PUT", output.e_tag.as_ref()) {
            Some(failure) => Err(failure),
            None => Ok(output.e_tag),
        }
    }

    /// Why a success without an ETag is none: S3 says one with each object that it stores, makes or shows.
    pub(crate) fn foreign(&self, operation: &str, etag: Option<&String>) -> Option<S3Failure> {
        etag.is_none().then(|| S3Failure::not_s3(self.name(), operation))
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Head, S3Failure> {
        let sdk = self.asking().await;
        let _slot = self.concurrency.slot().await;
        let request = sdk
            .head_object()
            .bucket(self.name())
            .key(key)
            .set_expected_bucket_owner(self.owner());
        let output = request.send().await.map_err(|error| self.failure(error))?;
        if let Some(failure) = self.foreign("a HEAD", output.e_tag.as_ref()) {
            return Err(failure);
        }
        Ok(Head {
            size: output.content_length().map_or(0, unsigned),
            etag: output.e_tag,
            modified: output.last_modified.as_ref().map(timestamp),
            storage_class: output.storage_class.map(|class| class.as_str().to_owned()),
            metadata: ObjectMetadata::decode(output.metadata.as_ref()),
        })
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), S3Failure> {
        let sdk = self.asking().await;
        let _slot = self.concurrency.slot().await;
        let request = sdk
            .delete_object()
            .bucket(self.name())
            .key(key)
            .set_expected_bucket_owner(self.owner());
        match request.send().await.map_err(|error| self.failure(error)) {
            Ok(_) => Ok(()),
            // Some servers say so where S3 says nothing.
            Err(failure) if failure.cause == S3Cause::NoObject => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.settings.encryption {
            Encryption::BucketDefault => (None, None),
            Encryption::S3 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms { key } => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    pub(crate) fn storage_class(&self) -> Option<SdkStorageClass> {
        sdk_class(self.settings.storage_class)
    }

    /// Waits before attempt `attempt` + 1 of something that the SDK does not try again by itself.
    pub(crate) async fn pause(&self, attempt: u32) {
        let longest = self.settings.patience.max_backoff;
        let pause = self
            .settings
            .patience
            .backoff
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
            .min(longest);
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.log.counts()
    }
}

pub(crate) fn sdk_class(class: StorageClass) -> Option<SdkStorageClass> {
    class.name().map(SdkStorageClass::from)
}

pub(crate) fn timestamp(time: &DateTime) -> Timestamp {
    Timestamp::from_micros(time.secs().saturating_mul(1_000_000) + i64::from(time.subsec_nanos() / 1000))
}

/// S3 counts bytes with a sign; a negative count is none.
pub(crate) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The SHA-256 that a server names. The checksum of checksums of an upload in parts is none.
pub(crate) fn decode_hash(text: &str) -> Option<FileHash> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(FileHash::new(bytes.try_into().ok()?))
}

pub(crate) fn sha256(bytes: &[u8]) -> FileHash {
    FileHash::new(Sha256::digest(bytes).into())
}

/// Signs the payload with a hash that is known already, so that bodies are hashed once and the server verifies that
/// very hash.
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
