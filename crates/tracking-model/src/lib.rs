//! The model of upgrade tracking: ids, statuses, events, the state machine and the folds. No I/O, no async, no clock.
mod check;
mod command;
mod event;
mod fold;
mod id;
mod percent;
mod reference;
mod rollup;
mod status;
mod task;
mod text;
mod time;
mod upgrade;

pub use command::{CommandError, MAX_DEPTH, NewTask, TaskAction, UpgradeCommand};
pub use event::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Heartbeat, MAX_WEIGHT, Steps, TaskAdded, TaskChange,
    TaskChangeKind, UpgradeChange, UpgradeChangeKind, UpgradeCreated, UpgradeEvent, UpgradeImported, Waiting,
};
pub use fold::{DecodeError, Fold, RecordMeta, StreamEvent};
pub use id::{
    ArtifactId, CollectionId, IdError, IdRule, MAX_ENCODED_ID_BYTES, MAX_ID_BYTES, PlanId, SessionId,
    StreamId, TaskId, UpgradeId, check_id,
};
pub use percent::{Percent, PercentError};
pub use reference::{ReferenceError, ReferenceKind};
pub use rollup::Rollup;
pub use status::{Status, Subject, TaskType, TransitionError, UnknownName};
pub use task::{ProgressEvent, RECENT_EVENTS, TaskProgress};
pub use text::{
    Details, MAX_DETAILS_BYTES, MAX_NAME_BYTES, MAX_TEXT_BYTES, TextError, check_name, check_text,
};
pub use time::{Span, TimeError, Timestamp};
pub use upgrade::UpgradeProgress;
