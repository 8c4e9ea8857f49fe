//! Bodies on their way up: in memory if small, else a file that is read part by part, of known size and SHA-256.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Runs what blocks on a thread of its own.
pub(crate) use artifact_core::run_blocking as blocking;
use artifact_core::{ArtifactKey, Chunks, PutBody, StoreError, StoreErrorKind};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tracking_model::FileHash;

use crate::buffers::Buffers;
use crate::limits::Share;
use crate::store::S3Store;
use crate::upload::UploadOptions;

/// Bodies of unknown length are kept in memory up to this; what is longer waits in a file.
const STREAM_MEMORY_BYTES: u64 = 1024 * 1024;
/// Above this, hashing is left to a thread that may block.
const HASH_INLINE_BYTES: usize = 256 * 1024;
/// Bytes of a read while a file is hashed.
const READ_BYTES: usize = 1024 * 1024;

/// Where bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Memory(Bytes),
    File { file: Arc<File>, start: u64 },
}

/// A body of which everything is known.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) content: Content,
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
}

impl Content {
    /// Bytes `offset..offset + length`; blocks.
    pub(crate) fn read(&self, offset: u64, length: u64, buffers: &Buffers) -> io::Result<Bytes> {
        let too_large = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let length = usize::try_from(length).map_err(too_large)?;
        match self {
            Self::Memory(bytes) => {
                let offset = usize::try_from(offset).map_err(too_large)?;
                if bytes.len() < offset + length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(bytes.slice(offset..offset + length))
            }
            Self::File { file, start } => {
                let mut buffer = buffers.take(length);
                file.read_exact_at(buffer.of_length(length), start + offset)?;
                Ok(buffer.into_bytes())
            }
        }
    }
}

/// The SHA-256 of bytes, off the executor if there are many.
pub(crate) async fn hash(bytes: &Bytes) -> FileHash {
    if bytes.len() <= HASH_INLINE_BYTES {
        return crate::bucket::sha256(bytes);
    }
    let bytes = bytes.clone();
    blocking(move || crate::bucket::sha256(&bytes)).await
}

impl S3Store {
    /// Finds out size and hash, and takes a share of the memory for what is held in it.
    pub(crate) async fn prepare(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &UploadOptions,
    ) -> Result<(Prepared, Option<Share>), StoreError> {
        let limit = options.max_bytes.unwrap_or(u64::MAX);
        let (content, size, found, share) = match body {
            PutBody::Bytes(bytes) => {
                let size = bytes.len() as u64;
                (Content::Memory(bytes.into()), size, None, None)
            }
            PutBody::File(file) => self.prepare_file(key, file, limit).await?,
            PutBody::Chunks(chunks) => self.prepare_stream(key, chunks, limit).await?,
            _ => return Err(body_error(key, io::ErrorKind::Unsupported.into())),
        };
        if size > limit {
            return Err(StoreError::new(StoreErrorKind::TooLarge, "put", key));
        }
        let (content, share) = self.load_if_small(key, content, size, share).await?;
        let hash = match (found, &content, options.hash) {
            (Some(found), _, _) => found,
            (None, Content::Memory(bytes), _) => hash(bytes).await,
            // It is compared while the parts are read.
            (None, Content::File { .. }, Some(expected)) => expected,
            (None, Content::File { file, start }, None) => {
                let (file, start) = (Arc::clone(file), *start);
                let hashed = blocking(move || hash_file(&file, start, size)).await;
                hashed.map_err(|error| body_error(key, error))?
            }
        };
        if options.hash.is_some_and(|expected| expected != hash) {
            return Err(wrong_hash(key));
        }
        Ok((Prepared { content, size, hash }, share))
    }

    /// A file of at most one part is read at once; a larger one stays where it is.
    async fn load_if_small(
        &self,
        key: &ArtifactKey,
        content: Content,
        size: u64,
        share: Option<Share>,
    ) -> Result<(Content, Option<Share>), StoreError> {
        if matches!(content, Content::Memory(_)) || size > self.bucket().settings.limits.part_bytes {
            return Ok((content, share));
        }
        let share = self.bucket().memory.share(size).await;
        let buffers = self.bucket().buffers.clone();
        let bytes = blocking(move || content.read(0, size, &buffers)).await;
        let bytes = bytes.map_err(|error| body_error(key, error))?;
        Ok((Content::Memory(bytes), Some(share)))
    }

