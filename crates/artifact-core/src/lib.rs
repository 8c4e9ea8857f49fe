#![doc = include_str!("../README.md")]

mod catalogue;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copy_out;
mod error;
mod executor;
mod finding;
mod import;
mod index;
mod ingest;
mod manager;
mod options;
mod query;
mod sessions;
mod snapshots;
mod source;
mod store;
mod verify;
mod writer;

pub use error::ArtifactError;
pub use finding::SearchResults;
pub use import::{ImportError, ImportFailure, ImportOptions, ImportReport, ImportedSession};
#[cfg(any(test, feature = "test-util"))]
pub use index::MockArtifactIndex;
pub use index::{ArtifactIndex, IndexBatch, IndexError, Matches, MemoryIndex};
pub use ingest::{AddProgress, NewFile};
pub use manager::{TestArtifactsManager, Unreadable};
pub use options::ManagerOptions;
pub use query::{ArtifactQuery, DEFAULT_LIMIT, NamePattern, PatternError, Sort};
pub use sessions::Sessions;
pub use source::{FileKind, SourceError, Symlinks};
#[cfg(any(test, feature = "test-util"))]
pub use store::MockArtifactStore;
pub use store::{
    ArtifactKey, ArtifactStore, ChunkSender, Chunks, KeyError, KeyPrefix, LocalStore, MemoryStore, Object,
    ObjectMeta, PutBody, PutMode, PutOptions, PutOutcome, ReceiverGone, Retry, StoreError, StoreErrorKind,
};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, VerifyScope};
pub use writer::{ArtifactReader, ArtifactWriter};
