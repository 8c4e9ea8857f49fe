//! A failed operation of a service.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use crate::Cause;
use crate::answer::{HTML, is_html};

/// Words of one service: its adapter has one of these.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The cause behind a status and a code that this service alone gives; `None` for what all services give alike. The code
    /// is empty where an answer has none.
    pub cause: fn(u16, &str) -> Option<Cause>,
    /// The hint for a cause; `None` for the common one.
    pub hint: fn(Cause) -> Option<&'static str>,
}

/// A refusal or failure of a service. Its text names the subject and says what was answered; [`Self::hint`] says what to
/// do.
///
/// It has no source: the text repeats the SDK's chain as far as it tells anything.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// Cause.
    pub cause: Cause,
    /// Subject of the operation: `bucket team`, `PutEvents on bus ops`.
    pub subject: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The server's error code.
    pub code: Option<String>,
    /// The message of the server, or of the layer that failed.
    pub message: Option<String>,
    /// The id under which the server's operators find the request.
    pub request_id: Option<String>,
    /// The region that the server names as the right one.
    pub region: Option<String>,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
    /// The address that did not answer.
    pub endpoint: Option<String>,
    service: Service,
}

impl Failure {
    /// A failure that this program finds, not the server.
    #[must_use]
    pub fn new(
        service: Service,
        subject: impl Into<String>,
        cause: Cause,
        message: impl Into<String>,
    ) -> Self {
        Self {
            cause,
            subject: subject.into(),
            status: None,
            code: None,
            message: Some(message.into()),
            request_id: None,
            region: None,
            retry_after: None,
            endpoint: None,
            service,
        }
    }

    /// Reads the SDK's error.
    pub fn from_sdk<E>(
        service: Service,
        subject: impl Into<String>,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
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
                let code = code.as_deref().unwrap_or_default();
                let own = (service.cause)(status, code);
                let common = || Cause::of_answer(status, code, said.as_deref().unwrap_or_default());
                let cause = own.unwrap_or_else(common);
                let unread = matches!(error, SdkError::ResponseError(_)).then(|| innermost(error));
                (cause, said.or(unread))
            }
        };
        let region =
            header(error, "x-amz-bucket-region").or_else(|| message.as_deref().and_then(expected_region));
        Self {
            status,
            code,
            message,
            request_id: error.request_id().map(str::to_owned),
            region,
            retry_after: retry_after(|name| header(error, name)),
            ..Self::new(service, subject, cause, "")
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = (self.service.hint)(self.cause).unwrap_or(self.cause.hint());
        match (&self.region, self.cause) {
            (Some(region), Cause::WrongRegion) => format!("{hint}, which is {region}"),
            _ => hint.to_owned(),
        }
    }
}

/// The answer as people read it: `the server answered 403 AccessDenied (request 7): no`, or the message alone where there
/// was no answer.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
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

impl Error for Failure {}

/// True if the answer is a page for people: the body is one, or it was refused for that before it was read.
fn is_page<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(is_html) || innermost(error) == HTML
}

/// A header of the answer, if there was one.
fn header<E>(error: &SdkError<E, HttpResponse>, name: &str) -> Option<String> {
    error.raw_response()?.headers().get(name).map(str::to_owned)
}

/// The pause that an answer asks for: seconds, or milliseconds in AWS's own header.
fn retry_after(header: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| header(name)?.trim().parse::<u64>().ok();
    number("retry-after")
        .map(Duration::from_secs)
        .or_else(|| number("x-amz-retry-after").map(Duration::from_millis))
}

/// `…; expecting 'eu-west-1'` in the message of a refused signature.
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    rest.split_once('\'').map(|(region, _)| region.to_owned())
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

    const PLAIN: Service = Service {
        cause: |status, code| ((status, code) == (404, "NoSuchThing")).then_some(Cause::NoObject),
        hint: |cause| (cause == Cause::NoObject).then_some("put it there"),
    };

    fn failure(error: &SdkError<ErrorMetadata, HttpResponse>) -> Failure {
        Failure::from_sdk(PLAIN, "thing x", error)
    }

    #[test]
    fn a_refusal_is_told_with_its_request() {
        let said = ErrorMetadata::builder()
            .code("AccessDenied")
            .message("no")
            .build();
        let error = SdkError::service_error(said, answer(403, &[("x-amz-request-id", "7")]));
        let failed = failure(&error);
        assert_eq!(
            (failed.cause, failed.status, failed.code.as_deref()),
            (Cause::Denied, Some(403), Some("AccessDenied"))
        );
        assert_eq!(failed.request_id.as_deref(), Some("7"));
        assert_eq!(failed.message.as_deref(), Some("no"));
    }

    #[test]
    fn a_code_may_stand_in_a_header() {
        let headers = [("x-minio-error-code", "ExpiredToken")];
        let error = SdkError::service_error(ErrorMetadata::builder().build(), answer(403, &headers));
        assert_eq!(failure(&error).cause, Cause::ExpiredCredentials);
    }

    #[test]
    fn what_breaks_off_or_never_comes_is_no_refusal() {
        let broken: SdkError<ErrorMetadata, _> = SdkError::response_error("cut", answer(200, &[]));
        let refused = ConnectorError::io(io::Error::other("connection refused").into());
        for (error, message) in [
            (broken, "cut"),
            (SdkError::dispatch_failure(refused), "connection refused"),
        ] {
            let failed = failure(&error);
            assert_eq!(failed.cause, Cause::NoConnection);
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
            assert_eq!(failure(&error).cause, cause, "{error:?}");
        }
    }

    #[test]
    fn a_failure_reads_as_a_sentence() {
        let mut failed = Failure::new(PLAIN, "thing x", Cause::Denied, "no.");
        failed.status = Some(403);
        failed.code = Some("AccessDenied".into());
        failed.request_id = Some("7".into());
        assert_eq!(
            failed.to_string(),
            "thing x: the server answered 403 AccessDenied (request 7): no"
        );
        (failed.code, failed.request_id, failed.message) = (None, None, None);
        assert_eq!(failed.to_string(), "thing x: the server answered 403");
        let mut nobody = Failure::new(PLAIN, "thing x", Cause::NoConnection, "connection refused");
        nobody.endpoint = Some("http://host:1".into());
        assert_eq!(nobody.to_string(), "thing x at http://host:1: connection refused");
    }

    #[test]
    fn a_service_has_causes_and_hints_of_its_own() {
        let said = ErrorMetadata::builder().code("NoSuchThing").build();
        let own = failure(&SdkError::service_error(said, answer(404, &[])));
        assert_eq!(
            (own.cause, own.hint().as_str()),
            (Cause::NoObject, "put it there")
        );
        let said = ErrorMetadata::builder()
            .message("the region 'us-east-1' is wrong; expecting 'eu-west-1'")
            .build();
        let moved = failure(&SdkError::service_error(said, answer(301, &[])));
        assert!(moved.hint().ends_with(", which is eu-west-1"), "{}", moved.hint());
    }

    #[test]
    fn a_pause_is_read_in_both_units() {
        let header = |wanted: &'static str, value: &'static str| {
            move |name: &str| (name == wanted).then(|| value.to_owned())
        };
        for (name, value, pause) in [
            ("retry-after", " 7", Some(Duration::from_secs(7))),
            ("x-amz-retry-after", "1500", Some(Duration::from_millis(1500))),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            assert_eq!(retry_after(header(name, value)), pause, "{value}");
        }
    }
}
