//! One builder for an upgrade agent.

mod archive;
mod builder;
mod error;
mod tracking;
mod verify;

pub use archive::{Archive, UpgradeView};
pub use builder::{Problem, TrackingBuilder};
pub use error::{ErrorKind, TrackingError};
pub use tracking::{ShutdownReport, Tracking};
pub use verify::{ArchiveProgress, ArchiveReport, StreamReport};

pub use artifact_core::{
    ArtifactError, ArtifactQuery, ArtifactReader, ArtifactWriter, Finding, ManagerOptions, NamePattern,
    SearchResults, Sessions, Sort, SourceError, TestArtifactsManager, Unreadable, VerifyProgress,
    VerifyReport, VerifyScope,
};
pub use progress_core::{
    Agent, CallbackGuard, CompleteOptions, Estimate, EstimateBasis, ImportReport, ImportedUpgrade,
    NewUpgrade, PendingCommand, ProgressError, ProgressTracker, ProgressTrackerOptions, SkipReason,
    SkippedFile, SystemInfo, TaskReport, Unfinished, UpgradeCommit, UpgradeEntry, UpgradeHeader,
    import_reference,
};
pub use tracking_journal::{
    ChainHash, Clock, Commit, Committed, Damage, DataDir, DataDirError, ExpectedHead, Follower, HashError,
    Head, JournalError, JournalOptions, JournalReader, Liveness, Record, RecoveryReport, RepairReport,
    Salvage, SubmitError, Subscription, SubscriptionError, SystemClock, Verification,
};
pub use tracking_model::{
    Artifact, ArtifactId, ArtifactStatus, ArtifactType, Collection, CollectionId, CommandError, CurrentTask,
    DEFAULT_HEARTBEAT_SECONDS, Details, EventHistory, FileHash, NewArtifact, NewCollection, NewSession,
    NewTask, Percent, PlanId, ProgressEvent, ProgressEventMessage, Rollup, Session, SessionCommandError,
    SessionId, SessionOutcome, SessionSummary, Snapshot, Span, Status, StreamEvent, StreamId, Subject,
    Summary, TaskAction, TaskId, TaskProgress, TaskTree, TaskType, Timestamp, TransitionError, TreeRow,
    UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};
