//! The append-only log of upgrade tracking: one journal a stream, whose acknowledged records nobody can lose.
//!
//! A [`Journal`] takes commands, lets the model ([`Fold`](tracking_model::Fold)) check them against the stream's state,
//! writes the events that they cause, and answers once these are on disk. All commands that wait become one commit:
//! one write, one sync. Several processes may write one stream; they take turns, commit by commit.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tracking_journal::{Journal, JournalOptions};
//! use tracking_model::{DecodeError, Fold, RecordMeta, StreamEvent, StreamId, Timestamp};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Drained { nodes: u64 }
//!
//! #[derive(Clone, Debug)]
//! struct NodeDrained;
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("all nodes are drained")]
//! struct NoneLeft;
//!
//! impl StreamEvent for NodeDrained {
//!     fn kind(&self) -> &str { "node.drained" }
//!     fn write_data(&self, out: &mut Vec<u8>) { out.extend_from_slice(b"{}"); }
//!     fn decode(_: &str, _: &str) -> Result<Self, DecodeError> { Ok(Self) }
//! }
//!
//! impl Fold for Drained {
//!     type Command = ();
//!     type Event = NodeDrained;
//!     type Refusal = NoneLeft;
//!     const CHECKPOINT_VERSION: u32 = 1;
//!
//!     fn empty(_: &StreamId) -> Self { Self { nodes: 0 } }
//!     fn check(&self, (): (), _: Timestamp) -> Result<Vec<NodeDrained>, NoneLeft> {
//!         if self.nodes < 2 { Ok(vec![NodeDrained]) } else { Err(NoneLeft) }
//!     }
//!     fn apply(&mut self, _: &RecordMeta, _: &NodeDrained) { self.nodes += 1; }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let journal = Journal::<Drained>::in_memory("upgrade:june".parse()?, JournalOptions::default());
//! let receipt = journal.submit(()).wait()?; // or `.await`
//! assert_eq!(receipt.last_seq(), Some(1));
//! journal.submit(()).wait()?;
//! assert_eq!(journal.submit(()).wait().unwrap_err().to_string(), "all nodes are drained");
//! assert_eq!(journal.read(|state, head| (state.nodes, head.seq)), (2, 2));
//! # Ok(())
//! # }
//! ```
//!
//! # The file
//!
//! JSON lines, appended to and never changed: `jq` reads a journal at any moment.
//!
//! ```text
//! {"v":1,"stream":"upgrade:june","epoch":"…","seq":1,"batch":1,"id":"…","at":"2025-01-31T05:25:01.056236Z",
//!  "actor":"agent","type":"upgrade.created","data":{…},"hash":"<64 digits>"}
//! ```
//!
//! `seq` counts from 1; `batch` is the `seq` of the commit's first record; `epoch` is this journal's life; `id` is a
//! UUID v7. `hash` is SHA-256 over the predecessor's 32 bytes and the line up to `,"hash":`; before the first record
//! stands the SHA-256 of `stream` and `epoch`. A line has at most [`MAX_LINE_BYTES`] bytes.
//!
//! Beside `<stem>.jsonl` are files that may be deleted while nothing runs: `<stem>.lock` (turnstile of the writers, and
//! how much is durable), `<stem>.checkpoint` (the state at one record), `<stem>.agent` (a long-lived writer is alive),
//! `<stem>.jsonl.damaged-<time>` (what [`repair`] replaced).
//!
//! # What holds
//!
//! - **Acknowledged is durable.** An answer comes after the sync, and a reader in any process sees what is synced only.
//! - **Commit N+1 is written after commit N is synced.** So what is broken within the last commit is a torn tail, which
//!   the next writer cuts off and [`RecoveryReport`] tells of; what is broken before is [`Damage`], and the file is left
//!   alone. A record of a later commit, the durable length, a checkpoint and a sink's cursor vouch for what is before.
//! - **After a failed sync nothing is acknowledged** until the journal is opened again. A failed write is cut off, its
//!   callers get an error, and writing goes on.
//! - **A newer format is read and never written.**
//! - **Memory is that of the state**, not of the history; opening costs what came after the last checkpoint.
//! - The chain shows every edit but one: whoever rewrites all records from some point on makes a valid chain. Only a
//!   head hash that was kept elsewhere shows that; see [`verify`].
//!
//! # Features
//!
//! `test-util`: `ManualClock`, `NoBlocking`, `SimulatedDisk` with its faults and crash states, the conformance suite, and a mock of
//! [`EventSink`].

mod blocking;
mod bulk;
mod chain;
mod checkpoint;
mod clock;
mod commit;
mod committer;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod cursor;
mod dir;
mod draft;
mod durable;
mod encode;
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
mod lock_owner;
mod log;
mod options;
mod original;
mod pending;
mod place;
mod published;
mod queue;
mod reader;
mod record;
mod recovery;
mod relay;
mod remove;
mod repair;
mod replay;
mod replica;
mod seal;
mod seek;
mod sidecar;
pub mod sink;
pub mod storage;
mod subscription;
mod survey;
mod verify;
mod watch;

#[cfg(any(test, feature = "test-util"))]
pub use blocking::NoBlocking;
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
pub use options::{CheckpointPolicy, JournalOptions};
pub use original::keep_original;
pub use pending::Pending;
pub use reader::{JournalReader, Position};
pub use record::{NewRecord, Record, RecordError};
pub use recovery::RecoveryReport;
pub use relay::{
    Backoff, DrainReport, Relay, RelayError, RelayHandle, RelayOptions, RetryRequest, SinkStatus,
    request_retry, sink_status, sink_statuses,
};
pub use remove::remove;
pub use repair::{RepairReport, Salvage, repair};
pub use replica::Replica;
#[cfg(any(test, feature = "test-util"))]
pub use sink::MockEventSink;
pub use sink::{Delivery, EventSink, MemorySink, SinkName, SinkPace};
pub use subscription::{Subscription, SubscriptionError};
pub use verify::{CheckpointVerification, ExpectedHead, Verification, verify, verify_checkpoint};
