//! Uploading an artifact: small ones in one request, large ones in parts, and never over something else.

use std::sync::Arc;

use artifact_core::{ArtifactKey, KeyError, PutBody, PutMode, StoreError, StoreErrorKind};
use bytes::Bytes;
use tracking_model::FileHash;

use crate::bucket::{Head, Put};
use crate::cause::S3Cause;
use crate::content::{Content, Prepared};
use crate::key::ObjectKey;
use crate::limits::Share;
use crate::metadata::ObjectMetadata;
use crate::names::{Names, own_key};
use crate::records::UploadRecords;
use crate::store::S3Store;
use crate::transfer::{ProgressCallback, Reporter};

/// How often a key may be taken and free by turns.
const VANISHED: u32 = 3;

/// How something is uploaded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UploadOptions {
    /// What is to happen where the key is taken by something else.
    pub mode: PutMode,
    /// The most bytes that may be stored.
    pub max_bytes: Option<u64>,
    /// The SHA-256 that the bytes must have; without it a file is read twice, once to find out.
    pub hash: Option<FileHash>,
    /// What the object says about itself; the hash is added.
    pub metadata: ObjectMetadata,
    /// Called while bytes get across.
    pub progress: Option<ProgressCallback>,
    /// Whether the key is the one that this very artifact has been given before: then it gets no other, whatever is known of
    /// the server now.
    pub again: bool,
    /// Where the parts that got across are noted, for servers that cannot be asked after a crash.
    pub records: Option<Arc<dyn UploadRecords>>,
}

impl UploadOptions {
    /// Sets what is to happen where the key is taken.
    #[must_use]
    pub const fn with_mode(mut self, mode: PutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Puts it where it was before.
    #[must_use]
    pub const fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Sets the SHA-256 that the bytes must have.
    #[must_use]
    pub const fn with_hash(mut self, hash: FileHash) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Sets what the object says about itself.
    #[must_use]
    pub fn with_metadata(mut self, metadata: ObjectMetadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets what is called while bytes get across.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Sets where the parts that got across are noted.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn UploadRecords>) -> Self {
        self.records = Some(records);
        self
    }
}

/// How an object came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// It was sent.
    Sent,
    /// It was there already, with the same content, and was not sent again.
    AlreadyThere,
    /// The rest of it was sent: so many bytes were there from an interrupted upload.
    Resumed {
        /// Bytes that were not sent again.
        kept_bytes: u64,
    },
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The key that was used.
    pub key: ArtifactKey,
    /// `s3://bucket/prefix/…`, as records have it.
    pub url: String,
    /// How many bytes there are.
    pub size: u64,
    /// Their SHA-256.
    pub hash: FileHash,
    /// How they came there.
    pub arrival: Arrival,
    /// Names of metadata that did not fit 2 KB.
    pub omitted_metadata: Vec<String>,
}

/// What is uploaded, with everything that is known of it.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    pub(crate) encoded: crate::metadata::Encoded,
    pub(crate) options: &'a UploadOptions,
}

impl Item<'_> {
    /// Whether what is there is this very thing. The same bytes of another artifact are another object, so that
    /// deleting the one leaves the other.
    pub(crate) fn is(&self, head: &Head) -> bool {
        let same_artifact = match (&self.options.metadata.artifact_id, &head.metadata.artifact_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        head.size == self.size && head.metadata.file_hash == Some(self.hash) && same_artifact
    }
}

impl S3Store {
    /// Stores `body` whole or not at all, without a look beforehand: a key that is taken by something else gives way
    /// to the next (`log-2.txt`) or fails, as [`UploadOptions::mode`] says, and one that is taken by the same content
    /// counts as there already. Where the server cannot be relied on to refuse, the name is
    /// `{stem}~{artifact_id}{ext}`. Bodies above one part go in parallel parts and are looked for first, which costs one
    /// request and may save thousands.
    ///
    /// # Errors
    /// [`Body`](StoreErrorKind::Body) if reading it fails or it has not the SHA-256 that it must have,
    /// [`TooLarge`](StoreErrorKind::TooLarge), [`AlreadyExists`](StoreErrorKind::AlreadyExists), and whatever S3 refuses.
    ///
    /// # Cancellation
    /// Dropping the future may leave the object stored, or parts of it that the next upload of it continues with and
    /// [`S3Store::abort_stale_uploads`] removes; never a part under its key.
    pub async fn upload(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &UploadOptions,
    ) -> Result<Uploaded, StoreError> {
        options.metadata.check(self.bucket().name(), &key.to_string())?;
        let (prepared, share) = self.prepare(key, body, options).await?;
        let metadata = ObjectMetadata {
            file_hash: Some(prepared.hash),
            ..options.metadata.clone()
        };
        let item = Item {
            size: prepared.size,
            hash: prepared.hash,
            encoded: metadata.encode(),
            options,
        };
        match prepared {
            Prepared {
                content: Content::Memory(bytes),
                size,
                ..
            } if size <= self.bucket().settings.limits.part_bytes => {
                self.put_small(key, bytes, share, &item).await
            }
            Prepared { content, .. } => self.put_large(key, content, &item).await,
        }
    }

