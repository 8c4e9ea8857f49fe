//! What S3 answers when it refuses: what it says in its own way first, then what every service says alike.

use std::error::Error;
use std::fmt;

use artifact_core::StoreError;
use aws_connect::{Cause, Failed, Said, header};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::cause::{S3Cause, own_cause};

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
            place: None,
            source: None,
        }
    }

    /// A success that lacks what S3 always says with one.
    pub(crate) fn not_s3(bucket: &str, operation: &str) -> Self {
        let message = format!(
            "the answer to {operation} has no ETag, so it is not an answer of S3; a proxy or captive portal?"
        );
        Self::new(S3Cause::NotS3, bucket, message)
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
            place: None,
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
        write!(f, "bucket {}", self.bucket)?;
        if let Some(place) = &self.place {
            write!(f, " at {place}")?;
        }
        write!(f, ": {said}")
    }
}

/// Without a source of its own: the SDK's chain says again what stands here, and stays in `Debug`.
impl Error for S3Failure {}

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
            "bucket team: the server answered 301 PermanentRedirect (request ABC): moved"
        );
        assert_eq!(
            failure.hint(),
            "set the region to the bucket's, which is eu-west-1"
        );
    }
}
