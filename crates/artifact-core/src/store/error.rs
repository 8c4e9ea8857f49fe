//! The failures of stores, the same for all of them.

use std::error::Error;
use std::fmt;
use std::io;

use crate::FileKind;

/// The kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Nothing is stored under that key.
    NotFound,
    /// Something is stored under that key already.
    AlreadyExists,
    /// The store does not let this program do that.
    PermissionDenied,
    /// There is no space left.
    Full,
    /// The body ended with an error, so nothing was stored.
    Body,
    /// The body is longer than the caller allows.
    TooLarge,
    /// A directory of the store was replaced by something that leads elsewhere.
    UnsafePath,
    /// Something that is no regular file has taken the place of what was stored; it was not opened.
    NotAFile(FileKind),
    /// The stored bytes are not those that were put.
    Corrupt,
    /// The store cannot be reached now.
    Unavailable,
    /// The store asks for fewer requests.
    RateLimited,
    /// The object has changed since the caller looked.
    PreconditionFailed,
    /// The store's settings, its credentials or the place that they name are wrong; the cause says which.
    Misconfigured,
    /// Anything else.
    Unexpected,
}

/// Tells if another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The same call may succeed later.
    Later,
    /// It was tried again, as often as allowed.
    Exhausted,
}

/// Why a store did not do what was asked.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    key: String,
    retry: Retry,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// A failure of `operation` (`put`, `get`, …) on `key`.
    #[must_use]
    pub fn new(kind: StoreErrorKind, operation: &'static str, key: impl fmt::Display) -> Self {
        let retry = match kind {
            StoreErrorKind::Unavailable | StoreErrorKind::RateLimited | StoreErrorKind::Full => Retry::Later,
            StoreErrorKind::NotFound
            | StoreErrorKind::AlreadyExists
            | StoreErrorKind::PermissionDenied
            | StoreErrorKind::Body
            | StoreErrorKind::TooLarge
            | StoreErrorKind::UnsafePath
            | StoreErrorKind::NotAFile(_)
            | StoreErrorKind::Corrupt
            | StoreErrorKind::PreconditionFailed
            | StoreErrorKind::Misconfigured
            | StoreErrorKind::Unexpected => Retry::Never,
        };
        Self {
            kind,
            operation,
            key: key.to_string(),
            retry,
            source: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets whether trying again can help.
    #[must_use]
    pub const fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// A failure of `operation` on `key` as the system reports it.
    #[must_use]
    pub fn io(operation: &'static str, key: impl fmt::Display, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => StoreErrorKind::AlreadyExists,
            io::ErrorKind::PermissionDenied => StoreErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreErrorKind::Full
            }
            // Another process keeps a lock.
            io::ErrorKind::TimedOut => StoreErrorKind::Unavailable,
            // A component that is no directory, or a symbolic link where none may be.
            io::ErrorKind::NotADirectory => StoreErrorKind::UnsafePath,
            _ if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                StoreErrorKind::UnsafePath
            }
            _ => StoreErrorKind::Unexpected,
        };
        Self::new(kind, operation, key).with_source(source)
    }

    /// The same failure, to be told of another of those that it concerns.
    pub(crate) fn repeated(&self) -> Self {
        let mut repeated = Self::new(self.kind, self.operation, &self.key).with_retry(self.retry);
        repeated.source = self.source.as_ref().map(|source| source.to_string().into());
        repeated
    }

    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The attempted operation: `put`, `get`, `list`, `delete`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// On what: a key or a prefix.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Tells if another attempt can succeed.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            StoreErrorKind::NotAFile(kind) => {
                return write!(
                    f,
                    "cannot {} {}: {kind} is in the place of the file that was stored, and was not opened",
                    self.operation, self.key
                );
            }
            StoreErrorKind::NotFound => "it is not there",
            StoreErrorKind::AlreadyExists => "something is there already",
            StoreErrorKind::PermissionDenied => "permission denied",
            StoreErrorKind::Full => "no space is left; free some and try again",
            StoreErrorKind::Body => "reading what was to be stored failed; nothing was stored",
            StoreErrorKind::TooLarge => "it is longer than allowed; nothing was stored",
            StoreErrorKind::UnsafePath => {
                "a directory on the way is a symbolic link or no directory, which could lead anywhere; put a real directory back"
            }
            StoreErrorKind::Corrupt => "what is stored is not what was put",
            StoreErrorKind::Unavailable => "the store cannot be reached now",
            StoreErrorKind::RateLimited => "the store asks for fewer requests",
            StoreErrorKind::PreconditionFailed => "what is stored was changed meanwhile",
            // Which of many things it is, only the cause says.
            StoreErrorKind::Misconfigured if self.source.is_some() => {
                return write!(f, "cannot {} {}", self.operation, self.key);
            }
            StoreErrorKind::Misconfigured => "the store's settings or credentials do not fit",
            StoreErrorKind::Unexpected => "the store failed",
        };
        write!(f, "cannot {} {}: {why}", self.operation, self.key)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}
