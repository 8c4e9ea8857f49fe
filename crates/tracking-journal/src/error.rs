//! What can go wrong with a journal.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracking_model::{DecodeError, StreamId, Timestamp};

use crate::line::FORMAT_VERSION;

/// Bytes in the middle of a journal that are no record where one must be. The file is left as it is;
/// [`repair`](crate::repair) salvages what it can into a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at line {line}, byte {offset}: {reason}; it is left as it is until it is repaired", path.display())]
pub struct Damage {
    /// The journal.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: u64,
    /// Offset in bytes at which that line begins.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

/// Why a journal could not be opened, read or written.
///
/// One commit may fail for many callers, so errors are cheap to clone.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process held the stream's lock for as long as this one was willing to wait.
    #[error(
        "{} is locked by {} since more than {waited:?}; wait for it, or raise the lock timeout",
        path.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The journal.
        path: PathBuf,
        /// The process that holds the lock, where the system tells.
        holder: Option<u32>,
        /// How long this process waited.
        waited: Duration,
    },
    /// There is no space for the records. Nothing of them was kept, the journal is as it was before, and writing goes
    /// on once there is space.
    #[error("no space left for records in {}; free some and try again", path.display())]
    DiskFull {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A system call failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier sync or roll-back failed, so what is on disk is unknown until the journal is opened again.
    #[error("{} accepts nothing more until it is opened again, because {reason}", path.display())]
    Poisoned {
        /// The journal.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The journal's file was removed while it was open.
    #[error("{} was removed; open the stream again to begin a new one", path.display())]
    Removed {
        /// The journal.
        path: PathBuf,
    },
    /// Another file took the place of the journal while it was read: what was known of it is void.
    #[error("{} was replaced by another journal; read it anew", path.display())]
    Replaced {
        /// The journal.
        path: PathBuf,
    },
    /// The journal has bytes in its middle that are no record.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The journal has records of a newer format; it can be read and not written.
    #[error(
        "{} has records of format version {found}, and this program writes up to version {FORMAT_VERSION}; \
         use a newer program to write it", path.display()
    )]
    NewerVersion {
        /// The journal.
        path: PathBuf,
        /// The newest version seen.
        found: u32,
    },
    /// An event that does not fit a line. Its command was refused, nothing of it was written.
    #[error("a record of {bytes} bytes is over the limit of {limit}; put large content into an artifact")]
    RecordTooLarge {
        /// Length of the line in bytes.
        bytes: usize,
        /// Longest line in bytes.
        limit: usize,
    },
    /// A record whose chain is intact and whose data the model cannot read.
    #[error("cannot read record {seq} of {}; use the program that wrote it", path.display())]
    Undecodable {
        /// The journal.
        path: PathBuf,
        /// Sequence of the record.
        seq: u64,
        /// What the model said.
        #[source]
        source: Arc<DecodeError>,
    },
    /// The clock is before 1970, so a record's time would tell nothing.
    #[error("nothing can be recorded while the clock says {}; set the clock of this machine", at.to_rfc3339())]
    ClockBefore1970 {
        /// The time that the clock tells.
        at: Timestamp,
    },
    /// More commands wait than the queue holds; the disk does not keep up.
    #[error("{waiting} commands wait already; wait for some of them before submitting more")]
    Overloaded {
        /// Commands that wait.
        waiting: usize,
    },
    /// The journal was closed, or its writer died, before the command was committed.
    #[error("the journal is closed; open it again")]
    Closed,
    /// There is no journal of this stream.
    #[error("there is no {stream} in this data directory: {} does not exist", path.display())]
    NoSuchStream {
        /// The stream.
        stream: StreamId,
        /// Where its journal would be.
        path: PathBuf,
    },
}

impl JournalError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let source = Arc::new(source);
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, source }
            }
            _ => Self::Io {
                operation,
                path,
                source,
            },
        }
    }
}

/// Why a command was not written. There is no third reason, so matching it needs no wildcard.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError<R: Error + 'static> {
    /// The model refuses the command in the stream's present state; nothing was written.
    #[error(transparent)]
    Refused(R),
    /// The journal could not take it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
