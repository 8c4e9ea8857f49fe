//! What S3 answers when it refuses, classified by HTTP status first, error code second.

use std::error::Error;
use std::fmt;

use artifact_core::StoreError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::cause::S3Cause;

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
    /// Where it was looked for, if nothing answered there.
    pub place: Option<String>,
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
            place: None,
            source: None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = self.cause.hint();
        match (&self.region, self.cause) {
            (Some(region), S3Cause::WrongRegion) => format!("{hint}, which is {region}"),
            _ => hint.to_owned(),
        }
    }

    fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same, to be told of another of the keys that it concerns.
    pub(crate) fn repeated(&self) -> Self {
        Self {
            cause: self.cause,
            bucket: self.bucket.clone(),
            status: self.status,
            code: self.code.clone(),
            message: self.message.clone(),
            request_id: self.request_id.clone(),
            region: self.region.clone(),
            place: self.place.clone(),
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
            let mut message = innermost_of(&error);
            // Where credentials were looked for follows, a line for each place.
            message.truncate(message.find(". Attempted:").unwrap_or(message.len()));
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
            place: None,
            source: Some(Box::new(error)),
        }
    }
}

impl fmt::Display for S3Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.bucket)?;
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        f.write_str(": ")?;
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
        Ok(())
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
            "bucket team: the server answered 301 PermanentRedirect (request ABC): moved"
        );
        assert_eq!(
            failure.hint(),
            "set the region to the bucket's, which is eu-west-1"
        );
    }
}
