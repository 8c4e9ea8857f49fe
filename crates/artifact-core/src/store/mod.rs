//! Where the bytes of artifacts are: the trait of all stores, and those of this crate.

mod body;
mod error;
mod key;
mod memory;

use std::fmt::Debug;

use async_trait::async_trait;
use tracking_model::FileHash;

pub(crate) use body::CHUNK_BYTES;
pub use body::{ChunkSender, Chunks, PutBody, ReceiverGone};
pub use error::{Retry, StoreError, StoreErrorKind};
pub use key::{ArtifactKey, KeyError, KeyPrefix};
pub use memory::MemoryStore;

/// The behaviour where a key is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PutMode {
    /// Fail with [`StoreErrorKind::AlreadyExists`].
    #[default]
    Create,
    /// Take the next free name: `log.txt`, `log-2.txt`, `log-3.txt`.
    Numbered,
}

/// How bytes are put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// The behaviour where the key is taken.
    pub mode: PutMode,
    /// The most bytes that may be stored; more is [`StoreErrorKind::TooLarge`].
    pub max_bytes: Option<u64>,
}

impl PutOptions {
    /// Sets what is to happen where the key is taken.
    #[must_use]
    pub const fn with_mode(mut self, mode: PutMode) -> Self {
        self.mode = mode;
        self
    }

    /// Limits how much is stored.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }
}

/// The stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// The key that was used.
    pub key: ArtifactKey,
    /// Size in bytes.
    pub size: u64,
    /// Their SHA-256.
    pub hash: FileHash,
}

/// The properties of an object that a store knows without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its key.
    pub key: ArtifactKey,
    /// Size in bytes.
    pub size: u64,
}

/// An object's bytes on their way out.
#[derive(Debug)]
pub struct Object {
    /// The properties of the object.
    pub meta: ObjectMeta,
    /// Its bytes.
    pub body: Chunks,
}

/// A place that keeps the bytes of artifacts, immutable, under keys.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
#[async_trait]
pub trait ArtifactStore: Debug + Send + Sync + 'static {
    /// The name of the store in messages: `local`, `memory`, `s3`.
    fn name(&self) -> &'static str;

    /// Stores `body` whole or not at all; it is durable, and seen by every call, once this returns. An object is never
    /// replaced: [`PutOptions::mode`] says what happens where the key is taken. Dropping the future may leave the
    /// object stored, never a part of it.
    async fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError>;

    /// Opens an object to read; [`StoreErrorKind::NotFound`] if there is none.
    async fn get(&self, key: &ArtifactKey) -> Result<Object, StoreError>;

    /// Tells all objects whose keys have the prefix, in no particular order; none is not an error.
    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError>;

    /// Deletes an object. Deleting what is not there succeeds.
    async fn delete(&self, key: &ArtifactKey) -> Result<(), StoreError>;
}
