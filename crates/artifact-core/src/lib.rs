#![doc = include_str!("../README.md")]

mod catalogue;
mod cleanup;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copies;
mod copy_out;
mod cursor;
mod deletion;
mod error;
mod executor;
mod feed;
mod finding;
mod history;
mod import;
mod index;
mod ingest;
mod live;
mod manager;
mod on_disk;
mod options;
mod query;
mod recorded;
mod retention;
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

pub use cleanup::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, LeftBecause, OrphanFile,
    OrphanMode, SparedMeanwhile,
};
pub use copies::{ArtifactCopies, CopyPlace};
pub use copy_out::{Download, DownloadRecord, download_name};
pub use cursor::{PageCursor, PageCursorError};
pub use deletion::{DeleteOptions, DeletedBytes, Deletion};
pub use error::ArtifactError;
pub use executor::{joined, off_executor};
pub use feed::IndexProgress;
pub use finding::{SearchResults, StatisticsResults};
pub use import::{ImportError, ImportFailure, ImportOptions, ImportReport, ImportedSession};
#[cfg(any(test, feature = "test-util"))]
pub use index::MockArtifactIndex;
pub use index::{
    ArtifactIndex, ArtifactTexts, IndexBatch, IndexError, IndexErrorKind, Matches, MemoryIndex, NoTexts,
};
pub use ingest::{AddProgress, NewFile};
pub use manager::{TestArtifactsManager, Unreadable};
pub use options::{DEFAULT_TEXT_BYTES, ManagerOptions};
pub use query::{ArtifactQuery, DEFAULT_LIMIT, MAX_RANKED, NamePattern, PatternError, Sort};
pub use retention::{
    DEFAULT_FAILED_FACTOR, Held, PlannedSession, RetentionPlan, RetentionPolicy, RetentionRule, SessionMeta,
    SpareReason, SparedSession,
};
pub use sessions::Sessions;
pub use snippet::Snippet;
pub use source::{FileKind, SourceError, Symlinks};
pub use statistics::{Amount, Day, Group, LARGEST, Statistics};
#[cfg(any(test, feature = "test-util"))]
pub use store::MockArtifactStore;
pub use store::{
    ArtifactKey, ArtifactStore, ChunkSender, Chunks, KeyError, KeyPrefix, LocalStore, MemoryStore, Object,
    ObjectMeta, PutBody, PutMode, PutOptions, PutOutcome, ReceiverGone, Retry, StoreError, StoreErrorKind,
};
pub use text_query::{TextQuery, TextQueryError, TextTerm};
pub use texts::{may_have_text, text_of};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, VerifyScope};
pub use writer::{ArtifactReader, ArtifactWriter};
