//! Uploading a file in parallel parts, and resuming an upload that was interrupted.

use std::collections::HashMap;
use std::sync::Arc;

use artifact_core::{ArtifactKey, StoreError, StoreErrorKind, run_blocking};
use aws_connect::{Cause, Failure};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tracking_model::FileHash;

use super::Part;
use super::records::{ResumeRecord, UploadRecord};
use crate::body::{Body, body_error, hash, wrong_hash};
use crate::error::store_error;
use crate::memory::MemoryPermit;
use crate::requests::Bucket;
use crate::transfer::{ProgressCallback, Reporter};

/// The most parts of one upload.
const MAX_PARTS: u64 = 10_000;
/// Parts of one file at once.
const PARTS_AT_ONCE: usize = 6;
/// Parts are a multiple of this where a file needs larger ones than the settings say.
const MIB: u64 = 1024 * 1024;

/// One upload to one key.
pub(crate) struct LargeUpload<'a> {
    pub(crate) artifact: &'a ArtifactKey,
    /// The key in the bucket.
    pub(crate) key: &'a str,
    pub(crate) body: &'a Body,
    pub(crate) metadata: &'a HashMap<String, String>,
    pub(crate) progress: Option<ProgressCallback>,
    pub(crate) record: ResumeRecord,
    /// True to fail where the key is taken.
    pub(crate) create: bool,
}

/// An upload that ended before it was complete.
pub(crate) struct Stopped {
    pub(crate) error: StoreError,
    /// True if the key was taken meanwhile, or the upload is gone: another attempt may succeed.
    pub(crate) begins_anew: bool,
}

/// A part that was read.
struct ReadPart {
    number: u32,
    bytes: Bytes,
    _memory: MemoryPermit,
}

