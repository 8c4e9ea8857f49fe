//! The append-only log of upgrade tracking.

mod chain;
mod clock;
mod commit;
mod committer;
mod dir;
mod durable;
mod error;
mod follower;
mod hash;
mod head;
mod io;
mod journal;
mod line;
mod lines;
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
mod remove;
mod replay;
mod sidecar;
mod subscription;

#[cfg(any(test, feature = "test-util"))]
pub use clock::ManualClock;
pub use clock::{Clock, SystemClock};
pub use commit::{Commit, Committed, Receipt};
pub use dir::{DataDir, DataDirError};
pub use error::{Damage, JournalError, SubmitError};
pub use follower::{Follower, Loaded, load};
pub use hash::{ChainHash, HashError};
pub use head::Head;
pub use journal::Journal;
pub use line::{FORMAT_VERSION, LineError, MAX_LINE_BYTES};
pub use loading::RecoveryReport;
pub use options::{CheckpointPolicy, JournalOptions};
pub use pending::Pending;
pub use reader::{JournalReader, Position};
pub use record::{Record, RecordError};
pub use remove::remove;
pub use subscription::{Subscription, SubscriptionError};
