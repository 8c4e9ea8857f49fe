//! Causes and hints that EventBridge alone has.

use aws_connect::{Cause, Service};

/// EventBridge, as far as its failures differ from those of other services.
pub(crate) const EVENT_BRIDGE: Service = Service { cause, hint };

const fn hint(cause: Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::NoResource => "create the bus, or correct its name, account or region",
        Cause::Denied => {
            "let the credentials' policy allow this operation on this bus (docs/eventbridge.md has the policy)"
        }
        Cause::NoRegion => "set the region, with AWS_REGION or in the settings, or name the bus by its ARN",
        Cause::TooLarge => "set `max_kib` to what this endpoint takes",
        Cause::Unsupported => "check the endpoint: it does not speak EventBridge",
        Cause::Throttled => "it goes on by itself; if it lasts, ask AWS for a higher quota of PutEvents",
        Cause::ServerFailed => "it goes on by itself; if it lasts, see the state of AWS",
        _ => return None,
    })
}

fn cause(status: u16, code: &str) -> Option<Cause> {
    match (status, code) {
        (400 | 401 | 403 | 404, "ResourceNotFoundException") => Some(Cause::NoResource),
        (
            400 | 401 | 403,
            "ValidationException"
            | "ValidationError"
            | "SerializationException"
            | "InvalidArgument"
            | "InvalidParameterValue"
            | "MalformedDetail",
        ) => Some(Cause::InvalidRequest),
        _ => None,
    }
}

/// True if the cause says nothing of the bus when it is the answer to `DescribeEventBus`.
pub(crate) const fn forbids_only_the_look(cause: Cause) -> bool {
    matches!(cause, Cause::Denied | Cause::Unsupported | Cause::InvalidRequest)
}

/// True if one entry of a call may be the reason.
pub(crate) const fn may_be_an_entry(cause: Cause) -> bool {
    matches!(cause, Cause::InvalidRequest | Cause::TooLarge)
}

#[cfg(test)]
mod tests {
    use aws_connect::Failure;
    use aws_sdk_eventbridge::config::http::HttpResponse;
    use aws_sdk_eventbridge::error::{ErrorMetadata, SdkError};

    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        let cases = [
            (400, "ResourceNotFoundException", "", Cause::NoResource),
            (404, "ResourceNotFoundException", "", Cause::NoResource),
            (404, "", "", Cause::Unsupported),
            (400, "ThrottlingException", "", Cause::Throttled),
            (429, "Whatever", "", Cause::Throttled),
            (503, "ThrottlingException", "", Cause::ServerFailed),
            (500, "InternalException", "", Cause::ServerFailed),
            (400, "AccessDeniedException", "", Cause::Denied),
            (403, "", "", Cause::Denied),
            (400, "", "", Cause::Other),
            (413, "", "", Cause::TooLarge),
            (400, "ValidationException", "", Cause::InvalidRequest),
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
            let failure = Failure::from_sdk(EVENT_BRIDGE, "PutEvents on bus ops", &error);
            assert_eq!(failure.cause, cause, "{status} {code}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let said = ErrorMetadata::builder()
            .code("ResourceNotFoundException")
            .message("Event bus ops does not exist.")
            .build();
        let answer = HttpResponse::new(400.try_into().unwrap(), "".into());
        let error = SdkError::service_error(said, answer);
        let failure = Failure::from_sdk(EVENT_BRIDGE, "DescribeEventBus on bus ops", &error);
        assert_eq!(
            failure.to_string(),
            "DescribeEventBus on bus ops: the server answered 400 ResourceNotFoundException: Event bus ops does not exist"
        );
        assert_eq!(
            failure.hint(),
            "create the bus, or correct its name, account or region"
        );
    }
}