    async fn prepare_file(&self, key: &ArtifactKey, file: File, limit: u64) -> Result<Found, StoreError> {
        // Most files are small: looking, reading and hashing them is one trip to a thread that may block.
        let share = self.bucket().memory.share(HASH_INLINE_BYTES as u64).await;
        let buffers = self.bucket().buffers.clone();
        let looked = blocking(move || look(file, &buffers)).await;
        match looked.map_err(|error| body_error(key, error))? {
            Looked::Small(bytes, hash) => {
                let size = bytes.len() as u64;
                Ok((Content::Memory(bytes), size, Some(hash), Some(share)))
            }
            Looked::Large(content, size) => Ok((content, size, None, None)),
            Looked::NoFile(pipe) => self.prepare_pipe(key, pipe, limit).await,
        }
    }

    /// What is no regular file has no length to ask for.
    async fn prepare_pipe(&self, key: &ArtifactKey, mut file: File, limit: u64) -> Result<Found, StoreError> {
        let dir = self.bucket().settings.spool_dir.clone();
        let spooled = blocking(move || {
            let mut spool = Spool::create(&dir)?;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let read = read_some(&mut file, &mut buffer)?;
                if read == 0 {
                    return Ok(spool);
                }
                spool.write(buffer.get(..read).unwrap_or_default())?;
                if spool.size > limit {
                    return Ok(spool);
                }
            }
        });
        let spool = spooled.await.map_err(|error| body_error(key, error))?;
        Ok(spool.found())
    }

    async fn prepare_stream(
        &self,
        key: &ArtifactKey,
        mut chunks: Chunks,
        limit: u64,
    ) -> Result<Found, StoreError> {
        let share = self.bucket().memory.share(STREAM_MEMORY_BYTES).await;
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await.map_err(|error| body_error(key, error))? {
            bytes.extend_from_slice(&chunk);
            let size = bytes.len() as u64;
            if size > limit {
                return Err(StoreError::new(StoreErrorKind::TooLarge, "put", key));
            }
            if size > STREAM_MEMORY_BYTES {
                drop(share);
                return self.spool_stream(key, bytes, chunks, limit).await;
            }
        }
        let size = bytes.len() as u64;
        Ok((Content::Memory(bytes.into()), size, None, Some(share)))
    }

    async fn spool_stream(
        &self,
        key: &ArtifactKey,
        first: Vec<u8>,
        mut chunks: Chunks,
        limit: u64,
    ) -> Result<Found, StoreError> {
        let dir = self.bucket().settings.spool_dir.clone();
        let spooled = blocking(move || {
            let mut spool = Spool::create(&dir)?;
            spool.write(&first)?;
            while let Some(chunk) = chunks.next_blocking()? {
                spool.write(&chunk)?;
                if spool.size > limit {
                    break;
                }
            }
            Ok(spool)
        });
        let spool = spooled.await.map_err(|error| body_error(key, error))?;
        Ok(spool.found())
    }
}

/// What a body that is said to be a file turns out to be.
enum Looked {
    Small(Bytes, FileHash),
    Large(Content, u64),
    NoFile(File),
}

fn look(mut file: File, buffers: &Buffers) -> io::Result<Looked> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Looked::NoFile(file));
    }
    let start = file.stream_position()?;
    let size = metadata.len().saturating_sub(start);
    let content = Content::File {
        file: Arc::new(file),
        start,
    };
    if size > HASH_INLINE_BYTES as u64 {
        return Ok(Looked::Large(content, size));
    }
    let bytes = content.read(0, size, buffers)?;
    let hash = crate::bucket::sha256(&bytes);
    Ok(Looked::Small(bytes, hash))
}

/// Content, size, hash where it is known already, and the memory that it takes.
type Found = (Content, u64, Option<FileHash>, Option<Share>);

/// A file without a name that a body of unknown length waits in.
struct Spool {
    file: File,
    hasher: Sha256,
    size: u64,
}

impl Spool {
    fn create(dir: &std::path::Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(dir)?,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn found(self) -> Found {
        let content = Content::File {
            file: Arc::new(self.file),
            start: 0,
        };
        (
            content,
            self.size,
            Some(FileHash::new(self.hasher.finalize().into())),
            None,
        )
    }
}

fn hash_file(file: &File, start: u64, size: u64) -> io::Result<FileHash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from((size - offset).min(READ_BYTES as u64)).unwrap_or(READ_BYTES);
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(piece, start + offset)?;
        hasher.update(piece);
        offset += wanted as u64;
    }
    Ok(FileHash::new(hasher.finalize().into()))
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

pub(crate) fn body_error(key: &ArtifactKey, error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Body, "put", key).with_source(error)
}

/// The bytes are not those that they are said to be.
pub(crate) fn wrong_hash(key: &ArtifactKey) -> StoreError {
    let message =
        "the bytes do not have the SHA-256 that they must have: they were changed since it was taken";
    body_error(key, io::Error::new(io::ErrorKind::InvalidData, message))
}
