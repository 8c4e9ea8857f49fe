//! What can go wrong, whichever part it comes from.

use std::io;
use std::time::Duration;

use artifact_core::{ArtifactError, IndexErrorKind, SourceError, StoreErrorKind};
use progress_core::ProgressError;
use tracking_journal::{CursorError, DataDirError, JournalError};
/// An error and its causes, as one text.
pub(crate) use tracking_model::with_causes as chain;
use tracking_model::{CommandError, SessionCommandError};

use crate::Problem;

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
    /// No temporary directory can be made.
    #[error("cannot make a temporary directory")]
    Temporary(#[source] std::io::Error),
    /// A journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Something about an upgrade's progress.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// Something about sessions and artifacts.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// How far sinks got cannot be read or written.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A bus of EventBridge cannot be sent to, until somebody puts right what the cause says.
    #[cfg(feature = "eventbridge")]
    #[error(transparent)]
    EventBridge(Box<notify_eventbridge::Failure>),
    /// The settings of EventBridge are wrong; nothing was sent.
    #[cfg(feature = "eventbridge")]
    #[error(transparent)]
    EventBridgeSettings(#[from] notify_eventbridge::BuildError),
    /// Viewers cannot be served; nothing was touched.
    #[error(transparent)]
    Serve(#[from] stream_ws::ServeError),
    /// The settings of a bucket are wrong; nothing was sent.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3Settings(#[from] storage_s3::S3ConfigError),
    /// The configuration is wrong; nothing was touched.
    #[error("{}", list(.0))]
    Configuration(Vec<Problem>),
    /// It was not done in time; it goes on in the background for as long as the process lives.
    #[error("{what} took longer than {deadline:?}")]
    Late {
        /// What.
        what: &'static str,
        /// The time that was allowed.
        deadline: Duration,
    },
    /// The system gives no threads.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
    /// What was to be written somewhere else could not be.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl TrackingError {
    /// What to do about it, where S3 or EventBridge refused: the message does not say.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        #[cfg(feature = "eventbridge")]
        if let Self::EventBridge(error) = self {
            return Some(error.hint());
        }
        #[cfg(feature = "s3")]
        if let Some(failure) = s3_failure(self) {
            return Some(failure.hint());
        }
        None
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DataDir(error) => data_dir_kind(error),
            Self::Temporary(_) => ErrorKind::Unavailable,
            Self::Journal(error) => journal_kind(error),
            Self::Progress(error) => progress_kind(error),
            Self::Artifacts(error) => artifact_kind(error),
            Self::Cursor(CursorError::NoSuchSink { .. }) => ErrorKind::NotFound,
            Self::Cursor(CursorError::NewerVersion { .. }) => ErrorKind::Refused,
            Self::Cursor(_) => ErrorKind::Unavailable,
            #[cfg(feature = "eventbridge")]
            Self::EventBridge(_) => ErrorKind::Unavailable,
            #[cfg(feature = "eventbridge")]
            Self::EventBridgeSettings(_) => ErrorKind::Invalid,
            #[cfg(feature = "s3")]
            Self::S3Settings(_) => ErrorKind::Invalid,
            Self::Serve(error) => serve_kind(error),
            Self::Configuration(_) => ErrorKind::Invalid,
            Self::Late { .. } | Self::Runtime(_) => ErrorKind::Unavailable,
            Self::Output(_) => ErrorKind::Failed,
        }
    }
}

#[cfg(feature = "eventbridge")]
impl From<notify_eventbridge::Failure> for TrackingError {
    fn from(error: notify_eventbridge::Failure) -> Self {
        Self::EventBridge(Box::new(error))
    }
}

impl From<&ProgressError> for ErrorKind {
    fn from(error: &ProgressError) -> Self {
        progress_kind(error)
    }
}

impl From<&ArtifactError> for ErrorKind {
    fn from(error: &ArtifactError) -> Self {
        artifact_kind(error)
    }
}

