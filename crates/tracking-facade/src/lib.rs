//! All that an upgrade agent needs: one builder, progress and artifacts of one upgrade on the embedded default, a
//! data directory and nothing else. What it re-exports is enough to write an agent with this crate alone.
//!
//! ```
#![doc = include_str!("../examples/agent.rs")]
//! ```
//!
//! The evidence of an upgrade is kept by [`TestArtifactsManager`], whose methods are those of the Python implementation:
//!
//! ```
#![doc = include_str!("../examples/artifacts.rs")]
//! ```
//!
//! [`blocking`] is the same for agents without async. [`Archive`] is for whoever looks at a data directory or looks
//! after it: all upgrades, search, verification, import and export.
//!
//! # Invariants
//! - A call that returned `Ok` is durable; no sink, slow or dead, delays or fails it.
//! - Every task that this crate starts ends with [`Tracking::shutdown`], which says what it could not finish.
//! - This crate decides nothing about upgrades and artifacts; it joins the crates that do.
//!
//! # Threads
//! Where the system refuses a thread of this crate (`ulimit -u`, a limit of a control group), the call returns an error
//! or does its work on the caller's thread. [`runtime`] builds runtimes that keep their threads, and [`blocking`] uses
//! one. In a runtime of your own, `tokio::task::spawn_blocking` panics if tokio has no thread for blocking work yet and
//! the system refuses the first; async calls of this crate use it. Start the runtime's first blocking task early and set
//! `thread_keep_alive` to a long time, as [`runtime`] does, and later calls wait for that thread instead.

/// The examples of the project's front page compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod front_page {}

mod archive;
mod artifacts;
pub mod blocking;
mod builder;
mod error;
#[cfg(feature = "eventbridge")]
pub mod eventbridge;
mod import;
pub mod live;
mod outcomes;
mod relays;
pub mod runtime;
#[cfg(feature = "s3")]
pub mod s3;
mod tracking;
mod verify;
mod viewers;

pub use archive::{Archive, LatestUpgrade, UpgradeView};
pub use artifacts::open_artifacts;
pub use builder::{Problem, TrackingBuilder};
pub use error::{ErrorKind, TrackingError};
pub use import::{ArchiveImport, ImportSources};
pub use outcomes::session_outcome;
pub use relays::{Deliveries, FollowedUpgrade, SinkSet, Undrained};
pub use tracking::{ShutdownReport, Tracking};
pub use verify::{ArchiveProgress, ArchiveReport, StreamReport, WrongCheckpoint};

pub use artifact_core::ImportReport as SessionImport;
pub use artifact_core::{
    AddProgress, Amount, ArtifactError, ArtifactQuery, ArtifactReader, ArtifactWriter, CleanupFailure,
    CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, DEFAULT_FAILED_FACTOR, Day, DeleteOptions,
    DeletedBytes, Deletion, Download, DownloadRecord, FileKind, Finding, ImportError, IndexError,
    IndexErrorKind, IndexProgress, LeftBecause, ManagerOptions, NamePattern, NewFile, OrphanFile, OrphanMode,
    PageCursor, PageCursorError, PatternError, PlannedSession, RetentionPlan, RetentionPolicy, RetentionRule,
    SearchResults, SessionMeta, Sessions, Snippet, Sort, SourceError, SpareReason, SparedMeanwhile,
    SparedSession, Statistics, StatisticsResults, StatusTotals, StoreErrorKind, Symlinks,
    TestArtifactsManager, TextQuery, TextQueryError, Unreadable, VerifyProgress, VerifyReport, VerifyScope,
};
pub use progress_core::{
    Agent, CallbackGuard, CallbackInfo, CompleteOptions, Estimate, EstimateBasis, History, ImportReport,
    ImportedUpgrade, NewUpgrade, PendingCommand, ProgressError, ProgressTracker, ProgressTrackerOptions,
    RecentEvent, SkipReason, SkippedFile, SystemInfo, TaskReport, Unfinished, UpgradeCommit, UpgradeEntry,
    UpgradeHeader, estimate_task, estimate_upgrade, import_reference,
};
pub use tracking_journal::storage;
pub use tracking_journal::{
    ChainHash, Clock, Commit, Committed, Cursor, CursorError, Damage, DataDir, DataDirError, Delivery,
    EventSink, ExpectedHead, Follower, HashError, Head, JournalError, JournalOptions, JournalReader,
    LeaseHolder, Liveness, MemorySink, Parked, Receipt, Record, RecoveryReport, RepairReport, RetryRequest,
    Salvage, SinkName, SinkStatus, SubmitError, Subscription, SubscriptionError, SystemClock, Verification,
};
pub use tracking_model::{
    Artifact, ArtifactChange, ArtifactChangeKind, ArtifactDownloaded, ArtifactId, ArtifactStatus,
    ArtifactType, Collection, CollectionCreated, CollectionId, CommandError, CurrentTask,
    DEFAULT_HEARTBEAT_SECONDS, Details, EventHistory, FileHash, IdError, IfPinned, MAX_DETAILS_BYTES,
    NewArtifact, NewCollection, NewSession, NewTask, Percent, PlanId, ProgressEvent, ProgressEventMessage,
    RecordMeta, Rollup, Session, SessionCommandError, SessionCompleted, SessionCreated, SessionEvent,
    SessionId, SessionImported, SessionOutcome, SessionOutcomeSet, SessionPinned, SessionSummary, Snapshot,
    Span, Status, StreamEvent, StreamId, Subject, Summary, TaskAction, TaskChange, TaskId, TaskProgress,
    TaskTree, TaskType, TextError, Timestamp, TransitionError, TreeRow, UpgradeChange, UpgradeCommand,
    UpgradeEvent, UpgradeId, UpgradeMirror, UpgradeProgress, Waiting,
};
