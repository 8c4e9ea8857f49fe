//! Objects of any key below the prefix.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact_core::{StoreError, StoreErrorKind};
use aws_connect::{Cause, Failure};
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier, TaggingDirective};
use bytes::Bytes;
use tracking_model::{FileHash, Timestamp, percent_encode};

use crate::config::StorageClass;
use crate::error::{S3, cause_of_code, store_error};
use crate::key::{MAX_KEY_BYTES, ObjectKey, S3Location};
use crate::metadata::ObjectMetadata;
use crate::range::Range;
use crate::requests::{Bucket, Head, Put, sha256};

/// Keys that one request deletes.
const DELETE_BATCH: usize = 1000;
/// The largest object that one request copies.
const MAX_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// Reads and writes small objects under keys of the caller's choice. Clones share one client.
#[derive(Debug, Clone)]
pub struct S3Objects {
    pub(crate) bucket: Arc<Bucket>,
}

/// The properties of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// ETag: the server's mark of this content.
    pub etag: Option<String>,
    /// When it was stored.
    pub modified: Option<Timestamp>,
    /// Its storage class, where the server says it.
    pub storage_class: Option<String>,
    /// Its metadata; a listing leaves it empty.
    pub metadata: ObjectMetadata,
}

/// An object that was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadObject {
    /// Its bytes, or those of the range that was asked for.
    pub bytes: Vec<u8>,
    /// Size of the whole object in bytes.
    pub size: u64,
    /// ETag: the server's mark of this content.
    pub etag: Option<String>,
    /// Its metadata.
    pub metadata: ObjectMetadata,
}

/// Outcome of many deletions.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Keys that have no object now.
    pub deleted: Vec<ObjectKey>,
    /// Keys that could not be deleted, and why.
    pub failed: Vec<(ObjectKey, StoreError)>,
}

impl S3Objects {
    /// Where the store has everything: bucket and prefix.
    #[must_use]
    pub fn location(&self) -> S3Location {
        self.bucket.settings.root.location()
    }

    /// The place in a few characters that suit a file's name: `<bucket>:<8 digits>`, the digits of endpoint and prefix.
    #[must_use]
    pub fn place_name(&self) -> String {
        let settings = &self.bucket.settings;
        let endpoint = settings.endpoint.as_deref().unwrap_or_default();
        let place = sha256(format!("{endpoint}\n{}", self.location().prefix).as_bytes());
        let digits: String = place.to_string().chars().take(8).collect();
        format!("{}:{digits}", self.bucket.name())
    }

    /// `s3://bucket/prefix/key`, as records have it.
    #[must_use]
    pub fn url(&self, key: &ObjectKey) -> String {
        self.bucket.settings.root.url(key.as_str())
    }

    /// The key in the whole bucket.
    pub(crate) fn full(&self, operation: &'static str, key: &ObjectKey) -> Result<String, StoreError> {
        let full = self.bucket.settings.root.full(key.as_str());
        if full.len() > MAX_KEY_BYTES {
            let message = format!("with its prefix the key has {} bytes of 1,024", full.len());
            return Err(self.bucket.error(Cause::TooLarge, operation, key, message));
        }
        Ok(full)
    }

    /// Stores bytes under a free key and returns their ETag. On a server that ignores conditions an object of this key
    /// may be replaced, so keys should be the writer's own: see [`Self::creates_reliably`].
    ///
    /// # Errors
    /// [`AlreadyExists`](StoreErrorKind::AlreadyExists) if the key is taken; whatever else S3 refuses.
    ///
    /// # Cancellation
    /// Dropping the future may leave the object stored, never a part of it.
    pub async fn create(
        &self,
        key: &ObjectKey,
        bytes: impl Into<Bytes>,
        metadata: &ObjectMetadata,
    ) -> Result<Option<String>, StoreError> {
        self.store(key, bytes.into(), metadata, true).await
    }