impl LargeUpload<'_> {
    /// Returns the bytes that an interrupted upload had sent.
    pub(crate) async fn run(&self, bucket: &Arc<Bucket>) -> Result<u64, Stopped> {
        let part_bytes = part_bytes(self.body.size, bucket.settings.part_bytes);
        let resumed = self.resumable(bucket, part_bytes).await;
        let is_resumed = resumed.is_some();
        let state = match resumed {
            Some(record) => record,
            None => self.begin(bucket, part_bytes).await?,
        };
        match self.send_and_complete(bucket, &state).await {
            Ok(kept_bytes) => {
                self.record.end().await;
                Ok(kept_bytes)
            }
            Err(mut stopped) => {
                // A server that no longer knows the upload may refuse its parts in any way.
                stopped.begins_anew |= is_resumed && is_refusal(stopped.error.kind());
                if stopped.begins_anew || !may_be_resumed(stopped.error.kind()) {
                    self.give_up(bucket, &state.upload_id).await;
                }
                Err(stopped)
            }
        }
    }

    /// The recorded upload of this very content. An upload of older content is aborted.
    async fn resumable(&self, bucket: &Bucket, part_bytes: u64) -> Option<UploadRecord> {
        let record = self.record.load().await?;
        if (record.size, record.hash, record.part_bytes) == (self.body.size, self.body.hash, part_bytes) {
            return Some(record);
        }
        self.give_up(bucket, &record.upload_id).await;
        None
    }

    async fn begin(&self, bucket: &Bucket, part_bytes: u64) -> Result<UploadRecord, Stopped> {
        let id = bucket.create_upload(self.key, self.metadata).await;
        let id = id.map_err(|failure| self.stopped(failure))?;
        let record = UploadRecord::new(self.key, id, self.body.size, self.body.hash, part_bytes);
        self.record.begin(&record).await;
        Ok(record)
    }

    /// Returns the bytes that were not sent again.
    async fn send_and_complete(&self, bucket: &Bucket, state: &UploadRecord) -> Result<u64, Stopped> {
        let (parts, kept) = self.send_parts(bucket, state).await?;
        bucket
            .complete_upload(self.key, &state.upload_id, parts, self.create)
            .await
            .map_err(|failure| self.stopped(failure))?;
        Ok(kept)
    }

    /// Reads the content in order, hashing all of it, while the parts that the server lacks are sent side by side.
    async fn send_parts(&self, bucket: &Bucket, state: &UploadRecord) -> Result<(Vec<Part>, u64), Stopped> {
        let reporter = Reporter::new(self.body.size, self.progress.clone());
        let reads = stream::try_unfold((1, 0, Sha256::new()), |(number, offset, hasher)| {
            self.read_part(bucket, state.part_bytes, (number, offset, hasher))
        });
        let at_once = PARTS_AT_ONCE.min(bucket.settings.concurrency);
        let sends = reads.map_ok(|part| async {
            let (part, is_kept) = self.send_part(bucket, state, part).await?;
            reporter.add(part.size);
            Ok((part, is_kept))
        });
        let sent: Vec<_> = sends.try_buffer_unordered(at_once).boxed().try_collect().await?;
        let kept = sent.iter().filter(|(_, is_kept)| *is_kept);
        let kept_bytes = kept.map(|(part, _)| part.size).sum();
        Ok((sent.into_iter().map(|(part, _)| part).collect(), kept_bytes))
    }

    /// The next part; at the end, the check that all bytes have the SHA-256 of the item.
    async fn read_part(
        &self,
        bucket: &Bucket,
        part_bytes: u64,
        (number, offset, mut hasher): (u32, u64, Sha256),
    ) -> Result<Option<(ReadPart, (u32, u64, Sha256))>, Stopped> {
        let length = part_bytes.min(self.body.size - offset);
        if length == 0 {
            let is_right = FileHash::new(hasher.finalize().into()) == self.body.hash;
            return match is_right {
                true => Ok(None),
                false => Err(Stopped::for_good(wrong_hash(self.artifact))),
            };
        }
        let memory = bucket.memory.permit(length).await;
        let content = self.body.content.clone();
        let read = run_blocking(move || {
            let bytes = content.read(offset, length)?;
            hasher.update(&bytes);
            Ok((bytes, hasher))
        });
        let read = read.await;
        let (bytes, hasher) = read.map_err(|error| Stopped::for_good(body_error(self.artifact, error)))?;
        let part = ReadPart {
            number,
            bytes,
            _memory: memory,
        };
        Ok(Some((part, (number + 1, offset + length, hasher))))
    }

    /// Sends a part, or returns the recorded one and `true`.
    async fn send_part(
        &self,
        bucket: &Bucket,
        state: &UploadRecord,
        part: ReadPart,
    ) -> Result<(Part, bool), Stopped> {
        let hash = hash(&part.bytes).await;
        if let Some(etag) = state.etags.get(&part.number) {
            let kept = Part {
                number: part.number,
                size: part.bytes.len() as u64,
                etag: etag.clone(),
                hash,
            };
            return Ok((kept, true));
        }
        let mut attempt = 1;
        let sent = loop {
            let bytes = part.bytes.clone();
            let put = bucket.put_part(self.key, &state.upload_id, part.number, bytes, hash);
            match put.await {
                // Damaged on the way: the same bytes once more.
                Err(failure)
                    if failure.cause == Cause::ChecksumMismatch && attempt < bucket.settings.attempts =>
                {
                    bucket.pause(attempt).await;
                    attempt += 1;
                }
                outcome => break outcome.map_err(|failure| self.stopped(failure))?,
            }
        };
        self.record.part(&state.upload_id, sent.number, &sent.etag).await;
        Ok((sent, false))
    }

    fn stopped(&self, failure: Failure) -> Stopped {
        let begins_anew = match failure.cause {
            // Taken meanwhile, or in the way of another, or aborted by somebody.
            Cause::PreconditionFailed | Cause::Conflict | Cause::NoObject => true,
            // Parts that somebody else replaced are no longer those that the completion names.
            _ => failure.code.as_deref() == Some("InvalidPart"),
        };
        Stopped {
            error: store_error(failure, "put", self.artifact),
            begins_anew,
        }
    }

    /// Aborts an upload that nothing will resume, so that its parts do not stay and cost.
    async fn give_up(&self, bucket: &Bucket, id: &str) {
        if let Err(failure) = bucket.abort_upload(self.key, id).await {
            tracing::warn!(key = self.key, %failure, "an upload in parts could not be aborted");
        }
        self.record.end().await;
    }
}

impl Stopped {
    const fn for_good(error: StoreError) -> Self {
        Self {
            error,
            begins_anew: false,
        }
    }
}

/// True for failures after which another attempt goes on with the parts that the server has.
const fn may_be_resumed(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::Unavailable
            | StoreErrorKind::RateLimited
            | StoreErrorKind::Misconfigured
            | StoreErrorKind::PermissionDenied
    )
}

const fn is_refusal(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::PermissionDenied | StoreErrorKind::Unexpected
    )
}

/// Bytes of a part, so that there are no more parts than S3 takes.
fn part_bytes(size: u64, wanted: u64) -> u64 {
    let least = size.div_ceil(MAX_PARTS);
    if least <= wanted {
        wanted
    } else {
        least.div_ceil(MIB) * MIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_never_too_many() {
        const GIB: u64 = 1024 * MIB;
        assert_eq!(part_bytes(10 * GIB, 8 * MIB), 8 * MIB);
        for size in [80 * GIB, 500 * GIB, 5 * 1024 * GIB] {
            let bytes = part_bytes(size, 8 * MIB);
            assert!(size.div_ceil(bytes) <= MAX_PARTS, "{size}: {bytes}");
            assert_eq!(bytes % MIB, 0);
        }
    }
}
