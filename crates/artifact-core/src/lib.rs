#![doc = include_str!("../README.md")]

mod catalogue;
mod cleanup;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copy_out;
mod deletion;
mod error;
mod executor;
mod finding;
mod history;
mod import;
mod index;
mod ingest;
mod manager;
mod on_disk;
mod options;
mod query;
mod recorded;
mod retention;
mod sessions;
mod snapshots;
mod source;
mod store;
mod verify;
mod writer;

pub use cleanup::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, OrphanFile, OrphanMode,
    SparedMeanwhile,
};
pub use copy_out::{Download, DownloadRecord};
pub use deletion::{DeleteOptions, DeletedBytes, Deletion};
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
pub use retention::{
    DEFAULT_FAILED_FACTOR, Held, PlannedSession, RetentionPlan, RetentionPolicy, RetentionRule, SessionMeta,
    SpareReason, SparedSession,
};
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
