//! Downloading: ranges side by side into a file that has another name until all of it is verified.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact_core::{StoreError, StoreErrorKind};
use tracking_model::FileHash;

use crate::bucket::{Bucket, Head, sha256};
use crate::cause::S3Cause;
use crate::content::{self, blocking};
use crate::error::S3Failure;
use crate::fetch::{Fetched, Span};
use crate::key::ObjectKey;
use crate::limits::Share;
use crate::object::S3Objects;
use crate::part_file::{Finish, PartFile};
use crate::transfer::{ProgressCallback, Reporter};
use crate::window::Window;

/// How much the first request asks for while nothing is known of the object: most are smaller.
pub(crate) const FIRST_LOOK_BYTES: u64 = 1024 * 1024;

/// What happens where there is a file of the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Existing {
    /// Fail with [`StoreErrorKind::AlreadyExists`].
    #[default]
    Keep,
    /// Replace it, in one step, once all is verified.
    Replace,
}

/// What is certain of a file once its download has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Every program sees it. After a power cut it may be lost, and must be downloaded again.
    #[default]
    Written,
    /// It outlives a power cut.
    Synced,
}

/// How something is downloaded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DownloadOptions {
    /// The SHA-256 that the bytes must have. Without it what the object says of itself is taken, which whoever altered
    /// the object could have altered too.
    pub hash: Option<FileHash>,
    /// How many bytes there must be; anything else is refused before it fills the disk.
    pub size: Option<u64>,
    /// What happens where there is a file of the name already.
    pub existing: Existing,
    /// What is certain of the file afterwards.
    pub durability: Durability,
    /// Called while bytes arrive.
    pub progress: Option<ProgressCallback>,
}

impl DownloadOptions {
    /// Sets the SHA-256 that the bytes must have.
    #[must_use]
    pub const fn with_hash(mut self, hash: FileHash) -> Self {
        self.hash = Some(hash);
        self
    }

    /// Sets how many bytes there must be.
    #[must_use]
    pub const fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Sets what happens where there is a file of the name already.
    #[must_use]
    pub const fn with_existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Sets what is certain of the file afterwards.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets what is called while bytes arrive.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// What was downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// How many bytes the file has.
    pub size: u64,
    /// Their SHA-256, which was compared.
    pub hash: FileHash,
    /// Bytes that an interrupted download had left.
    pub kept_bytes: u64,
}

impl S3Objects {
    /// Downloads an object to `path`. Until all of it is there and has the right SHA-256, the bytes are in a
    /// hidden file beside it (`.NAME.….part`); a later call goes on with what an interrupted one left there.
    ///
    /// # Errors
    /// [`NotFound`](StoreErrorKind::NotFound), [`AlreadyExists`](StoreErrorKind::AlreadyExists),
    /// [`Corrupt`](StoreErrorKind::Corrupt) if the bytes are not those that were put, what the file system refuses, and
    /// whatever S3 refuses. Nothing is under the final name then.
    ///
    /// # Cancellation
    /// Dropping the future leaves the hidden file.
    pub async fn download(
        &self,
        key: &ObjectKey,
        path: &Path,
        options: &DownloadOptions,
    ) -> Result<Downloaded, StoreError> {
        let download = Download {
            bucket: &self.bucket,
            full: self.full("get", key)?,
            key,
            path,
            options,
        };
        download.run().await
    }
}

/// One download to one file.
struct Download<'a> {
    bucket: &'a Arc<Bucket>,
    /// The key in the bucket.
    full: String,
    key: &'a ObjectKey,
    path: &'a Path,
    options: &'a DownloadOptions,
}

