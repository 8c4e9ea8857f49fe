//! What S3 answers when it refuses, and what to do about it: what it says in its own way first, then what every service
//! says alike.

use std::error::Error;
use std::fmt;

use artifact_core::{Retry, StoreError, StoreErrorKind};
use aws_connect::{Cause, Failed, Said, header, hint};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

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
            Self::Altered => {
                "somebody altered the object; look for an older version of it, or upload it again"
            }
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
            Self::Other => hint::UNKNOWN,
        }
    }

    const fn kind(self) -> StoreErrorKind {
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
    const fn retry(self) -> Retry {
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

    /// What every service says alike, as this one's cause.
    const fn common(cause: Cause) -> Self {
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
            Cause::Other => Self::Other,
        }
    }
}

/// A refusal or failure of S3, as the source of a [`StoreError`], which says the operation and the key.
#[derive(Debug)]
#[non_exhaustive]
pub struct S3Failure {
    /// Why.
    pub cause: S3Cause,
    /// The bucket.
    pub bucket: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server's error code.
    pub code: Option<String>,
    /// The server's message.
    pub message: Option<String>,
    /// The id under which the server's operators find the request.
    pub request_id: Option<String>,
    /// The region that the server names as the bucket's.
    pub region: Option<String>,
    #[expect(dead_code, reason = "it is for `Debug`")]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl S3Failure {
    /// The failure behind an error of the store, if S3 had a part in it.
    #[must_use]
    pub fn of(error: &StoreError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    pub(crate) fn new(cause: S3Cause, bucket: &str, message: impl Into<String>) -> Self {
        Self {
            cause,
            bucket: bucket.to_owned(),
            status: None,
            code: None,
            message: Some(message.into()),
            request_id: None,
            region: None,
            source: None,
        }
    }

    /// The error of `operation` on `key` that this is the cause of.
    pub(crate) fn into_store_error(self, operation: &'static str, key: impl fmt::Display) -> StoreError {
        StoreError::new(self.cause.kind(), operation, key)
            .with_retry(self.cause.retry())
            .with_source(self)
    }

    /// What a server says of one key among many, without a status of its own.
    pub(crate) fn from_code(bucket: &str, code: &str, message: &str) -> Self {
        let cause = match code {
            "NoSuchKey" | "NoSuchVersion" => S3Cause::NoObject,
            "InternalError" => S3Cause::ServerFailed,
            "SlowDown" | "ServiceUnavailable" => S3Cause::Throttled,
            _ => {
                own_cause(403, code).unwrap_or_else(|| S3Cause::common(Cause::of_answer(403, code, message)))
            }
        };
        Self {
            code: Some(code.to_owned()),
            ..Self::new(cause, bucket, format!("{code}: {message}"))
        }
    }

    /// What an operation of the SDK failed with.
    pub(crate) fn from_sdk<E>(bucket: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let failed = Failed::of(&error);
        let own = failed
            .refusal()
            .and_then(|(status, code)| own_cause(status, code));
        let region = header(&error, "x-amz-bucket-region")
            .or_else(|| failed.message.as_deref().and_then(expected_region));
        Self {
            cause: own.unwrap_or(S3Cause::common(failed.cause)),
            bucket: bucket.to_owned(),
            status: failed.status,
            code: failed.code,
            message: failed.message,
            request_id: failed.request_id,
            region,
            source: Some(Box::new(error)),
        }
    }
}

impl fmt::Display for S3Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = Said {
            status: self.status,
            code: self.code.as_deref(),
            request_id: self.request_id.as_deref(),
            message: self.message.as_deref(),
        };
        write!(f, "bucket {}: {said}; {}", self.bucket, self.cause.hint())?;
        match (&self.region, self.cause) {
            (Some(region), S3Cause::WrongRegion) => write!(f, ", which is {region}"),
            _ => Ok(()),
        }
    }
}

/// Without a source of its own: the SDK's chain says again what stands here, and stays in `Debug`.
impl Error for S3Failure {}

/// What S3 alone says with a status and a code; `None` for what every service says alike. The answer to a HEAD has no
/// code.
fn own_cause(status: u16, code: &str) -> Option<S3Cause> {
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

/// `…; expecting 'eu-west-1'` in the message of a refused signature.
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region.to_owned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;

    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        let cases = [
            (404, "", S3Cause::NoObject),
            (404, "NoSuchBucket", S3Cause::NoBucket),
            (403, "", S3Cause::Denied),
            (403, "RequestTimeTooSkewed", S3Cause::ClockSkew),
            (403, "SignatureDoesNotMatch", S3Cause::WrongCredentials),
            (400, "ExpiredToken", S3Cause::ExpiredCredentials),
            (301, "PermanentRedirect", S3Cause::WrongRegion),
            (503, "SlowDown", S3Cause::Throttled),
            (500, "InternalError", S3Cause::ServerFailed),
            (412, "", S3Cause::Condition),
            (409, "ConditionalRequestConflict", S3Cause::Conflict),
            (400, "BadDigest", S3Cause::Checksum),
            (501, "NotImplemented", S3Cause::Unsupported),
            (418, "Teapot", S3Cause::Other),
        ];
        for (status, code, cause) in cases {
            let said = ErrorMetadata::builder().code(code).build();
            let answer = HttpResponse::new(status.try_into().unwrap(), "".into());
            let failure = S3Failure::from_sdk("team", SdkError::service_error(said, answer));
            assert_eq!(failure.cause, cause, "{status} {code}");
        }
    }

    #[test]
    fn the_region_is_read_from_a_refused_signature() {
        let message = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        assert_eq!(expected_region(message).as_deref(), Some("eu-west-1"));
        assert_eq!(expected_region("no"), None);
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let mut failure = S3Failure::new(S3Cause::WrongRegion, "team", "moved.");
        failure.status = Some(301);
        failure.code = Some("PermanentRedirect".into());
        failure.request_id = Some("ABC".into());
        failure.region = Some("eu-west-1".into());
        assert_eq!(
            failure.to_string(),
            "bucket team: the server answered 301 PermanentRedirect (request ABC): moved; set the region to the \
             bucket's, which is eu-west-1"
        );
    }
}
