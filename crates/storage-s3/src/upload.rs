//! Uploading an artifact: small ones in one request, large ones in parts, and never over something else.

mod names;

use artifact_core::{ArtifactKey, KeyError, PutBody, PutMode, StoreError, StoreErrorKind};
use aws_connect::Cause;
use tracking_model::FileHash;

use crate::body::{Body, BodyLimits, Content};
use crate::error::store_error;
use crate::key::ObjectKey;
use crate::metadata::{Encoded, ObjectMetadata};
use crate::multipart::upload::LargeUpload;
use crate::multipart::{ResumeRecord, UploadRecords};
use crate::requests::{Head, Put};
use crate::store::S3Store;
use crate::transfer::{ProgressCallback, Reporter};
use names::{Names, own_key};

/// Attempts with a key that is taken and free by turns.
const VANISHED: u32 = 3;
/// Restarts of an upload in parts that somebody aborted, or whose completion met another request.
const RESTARTS: u32 = 4;

/// Options of an upload.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UploadOptions {
    /// The behaviour where the key is taken by something else.
    pub mode: PutMode,
    /// The most bytes that may be stored.
    pub max_bytes: Option<u64>,
    /// The SHA-256 that the bytes must have; without it a file is read twice, once to find out.
    pub hash: Option<FileHash>,
    /// The object's metadata; the hash is added.
    pub metadata: ObjectMetadata,
    /// Called with the progress.
    pub progress: Option<ProgressCallback>,
    /// True if the key is the one that this very artifact was given before: then it gets no other, whatever is known of the
    /// server now.
    pub again: bool,
    /// Where an upload in parts is recorded, so that it can be resumed after a crash.
    pub records: Option<UploadRecords>,
}

impl UploadOptions {
    /// Sets the behaviour where the key is taken.
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

    /// Sets the object's metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: ObjectMetadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets the callback for progress.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Sets where an upload in parts is recorded.
    #[must_use]
    pub fn with_records(mut self, records: UploadRecords) -> Self {
        self.records = Some(records);
        self
    }
}

/// Outcome of an upload: how the object came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadOutcome {
    /// All of it was sent.
    Sent,
    /// An object with the same content was there and was not sent again.
    AlreadyThere,
    /// The rest of an interrupted upload was sent.
    Resumed {
        /// Bytes that were not sent again.
        kept_bytes: u64,
    },
}

/// An object that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The key that was used.
    pub key: ArtifactKey,
    /// `s3://bucket/prefix/…`, as records have it.
    pub url: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub hash: FileHash,
    /// How the object came to be there.
    pub outcome: UploadOutcome,
    /// Names of metadata that did not fit 2 KB.
    pub omitted_metadata: Vec<String>,
}

/// A prepared upload.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    pub(crate) body: Body,
    pub(crate) encoded: Encoded,
    pub(crate) options: &'a UploadOptions,
}

impl Item<'_> {
    /// True if the object is this very artifact. The same bytes of another artifact are another object, so that deleting
    /// the one leaves the other.
    fn is(&self, head: &Head) -> bool {
        let same_artifact = match (&self.options.metadata.artifact_id, &head.metadata.artifact_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        head.size == self.body.size && head.metadata.file_hash == Some(self.body.hash) && same_artifact
    }
}

