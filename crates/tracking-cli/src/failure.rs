//! From an error of the library to what the command says and how it exits.

use std::io;

use tracking_facade::{
    ArtifactError, CommandError, DataDirError, ErrorKind, FileKind, JournalError, ProgressError,
    SessionCommandError, SourceError, Status, StoreErrorKind, Subject, TrackingError, TransitionError,
};

use crate::exit::{Failure, Kind};

/// Makes an error a [`Failure`] of `attempted`, which completes "cannot …".
pub(crate) fn cannot<E: Into<TrackingError>>(
    attempted: impl FnOnce() -> String,
) -> impl FnOnce(E) -> Failure {
    move |error| {
        let error = match error.into() {
            TrackingError::Output(error) => return Failure::output(&error),
            error => error,
        };
        let failure = Failure::of(error.kind().into(), attempted(), &error);
        match hint_of_aws(&error).or_else(|| hint(&error)) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Usage,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Unavailable => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

/// What to do where the bucket or the bus refuses.
fn hint_of_aws(error: &TrackingError) -> Option<String> {
    let hint = error.hint()?;
    let again = match error {
        TrackingError::Artifacts(ArtifactError::Store(error)) => match error.kind() {
            StoreErrorKind::NotFound => "; `ekstrack sync` on the machine that has it puts it there again",
            StoreErrorKind::Corrupt => {
                "; once that object is deleted, `ekstrack sync` on the machine that has it puts it there again"
            }
            _ => "",
        },
        _ => "",
    };
    Some(hint + again)
}

/// What to do about it, where there is something that the message does not say.
fn hint(error: &TrackingError) -> Option<String> {
    match error {
        TrackingError::DataDir(error) => data_dir_hint(error),
        TrackingError::Journal(error) => journal_hint(error),
        TrackingError::Progress(error) => progress_hint(error),
        TrackingError::Artifacts(error) => artifact_hint(error),
        _ => None,
    }
}

fn progress_hint(error: &ProgressError) -> Option<String> {
    match error {
        ProgressError::Refused(refusal) => refusal_hint(refusal),
        ProgressError::Journal(error) => journal_hint(error),
        ProgressError::DataDir(error) => data_dir_hint(error),
        ProgressError::Io { source, .. } => io_hint(source),
        ProgressError::UnknownUpgrade { .. } => {
            Some("`ekstrack upgrade list` shows those there are".to_owned())
        }
        ProgressError::UnknownTask { upgrade_id, .. } => {
            Some(format!("`ekstrack upgrade show {upgrade_id}` shows its tasks"))
        }
        ProgressError::OtherUpgrade { upgrade_id, .. } => Some(format!(
            "`ekstrack upgrade show {upgrade_id}` shows the one there is"
        )),
        _ => None,
    }
}

fn artifact_hint(error: &ArtifactError) -> Option<String> {
    let hint = match error {
        ArtifactError::Unrecorded { source, .. } => return artifact_hint(source),
        ArtifactError::Journal(error) => return journal_hint(error),
        ArtifactError::DataDir(error) => return data_dir_hint(error),
        ArtifactError::UnknownSession(_) => "`ekstrack session list` shows those there are".to_owned(),
        ArtifactError::UnknownCollection { session_id, .. } => {
            format!("`ekstrack session show {session_id}` shows those there are")
        }
        ArtifactError::UnknownArtifact(_) => "`ekstrack search` lists artifacts with their ids".to_owned(),
        ArtifactError::Refused(SessionCommandError::SessionCompleted { .. }) => {
            "`ekstrack session create` makes another".to_owned()
        }
        ArtifactError::Refused(SessionCommandError::SessionPinned(session_id)) => {
            format!(
                "`ekstrack session pin {session_id} --off` unpins it; `artifact rm --force` deletes all the same"
            )
        }
        ArtifactError::Refused(SessionCommandError::ArtifactDeleted(_)) => {
            "`ekstrack session show --history` tells who did that, when and why".to_owned()
        }
        ArtifactError::Source(SourceError::NotAFile {
            kind: FileKind::Symlink,
            ..
        }) => "--follow adds what it leads to".to_owned(),
        ArtifactError::Source(SourceError::Changed { .. }) => {
            "add it again when nothing writes it any more".to_owned()
        }
        ArtifactError::Source(SourceError::Replaced { .. }) => {
            "add the file that is there now, if there is one".to_owned()
        }
        ArtifactError::Source(SourceError::TooLong { .. }) => {
            "give a larger --max-bytes, or none, if all of it is wanted".to_owned()
        }
        ArtifactError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            "give the name of a file that does not exist, or a directory".to_owned()
        }
        ArtifactError::Store(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            "give the name of a file that does not exist, or a directory".to_owned()
        }
        ArtifactError::Io { source, .. } => return io_hint(source),
        _ => return None,
    };
    Some(hint)
}

fn data_dir_hint(error: &DataDirError) -> Option<String> {
    let hint = match error {
        DataDirError::Missing { .. } => {
            "--data-dir or EKSTRACK_DATA_DIR names it; `ekstrack upgrade start` creates one".to_owned()
        }
        DataDirError::NotADirectory { .. } | DataDirError::Symlink { .. } => {
            "give another one with --data-dir or EKSTRACK_DATA_DIR".to_owned()
        }
        DataDirError::Io { source, .. } => return io_hint(source),
        _ => return None,
    };
    Some(hint)
}

fn journal_hint(error: &JournalError) -> Option<String> {
    let hint = match error {
        JournalError::Locked {
            holder: Some(pid), ..
        } => {
            format!("`ps -p {pid}` shows what it is; --lock-timeout waits longer")
        }
        JournalError::Locked { holder: None, .. } => "--lock-timeout waits longer".to_owned(),
        JournalError::DiskFull { .. } => "the journal is intact: everything acknowledged is in it".to_owned(),
        JournalError::Io { source, .. } => return io_hint(source),
        JournalError::Damaged(damage) => {
            format!(
                "`ekstrack journal repair {}` salvages what is intact into a new file",
                damage.path.display()
            )
        }
        JournalError::NewerVersion { .. } => "reading it works with this one".to_owned(),
        JournalError::NoSuchStream { .. } => {
            "`ekstrack upgrade list` and `ekstrack session list` show those there are".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}

fn io_hint(error: &io::Error) -> Option<String> {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "check its owner and permissions, or give another --data-dir",
        io::ErrorKind::ReadOnlyFilesystem => "give a --data-dir that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space and try again",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn refusal_hint(refusal: &CommandError) -> Option<String> {
    let hint = match refusal {
        CommandError::UnknownUpgrade => "`ekstrack upgrade list` shows those there are",
        CommandError::AlreadyStarted { .. } => {
            "`ekstrack upgrade show` shows it; `upgrade start --if-needed` accepts an upgrade that is started"
        }
        CommandError::UnknownTask(_) => "`ekstrack upgrade show` shows those there are",
        CommandError::UnknownParent { .. } => "`ekstrack upgrade show` shows the tasks there are",
        CommandError::Unfinished { .. } => "complete or cancel them, or pass --allow-unfinished",
        CommandError::DetailsTooLarge { .. } => "`ekstrack artifact add` keeps files of any size",
        CommandError::Transition(error) => return transition_hint(error),
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The cause says what to do first; of an upgrade it does not say how.
fn transition_hint(error: &TransitionError) -> Option<String> {
    match (&error.subject, error.from) {
        (Subject::Upgrade, Status::Failed) if error.to != Status::Failed => {
            Some("`ekstrack upgrade start` starts it again".to_owned())
        }
        _ => None,
    }
}
