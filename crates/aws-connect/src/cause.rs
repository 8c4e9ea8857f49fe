//! Causes of failures: classified by HTTP status first, error code second.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

/// Cause of a failed operation. A service gives only those that fit it.
///
/// Not `non_exhaustive`: an adapter maps each cause, and must be asked when one is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The bucket or bus does not exist.
    NoResource,
    /// The bucket has no object of that key.
    NoObject,
    /// A condition of the request was not met: the key is taken, or the object is another by now.
    PreconditionFailed,
    /// Another request for the same key is in progress.
    Conflict,
    /// The bytes that arrived have another checksum than was announced.
    ChecksumMismatch,
    /// The object has no such range.
    InvalidRange,
    /// The stored bytes are not those that its metadata or a record describes.
    Altered,
    /// The object is in an archive class and must be restored before it can be read.
    Archived,
    /// The server has no space left.
    StorageFull,
    /// The request as a whole is not valid.
    InvalidRequest,
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
    /// The resource is in another region, or the endpoint is another region's.
    WrongRegion,
    /// No region is set.
    NoRegion,
    /// The request has more bytes than the server takes.
    TooLarge,
    /// The server does not know this operation.
    Unsupported,
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
    /// Something on the way answered in place of the service: a proxy, a captive portal.
    NotTheService,
    /// Anything else.
    Other,
}

impl Cause {
    /// Hint for causes that every service gives; an adapter adds the hints of its service.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "give credentials the way the AWS tools take them: AWS_PROFILE, `aws sso login`, or a role of this machine"
            }
            Self::ExpiredCredentials => "renew the credentials, for example with `aws sso login`",
            Self::WrongCredentials => {
                "check the access key and its secret, and that they are for this endpoint"
            }
            Self::ClockSkew => "set this machine's clock; AWS refuses requests that are 15 minutes off",
            Self::WrongRegion => "set the region to that of the bucket or bus",
            Self::NoRegion => "set the region, with AWS_REGION or in the settings",
            Self::Conflict => "try again",
            Self::Unsupported => "this server lacks the operation; use another, or do without",
            Self::StorageFull => "free space on the server",
            Self::ServerFailed => "wait and try again; if it lasts, ask the server's operators",
            Self::TimedOut => {
                "check that this is the right endpoint, and the network on the way: proxies, firewalls, VPC endpoints"
            }
            Self::NoAddress => "check the region, or the endpoint's host name",
            Self::NoConnection => "check that the endpoint is up and that nothing on the way blocks it",
            Self::Tls => {
                "check the endpoint's certificate and the machine's trusted roots, or whether the endpoint speaks https at all"
            }
            Self::NotTheService => {
                "sign in to this network if it has a captive portal, or let the proxy pass requests to this endpoint, and try again"
            }
            _ => "see what the server said",
        }
    }

    /// True for causes that pass without anybody changing a setting.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::ServerFailed
                | Self::TimedOut
                | Self::NoAddress
                | Self::NoConnection
                | Self::NotTheService
        )
    }

    /// The cause of an answer other than success. Status first: servers agree on it more than on codes, and proxies on the
    /// way have none; `code` and `message` are empty where there are none.
    #[must_use]
    pub fn of_answer(status: u16, code: &str, message: &str) -> Self {
        match status {
            301 | 302 | 307 | 308 => Self::WrongRegion,
            400 => Self::of_code(code, message).unwrap_or(Self::Other),
            401 | 403 => Self::of_code(code, message).unwrap_or(Self::Denied),
            404 | 405 | 501 => Self::Unsupported,
            408 => Self::TimedOut,
            413 => Self::TooLarge,
            429 => Self::Throttled,
            500.. => Self::ServerFailed,
            _ => Self::Other,
        }
    }

    /// The cause of a code, `None` for one that is a service's own. Some codes cover several causes, which `message` tells
    /// apart.
    #[must_use]
    pub fn of_code(code: &str, message: &str) -> Option<Self> {
        Some(match code {
            "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "OptInRequired" => Self::Denied,
            "MissingAuthenticationToken" | "MissingAuthenticationTokenException" => Self::NoCredentials,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Self::ExpiredCredentials,
            "SignatureDoesNotMatch" | "InvalidSignatureException" => signature_cause(message),
            "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidAccessKeyId"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "UnrecognizedClientException" => Self::WrongCredentials,
            "RequestExpired" | "RequestTimeTooSkewed" => Self::ClockSkew,
            "RequestEntityTooLarge" | "RequestEntityTooLargeException" => Self::TooLarge,
            "InvalidAction" | "UnknownOperationException" => Self::Unsupported,
            "LimitExceededException"
            | "RequestLimitExceeded"
            | "ThrottledException"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequestsException" => Self::Throttled,
            "InternalException" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable" => {
                Self::ServerFailed
            }
            _ => return None,
        })
    }

    /// There was no answer: the chain of causes says where it ended.
    pub(crate) fn without_answer<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        let mut texts = String::new();
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(link) = cause {
            match link.downcast_ref::<CredentialsError>() {
                Some(CredentialsError::ProviderTimedOut(_)) => return Self::TimedOut,
                Some(_) => return credentials_cause(link),
                None => {}
            }
            texts.push_str(&link.to_string().to_ascii_lowercase());
            texts.push('\n');
            cause = link.source();
        }
        let says = |words: &[&str]| words.iter().any(|word| texts.contains(word));
        if let SdkError::TimeoutError(_) = error {
            Self::TimedOut
        } else if says(&["credentials", "no identity", "no auth options"]) {
            Self::NoCredentials
        } else if says(&["region must be set", "a region", "missing region"]) {
            Self::NoRegion
        } else if says(&["certificate", "tls", "corrupt message", "handshake"]) {
            Self::Tls
        } else if says(&["dns error", "failed to lookup address", "resolve"]) {
            Self::NoAddress
        } else if matches!(error, SdkError::DispatchFailure(failure) if failure.is_timeout()) {
            Self::TimedOut
        } else if matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)) {
            Self::NoConnection
        } else {
            Self::Other
        }
    }
}

