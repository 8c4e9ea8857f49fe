//! Bodies of uploads: in memory if small, else a file that is read part by part, of known size and SHA-256.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use artifact_core::{ArtifactKey, PutBody, StoreError, StoreErrorKind, run_blocking};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::{SpooledData, spooled_tempfile};
use tracking_model::FileHash;

use crate::memory::{Memory, MemoryPermit};
use crate::requests::sha256;

/// Bodies of unknown length are kept in memory up to this size; longer ones wait in a temporary file.
const SPOOL_MEMORY_BYTES: usize = 1024 * 1024;
/// Larger bodies are hashed on a thread that may block.
const HASH_INLINE_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 1024 * 1024;

/// The place of the bytes.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Memory(Bytes),
    File { file: Arc<File>, start: u64 },
}

/// A body of known size and SHA-256.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) content: Content,
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    /// For bytes that were read into memory.
    _memory: Option<MemoryPermit>,
}

impl Content {
    /// Bytes `offset..offset + length`; blocks.
    pub(crate) fn read(&self, offset: u64, length: u64) -> io::Result<Bytes> {
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
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start + offset)?;
                Ok(bytes.into())
            }
        }
    }
}

/// The SHA-256 of bytes, off the executor if there are many.
pub(crate) async fn hash(bytes: &Bytes) -> FileHash {
    if bytes.len() <= HASH_INLINE_BYTES {
        return sha256(bytes);
    }
    let bytes = bytes.clone();
    run_blocking(move || sha256(&bytes)).await
}

impl Body {
    /// Finds out size and hash. Files of at most `memory_bytes` are read into memory. A longer file that has an `expected`
    /// hash is not read for it: its parts are hashed when they are sent.
    pub(crate) async fn prepare(
        memory: &Memory,
        key: &ArtifactKey,
        body: PutBody,
        limits: &BodyLimits,
    ) -> Result<Self, StoreError> {
        let failed = |error| body_error(key, error);
        let max = limits.max_bytes.unwrap_or(u64::MAX);
        let mut permit = match &body {
            PutBody::Chunks(_) => Some(memory.permit(SPOOL_MEMORY_BYTES as u64).await),
            _ => None,
        };
        let (content, size, found) = match body {
            PutBody::Bytes(bytes) => {
                let size = bytes.len() as u64;
                (Content::Memory(bytes.into()), size, None)
            }
            body => run_blocking(move || open(body, max)).await.map_err(failed)?,
        };
        if size > max {
            return Err(StoreError::new(StoreErrorKind::TooLarge, "put", key));
        }
        let content = match content {
            Content::File { .. } if size <= limits.memory_bytes => {
                drop(permit);
                permit = Some(memory.permit(size).await);
                let read = run_blocking(move || content.read(0, size)).await;
                Content::Memory(read.map_err(failed)?)
            }
            content => content,
        };
        let hash = match (found, &content, limits.expected) {
            (Some(found), ..) => found,
            (None, Content::Memory(bytes), _) => hash(bytes).await,
            (None, Content::File { .. }, Some(expected)) => expected,
            (None, Content::File { .. }, None) => {
                let content = content.clone();
                let hashed = run_blocking(move || hash_content(&content, size)).await;
                hashed.map_err(failed)?
            }
        };
        if limits.expected.is_some_and(|expected| expected != hash) {
            return Err(wrong_hash(key));
        }
        Ok(Self {
            content,
            size,
            hash,
            _memory: permit,
        })
    }
}

/// The conditions of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The SHA-256 that the bytes must have.
    pub(crate) expected: Option<FileHash>,
    /// The most bytes that may be stored.
    pub(crate) max_bytes: Option<u64>,
    /// The most bytes that are read into memory.
    pub(crate) memory_bytes: u64,
}

/// Content, size, and hash where it is known.
type Opened = (Content, u64, Option<FileHash>);

fn open(body: PutBody, max: u64) -> io::Result<Opened> {
    match body {
        PutBody::File(mut file) if file.metadata()?.is_file() => {
            let start = file.stream_position()?;
            let size = file.metadata()?.len().saturating_sub(start);
            let file = Arc::new(file);
            Ok((Content::File { file, start }, size, None))
        }
        PutBody::File(mut pipe) => spool(max, || {
            let mut chunk = Vec::new();
            Read::by_ref(&mut pipe)
                .take(READ_BYTES as u64)
                .read_to_end(&mut chunk)?;
            Ok((!chunk.is_empty()).then_some(chunk))
        }),
        PutBody::Chunks(mut chunks) => spool(max, || chunks.next_blocking()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Takes a body of unknown length, until it is longer than `max`.
fn spool(max: u64, mut next: impl FnMut() -> io::Result<Option<Vec<u8>>>) -> io::Result<Opened> {
    let (mut spool, mut hasher, mut size) = (spooled_tempfile(SPOOL_MEMORY_BYTES), Sha256::new(), 0);
    while let Some(chunk) = next()? {
        spool.write_all(&chunk)?;
        hasher.update(&chunk);
        size += chunk.len() as u64;
        if size > max {
            break;
        }
    }
    let content = match spool.into_inner() {
        SpooledData::InMemory(bytes) => Content::Memory(bytes.into_inner().into()),
        SpooledData::OnDisk(file) => Content::File {
            file: Arc::new(file),
            start: 0,
        },
    };
    Ok((content, size, Some(FileHash::new(hasher.finalize().into()))))
}

fn hash_content(content: &Content, size: u64) -> io::Result<FileHash> {
    let mut hasher = Sha256::new();
    for offset in (0..size).step_by(READ_BYTES) {
        hasher.update(content.read(offset, (size - offset).min(READ_BYTES as u64))?);
    }
    Ok(FileHash::new(hasher.finalize().into()))
}

pub(crate) fn body_error(key: &ArtifactKey, error: io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Body, "put", key).with_source(error)
}

/// The bytes have another SHA-256 than they must have.
pub(crate) fn wrong_hash(key: &ArtifactKey) -> StoreError {
    let message =
        "the bytes do not have the SHA-256 that they must have: they were changed since it was taken";
    body_error(key, io::Error::new(io::ErrorKind::InvalidData, message))
}