impl Download<'_> {
    async fn run(&self) -> Result<Downloaded, StoreError> {
        if let (Some(hash), Some(size)) = (self.options.hash, self.options.size)
            && (1..=self.bucket.settings.limits.part_bytes).contains(&size)
        {
            return self.run_small(hash, size).await;
        }
        if self.options.existing == Existing::Keep {
            let path = self.path.to_owned();
            let taken = blocking(move || path.symlink_metadata().is_ok()).await;
            if taken {
                return Err(StoreError::new(
                    StoreErrorKind::AlreadyExists,
                    "write",
                    self.path.display(),
                ));
            }
        }
        // The name of the hidden file tells what is to become of it, so another content never goes on with it.
        let hash = match self.options.hash {
            Some(hash) => hash,
            None => self.claimed_hash().await?,
        };
        let hidden = self.hidden(hash)?;
        let mut part = PartFile::open(hidden)
            .await
            .map_err(|error| self.file_error(error))?;
        let kept_bytes = part.length;
        match self.fill(&mut part).await {
            Ok(()) => {}
            Err(error) => {
                if error.kind() == StoreErrorKind::Corrupt {
                    part.discard().await;
                }
                return Err(error);
            }
        }
        let found = part.hash();
        if found != hash {
            part.discard().await;
            if kept_bytes > 0 {
                // Maybe it was what an earlier call left that was wrong.
                return Box::pin(self.run()).await;
            }
            return Err(self.wrong(found, hash));
        }
        let size = part.length;
        part.appear(self.path, self.finish())
            .await
            .map_err(|error| self.file_error(error))?;
        Ok(Downloaded {
            size,
            hash,
            kept_bytes,
        })
    }

    /// What fits one request is verified before any of it is written.
    async fn run_small(&self, hash: FileHash, size: u64) -> Result<Downloaded, StoreError> {
        let _share = self.bucket.memory.share(size).await;
        let span = Span::Part { from: 0, to: size };
        let fetched = match self.bucket.fetch(&self.full, span, None).await {
            Ok(fetched) => fetched,
            // An empty object has no range.
            Err(failure) if failure.cause == S3Cause::Range => Fetched::default(),
            Err(failure) => return Err(self.broken(failure)),
        };
        self.check_size(fetched.head.size)?;
        let bytes = fetched.bytes.into_bytes();
        let found = content::hash(&bytes).await;
        if found != hash {
            return Err(self.wrong(found, hash));
        }
        Reporter::new(size, 0, self.options.progress.clone()).add(size);
        let hidden = self.hidden(hash)?;
        PartFile::write_whole(hidden, bytes, self.path.to_owned(), self.finish())
            .await
            .map_err(|error| self.file_error(error))?;
        Ok(Downloaded {
            size,
            hash,
            kept_bytes: 0,
        })
    }

    const fn finish(&self) -> Finish {
        Finish {
            existing: self.options.existing,
            durability: self.options.durability,
        }
    }

    fn wrong(&self, found: FileHash, hash: FileHash) -> StoreError {
        self.corrupt(format!("its SHA-256 is {found} and must be {hash}"))
    }

    async fn claimed_hash(&self) -> Result<FileHash, StoreError> {
        let head = self.bucket.head(&self.full).await;
        let head = head.map_err(|failure| failure.into_store_error("head", self.key))?;
        head.metadata.file_hash.ok_or_else(|| {
            self.corrupt(
                "nobody knows its SHA-256, so it cannot be verified: neither the caller nor its metadata"
                    .to_owned(),
            )
        })
    }

    fn hidden(&self, hash: FileHash) -> Result<PathBuf, StoreError> {
        let name = self.path.file_name().ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the destination has no file name");
            self.file_error(error)
        })?;
        let tag = sha256(format!("{}\0{hash}", self.full).as_bytes()).to_string();
        let mut hidden = std::ffi::OsString::from(".");
        // Long names would no longer be names with something added; the tag alone tells them apart.
        if name.len() <= 200 {
            hidden.push(name);
            hidden.push(".");
        }
        hidden.push(tag.get(..16).unwrap_or_default());
        hidden.push(".part");
        Ok(self.path.with_file_name(hidden))
    }

    /// Appends what is missing.
    async fn fill(&self, part: &mut PartFile) -> Result<(), StoreError> {
        let first = self.first(part).await?;
        let Some((fetched, share)) = first else {
            return Ok(());
        };
        let head = fetched.head.clone();
        let total = head.size;
        let reporter = Reporter::new(total, part.length, self.options.progress.clone());
        self.append(part, fetched, share, &reporter).await?;
        let mut ranges = Ranges::new(self.bucket, &self.full, &head, part.length);
        while let Some(range) = ranges.next().await {
            let (fetched, share) = range.map_err(|failure| self.broken(failure))?;
            self.append(part, fetched, share, &reporter).await?;
        }
        if part.length != total {
            return Err(self.corrupt(format!("it ended after {} of {total} bytes", part.length)));
        }
        Ok(())
    }

    /// The first request, which tells how much there is; `None` if everything is here.
    async fn first(&self, part: &mut PartFile) -> Result<Option<(Fetched, Share)>, StoreError> {
        // A large object's other ranges must wait until this one has told which object it is.
        let part_bytes = self.bucket.settings.limits.part_bytes;
        let length = match self.options.size {
            Some(size) if size <= part_bytes => size.max(1),
            _ => FIRST_LOOK_BYTES.min(part_bytes),
        };
        loop {
            if part.length > 0 && self.options.size == Some(part.length) {
                return Ok(None);
            }
            let share = self.bucket.memory.share(length).await;
            let span = Span::Part {
                from: part.length,
                to: part.length + length,
            };
            match self.bucket.fetch(&self.full, span, None).await {
                Ok(fetched) => {
                    self.check_size(fetched.head.size)?;
                    return Ok(Some((fetched, share)));
                }
                Err(failure) if failure.cause == S3Cause::Range && part.length == 0 => {
                    // There is no range of an empty object.
                    let fetched = self.bucket.fetch(&self.full, Span::Whole, None).await;
                    let fetched = fetched.map_err(|failure| self.broken(failure))?;
                    self.check_size(fetched.head.size)?;
                    return Ok(Some((fetched, share)));
                }
                Err(failure) if failure.cause == S3Cause::Range => {
                    // As much is here as the object has, or more.
                    let head = self.bucket.head(&self.full).await;
                    let head = head.map_err(|failure| self.broken(failure))?;
                    self.check_size(head.size)?;
                    if head.size == part.length {
                        return Ok(None);
                    }
                    part.clear().await.map_err(|error| self.file_error(error))?;
                }
                Err(failure) => return Err(self.broken(failure)),
            }
        }
    }

    fn check_size(&self, size: u64) -> Result<(), StoreError> {
        match self.options.size {
            Some(expected) if expected != size => {
                Err(self.corrupt(format!("it has {size} bytes and must have {expected}")))
            }
            _ => Ok(()),
        }
    }

    async fn append(
        &self,
        part: &mut PartFile,
        fetched: Fetched,
        share: Share,
        reporter: &Reporter,
    ) -> Result<(), StoreError> {
        let length = fetched.bytes.len() as u64;
        part.append(fetched.bytes.into_bytes())
            .await
            .map_err(|error| self.file_error(error))?;
        drop(share);
        reporter.add(length);
        Ok(())
    }

    fn broken(&self, failure: S3Failure) -> StoreError {
        failure.into_store_error("get", self.key)
    }

    fn corrupt(&self, message: String) -> StoreError {
        let failure = S3Failure::new(S3Cause::Altered, self.bucket.name(), message);
        failure.into_store_error("get", self.key)
    }

    fn file_error(&self, error: io::Error) -> StoreError {
        StoreError::io("write", self.path.display(), error)
    }
}

