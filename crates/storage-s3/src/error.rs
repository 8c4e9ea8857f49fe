//! What S3 answers when it refuses, and what to do about it: classified by HTTP status first, error code second.

use std::error::Error;
use std::fmt;

use artifact_core::{Retry, StoreError, StoreErrorKind};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
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
            Self::Altered => {
                "somebody altered the object; look for an older version of it, or upload it again"
            }
            Self::Archived => "restore the object in S3 first; it is in an archive class",
            Self::Unsupported => "this server lacks the operation; use another, or do without",
            Self::TooLarge => "make it smaller: keys have at most 1,024 bytes, metadata 2 KB, a part 5 GiB",
            Self::Full => "free space on the server",
            Self::Throttled => "wait; the number of requests at once goes down by itself",
            Self::ServerFailed => "wait and try again; if it lasts, ask who runs the server",
            Self::TimedOut => "check the network between here and the endpoint",
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

    fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
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
            _ => cause_of_denial(code),
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
        let request_id = error.meta_request_id();
        let Some(response) = error.raw_response() else {
            let cause = cause_without_answer(&error);
            let message = innermost_of(&error);
            return Self::new(cause, bucket, message).with_source(error);
        };
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let code = error
            .code()
            .map(str::to_owned)
            .or_else(|| header("x-minio-error-code"));
        let message = error.message().map(str::to_owned);
        let region = header("x-amz-bucket-region").or_else(|| message.as_deref().and_then(expected_region));
        // A body that breaks off after a good status is a broken connection.
        let cause = if (200..300).contains(&status) {
            S3Cause::NoConnection
        } else {
            cause_of_answer(status, code.as_deref().unwrap_or_default())
        };
        Self {
            cause,
            bucket: bucket.to_owned(),
            status: Some(status),
            code,
            message,
            request_id,
            region,
            source: Some(Box::new(error)),
        }
    }
}

impl fmt::Display for S3Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}: ", self.bucket)?;
        if let Some(status) = self.status {
            write!(f, "the server answered {status}")?;
            if let Some(code) = &self.code {
                write!(f, " {code}")?;
            }
            if let Some(id) = &self.request_id {
                write!(f, " (request {id})")?;
            }
            if self.message.is_some() {
                f.write_str(": ")?;
            }
        }
        if let Some(message) = &self.message {
            f.write_str(message.trim_end_matches('.'))?;
        }
        write!(f, "; {}", self.cause.hint())?;
        match (&self.region, self.cause) {
            (Some(region), S3Cause::WrongRegion) => write!(f, ", which is {region}"),
            _ => Ok(()),
        }
    }
}

/// Without a source of its own: the SDK's chain says again what stands here, and stays in `Debug`.
impl Error for S3Failure {}

trait RequestIdOf {
    fn meta_request_id(&self) -> Option<String>;
}

impl<E: ProvideErrorMetadata> RequestIdOf for SdkError<E, HttpResponse> {
    fn meta_request_id(&self) -> Option<String> {
        let header = |response: &HttpResponse| response.headers().get("x-amz-request-id").map(str::to_owned);
        self.raw_response()
            .and_then(header)
            .or_else(|| ProvideErrorMetadata::meta(self).request_id().map(str::to_owned))
    }
}

/// Status first: servers agree on it more than on codes, and the answer to a HEAD has nothing else.
fn cause_of_answer(status: u16, code: &str) -> S3Cause {
    match status {
        301 | 302 | 307 | 308 => S3Cause::WrongRegion,
        400 => cause_of_bad_request(code),
        401 | 403 => cause_of_denial(code),
        404 => match code {
            "NoSuchBucket" => S3Cause::NoBucket,
            _ => S3Cause::NoObject,
        },
        405 | 501 => S3Cause::Unsupported,
        408 => S3Cause::TimedOut,
        409 => S3Cause::Conflict,
        412 => S3Cause::Condition,
        413 => S3Cause::TooLarge,
        416 => S3Cause::Range,
        429 => S3Cause::Throttled,
        503 => S3Cause::Throttled,
        507 => S3Cause::Full,
        500.. => S3Cause::ServerFailed,
        _ => S3Cause::Other,
    }
}

fn cause_of_bad_request(code: &str) -> S3Cause {
    match code {
        "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => S3Cause::WrongRegion,
        "ExpiredToken" | "TokenRefreshRequired" => S3Cause::ExpiredCredentials,
        "InvalidToken" => S3Cause::WrongCredentials,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
            S3Cause::Checksum
        }
        "EntityTooLarge" | "KeyTooLongError" | "MetadataTooLarge" => S3Cause::TooLarge,
        "RequestTimeout" => S3Cause::TimedOut,
        "IncompleteBody" => S3Cause::NoConnection,
        "SlowDown" | "Throttling" | "RequestLimitExceeded" => S3Cause::Throttled,
        _ => S3Cause::Other,
    }
}

fn cause_of_denial(code: &str) -> S3Cause {
    match code {
        "ExpiredToken" | "TokenRefreshRequired" => S3Cause::ExpiredCredentials,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => S3Cause::WrongCredentials,
        "RequestTimeTooSkewed" | "RequestExpired" => S3Cause::ClockSkew,
        "InvalidObjectState" => S3Cause::Archived,
        "QuotaExceeded" | "XMinioStorageFull" => S3Cause::Full,
        _ => S3Cause::Denied,
    }
}

/// There was no answer: the chain of causes says where it ended.
fn cause_without_answer<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> S3Cause {
    let mut texts = String::new();
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(link) = cause {
        match link.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::ProviderTimedOut(_)) => return S3Cause::TimedOut,
            Some(_) => return credentials_cause(link),
            None => {}
        }
        texts.push_str(&link.to_string().to_ascii_lowercase());
        texts.push('\n');
        cause = link.source();
    }
    let says = |words: &[&str]| words.iter().any(|word| texts.contains(word));
    if let SdkError::TimeoutError(_) = error {
        S3Cause::TimedOut
    } else if says(&["credentials", "no identity", "no auth options"]) {
        S3Cause::NoCredentials
    } else if says(&[
        "region must be set",
        "a region",
        "missing region",
        "invalid configuration: missing region",
    ]) {
        S3Cause::NoRegion
    } else if says(&["certificate", "tls", "corrupt message", "handshake"]) {
        S3Cause::Tls
    } else if says(&["dns error", "failed to lookup address", "resolve"]) {
        S3Cause::NoAddress
    } else if matches!(error, SdkError::DispatchFailure(failure) if failure.is_timeout()) {
        S3Cause::TimedOut
    } else if matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)) {
        S3Cause::NoConnection
    } else {
        S3Cause::Other
    }
}

/// Sessions that have ended are no lack of credentials: they need to be renewed.
fn credentials_cause(error: &(dyn Error + 'static)) -> S3Cause {
    let mut link = Some(error);
    while let Some(cause) = link {
        if cause.to_string().to_ascii_lowercase().contains("expired") {
            return S3Cause::ExpiredCredentials;
        }
        link = cause.source();
    }
    S3Cause::NoCredentials
}

/// What the innermost cause says: the layers around it only say that a request was made.
pub(crate) fn innermost_of(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// `…; expecting 'eu-west-1'` in the message of a refused signature.
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region.to_owned())
}

#[cfg(test)]
mod tests {
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
            assert_eq!(cause_of_answer(status, code), cause, "{status} {code}");
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
