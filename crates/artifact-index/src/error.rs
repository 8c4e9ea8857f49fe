//! Failures of the index, by their remedies.

use artifact_core::{IndexError, IndexErrorKind};
use rusqlite::ErrorCode;

/// The name of the index in messages.
pub(crate) const NAME: &str = "search";

/// Why a step failed, before it is known what was attempted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("cannot {operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a record in it cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    #[error("{0}")]
    Foreign(&'static str),
}

impl Cause {
    /// True if the file must be built anew.
    pub(crate) fn is_corrupt(&self) -> bool {
        match self {
            Self::Sqlite(error) => match error {
                rusqlite::Error::SqliteFailure(failure, _) => {
                    // `Unknown` is SQL that does not fit the tables: ours does, so they are not ours any more. Nor does
                    // anything of ours come twice.
                    matches!(
                        failure.code,
                        ErrorCode::DatabaseCorrupt
                            | ErrorCode::NotADatabase
                            | ErrorCode::Unknown
                            | ErrorCode::ConstraintViolation
                    )
                }
                // The index wrote columns of these types.
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::SqlInputError { .. } => true,
                _ => false,
            },
            Self::Record(_) | Self::Foreign(_) => true,
            Self::Io { .. } => false,
        }
    }

    /// True if the file cannot be written where it is.
    pub(crate) fn is_read_only(&self) -> bool {
        match self {
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied)
            ),
            Self::Io { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied
            ),
            Self::Record(_) | Self::Foreign(_) => false,
        }
    }

    fn kind(&self) -> IndexErrorKind {
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => IndexErrorKind::Full,
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen,
                ) => IndexErrorKind::Unavailable,
                _ => IndexErrorKind::Failed,
            },
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => IndexErrorKind::Full,
                _ => IndexErrorKind::Unavailable,
            },
            Self::Record(_) | Self::Foreign(_) => IndexErrorKind::Failed,
        }
    }

    pub(crate) fn during(self, operation: &'static str) -> IndexError {
        let kind = self.kind();
        self.after(operation, kind)
    }

    /// As [`Self::during`], where the index was emptied because of it.
    pub(crate) fn after_reset(self, operation: &'static str) -> IndexError {
        self.after(operation, IndexErrorKind::Reset)
    }

    fn after(self, operation: &'static str, kind: IndexErrorKind) -> IndexError {
        IndexError {
            index: NAME,
            operation,
            kind,
            source: Box::new(self),
        }
    }
}
