#![doc = include_str!("../README.md")]

mod add;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod copies;
mod cursor;
mod dir;
mod download;
mod error;
mod executor;
mod feed;
mod finding;
mod import;
mod index;
mod manager;
mod options;
mod path_set;
mod query;
mod retention;
mod sessions;
mod snippet;
mod source;
mod statistics;
mod store;
mod text_query;
mod texts;
mod verify;
pub mod words;

pub use add::{AddProgress, ArtifactReader, ArtifactWriter, NewFile};
pub use copies::{ArtifactCopies, CopyPlace, KnownArtifact};
pub use cursor::{PageCursor, PageCursorError};
pub use dir::ArtifactDir;
pub use download::{Download, DownloadFile, DownloadRecord, download_name};
pub use error::ArtifactError;
pub use executor::{joined, run_blocking};
pub use feed::IndexProgress;
pub use finding::{SearchResults, StatisticsResults};
pub use import::{ImportError, ImportFailure, ImportOptions, ImportReport, ImportedSession};
#[cfg(any(test, feature = "test-util"))]
pub use index::MockArtifactIndex;
pub use index::{
    ArtifactIndex, ArtifactTexts, IndexBatch, IndexError, IndexErrorKind, Matches, MemoryIndex, NoTexts,
};
pub use manager::{TestArtifactsManager, Unreadable};
pub use options::{DEFAULT_TEXT_BYTES, ManagerOptions};
pub use query::{ArtifactQuery, DEFAULT_LIMIT, MAX_RANKED, NamePattern, PatternError, Sort};
pub use retention::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, DEFAULT_FAILED_FACTOR,
    DeleteOptions, DeletedBytes, Deletion, LeftBecause, OrphanFile, OrphanMode, PlannedSession,
    RetentionPlan, RetentionPolicy, RetentionRule, SessionMeta, SpareReason, SparedMeanwhile, SparedSession,
    StatusTotals,
};
pub use sessions::Sessions;
pub use snippet::Snippet;
pub use source::{FileKind, SourceError, Symlinks};
pub use statistics::{Amount, Day, Group, LARGEST, Statistics};
#[cfg(any(test, feature = "test-util"))]
pub use store::MockArtifactStore;
pub use store::{
    ArtifactKey, ArtifactStore, ChunkSender, Chunks, KeyError, KeyPrefix, MemoryStore, Object, ObjectMeta,
    PutBody, PutMode, PutOptions, PutOutcome, ReceiverGone, Retry, StoreError, StoreErrorKind,
};
pub use text_query::{TextQuery, TextQueryError, TextTerm};
pub use texts::{may_have_text, text_of};
pub use verify::{Finding, Problem, VerifyProgress, VerifyReport, VerifyScope};
