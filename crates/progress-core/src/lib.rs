//! Progress of an EKS upgrade, that nobody can lose.
//!
//! [`ProgressTracker`] takes commands of one upgrade and its tree of tasks. A command's future is ready once its event
//! is in the journal, on disk; the state is the sum of those events, so opening an upgrade again continues exactly
//! where it stopped. Everything else is a view of it: summaries, percentages, estimates, stalled tasks, snapshots,
//! callbacks.
//!
//! ```
//! use progress_core::{CompleteOptions, NewUpgrade, ProgressTracker, ProgressTrackerOptions};
//! use tracking_model::{NewTask, PlanId, TaskId, TaskType, UpgradeId};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let upgrade = NewUpgrade::new(UpgradeId::new("prod-1.33")?, PlanId::new("blue-green")?, "prod");
//! let tracker = ProgressTracker::in_memory(upgrade, ProgressTrackerOptions::default())?;
//! tracker.start_upgrade("Provisioning").await?;
//! tracker
//!     .add_task(NewTask::new(TaskId::new("nodes")?, "Create node group", TaskType::UpgradeStep))
//!     .await?;
//! tracker.update_task_progress("nodes", 50.0, "2 of 4 nodes are ready").await?;
//! assert_eq!(tracker.calculate_progress_percentage().value(), 50.0);
//! tracker.complete_task("nodes").await?;
//! tracker.complete_upgrade(CompleteOptions::default()).await?;
//! tracker.close().await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Invariants
//! - A command that returned `Ok` is durable; one that returned an error changed nothing.
//! - Nothing that follows an upgrade (a subscriber, a callback, a snapshot) delays a commit or makes it fail.
//! - What another process writes about the upgrade reaches a long-lived tracker within about a second: its state, its
//!   subscribers, its cancellation tokens, and [`ProgressTracker::wait_while_paused`].
//! - This crate starts no async tasks and needs no particular runtime.

mod callbacks;
mod commands;
mod control;
mod error;
mod eta;
mod history;
mod import;
mod observer;
mod open;
mod options;
mod report;
mod snapshot;
mod stall;
mod tracker;
mod upgrades;

pub use callbacks::{CallbackGuard, CallbackInfo, DEFAULT_CALLBACK_QUEUE};
pub use error::ProgressError;
pub use eta::{Estimate, EstimateBasis, estimate_task, estimate_upgrade};
pub use history::History;
pub use import::{ImportReport, ImportedUpgrade, SkipReason, SkippedFile, import_in_place, import_reference};
pub use options::{CompleteOptions, NewUpgrade, ProgressTrackerOptions, Unfinished};
pub use report::{RecentEvent, StorageInfo, SystemInfo, TaskReport};
pub use snapshot::SnapshotInfo;
pub use stall::stalled_tasks;
pub use tracker::{PendingCommand, ProgressTracker, UpgradeCommit};
pub use upgrades::{Agent, UpgradeEntry, UpgradeHeader, remove_upgrade, upgrades};
