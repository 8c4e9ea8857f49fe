//! Objects of any key below the prefix: what a catalogue in the bucket is made of.

use std::sync::Arc;

use artifact_core::StoreError;
use aws_sdk_s3::types::{Delete, MetadataDirective, ObjectIdentifier, TaggingDirective};
use bytes::Bytes;
use tracking_model::{FileHash, Timestamp, percent_encode};

use crate::bucket::{Bucket, Head, Put, sdk_class, sha256, timestamp, unsigned};
use crate::cause::S3Cause;
use crate::error::S3Failure;
use crate::fetch::Span;
use crate::key::{MAX_KEY_BYTES, ObjectKey, S3Location};
use crate::metadata::ObjectMetadata;
use crate::settings::StorageClass;

/// How many keys one request deletes.
const DELETE_BATCH: usize = 1000;
/// Why a listing is given up that names itself as its next page.
pub(crate) const ENDLESS_LISTING: &str = "the server answers the same page of its listing again and again";
/// The largest object that one request copies.
const MAX_COPY_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// Reads and writes small objects under keys of the caller's choice. Clones share one client.
#[derive(Debug, Clone)]
pub struct S3Objects {
    pub(crate) bucket: Arc<Bucket>,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its key.
    pub key: ObjectKey,
    /// How many bytes it has.
    pub size: u64,
    /// The server's mark of this content.
    pub etag: Option<String>,
    /// When it was stored.
    pub modified: Option<Timestamp>,
    /// Its storage class, where the server says it.
    pub storage_class: Option<String>,
    /// What it says about itself; a listing leaves it empty.
    pub metadata: ObjectMetadata,
}

/// An object that was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadObject {
    /// Its bytes, or those of the range that was asked for.
    pub bytes: Vec<u8>,
    /// How many bytes the whole object has.
    pub size: u64,
    /// The server's mark of this content.
    pub etag: Option<String>,
    /// What it says about itself.
    pub metadata: ObjectMetadata,
}

/// Which keys a page has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest {
    /// Only keys that begin so; relative to the store's prefix.
    pub prefix: String,
    /// Keys that share what stands before the next delimiter after the prefix are told as one common prefix.
    pub delimiter: Option<String>,
    /// Only keys after this one, in the order of bytes.
    pub start_after: Option<String>,
    /// At most so many keys and common prefixes; 1,000 at most.
    pub limit: Option<u16>,
    /// Goes on after an earlier page.
    pub continuation: Option<String>,
}

impl ListRequest {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// Sets the delimiter.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Sets the key after which it begins.
    #[must_use]
    pub fn with_start_after(mut self, key: impl Into<String>) -> Self {
        self.start_after = Some(key.into());
        self
    }

