//! What EventBridge answers when it refuses a call, and what to do about it: what it says in its own way first, then what
//! every service says alike.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_connect::{Cause, Failed, Said, header, hint};
use aws_sdk_eventbridge::config::http::HttpResponse;
use aws_sdk_eventbridge::error::{ProvideErrorMetadata, SdkError};

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
    /// The answer is not one of EventBridge: a proxy or a captive portal gave it.
    NotEventBridge,
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
            Self::NoCredentials => hint::NO_CREDENTIALS,
            Self::ExpiredCredentials => hint::EXPIRED_CREDENTIALS,
            Self::WrongCredentials => hint::WRONG_CREDENTIALS,
            Self::ClockSkew => "set this machine's clock; AWS refuses calls that are 15 minutes off",
            Self::WrongRegion => "set the region to the bus's",
            Self::NoRegion => {
                "set the region, with AWS_REGION or in the settings, or name the bus by its ARN"
            }
            Self::Invalid | Self::Other => hint::UNKNOWN,
            Self::TooLarge => "set `max_kib` to what this endpoint takes",
            Self::Unsupported => "check the endpoint: it does not speak EventBridge",
            Self::Throttled => "it goes on by itself; if it lasts, ask AWS for a higher quota of PutEvents",
            Self::ServerFailed => "it goes on by itself; if it lasts, see the state of AWS",
            Self::TimedOut => hint::TIMED_OUT,
            Self::NoAddress => "check the region, or the endpoint's host name",
            Self::NoConnection => hint::NO_CONNECTION,
            Self::Tls => hint::TLS,
            Self::NotEventBridge => hint::NOT_THE_SERVICE,
        }
    }

    /// Whether it passes by itself, without anybody changing a setting.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        match self {
            Self::Throttled
            | Self::ServerFailed
            | Self::TimedOut
            | Self::NoAddress
            | Self::NoConnection
            | Self::NotEventBridge => true,
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
            Cause::NotTheService => Self::NotEventBridge,
            Cause::Other => Self::Other,
        }
    }
}

/// A refusal or failure of EventBridge. Its text says what was attempted, on which bus, and why it failed; what to do is its
/// [hint](Self::hint).
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
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.cause.hint()
    }

    /// What an operation of the SDK failed with.
    pub(crate) fn from_sdk<E>(operation: &'static str, bus: &str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let failed = Failed::of(&error);
        let own = failed
            .refusal()
            .and_then(|(status, code)| own_cause(status, code));
        Self {
            cause: own.unwrap_or(EventBridgeCause::common(failed.cause)),
            operation,
            bus: bus.to_owned(),
            status: failed.status,
            code: failed.code,
            message: failed.message,
            request_id: failed.request_id,
            retry_after: retry_after(|name| header(&error, name)),
        }
    }
}

impl fmt::Display for EventBridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = Said {
            status: self.status,
            code: self.code.as_deref(),
            request_id: self.request_id.as_deref(),
            message: self.message.as_deref(),
        };
        write!(f, "{} on bus {}: {said}", self.operation, self.bus)
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

/// What EventBridge alone says with a status and a code; `None` for what every service says alike.
fn own_cause(status: u16, code: &str) -> Option<EventBridgeCause> {
    match (status, code) {
        (400 | 401 | 403 | 404, "ResourceNotFoundException") => Some(EventBridgeCause::NoBus),
        (
            400 | 401 | 403,
            "ValidationException"
            | "ValidationError"
            | "SerializationException"
            | "InvalidArgument"
            | "InvalidParameterValue"
            | "MalformedDetail",
        ) => Some(EventBridgeCause::Invalid),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_eventbridge::error::ErrorMetadata;

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
            let said = ErrorMetadata::builder().code(code).message(message).build();
            let answer = HttpResponse::new(status.try_into().unwrap(), "".into());
            let error = SdkError::service_error(said, answer);
            let error = EventBridgeError::from_sdk("PutEvents", "ops", error);
            assert_eq!(error.cause, cause, "{status} {code}");
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
             ops does not exist"
        );
        assert_eq!(
            error.hint(),
            "create the bus, or correct its name, account or region"
        );
    }
}
