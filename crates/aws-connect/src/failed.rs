//! An operation that failed: what is known of it, whatever the service.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use crate::Cause;
use crate::answer::{HTML, is_html};

/// The facts about a failed operation of an SDK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Why, as far as all services say it alike.
    pub cause: Cause,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server's error code.
    pub code: Option<String>,
    /// The message of the server, or of the layer that failed.
    pub message: Option<String>,
    /// The id under which the server's operators find the request.
    pub request_id: Option<String>,
}

impl Failed {
    /// Reads it from the SDK's error.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        // MinIO says it in a header where an answer has no body.
        let code = code.or_else(|| header(error, "x-minio-error-code"));
        let said = error.message().map(str::to_owned);
        let (cause, message) = match status {
            None => {
                let mut message = innermost(error);
                // Where credentials were looked for follows, a line for each place.
                message.truncate(message.find(". Attempted:").unwrap_or(message.len()));
                (Cause::without_answer(error), Some(message))
            }
            // Load balancers of the service itself say in HTML that it is overloaded.
            Some(..=428 | 430..500) if is_page(error) => (Cause::NotTheService, Some(HTML.to_owned())),
            // A body that breaks off after a good status is a broken connection.
            Some(200..300) => (
                Cause::NoConnection,
                Some(said.unwrap_or_else(|| innermost(error))),
            ),
            Some(status) => {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                (Cause::of_answer(status, &text(&code), &text(&said)), said)
            }
        };
        Self {
            cause,
            status,
            code,
            message,
            request_id: error.request_id().map(str::to_owned),
        }
    }

    /// Status and code of a refusal, for what the service alone says with them; `None` where there was no answer, or
    /// one that broke off.
    #[must_use]
    pub fn refusal(&self) -> Option<(u16, &str)> {
        let status = self.status.filter(|status| !(200..300).contains(status))?;
        if self.cause == Cause::NotTheService {
            return None;
        }
        Some((status, self.code.as_deref().unwrap_or_default()))
    }
}

/// True if the answer is a page for people: the body is one, or it was refused for that before it was read.
fn is_page<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(is_html) || innermost(error) == HTML
}

/// A header of the answer, if there was one.
#[must_use]
pub fn header<E>(error: &SdkError<E, HttpResponse>, name: &str) -> Option<String> {
    error.raw_response()?.headers().get(name).map(str::to_owned)
}

/// The message of the innermost cause: the layers around it only say that a request was made.
#[must_use]
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The message as people read it: `the server answered 403 AccessDenied (request 7): no`, or the message alone where
/// there was no answer.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server's error code.
    pub code: Option<&'a str>,
    /// The id of the request.
    pub request_id: Option<&'a str>,
    /// The message of the server, or of the layer that failed.
    pub message: Option<&'a str>,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.status {
            write!(f, "the server answered {status}")?;
            if let Some(code) = self.code {
                write!(f, " {code}")?;
            }
            if let Some(id) = self.request_id {
                write!(f, " (request {id})")?;
            }
            if self.message.is_some() {
                f.write_str(": ")?;
            }
        }
        if let Some(message) = self.message {
            f.write_str(message.trim_end_matches('.'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> HttpResponse {
        let status = StatusCode::try_from(status).unwrap();
        let mut response = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        response
    }

    #[test]
    fn a_refusal_is_told_with_its_request() {
        let said = ErrorMetadata::builder()
            .code("AccessDenied")
            .message("no")
            .build();
        let error = SdkError::service_error(said, answer(403, &[("x-amz-request-id", "7")]));
        let failed = Failed::of(&error);
        assert_eq!(
            (failed.cause, failed.refusal()),
            (Cause::Denied, Some((403, "AccessDenied")))
        );
        assert_eq!(failed.request_id.as_deref(), Some("7"));
        assert_eq!(failed.message.as_deref(), Some("no"));
    }

    #[test]
    fn a_code_may_stand_in_a_header() {
        let headers = [("x-minio-error-code", "ExpiredToken")];
        let error = SdkError::service_error(ErrorMetadata::builder().build(), answer(403, &headers));
        assert_eq!(Failed::of(&error).cause, Cause::ExpiredCredentials);
    }

    #[test]
    fn what_breaks_off_or_never_comes_is_no_refusal() {
        let broken: SdkError<ErrorMetadata, _> = SdkError::response_error("cut", answer(200, &[]));
        let refused = ConnectorError::io(io::Error::other("connection refused").into());
        for (error, message) in [
            (broken, "cut"),
            (SdkError::dispatch_failure(refused), "connection refused"),
        ] {
            let failed = Failed::of(&error);
            assert_eq!((failed.cause, failed.refusal()), (Cause::NoConnection, None));
            assert_eq!(failed.message.as_deref(), Some(message));
        }
    }

    #[test]
    fn a_page_is_no_answer_of_the_service() {
        type Answered = SdkError<ErrorMetadata, HttpResponse>;
        let page = |status: u16| {
            let status = StatusCode::try_from(status).unwrap();
            HttpResponse::new(status, SdkBody::from("<!DOCTYPE html><title>Sign in</title>"))
        };
        let refused = |status| Answered::service_error(ErrorMetadata::builder().build(), page(status));
        let cases = [
            (
                Answered::response_error("no root element", page(200)),
                Cause::NotTheService,
            ),
            (
                Answered::response_error(HTML, answer(200, &[])),
                Cause::NotTheService,
            ),
            (refused(302), Cause::NotTheService),
            (refused(403), Cause::NotTheService),
            (refused(503), Cause::ServerFailed),
            (refused(429), Cause::Throttled),
        ];
        for (error, cause) in cases {
            assert_eq!(Failed::of(&error).cause, cause, "{error:?}");
        }
    }

    #[test]
    fn what_was_said_reads_as_a_sentence() {
        let said = Said {
            status: Some(403),
            code: Some("AccessDenied"),
            request_id: Some("7"),
            message: Some("no."),
        };
        assert_eq!(
            said.to_string(),
            "the server answered 403 AccessDenied (request 7): no"
        );
        let nobody = Said {
            status: None,
            message: Some("connection refused"),
            ..said
        };
        assert_eq!(nobody.to_string(), "connection refused");
        let mute = Said {
            code: None,
            request_id: None,
            message: None,
            ..said
        };
        assert_eq!(mute.to_string(), "the server answered 403");
    }
}
