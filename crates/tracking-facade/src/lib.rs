//! One builder for an upgrade agent.

mod archive;
mod error;

pub use archive::{Archive, UpgradeEntry, UpgradeView};
pub use error::{ErrorKind, TrackingError};

pub use progress_core::{
    CallbackGuard, CompleteOptions, NewUpgrade, PendingCommand, ProgressError, ProgressTracker,
    ProgressTrackerOptions, TaskReport, Unfinished, UpgradeCommit,
};
pub use tracking_journal::{
    Clock, DataDir, DataDirError, Follower, Head, JournalError, JournalReader, Record, RecoveryReport,
    SubmitError, Subscription, SubscriptionError, SystemClock,
};
pub use tracking_model::{
    CollectionId, CommandError, CurrentTask, DEFAULT_HEARTBEAT_SECONDS, Details, EventHistory, NewTask,
    Percent, PlanId, ProgressEvent, ProgressEventMessage, Rollup, SessionId, Snapshot, Span, Status,
    StreamEvent, StreamId, Subject, Summary, TaskAction, TaskId, TaskProgress, TaskTree, TaskType, Timestamp,
    TransitionError, TreeRow, UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};