/// The ranges of an object from some offset on, fetched side by side and taken in order.
pub(crate) struct Ranges {
    bucket: Arc<Bucket>,
    full: Arc<str>,
    etag: Option<String>,
    next: u64,
    total: u64,
    window: Window<Result<(Fetched, Share), S3Failure>>,
}

impl Ranges {
    pub(crate) fn new(bucket: &Arc<Bucket>, full: &str, head: &Head, from: u64) -> Self {
        Self {
            bucket: Arc::clone(bucket),
            full: Arc::from(full),
            etag: head.etag.clone(),
            next: from,
            total: head.size,
            window: Window::new(),
        }
    }

    /// The next range, with its share of the memory.
    pub(crate) async fn next(&mut self) -> Option<Result<(Fetched, Share), S3Failure>> {
        let memory = self.bucket.memory.clone();
        let limits = self.bucket.settings.limits;
        // Its place in the queue for memory is kept while earlier ranges are waited for.
        let mut share = None;
        loop {
            let length = limits.part_bytes.min(self.total - self.next);
            if length == 0 || self.window.len() >= limits.parts_at_once {
                return self.window.next().await;
            }
            let waiting = share.get_or_insert_with(|| {
                let memory = memory.clone();
                Box::pin(async move { memory.share(length).await })
            });
            if self.window.len() == 0 {
                let share_of_range = waiting.await;
                share = None;
                self.fetch(length, share_of_range);
                continue;
            }
            tokio::select! {
                biased;
                share_of_range = waiting => {
                    share = None;
                    self.fetch(length, share_of_range);
                }
                range = self.window.next() => return range,
            }
        }
    }

    fn fetch(&mut self, length: u64, share: Share) {
        let span = Span::Part {
            from: self.next,
            to: self.next + length,
        };
        self.next += length;
        let (bucket, full, etag) = (
            Arc::clone(&self.bucket),
            Arc::clone(&self.full),
            self.etag.clone(),
        );
        self.window.spawn(async move {
            let fetched = bucket.fetch(&full, span, etag.as_deref()).await?;
            Ok((fetched, share))
        });
    }
}
