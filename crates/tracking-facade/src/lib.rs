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
    CollectionId, CommandError, DEFAULT_HEARTBEAT_SECONDS, Details, NewTask, Percent, PlanId, ProgressEvent,
    Rollup, SessionId, Span, Status, StreamEvent, StreamId, Subject, TaskAction, TaskId, TaskProgress,
    TaskType, Timestamp, TransitionError, UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};
