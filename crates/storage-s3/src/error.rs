//! Causes and hints that S3 alone has, and the errors of a store that they become.

use std::fmt;

use artifact_core::{Retry, StoreError, StoreErrorKind};
use aws_connect::{Cause, Failure, Service};

/// S3, as far as its failures differ from those of other services.
pub(crate) const S3: Service = Service { cause, hint };

/// The failure of S3 behind an error of the store; `None` if S3 had no part in it.
#[must_use]
pub fn failure_of(error: &StoreError) -> Option<&Failure> {
    std::error::Error::source(error)?.downcast_ref()
}

const fn hint(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::NoResource => "create the bucket, or correct its name, region or endpoint",
        Cause::NoObject => "it was never put there, or somebody deleted it",
        Cause::Denied => {
            "let the credentials' policy allow this operation on this bucket and prefix (docs/s3.md has the policies)"
        }
        Cause::WrongRegion => "set the region to the bucket's",
        Cause::PreconditionFailed => "look at what is there now",
        Cause::ChecksumMismatch => "try again; if it lasts, something on the way changes the bytes",
        Cause::InvalidRange => "look how large the object is now",
        Cause::Altered => "somebody altered the object; an older version of it may be what was put",
        Cause::Archived => "restore the object in S3 first; it is in an archive class",
        Cause::TooLarge => "make it smaller: keys have at most 1,024 bytes, metadata 2 KB, a part 5 GiB",
        Cause::Throttled => "wait; the store sends fewer requests by itself",
        Cause::NoAddress => {
            "check the endpoint's host name; with an endpoint of your own the bucket may have to stand in the path (`path_style`)"
        }
        _ => return None,
    })
}

/// The answer to a HEAD has no code.
fn cause(status: u16, code: &str) -> Option<Cause> {
    Some(match (status, code) {
        (404, "NoSuchBucket") => Cause::NoResource,
        (404, _) => Cause::NoObject,
        (409, _) => Cause::Conflict,
        (412, _) => Cause::PreconditionFailed,
        (416, _) => Cause::InvalidRange,
        (503, _) => Cause::Throttled,
        (507, _) => Cause::StorageFull,
        (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => Cause::WrongRegion,
        (
            400,
            "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch",
        ) => Cause::ChecksumMismatch,
        (400, "EntityTooLarge" | "KeyTooLongError" | "MetadataTooLarge") => Cause::TooLarge,
        (400, "RequestTimeout") => Cause::TimedOut,
        (400, "IncompleteBody") => Cause::NoConnection,
        (400, "SlowDown") => Cause::Throttled,
        (401 | 403, "InvalidObjectState") => Cause::Archived,
        (401 | 403, "QuotaExceeded" | "XMinioStorageFull") => Cause::StorageFull,
        _ => return None,
    })
}

/// The cause of an error that S3 reports for one key among many, without a status.
pub(crate) fn cause_of_code(code: &str, message: &str) -> Cause {
    match code {
        "NoSuchKey" | "NoSuchVersion" => Cause::NoObject,
        "InternalError" => Cause::ServerFailed,
        "SlowDown" | "ServiceUnavailable" => Cause::Throttled,
        _ => cause(403, code).unwrap_or_else(|| Cause::of_answer(403, code, message)),
    }
}

/// The error of `operation` on `key` that `failure` caused.
pub(crate) fn store_error(failure: Failure, operation: &'static str, key: impl fmt::Display) -> StoreError {
    StoreError::new(kind(failure.cause), operation, key)
        .with_retry(retry(failure.cause))
        .with_source(failure)
}

const fn kind(cause: Cause) -> StoreErrorKind {
    match cause {
        Cause::NoObject => StoreErrorKind::NotFound,
        Cause::Denied => StoreErrorKind::PermissionDenied,
        Cause::NoResource
        | Cause::NoCredentials
        | Cause::ExpiredCredentials
        | Cause::WrongCredentials
        | Cause::ClockSkew
        | Cause::WrongRegion
        | Cause::NoRegion
        | Cause::NoAddress
        | Cause::Tls => StoreErrorKind::Misconfigured,
        Cause::PreconditionFailed => StoreErrorKind::PreconditionFailed,
        Cause::ChecksumMismatch | Cause::Altered => StoreErrorKind::Corrupt,
        Cause::TooLarge => StoreErrorKind::TooLarge,
        Cause::StorageFull => StoreErrorKind::Full,
        Cause::Throttled => StoreErrorKind::RateLimited,
        Cause::Conflict
        | Cause::ServerFailed
        | Cause::TimedOut
        | Cause::NoConnection
        | Cause::NotTheService => StoreErrorKind::Unavailable,
        Cause::InvalidRange | Cause::Archived | Cause::Unsupported | Cause::InvalidRequest | Cause::Other => {
            StoreErrorKind::Unexpected
        }
    }
}

const fn retry(cause: Cause) -> Retry {
    match cause {
        // The SDK has tried these again already.
        Cause::Throttled | Cause::ServerFailed | Cause::TimedOut | Cause::NoConnection => Retry::Exhausted,
        Cause::Conflict
        | Cause::ChecksumMismatch
        | Cause::StorageFull
        | Cause::NoAddress
        | Cause::ClockSkew
        | Cause::NotTheService
        | Cause::NoCredentials
        | Cause::ExpiredCredentials => Retry::Later,
        _ => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::{ErrorMetadata, SdkError};
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        let cases = [
            (404, "", Cause::NoObject),
            (404, "NoSuchBucket", Cause::NoResource),
            (403, "", Cause::Denied),
            (403, "RequestTimeTooSkewed", Cause::ClockSkew),
            (403, "SignatureDoesNotMatch", Cause::WrongCredentials),
            (400, "ExpiredToken", Cause::ExpiredCredentials),
            (301, "PermanentRedirect", Cause::WrongRegion),
            (503, "SlowDown", Cause::Throttled),
            (500, "InternalError", Cause::ServerFailed),
            (412, "", Cause::PreconditionFailed),
            (409, "ConditionalRequestConflict", Cause::Conflict),
            (400, "BadDigest", Cause::ChecksumMismatch),
            (501, "NotImplemented", Cause::Unsupported),
            (418, "Teapot", Cause::Other),
        ];
        for (status, code, cause) in cases {
            let said = ErrorMetadata::builder().code(code).build();
            let answer = HttpResponse::new(status.try_into().unwrap(), "".into());
            let failure = Failure::from_sdk(S3, "bucket team", &SdkError::service_error(said, answer));
            assert_eq!(failure.cause, cause, "{status} {code}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let said = ErrorMetadata::builder()
            .code("PermanentRedirect")
            .message("moved.")
            .build();
        let mut answer = HttpResponse::new(301.try_into().unwrap(), "".into());
        answer.headers_mut().insert("x-amz-bucket-region", "eu-west-1");
        let failure = Failure::from_sdk(S3, "bucket team", &SdkError::service_error(said, answer));
        assert_eq!(
            failure.to_string(),
            "bucket team: the server answered 301 PermanentRedirect: moved"
        );
        assert_eq!(
            failure.hint(),
            "set the region to the bucket's, which is eu-west-1"
        );
    }
}
