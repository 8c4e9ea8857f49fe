#![doc = include_str!("../README.md")]

mod artifact;
mod artifact_guess;
mod causes;
mod check;
mod command;
mod event;
mod file_name;
mod fold;
mod id;
mod message;
mod mirror;
mod named;
mod percent;
mod reference;
mod rollup;
mod session;
mod session_change;
mod session_check;
mod session_command;
mod session_counts;
mod session_event;
mod session_refusal;
mod session_snapshot;
mod session_summary;
mod snapshot;
mod status;
mod summary;
mod task;
mod text;
mod time;
mod tree;
mod unique;
mod upgrade;

pub use artifact::{Artifact, ArtifactName, ArtifactStatus, ArtifactType, FileHash, FileHashError};
pub use causes::{causes, with_causes};
pub use command::{CommandError, MAX_DEPTH, NewTask, TaskAction, UpgradeCommand};
pub use event::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Heartbeat, MAX_WEIGHT, Steps, TaskAdded, TaskChange,
    TaskChangeKind, UpgradeChange, UpgradeChangeKind, UpgradeCreated, UpgradeEvent, UpgradeImported, Waiting,
};
pub use file_name::{
    MAX_FILE_NAME_BYTES, is_safe_segment, numbered_file_name, percent_decode, percent_encode,
    stored_file_name,
};
pub use fold::{DecodeError, EventId, Fold, RecordMeta, StreamEvent};
pub use id::{
    ArtifactId, CollectionId, IdError, IdRule, MAX_ENCODED_ID_BYTES, MAX_ID_BYTES, PlanId, SessionId,
    StreamId, TaskId, UpgradeId, check_id,
};
pub use message::{ArtifactEventMessage, ProgressEventMessage};
pub use mirror::UpgradeMirror;
pub use named::UnknownName;
pub use percent::{Percent, PercentError};
pub use reference::{ReferenceArtifact, ReferenceError, ReferenceKind, ReferenceSession};
pub use rollup::Rollup;
pub use session::{ClockContradiction, Collection, Session, SessionOutcome};
pub use session_command::{
    AddArtifact, ArtifactAction, ChangeArtifact, DEFAULT_RETENTION_DAYS, ExpireArtifacts, IfPinned,
    ImportSession, MAX_ARTIFACT_NAME_BYTES, MAX_TAGS, NewArtifact, NewCollection, NewSession, SessionCommand,
    StoredFile,
};
pub use session_counts::ArtifactCounts;
pub use session_event::{
    ArtifactChange, ArtifactChangeKind, ArtifactDownloaded, CollectionCreated, SessionCompleted,
    SessionCreated, SessionEvent, SessionImported, SessionOutcomeSet, SessionPinned,
};
pub use session_refusal::SessionCommandError;
pub use session_snapshot::{SessionSnapshot, SnapshotArtifacts};
pub use session_summary::{ArtifactTypeCounts, SessionSummary};
pub use snapshot::{EventHistory, Snapshot};
pub use status::{Status, Subject, TaskType, TransitionError};
pub use summary::{CurrentTask, Summary, WaitingTask};
pub use task::{ProgressEvent, RECENT_EVENTS, TaskProgress};
pub use text::{
    Details, MAX_DETAILS_BYTES, MAX_NAME_BYTES, MAX_TEXT_BYTES, TextError, check_name, check_text,
};
pub use time::{Span, TimeError, Timestamp};
pub use tree::{TaskTree, TreeRow};
pub use unique::new_uuid;
pub use upgrade::UpgradeProgress;
