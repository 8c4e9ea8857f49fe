//! Reading objects: ranges side by side, in order, through connections that break; as a stream, or into a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use artifact_core::{
    ArtifactKey, ChunkSender, Chunks, DownloadFile, Object, ObjectMeta, StoreError, joined, run_blocking,
};
use aws_connect::{Cause, Failure};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;
use tracking_model::FileHash;

use crate::body::hash;
use crate::error::store_error;
use crate::key::ObjectKey;
use crate::memory::MemoryPermit;
use crate::object::S3Objects;
use crate::range::Range;
use crate::requests::{Head, sha256};
use crate::store::S3Store;
use crate::transfer::{ProgressCallback, Reporter};

/// Bytes of the first request for an object of unknown size: most are smaller.
const FIRST_BYTES: u64 = 1024 * 1024;
/// Ranges of one object at once.
const RANGES_AT_ONCE: usize = 6;

/// Options of a download into a file.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DownloadOptions {
    /// The SHA-256 that the bytes must have. The default is the object's metadata, which somebody who altered the object
    /// could have altered too.
    pub hash: Option<FileHash>,
    /// The size that the object must have; another is refused before it fills the disk.
    pub size: Option<u64>,
    /// Called with the progress.
    pub progress: Option<ProgressCallback>,
}

impl DownloadOptions {
    /// Sets the SHA-256 that the bytes must have.
    #[must_use]
    pub const fn with_hash(mut self, hash: FileHash) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Sets the size that the object must have.
    #[must_use]
    pub const fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets the callback for progress.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// A downloaded object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the bytes, which was compared.
    pub hash: FileHash,
}

/// An object of which the first bytes were read.
struct Opened {
    head: Head,
    first: Bytes,
    memory: MemoryPermit,
}

impl S3Objects {
    /// Downloads an object to `path`, which must be free. The file appears when all of it is durable and has the right
    /// SHA-256.
    ///
    /// # Errors
    /// [`NotFound`](artifact_core::StoreErrorKind::NotFound), [`AlreadyExists`](artifact_core::StoreErrorKind::AlreadyExists),
    /// [`Corrupt`](artifact_core::StoreErrorKind::Corrupt) if the bytes are not those that were put, what the file system refuses, and
    /// whatever S3 refuses. There is no file at `path` then.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing.
    pub async fn download(
        &self,
        key: &ObjectKey,
        path: &Path,
        options: &DownloadOptions,
    ) -> Result<Downloaded, StoreError> {
        let file_error = |error| StoreError::io("write", path.display(), error);
        let full = self.full("get", key)?;
        let (target, tag) = (path.to_owned(), sha256(full.as_bytes()).to_string());
        let file = run_blocking(move || DownloadFile::create(&target, &tag)).await;
        let mut file = file.map_err(file_error)?;
        let opened = self.open(&full, options.size).await;
        let opened = opened.map_err(|failure| store_error(failure, "get", key))?;
        let size = opened.head.size;
        if let Some(expected) = options.size.filter(|expected| *expected != size) {
            let message = format!("it has {size} bytes and must have {expected}");
            return Err(self.bucket.error(Cause::Altered, "get", key, message));
        }
        let Some(expected) = options.hash.or(opened.head.metadata.file_hash) else {
            let message =
                "nobody knows its SHA-256, so it cannot be verified: neither the caller nor its metadata";
            return Err(self.bucket.error(Cause::Altered, "get", key, message));
        };
        let reporter = Reporter::new(size, options.progress.clone());
        let mut ranges = std::pin::pin!(self.ranges(&full, opened));
        while let Some(range) = ranges.next().await {
            let (bytes, _memory) = range.map_err(|failure| store_error(failure, "get", key))?;
            let length = bytes.len() as u64;
            let written = run_blocking(move || file.write(&bytes).map(|()| file)).await;
            file = written.map_err(file_error)?;
            reporter.add(length);
        }
        let found = file.hash();
        if found != expected {
            let message = format!("its SHA-256 is {found} and must be {expected}");
            return Err(self.bucket.error(Cause::Altered, "get", key, message));
        }
        let published = run_blocking(move || file.publish()).await;
        published.map_err(file_error)?;
        Ok(Downloaded { size, hash: expected })
    }

