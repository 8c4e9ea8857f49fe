//! What can go wrong, whichever part it comes from.

use progress_core::ProgressError;
use tracking_journal::{DataDirError, JournalError};
use tracking_model::CommandError;

/// What kind of failure it is: what a caller decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value that is never valid: an id, a name, a percentage, a configuration.
    Invalid,
    /// What is named does not exist.
    NotFound,
    /// A rule refuses it: the state, a duplicate, the integrity of what is stored.
    Refused,
    /// The disk, a lock or another backend is not available now.
    Unavailable,
    /// Anything else.
    Failed,
}

/// Why something could not be done. What was refused or failed has changed nothing, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackingError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Something about an upgrade's progress.
    #[error(transparent)]
    Progress(#[from] ProgressError),
}

impl TrackingError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DataDir(error) => data_dir_kind(error),
            Self::Journal(error) => journal_kind(error),
            Self::Progress(error) => progress_kind(error),
        }
    }
}

const fn data_dir_kind(error: &DataDirError) -> ErrorKind {
    match error {
        DataDirError::Missing { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    }
}

const fn journal_kind(error: &JournalError) -> ErrorKind {
    match error {
        JournalError::NoSuchStream { .. } | JournalError::Removed { .. } => ErrorKind::NotFound,
        JournalError::Damaged(_)
        | JournalError::NewerVersion { .. }
        | JournalError::RecordTooLarge { .. }
        | JournalError::Undecodable { .. } => ErrorKind::Refused,
        JournalError::Locked { .. }
        | JournalError::DiskFull { .. }
        | JournalError::Io { .. }
        | JournalError::Poisoned { .. }
        | JournalError::Overloaded { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

fn progress_kind(error: &ProgressError) -> ErrorKind {
    match error {
        ProgressError::Refused(refusal) => refusal_kind(refusal),
        ProgressError::Journal(error) => journal_kind(error),
        ProgressError::DataDir(error) => data_dir_kind(error),
        ProgressError::UnknownUpgrade { .. } | ProgressError::UnknownTask { .. } => ErrorKind::NotFound,
        ProgressError::OtherUpgrade { .. }
        | ProgressError::Cancelled { .. }
        | ProgressError::Failed { .. } => ErrorKind::Refused,
        ProgressError::Snapshot { .. } | ProgressError::Io { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

/// Of a refusal by the model.
const fn refusal_kind(error: &CommandError) -> ErrorKind {
    match error {
        CommandError::UnknownUpgrade | CommandError::UnknownTask(_) | CommandError::UnknownParent { .. } => {
            ErrorKind::NotFound
        }
        CommandError::InvalidWeight { .. }
        | CommandError::InvalidHeartbeat { .. }
        | CommandError::InvalidPercentage { .. }
        | CommandError::InvalidSteps { .. }
        | CommandError::UnknownTotal(_)
        | CommandError::DetailsTooLarge { .. }
        | CommandError::Text(_)
        | CommandError::Id(_) => ErrorKind::Invalid,
        _ => ErrorKind::Refused,
    }
}
