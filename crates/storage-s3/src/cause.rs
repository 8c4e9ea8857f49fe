//! Why S3 did not do what was asked: what kind of failure that is, whether it may pass, and what to do about it.

use artifact_core::{Retry, StoreErrorKind};
use aws_connect::{Cause, hint};

/// Why S3 did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum S3Cause {
    /// No object, upload or version of that name.
    NoObject,
    /// No bucket of that name.
    NoBucket,
    /// The credentials do not allow this operation.
    Denied,
    /// No credentials were found.
    NoCredentials,
    /// The credentials have expired.
    ExpiredCredentials,
    /// The server does not know the credentials, or their secret is wrong.
    WrongCredentials,
    /// The clocks of the two machines differ too much.
    ClockSkew,
    /// The bucket is in another region.
    WrongRegion,
    /// No region is set.
    NoRegion,
    /// A condition of the request does not hold: the object exists, or is not the one that was meant.
    Condition,
    /// A request of someone else for the same key got in the way.
    Conflict,
    /// The bytes that arrived were not those that were sent.
    Checksum,
    /// No byte of the object is in the range that was asked for.
    Range,
    /// What is stored is not what was put.
    Altered,
    /// The object is archived and must be restored before it can be read.
    Archived,
    /// The server does not know this operation.
    Unsupported,
    /// The object, its key or its metadata is larger than allowed.
    TooLarge,
    /// The server keeps no more.
    Full,
    /// The server asks for fewer requests.
    Throttled,
    /// The server failed or is overloaded.
    ServerFailed,
    /// The answer took too long.
    TimedOut,
    /// The address cannot be resolved.
    NoAddress,
    /// Nobody listens at the address, or the connection broke.
    NoConnection,
    /// The connection could not be secured.
    Tls,
    /// The answer is not one of S3: a proxy or a captive portal gave it.
    NotS3,
    /// Anything else.
    Other,
}