    /// Reads the first bytes of an object: all of it if it has `size` bytes and fits one part.
    async fn open(&self, full: &str, size: Option<u64>) -> Result<Opened, Failure> {
        let part_bytes = self.bucket.settings.part_bytes;
        let length = match size {
            Some(size) if size <= part_bytes => size.max(1),
            _ => FIRST_BYTES.min(part_bytes),
        };
        let memory = self.bucket.memory.permit(length).await;
        let first = self.bucket.read(full, Range::Bytes(0..length), None).await;
        let read = match first {
            // An empty object has no range.
            Err(failure) if failure.cause == Cause::InvalidRange => {
                self.bucket.read(full, Range::All, None).await?
            }
            read => read?,
        };
        Ok(Opened {
            head: read.head,
            first: read.bytes.into(),
            memory,
        })
    }

    /// All bytes of an object, in order. Dropping the stream ends its requests.
    fn ranges(
        &self,
        full: &str,
        opened: Opened,
    ) -> impl Stream<Item = Result<(Bytes, MemoryPermit), Failure>> + Send + use<> {
        let Opened { head, first, memory } = opened;
        let (bucket, full) = (Arc::clone(&self.bucket), Arc::<str>::from(full));
        let part_bytes = bucket.settings.part_bytes;
        let at_once = RANGES_AT_ONCE.min(bucket.settings.concurrency);
        let (limit, total) = (bucket.memory.clone(), head.size);
        let step = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        let starts = (first.len() as u64..total).step_by(step);
        let rest = stream::iter(starts)
            // One after the other, so that no later range takes the memory that an earlier one needs.
            .then(move |start| {
                let limit = limit.clone();
                let end = (start + part_bytes).min(total);
                async move { (start..end, limit.permit(end - start).await) }
            })
            .map(move |(range, memory)| {
                let (bucket, full, etag) = (Arc::clone(&bucket), Arc::clone(&full), head.etag.clone());
                let reads = bucket.reads.clone();
                AbortOnDropHandle::new(reads.spawn(async move {
                    let read = bucket.read(&full, Range::Bytes(range), etag.as_deref()).await?;
                    Ok((Bytes::from(read.bytes), memory))
                }))
            })
            .buffered(at_once)
            .map(joined);
        stream::once(std::future::ready(Ok((first, memory)))).chain(rest)
    }
}

impl S3Store {
    /// Opens an artifact as a stream, whose end is announced only if all bytes have the SHA-256 of the metadata.
    pub(crate) async fn open_stream(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        let full = self.objects.full("get", &ObjectKey::from(key))?;
        let failed = |failure| store_error(failure, "get", key);
        let opened = self.objects.open(&full, None).await.map_err(failed)?;
        let expected = opened.head.metadata.file_hash;
        let meta = ObjectMeta {
            key: key.clone(),
            size: opened.head.size,
        };
        if opened.first.len() as u64 == meta.size {
            let found = hash(&opened.first).await;
            if expected.is_some_and(|expected| expected != found) {
                let message = altered(found);
                return Err(self.bucket().error(Cause::Altered, "get", key, message));
            }
            let body = Chunks::from_bytes(opened.first.into());
            return Ok(Object { meta, body });
        }
        let (sender, body) = Chunks::channel();
        let ranges = self.objects.ranges(&full, opened);
        self.bucket().reads.spawn(feed(sender, ranges, expected));
        Ok(Object { meta, body })
    }
}

/// Hands the bytes on in order. A receiver that is gone ends it, and wants neither an error nor an end.
async fn feed(
    sender: ChunkSender,
    ranges: impl Stream<Item = Result<(Bytes, MemoryPermit), Failure>>,
    expected: Option<FileHash>,
) {
    let mut hasher = Sha256::new();
    let mut ranges = std::pin::pin!(ranges);
    while let Some(range) = ranges.next().await {
        let (bytes, _memory) = match range {
            Ok(read) => read,
            Err(failure) => {
                sender.fail(io::Error::other(failure)).await.ok();
                return;
            }
        };
        let (bytes, so_far) = run_blocking(move || {
            hasher.update(&bytes);
            (bytes, hasher)
        })
        .await;
        hasher = so_far;
        if sender.send(bytes.into()).await.is_err() {
            return;
        }
    }
    let found = FileHash::new(hasher.finalize().into());
    if expected.is_some_and(|expected| expected != found) {
        let error = io::Error::new(io::ErrorKind::InvalidData, altered(found));
        sender.fail(error).await.ok();
    } else {
        sender.finish().await.ok();
    }
}

fn altered(found: FileHash) -> String {
    format!("its SHA-256 is {found}, which is not what its metadata says")
}