    async fn put_small(
        &self,
        key: &ArtifactKey,
        bytes: Bytes,
        _share: Option<Share>,
        item: &Item<'_>,
    ) -> Result<Uploaded, StoreError> {
        let reporter = Reporter::new(item.size, 0, item.options.progress.clone());
        let honoured = self.bucket().honours_put().await?;
        let mut names = self.names(key, item, honoured)?;
        // A name that has the artifact's id in it is nobody else's: what is there and is not the artifact is what a server
        // made of an earlier put that broke off.
        let is_own = !honoured && !item.options.again && item.options.metadata.artifact_id.is_some();
        let (mut vanished, mut create) = (0, true);
        loop {
            let candidate = names.current().map_err(|error| unsafe_name(key, error))?;
            let put = Put {
                key: self.objects.full("put", &ObjectKey::from(&candidate))?,
                bytes: bytes.clone(),
                hash: item.hash,
                metadata: item.encoded.pairs.clone(),
                create,
                class: self.bucket().settings.storage_class,
            };
            let arrival = match self.bucket().put(&put).await {
                Ok(_) => Some(Arrival::Sent),
                Err(failure) if failure.cause == S3Cause::Condition => {
                    match self.compare(&candidate, &put.key, item).await? {
                        Taken::ByThis => Some(Arrival::AlreadyThere),
                        Taken::ByOther if is_own && create => {
                            create = false;
                            continue;
                        }
                        Taken::ByOther => None,
                        // Deleted between the two requests: the same name once more.
                        Taken::NoMore if vanished < VANISHED => {
                            vanished += 1;
                            continue;
                        }
                        // The server contradicts itself.
                        Taken::NoMore => None,
                    }
                }
                Err(failure) => return Err(failure.into_store_error("put", &candidate)),
            };
            match arrival {
                Some(arrival) => {
                    reporter.add(item.size);
                    return Ok(self.uploaded(candidate, item, arrival));
                }
                None if names.advance() => {}
                None => return Err(StoreError::new(StoreErrorKind::AlreadyExists, "put", candidate)),
            }
        }
    }

    /// The names to try: a single one of the artifact's own where the server does not tell when one is taken.
    pub(crate) fn names(
        &self,
        key: &ArtifactKey,
        item: &Item<'_>,
        honoured: bool,
    ) -> Result<Names, StoreError> {
        if honoured || item.options.again {
            return Ok(Names::new(key, item.options.mode));
        }
        let own = own_key(key, item.options.metadata.artifact_id.as_ref());
        let own = own.map_err(|error| unsafe_name(key, error))?;
        Ok(Names::new(&own, PutMode::Create))
    }

    /// Whether a taken key is taken by this very thing.
    pub(crate) async fn compare(
        &self,
        candidate: &ArtifactKey,
        full: &str,
        item: &Item<'_>,
    ) -> Result<Taken, StoreError> {
        match self.bucket().head(full).await {
            Ok(head) if item.is(&head) => Ok(Taken::ByThis),
            Ok(_) => Ok(Taken::ByOther),
            Err(failure) => match failure.cause {
                S3Cause::NoObject => Ok(Taken::NoMore),
                // Who may not look cannot know, and never shares.
                S3Cause::Denied => Ok(Taken::ByOther),
                _ => Err(failure.into_store_error("head", candidate)),
            },
        }
    }

    pub(crate) fn uploaded(&self, key: ArtifactKey, item: &Item<'_>, arrival: Arrival) -> Uploaded {
        Uploaded {
            url: self.url(&key),
            key,
            size: item.size,
            hash: item.hash,
            arrival,
            omitted_metadata: item.encoded.omitted.clone(),
        }
    }
}

/// By what a key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    ByThis,
    ByOther,
    NoMore,
}

pub(crate) fn unsafe_name(key: &ArtifactKey, error: KeyError) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, "put", key).with_source(error)
}
