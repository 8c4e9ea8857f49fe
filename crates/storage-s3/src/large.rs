//! Uploading in parallel parts, and going on where an interrupted upload stopped.

use std::sync::Arc;

use artifact_core::{ArtifactKey, StoreError, StoreErrorKind};
use sha2::{Digest, Sha256};
use tracking_model::FileHash;

use crate::bucket::Bucket;
use crate::cause::S3Cause;
use crate::content::{Content, blocking, body_error, hash, wrong_hash};
use crate::error::S3Failure;
use crate::key::ObjectKey;
use crate::multipart::Part;
use crate::resume::{Begun, Notes};
use crate::settings::MAX_PARTS;
use crate::store::S3Store;
use crate::transfer::Reporter;
use crate::upload::{Arrival, Item, Taken, Uploaded, unsafe_name};
use crate::window::Window;

/// How often an upload begins anew that somebody aborted, or whose completion met another request.
const RESTARTS: u32 = 4;
/// Parts are a multiple of this where a file needs larger ones than the settings say.
const MIB: u64 = 1024 * 1024;

impl S3Store {
    pub(crate) async fn put_large(
        &self,
        key: &ArtifactKey,
        content: Content,
        item: &Item<'_>,
    ) -> Result<Uploaded, StoreError> {
        let honoured = self.bucket().honours_completion().await?;
        let mut names = self.names(key, item, honoured)?;
        let mut restarts = 0;
        loop {
            let candidate = names.current().map_err(|error| unsafe_name(key, error))?;
            let full = self.objects.full("put", &ObjectKey::from(&candidate))?;
            match self.look(&candidate, &full, item).await? {
                Taken::ByThis => {
                    // Maybe its upload was completed by a process that died before it could note that.
                    Notes::new(item.options.records.clone(), &full).end().await;
                    return Ok(self.uploaded(candidate, item, Arrival::AlreadyThere));
                }
                Taken::ByOther if names.advance() => continue,
                Taken::ByOther => {
                    return Err(StoreError::new(StoreErrorKind::AlreadyExists, "put", candidate));
                }
                Taken::NoMore => {}
            }
            let upload = LargeUpload {
                bucket: self.bucket(),
                artifact: &candidate,
                key: &full,
                content: &content,
                item,
                part_bytes: part_bytes(item.size, self.bucket().settings.limits.part_bytes),
                create: honoured,
            };
            match upload.run().await {
                Ok(arrival) => return Ok(self.uploaded(candidate, item, arrival)),
                Err(Stopped::Again(failure)) if restarts >= RESTARTS => {
                    return Err(failure.into_store_error("put", &candidate));
                }
                Err(Stopped::Again(failure)) => {
                    tracing::debug!(key = full, %failure, "an upload in parts begins anew");
                    restarts += 1;
                    self.bucket().pause(restarts).await;
                }
                Err(Stopped::ForGood(error)) => return Err(error),
            }
        }
    }

    /// Whether the key is taken. To find out at the end would cost all parts.
    async fn look(&self, candidate: &ArtifactKey, full: &str, item: &Item<'_>) -> Result<Taken, StoreError> {
        match self.bucket().head(full).await {
            Ok(head) if item.is(&head) => Ok(Taken::ByThis),
            Ok(_) => Ok(Taken::ByOther),
            // Without leave to list, S3 says *denied* of what is not there.
            Err(failure) if matches!(failure.cause, S3Cause::NoObject | S3Cause::Denied) => Ok(Taken::NoMore),
            Err(failure) => Err(failure.into_store_error("head", candidate)),
        }
    }
}

/// Why an upload did not come to its end.
enum Stopped {
    /// The key was taken meanwhile, or the upload is gone: it is worth another look.
    Again(S3Failure),
    ForGood(StoreError),
}

/// Bytes of a part, so that there are no more parts than S3 takes.
pub(crate) fn part_bytes(size: u64, wanted: u64) -> u64 {
    let least = size.div_ceil(MAX_PARTS);
    if least <= wanted {
        wanted
    } else {
        least.div_ceil(MIB) * MIB
    }
}

/// One upload to one key.
struct LargeUpload<'a> {
    bucket: &'a Arc<Bucket>,
    artifact: &'a ArtifactKey,
    key: &'a str,
    content: &'a Content,
    item: &'a Item<'a>,
    part_bytes: u64,
    create: bool,
}