    /// Stores bytes, replacing what is there, and returns their ETag.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn replace(
        &self,
        key: &ObjectKey,
        bytes: impl Into<Bytes>,
        metadata: &ObjectMetadata,
    ) -> Result<Option<String>, StoreError> {
        self.store(key, bytes.into(), metadata, false).await
    }

    async fn store(
        &self,
        key: &ObjectKey,
        bytes: Bytes,
        metadata: &ObjectMetadata,
        create: bool,
    ) -> Result<Option<String>, StoreError> {
        self.bucket.check_metadata(metadata, key.as_str())?;
        let put = Put {
            key: self.full("put", key)?,
            hash: sha256(&bytes),
            bytes,
            metadata: metadata.encode().pairs,
            create,
            class: None,
        };
        self.bucket
            .put(&put)
            .await
            .map_err(|failure| match failure.cause {
                Cause::PreconditionFailed => {
                    StoreError::new(StoreErrorKind::AlreadyExists, "put", key).with_source(failure)
                }
                _ => store_error(failure, "put", key),
            })
    }

    /// Reads a whole object into memory; a connection that breaks is made again and goes on where it stopped.
    ///
    /// # Errors
    /// [`NotFound`](StoreErrorKind::NotFound) if there is none; whatever else S3 refuses.
    pub async fn read(&self, key: &ObjectKey) -> Result<ReadObject, StoreError> {
        self.read_bytes(key, Range::All).await
    }

    /// Reads bytes `from..to` of an object, fewer where it ends before.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_range(&self, key: &ObjectKey, from: u64, to: u64) -> Result<ReadObject, StoreError> {
        if from >= to {
            let head = self.head(key).await?;
            return Ok(ReadObject {
                bytes: Vec::new(),
                size: head.size,
                etag: head.etag,
                metadata: head.metadata,
            });
        }
        self.read_bytes(key, Range::Bytes(from..to)).await
    }

    async fn read_bytes(&self, key: &ObjectKey, range: Range) -> Result<ReadObject, StoreError> {
        let full = self.full("get", key)?;
        let read = self.bucket.read(&full, range, None).await;
        let read = read.map_err(|failure| store_error(failure, "get", key))?;
        Ok(ReadObject {
            bytes: read.bytes,
            size: read.head.size,
            etag: read.head.etag,
            metadata: read.head.metadata,
        })
    }

    /// The properties of an object: a HEAD.
    ///
    /// # Errors
    /// [`NotFound`](StoreErrorKind::NotFound) if there is none; whatever else S3 refuses.
    pub async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        let full = self.full("head", key)?;
        let head = self.bucket.head(&full).await;
        let head = head.map_err(|failure| store_error(failure, "head", key))?;
        Ok(info(key.clone(), head))
    }

    /// Deletes an object. Deleting what is not there succeeds.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let full = self.full("delete", key)?;
        let deleted = self.bucket.delete(&full).await;
        deleted.map_err(|failure| store_error(failure, "delete", key))
    }

    /// Deletes many objects, 1,000 a request, and tells of each what became of it: it never stops half-way.
    ///
    /// # Cancellation
    /// Dropping the future leaves what was not deleted yet.
    pub async fn delete_many(&self, keys: &[ObjectKey]) -> DeleteReport {
        let mut report = DeleteReport::default();
        for batch in keys.chunks(DELETE_BATCH) {
            self.delete_batch(batch, &mut report).await;
        }
        report
    }

    async fn delete_batch(&self, keys: &[ObjectKey], report: &mut DeleteReport) {
        let refused = match self.delete_request(keys).await {
            Ok(refused) => refused,
            Err(failure) => {
                let failed = |key: &ObjectKey| (key.clone(), store_error(failure.clone(), "delete", key));
                report.failed.extend(keys.iter().map(failed));
                return;
            }
        };
        for key in keys {
            match refused.get(&self.bucket.settings.root.full(key.as_str())) {
                Some(failure) if failure.cause != Cause::NoObject => report
                    .failed
                    .push((key.clone(), store_error(failure.clone(), "delete", key))),
                _ => report.deleted.push(key.clone()),
            }
        }
    }

    /// The failures of one request, by key.
    async fn delete_request(&self, keys: &[ObjectKey]) -> Result<BTreeMap<String, Failure>, Failure> {
        let objects = keys.iter().map(|key| {
            let full = self.bucket.settings.root.full(key.as_str());
            let object = ObjectIdentifier::builder().key(full).build();
            object.expect("the key is set")
        });
        let delete = Delete::builder()
            .set_objects(Some(objects.collect()))
            .quiet(true)
            .build()
            .expect("the objects are set");
        let (sdk, _permit) = self.bucket.metadata_sdk().await;
        let answer = sdk
            .delete_objects()
            .delete(delete)
            .bucket(self.bucket.name())
            .set_expected_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let output = answer.map_err(|error| self.bucket.sdk_failure(&error))?;
        let refused = output.errors().iter().map(|error| {
            let code = error.code().unwrap_or_default();
            let message = error.message().unwrap_or_default();
            let subject = format!("bucket {}", self.bucket.name());
            let cause = cause_of_code(code, message);
            let mut failure = Failure::new(S3, subject, cause, format!("{code}: {message}"));
            failure.code = Some(code.to_owned());
            (error.key().unwrap_or_default().to_owned(), failure)
        });
        Ok(refused.collect())
    }

    /// Copies an object of at most 5 GiB within the bucket, with its metadata, replacing what is at `to`.
    ///
    /// # Errors
    /// [`NotFound`](StoreErrorKind::NotFound) if there is nothing at `from`; whatever else S3 refuses.
    pub async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<(), StoreError> {
        let class = self.bucket.settings.storage_class;
        self.copy_as(from, to, class).await
    }

    /// Moves an object of at most 5 GiB to another storage class; larger ones are moved by a lifecycle rule.
    ///
    /// # Errors
    /// [`TooLarge`](StoreErrorKind::TooLarge) above 5 GiB; as [`Self::copy`].
    pub async fn set_storage_class(&self, key: &ObjectKey, class: StorageClass) -> Result<(), StoreError> {
        let head = self.head(key).await?;
        if head.size > MAX_COPY_BYTES {
            let message = "objects above 5 GiB change their class by a lifecycle rule of the bucket";
            return Err(self.bucket.error(Cause::TooLarge, "copy", key, message));
        }
        self.copy_as(key, key, Some(class)).await
    }

    async fn copy_as(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        class: Option<StorageClass>,
    ) -> Result<(), StoreError> {
        let source: Vec<_> = self
            .full("copy", from)?
            .split('/')
            .map(|segment| percent_encode(segment.as_bytes()))
            .collect();
        let (sdk, _permit) = self.bucket.sdk().await;
        let settings = &self.bucket.settings;
        let answer = sdk
            .copy_object()
            .bucket(self.bucket.name())
            .key(self.full("copy", to)?)
            .copy_source(format!("{}/{}", self.bucket.name(), source.join("/")))
            .metadata_directive(MetadataDirective::Copy)
            .tagging_directive(TaggingDirective::Copy)
            .set_storage_class(class.map(|class| class.name().into()))
            .set_server_side_encryption(settings.encryption.clone())
            .set_ssekms_key_id(settings.kms_key.clone())
            .set_expected_bucket_owner(self.bucket.owner())
            .set_expected_source_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let copied = answer.map_err(|error| self.bucket.sdk_failure(&error));
        let copied = copied.and_then(|output| {
            let etag = output
                .copy_object_result()
                .and_then(|copied| copied.e_tag.as_ref());
            self.bucket.check_etag("a copy", etag)
        });
        copied.map_err(|failure| store_error(failure, "copy", from))
    }

    /// True if [`Self::create`] never replaces anything: by the settings, for AWS, else by a probe that is made once.
    ///
    /// # Errors
    /// Whatever S3 refuses the probe.
    pub async fn creates_reliably(&self) -> Result<bool, StoreError> {
        self.bucket.honours_put().await
    }

    /// Requests that were sent since the store was made, by operation; each attempt counts.
    #[must_use]
    pub fn request_counts(&self) -> BTreeMap<String, u64> {
        self.bucket.log.counts()
    }
}

pub(crate) fn info(key: ObjectKey, head: Head) -> ObjectInfo {
    ObjectInfo {
        key,
        size: head.size,
        etag: head.etag,
        modified: head.modified,
        storage_class: head.storage_class,
        metadata: head.metadata,
    }
}

/// The SHA-256 of bytes in memory, for callers that have none yet.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> FileHash {
    sha256(bytes)
}
