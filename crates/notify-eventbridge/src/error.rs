//! What EventBridge answers when it refuses a call, and what to do about it: classified by HTTP status first, error
//! code second.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_eventbridge::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eventbridge::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Why EventBridge did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventBridgeCause {
    /// No bus of that name.
    NoBus,
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
    /// The bus is in another region, or the endpoint is another region's.
    WrongRegion,
    /// No region is set.
    NoRegion,
    /// The call as a whole is not valid.
    Invalid,
    /// The call has more bytes than EventBridge takes.
    TooLarge,
    /// The server does not know this operation.
    Unsupported,
    /// The server asks for fewer calls.
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

impl EventBridgeCause {
    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoBus => "create the bus, or correct its name, account or region",
            Self::Denied => {
                "let the credentials' policy allow this operation on this bus (docs/eventbridge.md has the policy)"
            }
            Self::NoCredentials => {
                "give credentials the way the AWS tools take them: AWS_PROFILE, `aws sso login`, or a role of this machine"
            }
            Self::ExpiredCredentials => "renew the credentials, for example with `aws sso login`",
            Self::WrongCredentials => {
                "check the access key and its secret, and that they are for this endpoint"
            }
            Self::ClockSkew => "set this machine's clock; AWS refuses calls that are 15 minutes off",
            Self::WrongRegion => "set the region to the bus's",
            Self::NoRegion => {
                "set the region, with AWS_REGION or in the settings, or name the bus by its ARN"
            }
            Self::Invalid => "see what the server said",
            Self::TooLarge => "set `max_kib` to what this endpoint takes",
            Self::Unsupported => "check the endpoint: it does not speak EventBridge",
            Self::Throttled => "it goes on by itself; if it lasts, ask AWS for a higher quota of PutEvents",
            Self::ServerFailed => "it goes on by itself; if it lasts, see the state of AWS",
            Self::TimedOut => "check the network between here and the endpoint",
            Self::NoAddress => "check the region, or the endpoint's host name",
            Self::NoConnection => "check that the endpoint is up and that nothing on the way blocks it",
            Self::Tls => {
                "check the endpoint's certificate and the machine's trusted roots, or whether the endpoint speaks https at all"
            }
            Self::Other => "see what the server said",
        }
    }

    /// Whether it passes by itself, without anybody changing a setting.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        match self {
            Self::Throttled | Self::ServerFailed | Self::TimedOut | Self::NoAddress | Self::NoConnection => {
                true
            }
            Self::NoBus
            | Self::Denied
            | Self::NoCredentials
            | Self::ExpiredCredentials
            | Self::WrongCredentials
            | Self::ClockSkew
            | Self::WrongRegion
            | Self::NoRegion
            | Self::Invalid
            | Self::TooLarge
            | Self::Unsupported
            | Self::Tls
            | Self::Other => false,
        }
    }

    /// Whether it says nothing of the bus when it is the answer to a look for it.
    pub(crate) const fn forbids_only_the_look(self) -> bool {
        matches!(self, Self::Denied | Self::Unsupported | Self::Invalid)
    }

    /// Whether one entry of the call may be the reason.
    pub(crate) const fn may_be_an_entry(self) -> bool {
        matches!(self, Self::Invalid | Self::TooLarge)
    }
}

/// A refusal or failure of EventBridge. Its text says what was attempted, on which bus, why it failed and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub struct EventBridgeError {
    /// Why.
    pub cause: EventBridgeCause,
    /// `PutEvents` or `DescribeEventBus`.
    pub operation: &'static str,
    /// The bus, as it was configured.
    pub bus: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server's error code.
    pub code: Option<String>,
    /// What was said, by the server or by the layer that failed.
    pub message: Option<String>,
    /// The id under which AWS finds the request.
    pub request_id: Option<String>,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
}

