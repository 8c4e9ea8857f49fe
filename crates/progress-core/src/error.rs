//! What can go wrong with an upgrade's progress.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tracking_journal::{DataDirError, JournalError, SubmitError};
use tracking_model::{CommandError, IdError, PlanId, ReferenceError, TaskId, TextError, UpgradeId};

/// Why something about an upgrade's progress could not be done. Nothing was written, unless a variant says otherwise.
///
/// Cheap to clone: one failed commit may concern many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// A rule refuses the command in the upgrade's present state.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The journal could not be opened, read or written: locked by another process, disk full, damaged, written by a
    /// newer version, and so on.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(Arc<DataDirError>),
    /// There is no such upgrade in the data directory.
    #[error("there is no upgrade {upgrade_id} in {}: start it first, or give another data directory", data_dir.display())]
    UnknownUpgrade {
        /// The upgrade.
        upgrade_id: UpgradeId,
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// An upgrade of this id exists, for another plan or cluster.
    #[error(
        "upgrade {upgrade_id} exists already, for plan {plan_id} and cluster {cluster_name:?}: \
         give the new one another id, or open it with that plan and cluster"
    )]
    OtherUpgrade {
        /// The upgrade.
        upgrade_id: UpgradeId,
        /// The plan that it follows.
        plan_id: PlanId,
        /// The cluster that it upgrades.
        cluster_name: Arc<str>,
    },
    /// The upgrade is open in a process that means to stay.
    #[error("an agent is at work on upgrade {upgrade_id}: stop it first")]
    AgentAtWork {
        /// The upgrade.
        upgrade_id: UpgradeId,
    },
    /// The upgrade has no such task.
    #[error("upgrade {upgrade_id} has no task {task_id}: add it first")]
    UnknownTask {
        /// The upgrade.
        upgrade_id: UpgradeId,
        /// The task.
        task_id: TaskId,
    },
    /// Somebody cancelled the upgrade, so there is nothing to wait for.
    #[error("upgrade {upgrade_id} was cancelled{}: stop working on it", because(.reason.as_ref()))]
    Cancelled {
        /// The upgrade.
        upgrade_id: UpgradeId,
        /// Why, where that was said.
        reason: Option<Arc<str>>,
    },
    /// The upgrade has failed, so there is nothing to wait for.
    #[error("upgrade {upgrade_id} has failed{}: start it again to go on", because(.reason.as_ref()))]
    Failed {
        /// The upgrade.
        upgrade_id: UpgradeId,
        /// Why, where that was said.
        reason: Option<Arc<str>>,
    },
    /// The tracker was closed.
    #[error("the tracker of upgrade {upgrade_id} is closed: open it again")]
    Closed {
        /// The upgrade.
        upgrade_id: UpgradeId,
    },
    /// The last snapshot could not be written. The journal has everything; the snapshot before is still in place.
    #[error("cannot replace the snapshot {}: the one before stays, the journal has everything", path.display())]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file that was to be imported is none of the reference's.
    #[error("cannot import {}: it is not a file of an upgrade's progress", path.display())]
    NotReference {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// A file or thread of the tracker's own failed.
    #[error("cannot {operation}{}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file, if on one.
        path: Option<PathBuf>,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

fn because(reason: Option<&Arc<str>>) -> String {
    reason.map_or_else(String::new, |reason| format!(" ({reason})"))
}

impl ProgressError {
    pub(crate) fn io(operation: &'static str, path: impl Into<Option<PathBuf>>, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: Arc::new(source),
        }
    }
}

impl From<SubmitError<CommandError>> for ProgressError {
    fn from(error: SubmitError<CommandError>) -> Self {
        match error {
            SubmitError::Refused(refusal) => Self::Refused(refusal),
            SubmitError::Journal(error) => Self::Journal(error),
        }
    }
}

impl From<DataDirError> for ProgressError {
    fn from(error: DataDirError) -> Self {
        Self::DataDir(Arc::new(error))
    }
}

impl From<IdError> for ProgressError {
    fn from(error: IdError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<TextError> for ProgressError {
    fn from(error: TextError) -> Self {
        Self::Refused(error.into())
    }
}