impl S3Store {
    /// Stores `body` whole or not at all, without a request beforehand: a key that is taken by something else gives way
    /// to the next (`log-2.txt`) or fails, as [`UploadOptions::mode`] says, and one that is taken by the same content
    /// counts as there already. Where the server ignores conditions, the name is `{stem}~{artifact_id}{ext}`. Bodies above
    /// one part go in parallel parts, after a HEAD that may save all of them.
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
        self.bucket()
            .check_metadata(&options.metadata, &key.to_string())?;
        let part_bytes = self.bucket().settings.part_bytes;
        let limits = BodyLimits {
            expected: options.hash,
            max_bytes: options.max_bytes,
            memory_bytes: part_bytes,
        };
        let body = Body::prepare(&self.bucket().memory, key, body, &limits).await?;
        let metadata = ObjectMetadata {
            file_hash: Some(body.hash),
            ..options.metadata.clone()
        };
        let item = Item {
            body,
            encoded: metadata.encode(),
            options,
        };
        match &item.body.content {
            Content::Memory(bytes) if item.body.size <= part_bytes => {
                self.put_small(key, bytes.clone(), &item).await
            }
            _ => self.put_large(key, &item).await,
        }
    }

    async fn put_small(
        &self,
        key: &ArtifactKey,
        bytes: bytes::Bytes,
        item: &Item<'_>,
    ) -> Result<Uploaded, StoreError> {
        let honoured = self.bucket().honours_put().await?;
        let mut names = names(key, item, honoured)?;
        // A name that has the artifact's id in it belongs to this artifact: other bytes there are what a server made of an
        // earlier put that broke off.
        let is_own = !honoured && !item.options.again && item.options.metadata.artifact_id.is_some();
        let (mut vanished, mut create) = (0, true);
        loop {
            let candidate = names.current().map_err(|error| unsafe_name(key, error))?;
            let put = Put {
                key: self.objects.full("put", &ObjectKey::from(&candidate))?,
                bytes: bytes.clone(),
                hash: item.body.hash,
                metadata: item.encoded.pairs.clone(),
                create,
                class: self.bucket().settings.storage_class,
            };
            let outcome = match self.bucket().put(&put).await {
                Ok(_) => Some(UploadOutcome::Sent),
                Err(failure) if failure.cause == Cause::PreconditionFailed => {
                    // It is taken, so what may not be looked at is something else.
                    let occupant = self.occupant(&candidate, &put.key, item, Occupant::Other);
                    match occupant.await? {
                        Occupant::Same => Some(UploadOutcome::AlreadyThere),
                        Occupant::Other if is_own && create => {
                            create = false;
                            continue;
                        }
                        Occupant::Other => None,
                        // Deleted between the two requests: the same name once more.
                        Occupant::Nothing if vanished < VANISHED => {
                            vanished += 1;
                            continue;
                        }
                        // The server contradicts itself.
                        Occupant::Nothing => None,
                    }
                }
                Err(failure) => return Err(store_error(failure, "put", &candidate)),
            };
            match outcome {
                Some(outcome) => {
                    Reporter::new(item.body.size, item.options.progress.clone()).add(item.body.size);
                    return Ok(self.uploaded(candidate, item, outcome));
                }
                None if names.advance() => {}
                None => return Err(StoreError::new(StoreErrorKind::AlreadyExists, "put", candidate)),
            }
        }
    }

    async fn put_large(&self, key: &ArtifactKey, item: &Item<'_>) -> Result<Uploaded, StoreError> {
        let honoured = self.bucket().honours_completion().await?;
        let mut names = names(key, item, honoured)?;
        let mut restarts = 0;
        loop {
            let candidate = names.current().map_err(|error| unsafe_name(key, error))?;
            let full = self.objects.full("put", &ObjectKey::from(&candidate))?;
            let record = ResumeRecord::new(item.options.records.clone(), &full);
            // Without leave to list, S3 answers *denied* for what is not there.
            let occupant = self.occupant(&candidate, &full, item, Occupant::Nothing);
            match occupant.await? {
                Occupant::Same => {
                    // A process may have died between the completion and the end of its record.
                    record.end().await;
                    return Ok(self.uploaded(candidate, item, UploadOutcome::AlreadyThere));
                }
                Occupant::Other if names.advance() => continue,
                Occupant::Other => {
                    return Err(StoreError::new(StoreErrorKind::AlreadyExists, "put", candidate));
                }
                Occupant::Nothing => {}
            }
            let upload = LargeUpload {
                artifact: &candidate,
                key: &full,
                body: &item.body,
                metadata: &item.encoded.pairs,
                progress: item.options.progress.clone(),
                record,
                create: honoured,
            };
            match upload.run(self.bucket()).await {
                Ok(0) => return Ok(self.uploaded(candidate, item, UploadOutcome::Sent)),
                Ok(kept_bytes) => {
                    let resumed = UploadOutcome::Resumed { kept_bytes };
                    return Ok(self.uploaded(candidate, item, resumed));
                }
                Err(stopped) if stopped.begins_anew && restarts < RESTARTS => {
                    tracing::debug!(key = full, error = %stopped.error, "an upload in parts begins anew");
                    restarts += 1;
                    self.bucket().pause(restarts).await;
                }
                Err(stopped) => return Err(stopped.error),
            }
        }
    }

    /// Asks what has a key. `denied` is the answer where the credentials may not tell.
    async fn occupant(
        &self,
        candidate: &ArtifactKey,
        full: &str,
        item: &Item<'_>,
        denied: Occupant,
    ) -> Result<Occupant, StoreError> {
        match self.bucket().head(full).await {
            Ok(head) if item.is(&head) => Ok(Occupant::Same),
            Ok(_) => Ok(Occupant::Other),
            Err(failure) if failure.cause == Cause::NoObject => Ok(Occupant::Nothing),
            Err(failure) if failure.cause == Cause::Denied => Ok(denied),
            Err(failure) => Err(store_error(failure, "head", candidate)),
        }
    }

    fn uploaded(&self, key: ArtifactKey, item: &Item<'_>, outcome: UploadOutcome) -> Uploaded {
        Uploaded {
            url: self.url(&key),
            key,
            size: item.body.size,
            hash: item.body.hash,
            outcome,
            omitted_metadata: item.encoded.omitted.clone(),
        }
    }
}

/// The object under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupant {
    /// The artifact that is uploaded.
    Same,
    Other,
    Nothing,
}

/// The names to try: one of the artifact's own where the server does not tell when a name is taken.
fn names(key: &ArtifactKey, item: &Item<'_>, honoured: bool) -> Result<Names, StoreError> {
    if honoured || item.options.again {
        return Ok(Names::new(key, item.options.mode));
    }
    let own = own_key(key, item.options.metadata.artifact_id.as_ref());
    let own = own.map_err(|error| unsafe_name(key, error))?;
    Ok(Names::new(&own, PutMode::Create))
}

fn unsafe_name(key: &ArtifactKey, error: KeyError) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, "put", key).with_source(error)
}