impl EventBridgeError {
    /// What an operation of the SDK failed with.
    pub(crate) fn from_sdk<E>(operation: &'static str, bus: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = error.raw_response().map(|response| {
            let header = |name: &str| response.headers().get(name).map(str::to_owned);
            let id = header("x-amzn-requestid").or_else(|| error.meta().request_id().map(str::to_owned));
            (response.status().as_u16(), id, retry_after(header))
        });
        let (cause, message) = match &answer {
            None => (cause_without_answer(&error), Some(innermost_of(&error))),
            // A body that breaks off after a good status is a broken connection.
            Some((200..300, ..)) => (EventBridgeCause::NoConnection, Some(innermost_of(&error))),
            Some((status, ..)) => {
                let message = error.message().map(str::to_owned);
                let said = message.as_deref().unwrap_or_default();
                (
                    cause_of_answer(*status, error.code().unwrap_or_default(), said),
                    message,
                )
            }
        };
        let (status, request_id, retry_after) = answer.map_or((None, None, None), |(status, id, after)| {
            (Some(status), id, after)
        });
        Self {
            cause,
            operation,
            bus: bus.to_owned(),
            status,
            code: error.code().map(str::to_owned),
            message,
            request_id,
            retry_after,
        }
    }
}

impl fmt::Display for EventBridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on bus {}: ", self.operation, self.bus)?;
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
        write!(f, "; {}", self.cause.hint())
    }
}

/// Without a source of its own: the SDK's chain says again what stands here.
impl Error for EventBridgeError {}

/// The pause that an answer asks for: seconds, or milliseconds in AWS's own header.
fn retry_after(header: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| header(name)?.trim().parse::<u64>().ok();
    number("retry-after")
        .map(Duration::from_secs)
        .or_else(|| number("x-amz-retry-after").map(Duration::from_millis))
}

/// Status first: proxies on the way have no codes. EventBridge says most with 400 and a code.
fn cause_of_answer(status: u16, code: &str, message: &str) -> EventBridgeCause {
    match status {
        301 | 302 | 307 | 308 => EventBridgeCause::WrongRegion,
        400 | 401 | 403 => cause_of_refusal(status, code, message),
        404 if code == "ResourceNotFoundException" => EventBridgeCause::NoBus,
        404 | 405 | 501 => EventBridgeCause::Unsupported,
        408 => EventBridgeCause::TimedOut,
        413 => EventBridgeCause::TooLarge,
        429 => EventBridgeCause::Throttled,
        500.. => EventBridgeCause::ServerFailed,
        _ => EventBridgeCause::Other,
    }
}

fn cause_of_refusal(status: u16, code: &str, message: &str) -> EventBridgeCause {
    match code {
        "ResourceNotFoundException" => EventBridgeCause::NoBus,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => EventBridgeCause::Throttled,
        "InternalException" | "InternalFailure" | "InternalServerError" | "ServiceUnavailable" => {
            EventBridgeCause::ServerFailed
        }
        "ExpiredTokenException" | "ExpiredToken" => EventBridgeCause::ExpiredCredentials,
        "InvalidSignatureException" | "SignatureDoesNotMatch" if message.contains("valid region") => {
            EventBridgeCause::WrongRegion
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch"
            if message.contains("expired") || message.contains("not yet current") =>
        {
            EventBridgeCause::ClockSkew
        }
        "RequestExpired" | "RequestTimeTooSkewed" => EventBridgeCause::ClockSkew,
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId" => EventBridgeCause::WrongCredentials,
        "MissingAuthenticationTokenException" | "MissingAuthenticationToken" => {
            EventBridgeCause::NoCredentials
        }
        "AccessDeniedException" | "AccessDenied" | "NotAuthorized" | "OptInRequired" => {
            EventBridgeCause::Denied
        }
        "UnknownOperationException" | "InvalidAction" => EventBridgeCause::Unsupported,
        "RequestEntityTooLargeException" | "RequestEntityTooLarge" => EventBridgeCause::TooLarge,
        "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "InvalidArgument"
        | "InvalidParameterValue"
        | "MalformedDetail" => EventBridgeCause::Invalid,
        _ if status == 400 => EventBridgeCause::Other,
        _ => EventBridgeCause::Denied,
    }
}

/// There was no answer: the chain of causes says where it ended.
fn cause_without_answer<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> EventBridgeCause {
    let mut texts = String::new();
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(link) = cause {
        match link.downcast_ref::<CredentialsError>() {
            Some(CredentialsError::ProviderTimedOut(_)) => return EventBridgeCause::TimedOut,
            Some(_) => return credentials_cause(link),
            None => {}
        }
        texts.push_str(&link.to_string().to_ascii_lowercase());
        texts.push('\n');
        cause = link.source();
    }
    let says = |words: &[&str]| words.iter().any(|word| texts.contains(word));
    if let SdkError::TimeoutError(_) = error {
        EventBridgeCause::TimedOut
    } else if says(&["credentials", "no identity", "no auth options"]) {
        EventBridgeCause::NoCredentials
    } else if says(&["region must be set", "a region", "missing region"]) {
        EventBridgeCause::NoRegion
    } else if says(&["certificate", "tls", "corrupt message", "handshake"]) {
        EventBridgeCause::Tls
    } else if says(&["dns error", "failed to lookup address", "resolve"]) {
        EventBridgeCause::NoAddress
    } else if matches!(error, SdkError::DispatchFailure(failure) if failure.is_timeout()) {
        EventBridgeCause::TimedOut
    } else if matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)) {
        EventBridgeCause::NoConnection
    } else {
        EventBridgeCause::Other
    }
}