const fn serve_kind(error: &stream_ws::ServeError) -> ErrorKind {
    use stream_ws::ServeError;
    match error {
        ServeError::Address { .. }
        | ServeError::Name(_)
        | ServeError::NeedsToken { .. }
        | ServeError::NeedsTls { .. } => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
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
        | JournalError::ClockBefore1970 { .. }
        | JournalError::Overloaded { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

/// [`chain`], and what to do where S3 refused: for reports, which have no other place for it.
#[cfg(feature = "s3")]
pub(crate) fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let text = chain(error);
    match s3_failure(error) {
        Some(failure) => format!("{text}; {}", failure.hint()),
        None => text,
    }
}

/// The refusal of S3 that is behind an error.
#[cfg(feature = "s3")]
fn s3_failure<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e storage_s3::Failure> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(failure) = error.downcast_ref() {
            return Some(failure);
        }
        link = error.source();
    }
    None
}

fn list(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

fn artifact_kind(error: &ArtifactError) -> ErrorKind {
    match error {
        ArtifactError::UnknownSession(_)
        | ArtifactError::UnknownCollection { .. }
        | ArtifactError::UnknownArtifact(_)
        | ArtifactError::BytesMissing { .. } => ErrorKind::NotFound,
        ArtifactError::NoCopy { .. } => ErrorKind::Unavailable,
        ArtifactError::Refused(refusal) => session_refusal_kind(refusal),
        ArtifactError::Unrecorded { source, .. } => artifact_kind(source),
        ArtifactError::Journal(error) => journal_kind(error),
        ArtifactError::DataDir(error) => data_dir_kind(error),
        ArtifactError::Source(error) => source_kind(error),
        ArtifactError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            ErrorKind::Refused
        }
        ArtifactError::Store(error) if error.kind() == StoreErrorKind::NotFound => ErrorKind::NotFound,
        ArtifactError::Store(error)
            if matches!(
                error.kind(),
                StoreErrorKind::NotAFile(_)
                    | StoreErrorKind::Corrupt
                    | StoreErrorKind::AlreadyExists
                    | StoreErrorKind::TooLarge
            ) =>
        {
            ErrorKind::Refused
        }
        ArtifactError::Store(_) | ArtifactError::Io { .. } => ErrorKind::Unavailable,
        ArtifactError::Pattern(_) | ArtifactError::Text(_) | ArtifactError::Cursor(_) => ErrorKind::Invalid,
        ArtifactError::Index(error) => match error.kind {
            IndexErrorKind::Full | IndexErrorKind::Unavailable => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        },
        ArtifactError::Undecodable { .. }
        | ArtifactError::UnsafePath { .. }
        | ArtifactError::Altered { .. } => ErrorKind::Refused,
        _ => ErrorKind::Failed,
    }
}

const fn source_kind(error: &SourceError) -> ErrorKind {
    match error {
        SourceError::Missing { .. } => ErrorKind::NotFound,
        SourceError::NotAFile { .. } | SourceError::TooLong { .. } => ErrorKind::Refused,
        SourceError::Io { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

const fn session_refusal_kind(error: &SessionCommandError) -> ErrorKind {
    match error {
        SessionCommandError::UnknownSession(_) | SessionCommandError::UnknownCollection { .. } => {
            ErrorKind::NotFound
        }
        SessionCommandError::InvalidRetention
        | SessionCommandError::TooManyTags { .. }
        | SessionCommandError::MetadataTooLarge { .. }
        | SessionCommandError::Text(_) => ErrorKind::Invalid,
        _ => ErrorKind::Refused,
    }
}

fn progress_kind(error: &ProgressError) -> ErrorKind {
    match error {
        ProgressError::Refused(refusal) => refusal_kind(refusal),
        ProgressError::Journal(error) => journal_kind(error),
        ProgressError::DataDir(error) => data_dir_kind(error),
        ProgressError::UnknownUpgrade { .. } | ProgressError::UnknownTask { .. } => ErrorKind::NotFound,
        ProgressError::AgentAtWork { .. }
        | ProgressError::OtherUpgrade { .. }
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