impl LargeUpload<'_> {
    async fn run(&self) -> Result<Arrival, Stopped> {
        let notes = Notes::new(self.item.options.records.clone(), self.key);
        let begun = self.begin(&notes).await?;
        let id = begun.id.clone();
        let outcome = match self.send_parts(begun, &notes).await {
            Ok(sent) => match self
                .bucket
                .complete_upload(self.key, &id, sent.parts, self.create)
                .await
            {
                Ok(()) => Ok(sent.kept_bytes),
                Err(failure) => Err(self.stopped(failure)),
            },
            Err(stopped) => Err(stopped),
        };
        match outcome {
            Ok(kept_bytes) => {
                notes.end().await;
                Ok(match kept_bytes {
                    0 => Arrival::Sent,
                    kept_bytes => Arrival::Resumed { kept_bytes },
                })
            }
            Err(stopped) => {
                if stopped.leaves_nothing_to_resume() {
                    self.give_up(&id, &notes).await;
                }
                Err(stopped)
            }
        }
    }

    async fn begin(&self, notes: &Notes) -> Result<Begun, Stopped> {
        let found = self
            .bucket
            .resumable(self.key, self.item.size, self.item.hash, self.part_bytes, notes)
            .await;
        match found.map_err(|failure| self.stopped(failure))? {
            Some(begun) => Ok(begun),
            None => {
                let id = self
                    .bucket
                    .create_upload(self.key, &self.item.encoded.pairs)
                    .await;
                let id = id.map_err(|failure| self.stopped(failure))?;
                notes
                    .begin(&id, self.item.size, self.item.hash, self.part_bytes)
                    .await;
                Ok(Begun::new(id))
            }
        }
    }

    /// Reads the content in order, hashing all of it, while the parts that the server lacks are sent side by side.
    async fn send_parts(&self, begun: Begun, notes: &Notes) -> Result<Sent, Stopped> {
        let reporter = Reporter::new(self.item.size, 0, self.item.options.progress.clone());
        let begun = Arc::new(begun);
        let mut window: Window<Result<SentPart, S3Failure>> = Window::new();
        let mut sent = Sent::default();
        let mut hasher = Sha256::new();
        let at_once = self.bucket.settings.limits.parts_at_once;
        for (number, offset) in (1_u32..).zip((0..self.item.size).step_by(step(self.part_bytes))) {
            while window.len() >= at_once {
                self.take(&mut window, &mut sent).await?;
            }
            let length = self.part_bytes.min(self.item.size - offset);
            let share = self.bucket.memory.share(length).await;
            let (content, buffers) = (self.content.clone(), self.bucket.buffers.clone());
            let read = blocking(move || {
                let bytes = content.read(offset, length, &buffers)?;
                hasher.update(&bytes);
                Ok((bytes, hasher))
            });
            let (bytes, so_far) = read
                .await
                .map_err(|error| Stopped::ForGood(body_error(self.artifact, error)))?;
            hasher = so_far;
            let (bucket, key) = (Arc::clone(self.bucket), self.key.to_owned());
            let (begun, notes, reporter) = (Arc::clone(&begun), notes.clone(), reporter.clone());
            window.spawn(async move {
                let _share = share;
                let part = send_part(&bucket, &key, &begun, number, bytes, &notes).await?;
                reporter.add(part.part.size);
                Ok(part)
            });
        }
        while window.len() > 0 {
            self.take(&mut window, &mut sent).await?;
        }
        if FileHash::new(hasher.finalize().into()) != self.item.hash {
            return Err(Stopped::ForGood(wrong_hash(self.artifact)));
        }
        Ok(sent)
    }

    async fn take(
        &self,
        window: &mut Window<Result<SentPart, S3Failure>>,
        sent: &mut Sent,
    ) -> Result<(), Stopped> {
        if let Some(part) = window.next().await {
            let part = part.map_err(|failure| self.stopped(failure))?;
            sent.kept_bytes += if part.kept { part.part.size } else { 0 };
            sent.parts.push(part.part);
        }
        Ok(())
    }

    fn stopped(&self, failure: S3Failure) -> Stopped {
        match failure.cause {
            // Taken meanwhile, or in the way of another, or aborted by somebody.
            S3Cause::Condition | S3Cause::Conflict | S3Cause::NoObject => Stopped::Again(failure),
            // Parts that somebody else replaced are no longer what the completion names.
            S3Cause::Other if failure.code.as_deref() == Some("InvalidPart") => Stopped::Again(failure),
            _ => Stopped::ForGood(failure.into_store_error("put", self.artifact)),
        }
    }

    /// An upload that nothing will continue must not stay and cost.
    async fn give_up(&self, id: &str, notes: &Notes) {
        match self.bucket.abort_upload(self.key, id).await {
            Ok(()) => notes.end().await,
            Err(failure) => {
                tracing::warn!(key = self.key, %failure, "an upload in parts could not be aborted")
            }
        }
    }
}

impl Stopped {
    /// Whether another attempt would begin anew, rather than go on with the parts that the server has.
    fn leaves_nothing_to_resume(&self) -> bool {
        match self {
            Self::Again(_) => true,
            Self::ForGood(error) => !matches!(
                error.kind(),
                StoreErrorKind::Unavailable
                    | StoreErrorKind::RateLimited
                    | StoreErrorKind::Misconfigured
                    | StoreErrorKind::PermissionDenied
            ),
        }
    }
}

/// What was sent, or was there.
#[derive(Debug, Default)]
struct Sent {
    parts: Vec<Part>,
    kept_bytes: u64,
}

#[derive(Debug)]
struct SentPart {
    part: Part,
    /// Whether the server had it.
    kept: bool,
}

async fn send_part(
    bucket: &Bucket,
    key: &str,
    begun: &Begun,
    number: u32,
    bytes: bytes::Bytes,
    notes: &Notes,
) -> Result<SentPart, S3Failure> {
    let part_hash = hash(&bytes).await;
    if let Some(part) = begun.kept(number, &bytes, part_hash).await {
        return Ok(SentPart { part, kept: true });
    }
    let mut attempt = 1;
    let part = loop {
        match bucket
            .put_part(key, &begun.id, number, bytes.clone(), part_hash)
            .await
        {
            // Damaged on the way: the same bytes once more.
            Err(failure)
                if failure.cause == S3Cause::Checksum && attempt < bucket.settings.patience.attempts =>
            {
                bucket.pause(attempt).await;
                attempt += 1;
            }
            outcome => break outcome?,
        }
    };
    if let Some(etag) = &part.etag {
        notes.part(number, etag).await;
    }
    Ok(SentPart { part, kept: false })
}

fn step(part_bytes: u64) -> usize {
    usize::try_from(part_bytes).unwrap_or(usize::MAX)
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