/// Sessions that have ended are no lack of credentials: they need to be renewed.
fn credentials_cause(error: &(dyn Error + 'static)) -> EventBridgeCause {
    let mut link = Some(error);
    while let Some(cause) = link {
        if cause.to_string().to_ascii_lowercase().contains("expired") {
            return EventBridgeCause::ExpiredCredentials;
        }
        link = cause.source();
    }
    EventBridgeCause::NoCredentials
}

/// What the innermost cause says: the layers around it only say that a request was made.
fn innermost_of(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        use EventBridgeCause as Cause;
        let cases = [
            (400, "ResourceNotFoundException", "", Cause::NoBus),
            (404, "ResourceNotFoundException", "", Cause::NoBus),
            (404, "", "", Cause::Unsupported),
            (400, "ThrottlingException", "", Cause::Throttled),
            (429, "Whatever", "", Cause::Throttled),
            (503, "ThrottlingException", "", Cause::ServerFailed),
            (500, "InternalException", "", Cause::ServerFailed),
            (400, "AccessDeniedException", "", Cause::Denied),
            (403, "", "", Cause::Denied),
            (400, "", "", Cause::Other),
            (413, "", "", Cause::TooLarge),
            (400, "ValidationException", "", Cause::Invalid),
            (400, "ExpiredTokenException", "", Cause::ExpiredCredentials),
            (400, "UnrecognizedClientException", "", Cause::WrongCredentials),
            (
                400,
                "InvalidSignatureException",
                "Credential should be scoped to a valid region, not 'eu-west-1'.",
                Cause::WrongRegion,
            ),
            (
                400,
                "InvalidSignatureException",
                "Signature expired: 20250101T000000Z is now earlier than …",
                Cause::ClockSkew,
            ),
        ];
        for (status, code, message, cause) in cases {
            assert_eq!(cause_of_answer(status, code, message), cause, "{status} {code}");
        }
    }

    #[test]
    fn a_pause_is_read_in_both_units() {
        let header = |wanted: &'static str, value: &'static str| {
            move |name: &str| (name == wanted).then(|| value.to_owned())
        };
        assert_eq!(
            retry_after(header("retry-after", " 7")),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            retry_after(header("x-amz-retry-after", "1500")),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(
            retry_after(header("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")),
            None
        );
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let error = EventBridgeError {
            cause: EventBridgeCause::NoBus,
            operation: "DescribeEventBus",
            bus: "ops".into(),
            status: Some(400),
            code: Some("ResourceNotFoundException".into()),
            message: Some("Event bus ops does not exist.".into()),
            request_id: Some("R-1".into()),
            retry_after: None,
        };
        assert_eq!(
            error.to_string(),
            "DescribeEventBus on bus ops: the server answered 400 ResourceNotFoundException (request R-1): Event bus \
             ops does not exist; create the bus, or correct its name, account or region"
        );
    }
}
