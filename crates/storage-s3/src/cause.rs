//! Why S3 did not do what was asked: what kind of failure that is, whether it may pass, and what to do about it.

use artifact_core::{Retry, StoreErrorKind};

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
            Self::NoCredentials => {
                "give credentials the way the AWS tools take them: AWS_PROFILE, `aws sso login`, or a role of this machine"
            }
            Self::ExpiredCredentials => "renew the credentials, for example with `aws sso login`",
            Self::WrongCredentials => {
                "check the access key and its secret, and that they are for this endpoint"
            }
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
            Self::TimedOut => {
                "check that this is the right endpoint, and the network on the way: proxies, firewalls, VPC endpoints"
            }
            Self::NoAddress => {
                "check the endpoint's host name; with an endpoint of your own the bucket may have to stand in the path (`path_style`)"
            }
            Self::NoConnection => "check that the endpoint is up and that nothing on the way blocks it",
            Self::Tls => {
                "check the endpoint's certificate and the machine's trusted roots, or whether the endpoint speaks https at all"
            }
            Self::Other => "see what the server said",
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
            Self::Conflict | Self::ServerFailed | Self::TimedOut | Self::NoConnection => {
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
            Self::Conflict | Self::Checksum | Self::Full | Self::NoAddress | Self::ClockSkew => Retry::Later,
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
}