impl S3Cause {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoObject => "it was never put there, or somebody deleted it",
            Self::NoBucket => "create the bucket, or correct its name, region or endpoint",
            Self::Denied => {
                "let the credentials' policy allow this operation on this bucket and prefix (docs/s3.md has the policies)"
            }
            Self::NoCredentials => hint::NO_CREDENTIALS,
            Self::ExpiredCredentials => hint::EXPIRED_CREDENTIALS,
            Self::WrongCredentials => hint::WRONG_CREDENTIALS,
            Self::ClockSkew => "set this machine's clock; S3 refuses requests that are 15 minutes off",
            Self::WrongRegion => "set the region to the bucket's",
            Self::NoRegion => "set the region, with AWS_REGION or in the settings",
            Self::Condition => "look at what is there now",
            Self::Conflict => "try again",
            Self::Checksum => "try again; if it lasts, something on the way changes the bytes",
            Self::Range => "look how large the object is now",
            Self::Altered => "somebody altered the object; an older version of it may be what was put",
            Self::Archived => "restore the object in S3 first; it is in an archive class",
            Self::Unsupported => "this server lacks the operation; use another, or do without",
            Self::TooLarge => "make it smaller: keys have at most 1,024 bytes, metadata 2 KB, a part 5 GiB",
            Self::Full => "free space on the server",
            Self::Throttled => "wait; the number of requests at once goes down by itself",
            Self::ServerFailed => "wait and try again; if it lasts, ask who runs the server",
            Self::TimedOut => hint::TIMED_OUT,
            Self::NoAddress => {
                "check the endpoint's host name; with an endpoint of your own the bucket may have to stand in the path (`path_style`)"
            }
            Self::NoConnection => hint::NO_CONNECTION,
            Self::Tls => hint::TLS,
            Self::NotS3 => hint::NOT_THE_SERVICE,
            Self::Other => hint::UNKNOWN,
        }
    }

    pub(crate) const fn kind(self) -> StoreErrorKind {
        match self {
            Self::NoObject => StoreErrorKind::NotFound,
            Self::Denied => StoreErrorKind::PermissionDenied,
            Self::NoBucket
            | Self::NoCredentials
            | Self::ExpiredCredentials
            | Self::WrongCredentials
            | Self::ClockSkew
            | Self::WrongRegion
            | Self::NoRegion
            | Self::NoAddress
            | Self::Tls => StoreErrorKind::Misconfigured,
            Self::Condition => StoreErrorKind::PreconditionFailed,
            Self::Checksum | Self::Altered => StoreErrorKind::Corrupt,
            Self::TooLarge => StoreErrorKind::TooLarge,
            Self::Full => StoreErrorKind::Full,
            Self::Throttled => StoreErrorKind::RateLimited,
            Self::Conflict | Self::ServerFailed | Self::TimedOut | Self::NoConnection | Self::NotS3 => {
                StoreErrorKind::Unavailable
            }
            Self::Range | Self::Archived | Self::Unsupported | Self::Other => StoreErrorKind::Unexpected,
        }
    }

    /// Whether it may pass by itself or by somebody's doing, without another request being made.
    pub(crate) const fn retry(self) -> Retry {
        match self {
            // The SDK has tried these again already.
            Self::Throttled | Self::ServerFailed | Self::TimedOut | Self::NoConnection => Retry::Exhausted,
            Self::Conflict
            | Self::Checksum
            | Self::Full
            | Self::NoAddress
            | Self::ClockSkew
            | Self::NotS3 => Retry::Later,
            Self::NoCredentials | Self::ExpiredCredentials => Retry::Later,
            Self::NoObject
            | Self::NoBucket
            | Self::Denied
            | Self::WrongCredentials
            | Self::WrongRegion
            | Self::NoRegion
            | Self::Condition
            | Self::Range
            | Self::Altered
            | Self::Archived
            | Self::Unsupported
            | Self::TooLarge
            | Self::Tls
            | Self::Other => Retry::Never,
        }
    }

    /// What every service says alike, as this one's cause.
    pub(crate) const fn common(cause: Cause) -> Self {
        match cause {
            Cause::Denied => Self::Denied,
            Cause::NoCredentials => Self::NoCredentials,
            Cause::ExpiredCredentials => Self::ExpiredCredentials,
            Cause::WrongCredentials => Self::WrongCredentials,
            Cause::ClockSkew => Self::ClockSkew,
            Cause::WrongRegion => Self::WrongRegion,
            Cause::NoRegion => Self::NoRegion,
            Cause::TooLarge => Self::TooLarge,
            Cause::Unsupported => Self::Unsupported,
            Cause::Throttled => Self::Throttled,
            Cause::ServerFailed => Self::ServerFailed,
            Cause::TimedOut => Self::TimedOut,
            Cause::NoAddress => Self::NoAddress,
            Cause::NoConnection => Self::NoConnection,
            Cause::Tls => Self::Tls,
            Cause::NotTheService => Self::NotS3,
            Cause::Other => Self::Other,
        }
    }
}

/// What S3 alone says with a status and a code; `None` for what every service says alike. The answer to a HEAD has no
/// code.
pub(crate) fn own_cause(status: u16, code: &str) -> Option<S3Cause> {
    Some(match (status, code) {
        (404, "NoSuchBucket") => S3Cause::NoBucket,
        (404, _) => S3Cause::NoObject,
        (409, _) => S3Cause::Conflict,
        (412, _) => S3Cause::Condition,
        (416, _) => S3Cause::Range,
        (503, _) => S3Cause::Throttled,
        (507, _) => S3Cause::Full,
        (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => S3Cause::WrongRegion,
        (
            400,
            "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch",
        ) => S3Cause::Checksum,
        (400, "EntityTooLarge" | "KeyTooLongError" | "MetadataTooLarge") => S3Cause::TooLarge,
        (400, "RequestTimeout") => S3Cause::TimedOut,
        (400, "IncompleteBody") => S3Cause::NoConnection,
        (400, "SlowDown") => S3Cause::Throttled,
        (401 | 403, "InvalidObjectState") => S3Cause::Archived,
        (401 | 403, "QuotaExceeded" | "XMinioStorageFull") => S3Cause::Full,
        _ => return None,
    })
}
