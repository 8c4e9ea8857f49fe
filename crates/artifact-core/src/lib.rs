#![doc = include_str!("../README.md")]

mod add;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copies;
mod dir;
mod download;
mod error;
mod executor;
mod import;
mod index;
mod indexer;
mod manager;
mod options;
mod path_set;
mod retention;
mod search;
mod sessions;
mod store;
mod verify;

pub use add::source::{FileKind, SourceError, Symlinks};
pub use add::{AddProgress, ArtifactReader, ArtifactWriter, NewFile};
pub use copies::{ArtifactCopies, CopyPlace, KnownArtifact};
pub use dir::ArtifactDir;
pub use download::{Download, DownloadFile, DownloadRecord, download_name};
pub use error::ArtifactError;
pub use executor::{joined, run_blocking};
pub use import::{ImportError, ImportFailure, ImportOptions, ImportReport, ImportedSession};
#[cfg(any(test, feature = "test-util"))]
pub use index::MockArtifactIndex;
pub use index::{
    ArtifactIndex, ArtifactTexts, IndexBatch, IndexError, IndexErrorKind, Matches, MemoryIndex, NoTexts,
};
pub use indexer::IndexProgress;
pub use indexer::text_extraction::{may_have_text, text_of};
pub use manager::{TestArtifactsManager, Unreadable};
pub use options::{DEFAULT_TEXT_BYTES, ManagerOptions};
pub use retention::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, DEFAULT_FAILED_FACTOR,
    DeleteOptions, DeletedBytes, Deletion, LeftBecause, OrphanFile, OrphanMode, PlannedSession,
    RetentionPlan, RetentionPolicy, RetentionRule, SessionMeta, SpareReason, SparedMeanwhile, SparedSession,
    StatusTotals,
};
pub use search::{
    Amount, ArtifactQuery, DEFAULT_LIMIT, Day, Group, LARGEST, MAX_RANKED, NamePattern, PageCursor,
    PageCursorError, PatternError, SearchResults, Snippet, Sort, Statistics, StatisticsResults, TextQuery,
    TextQueryError, TextTerm, tokenizer,
};
pub use sessions::Sessions;
#[cfg(any(test, feature = "test-util"))]
pub use store::MockArtifactStore;
pub use store::{
    ArtifactKey, ArtifactStore, ChunkSender, Chunks, KeyError, KeyPrefix, MemoryStore, Object, ObjectMeta,
    PutBody, PutMode, PutOptions, PutOutcome, ReceiverGone, Retry, StoreError, StoreErrorKind,
};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, VerifyScope};
