#![doc = include_str!("../README.md")]

mod catalogue;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copy_out;
mod cursor;
mod error;
mod executor;
mod feed;
mod finding;
mod import;
mod index;
mod ingest;
mod manager;
mod options;
mod query;
mod sessions;
mod snapshots;
mod snippet;
mod source;
mod statistics;
mod store;
mod text_query;
mod texts;
mod verify;
pub mod words;
mod writer;

pub use cursor::{PageCursor, PageCursorError};
pub use error::ArtifactError;
pub use feed::IndexProgress;
pub use finding::{SearchResults, StatisticsResults};
pub use import::{ImportError, ImportFailure, ImportOptions, ImportReport, ImportedSession};
#[cfg(any(test, feature = "test-util"))]
pub use index::MockArtifactIndex;
pub use index::{
    ArtifactIndex, ArtifactTexts, IndexBatch, IndexError, IndexErrorKind, Matches, MemoryIndex, NoTexts,
};
pub use manager::{TestArtifactsManager, Unreadable};
pub use options::ManagerOptions;
pub use query::{ArtifactQuery, DEFAULT_LIMIT, MAX_RANKED, NamePattern, PatternError, Sort};
pub use sessions::Sessions;
pub use snippet::Snippet;
pub use source::{FileKind, SourceError};
pub use statistics::{Amount, Day, Group, LARGEST, Statistics};
#[cfg(any(test, feature = "test-util"))]
pub use store::MockArtifactStore;
pub use store::{
    ArtifactKey, ArtifactStore, ChunkSender, Chunks, KeyError, KeyPrefix, LocalStore, MemoryStore, Object,
    ObjectMeta, PutBody, PutMode, PutOptions, PutOutcome, ReceiverGone, Retry, StoreError, StoreErrorKind,
};
pub use text_query::{TextQuery, TextQueryError, TextTerm};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, VerifyScope};
pub use writer::{ArtifactReader, ArtifactWriter};