    /// Sets how long a page is at most.
    #[must_use]
    pub const fn with_limit(mut self, limit: u16) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A page of a listing, in the order of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListPage {
    /// The objects. Keys that no store writes, such as those of folders, are left out.
    pub objects: Vec<ObjectInfo>,
    /// The common prefixes, with their delimiter; relative to the store's prefix.
    pub prefixes: Vec<String>,
    /// For [`ListRequest::continuation`]; `None` after the last page.
    pub next: Option<String>,
}

/// What became of many deletions.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Keys under which there is nothing now.
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
            return Err(self
                .bucket
                .own_failure(S3Cause::TooLarge, operation, key, message));
        }
        Ok(full)
    }

    /// Stores bytes under a free key and returns their ETag. On a server that ignores conditions an object of this key
    /// may be replaced, so keys should be the writer's own: see [`Self::creates_reliably`].
    ///
    /// # Errors
    /// [`AlreadyExists`](artifact_core::StoreErrorKind::AlreadyExists) if the key is taken; whatever else S3 refuses.
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
        metadata.check(self.bucket.name(), key.as_str())?;
        let put = Put {
            key: self.full("put", key)?,
            hash: sha256(&bytes),
            bytes,
            metadata: metadata.encode().pairs,
            create,
            class: StorageClass::BucketDefault,
        };
        self.bucket
            .put(&put)
            .await
            .map_err(|failure| match failure.cause {
                S3Cause::Condition => {
                    StoreError::new(artifact_core::StoreErrorKind::AlreadyExists, "put", key)
                        .with_source(failure)
                }
                _ => failure.into_store_error("put", key),
            })
    }

    /// Reads a whole object into memory; a connection that breaks is made again and goes on where it stopped.
    ///
    /// # Errors
    /// [`NotFound`](artifact_core::StoreErrorKind::NotFound) if there is none; whatever else S3 refuses.
    pub async fn read(&self, key: &ObjectKey) -> Result<ReadObject, StoreError> {
        self.fetch(key, Span::Whole).await
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
        self.fetch(key, Span::Part { from, to }).await
    }

    async fn fetch(&self, key: &ObjectKey, span: Span) -> Result<ReadObject, StoreError> {
        let full = self.full("get", key)?;
        let fetched = self.bucket.fetch(&full, span, None).await;
        let fetched = fetched.map_err(|failure| failure.into_store_error("get", key))?;
        Ok(ReadObject {
            bytes: fetched.bytes.into_vec(),
            size: fetched.head.size,
            etag: fetched.head.etag,
            metadata: fetched.head.metadata,
        })
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// [`NotFound`](artifact_core::StoreErrorKind::NotFound) if there is none; whatever else S3 refuses.
    pub async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        let full = self.full("head", key)?;
        let head = self.bucket.head(&full).await;
        let head = head.map_err(|failure| failure.into_store_error("head", key))?;
        Ok(info(key.clone(), head))
    }

    /// One page of keys: one request.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn page(&self, request: &ListRequest) -> Result<ListPage, StoreError> {
        let root = &self.bucket.settings.root;
        let sdk = self.bucket.asking().await;
        let _slot = self.bucket.concurrency.slot().await;
        let answer = sdk
            .list_objects_v2()
            .bucket(self.bucket.name())
            .prefix(root.full(&request.prefix))
            .set_delimiter(request.delimiter.clone())
            .set_start_after(request.start_after.as_deref().map(|key| root.full(key)))
            .set_max_keys(request.limit.map(i32::from))
            .set_continuation_token(request.continuation.clone())
            .set_expected_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let output = answer.map_err(|error| {
            let mut failure = self.bucket.failure(error);
            // There is no key that could be missing.
            if failure.cause == S3Cause::NoObject {
                failure.cause = S3Cause::NoBucket;
            }
            let url = self.bucket.settings.root.url(&request.prefix);
            failure.into_store_error("list", url)
        })?;
        if request.continuation.is_some() && output.next_continuation_token == request.continuation {
            let url = self.bucket.settings.root.url(&request.prefix);
            return Err(self
                .bucket
                .own_failure(S3Cause::Other, "list", url, ENDLESS_LISTING));
        }
        let objects = output.contents().iter().filter_map(|object| {
            let head = Head {
                size: object.size().map_or(0, unsigned),
                etag: object.e_tag.clone(),
                modified: object.last_modified.as_ref().map(timestamp),
                storage_class: object
                    .storage_class
                    .as_ref()
                    .map(|class| class.as_str().to_owned()),
                metadata: ObjectMetadata::default(),
            };
            Some(info(root.relative(object.key()?)?, head))
        });
        let prefixes = output.common_prefixes().iter();
        Ok(ListPage {
            objects: objects.collect(),
            prefixes: prefixes
                .filter_map(|common| root.relative_prefix(common.prefix()?))
                .collect(),
            next: output.next_continuation_token.clone(),
        })
    }

    /// All objects whose keys begin with `prefix`: one request for each 1,000.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn all(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut request = ListRequest::prefix(prefix);
        let mut objects = Vec::new();
        loop {
            let page = self.page(&request).await?;
            objects.extend(page.objects);
            match page.next {
                Some(next) => request.continuation = Some(next),
                None => return Ok(objects),
            }
        }
    }

    /// Deletes an object. Deleting what is not there succeeds.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let full = self.full("delete", key)?;
        let deleted = self.bucket.delete(&full).await;
        deleted.map_err(|failure| failure.into_store_error("delete", key))
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
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            let full = self.bucket.settings.root.full(key.as_str());
            objects.extend(ObjectIdentifier::builder().key(full).build());
        }
        let sdk = self.bucket.asking().await;
        let _slot = self.bucket.concurrency.slot().await;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let request = match delete {
            Ok(delete) => sdk.delete_objects().delete(delete),
            // Only a list that was not set cannot be built.
            Err(_) => return,
        };
        let answer = request
            .bucket(self.bucket.name())
            .set_expected_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let output = match answer.map_err(|error| self.bucket.failure(error)) {
            Ok(output) => output,
            Err(failure) => {
                let failed = keys
                    .iter()
                    .map(|key| (key.clone(), failure.repeated().into_store_error("delete", key)));
                report.failed.extend(failed);
                return;
            }
        };
        let mut refused = std::collections::BTreeMap::new();
        for error in output.errors() {
            let failure = S3Failure::from_code(
                self.bucket.name(),
                error.code().unwrap_or_default(),
                error.message().unwrap_or_default(),
            );
            refused.insert(error.key().unwrap_or_default().to_owned(), failure);
        }
        for key in keys {
            match refused.remove(&self.bucket.settings.root.full(key.as_str())) {
                None => report.deleted.push(key.clone()),
                Some(failure) if failure.cause == S3Cause::NoObject => report.deleted.push(key.clone()),
                Some(failure) => report
                    .failed
                    .push((key.clone(), failure.into_store_error("delete", key))),
            }
        }
    }

    /// Copies an object of at most 5 GiB within the bucket, with its metadata, replacing what is at `to`.
    ///
    /// # Errors
    /// [`NotFound`](artifact_core::StoreErrorKind::NotFound) if there is nothing at `from`; whatever else S3 refuses.
    pub async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<(), StoreError> {
        self.copy_as(from, to, self.bucket.settings.storage_class).await
    }

    /// Moves an object of at most 5 GiB to another storage class; larger ones are moved by a lifecycle rule.
    ///
    /// # Errors
    /// [`TooLarge`](artifact_core::StoreErrorKind::TooLarge) above 5 GiB; as [`Self::copy`].
    pub async fn set_storage_class(&self, key: &ObjectKey, class: StorageClass) -> Result<(), StoreError> {
        let head = self.head(key).await?;
        if head.size > MAX_COPY_BYTES {
            let message = "objects above 5 GiB change their class by a lifecycle rule of the bucket";
            return Err(self.bucket.own_failure(S3Cause::TooLarge, "copy", key, message));
        }
        self.copy_as(key, key, class).await
    }

    async fn copy_as(&self, from: &ObjectKey, to: &ObjectKey, class: StorageClass) -> Result<(), StoreError> {
        let source: Vec<_> = self
            .full("copy", from)?
            .split('/')
            .map(|segment| percent_encode(segment.as_bytes()))
            .collect();
        let sdk = self.bucket.sdk().await;
        let _slot = self.bucket.concurrency.slot().await;
        let (encryption, kms_key) = self.bucket.encryption();
        let answer = sdk
            .copy_object()
            .bucket(self.bucket.name())
            .key(self.full("copy", to)?)
            .copy_source(format!("{}/{}", self.bucket.name(), source.join("/")))
            .metadata_directive(MetadataDirective::Copy)
            .tagging_directive(TaggingDirective::Copy)
            .set_storage_class(sdk_class(class))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .set_expected_bucket_owner(self.bucket.owner())
            .set_expected_source_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let failed = |failure: S3Failure| failure.into_store_error("copy", from);
        let output = answer.map_err(|error| failed(self.bucket.failure(error)))?;
        let etag = output
            .copy_object_result()
            .and_then(|copied| copied.e_tag.as_ref());
        self.bucket
            .foreign("a copy", etag)
            .map_or(Ok(()), |failure| Err(failed(failure)))
    }

    /// Whether [`Self::create`] never replaces anything: told by the settings, known of AWS, else found out by a probe
    /// once.
    ///
    /// # Errors
    /// Whatever S3 refuses the probe.
    pub async fn creates_reliably(&self) -> Result<bool, StoreError> {
        self.bucket.honours_put().await
    }

    /// How many requests were sent since the store was made, by operation; each attempt counts.
    #[must_use]
    pub fn request_counts(&self) -> std::collections::BTreeMap<String, u64> {
        self.bucket.counts()
    }

    /// How many requests may go on at once at this moment.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.bucket.concurrency.limit()
    }
}

fn info(key: ObjectKey, head: Head) -> ObjectInfo {
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
