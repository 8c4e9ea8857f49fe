//! The append-only log of upgrade tracking.

mod bulk;
mod chain;
mod checkpoint;
mod clock;
mod commit;
mod committer;
mod cursor;
mod dir;
mod durable;
mod error;
mod follower;
mod hash;
mod head;
mod io;
mod journal;
mod lease;
mod line;
mod lines;
mod liveness;
mod loading;
mod lock_owner;
mod log;
mod options;
mod pending;
mod place;
mod published;
mod queue;
mod reader;
mod record;
mod relay;
mod remove;
mod repair;
mod replay;
mod seek;
mod sidecar;
pub mod sink;
mod subscription;
mod verify;
mod watch;

#[cfg(any(test, feature = "test-util"))]
pub use clock::ManualClock;
pub use clock::{Clock, SystemClock};
pub use commit::{Commit, Committed, Receipt};
pub use cursor::{
    Cursor, CursorError, FailureCause, Parked, Restart, RestartCause, SinkFailure, VouchedPoint,
    vouched_points,
};
pub use dir::{DataDir, DataDirError};
pub use error::{Damage, JournalError, SubmitError};
pub use follower::{Follower, Loaded, load};
pub use hash::{ChainHash, HashError};
pub use head::Head;
#[cfg(any(test, feature = "test-util"))]
pub use io::{CrashStates, Fault, FaultAt, SimulatedDisk};
pub use journal::Journal;
pub use lease::{LeaseError, LeaseHeld, LeaseHolder};
pub use line::{FORMAT_VERSION, LineError, MAX_LINE_BYTES};
pub use liveness::Liveness;
pub use loading::RecoveryReport;
pub use options::{CheckpointPolicy, JournalOptions};
pub use pending::Pending;
pub use reader::{JournalReader, Position};
pub use record::{Record, RecordError};
pub use relay::{
    Backoff, DrainReport, Relay, RelayError, RelayHandle, RelayOptions, RetryRequest, SinkStatus,
    request_retry, sink_statuses,
};
pub use remove::remove;
pub use repair::{RepairReport, Salvage, repair};
#[cfg(any(test, feature = "test-util"))]
pub use sink::MockEventSink;
pub use sink::{Delivery, EventSink, MemorySink, SinkName};
pub use subscription::{Subscription, SubscriptionError};
pub use verify::{ExpectedHead, Verification, verify};