/// A signature fits secret, region and time; which of them is off only the message says.
fn signature_cause(message: &str) -> Cause {
    if message.contains("valid region") {
        Cause::WrongRegion
    } else if message.contains("expired") || message.contains("not yet current") {
        Cause::ClockSkew
    } else {
        Cause::WrongCredentials
    }
}

/// Sessions that have ended are no lack of credentials: they need to be renewed.
fn credentials_cause(error: &(dyn Error + 'static)) -> Cause {
    let mut link = Some(error);
    while let Some(cause) = link {
        if cause.to_string().to_ascii_lowercase().contains("expired") {
            return Cause::ExpiredCredentials;
        }
        link = cause.source();
    }
    Cause::NoCredentials
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        let cases = [
            (301, "PermanentRedirect", Cause::WrongRegion),
            (400, "", Cause::Other),
            (400, "AccessDeniedException", Cause::Denied),
            (400, "ExpiredToken", Cause::ExpiredCredentials),
            (400, "ThrottlingException", Cause::Throttled),
            (400, "UnrecognizedClientException", Cause::WrongCredentials),
            (403, "", Cause::Denied),
            (403, "RequestTimeTooSkewed", Cause::ClockSkew),
            (403, "SignatureDoesNotMatch", Cause::WrongCredentials),
            (404, "", Cause::Unsupported),
            (413, "", Cause::TooLarge),
            (418, "Teapot", Cause::Other),
            (429, "Whatever", Cause::Throttled),
            (500, "InternalException", Cause::ServerFailed),
            (503, "ThrottlingException", Cause::ServerFailed),
        ];
        for (status, code, cause) in cases {
            assert_eq!(Cause::of_answer(status, code, ""), cause, "{status} {code}");
        }
    }

    #[test]
    fn a_refused_signature_says_what_is_off() {
        let cases = [
            (
                "Credential should be scoped to a valid region, not 'eu-west-1'.",
                Cause::WrongRegion,
            ),
            (
                "Signature expired: 20250101T000000Z is now earlier than …",
                Cause::ClockSkew,
            ),
            ("Signature not yet current: …", Cause::ClockSkew),
            ("The signature does not match.", Cause::WrongCredentials),
        ];
        for (message, cause) in cases {
            let found = Cause::of_answer(400, "InvalidSignatureException", message);
            assert_eq!(found, cause, "{message}");
        }
    }

    #[test]
    fn without_an_answer_the_causes_say_where_it_ended() {
        type Failed = SdkError<ErrorMetadata, HttpResponse>;
        let io = |text: &str| Failed::dispatch_failure(ConnectorError::io(io::Error::other(text).into()));
        let credentials = |error: CredentialsError| Failed::construction_failure(error);
        let cases = [
            (io("connection refused"), Cause::NoConnection),
            (
                io("dns error: failed to lookup address information"),
                Cause::NoAddress,
            ),
            (io("invalid peer certificate: UnknownIssuer"), Cause::Tls),
            (Failed::timeout_error("late"), Cause::TimedOut),
            (
                Failed::dispatch_failure(ConnectorError::timeout("late".into())),
                Cause::TimedOut,
            ),
            (
                Failed::construction_failure("invalid configuration: missing region"),
                Cause::NoRegion,
            ),
            (Failed::construction_failure("odd"), Cause::Other),
            (
                credentials(CredentialsError::not_loaded("none")),
                Cause::NoCredentials,
            ),
            (
                credentials(CredentialsError::provider_error("the session has Expired")),
                Cause::ExpiredCredentials,
            ),
            (
                credentials(CredentialsError::provider_timed_out(
                    std::time::Duration::from_secs(1),
                )),
                Cause::TimedOut,
            ),
        ];
        for (error, cause) in cases {
            assert_eq!(Cause::without_answer(&error), cause, "{error:?}");
        }
    }
}
