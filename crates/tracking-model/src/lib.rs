//! The model of upgrade tracking.
mod fold;
mod id;
mod time;

pub use fold::{DecodeError, Fold, RecordMeta, StreamEvent};
pub use id::{
    ArtifactId, CollectionId, IdError, IdRule, MAX_ENCODED_ID_BYTES, MAX_ID_BYTES, PlanId, SessionId,
    StreamId, TaskId, UpgradeId, check_id,
};
pub use time::{Span, TimeError, Timestamp};
