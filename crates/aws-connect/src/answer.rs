//! Answers as they come in: bounded, and from the service itself.
//!
//! A captive portal or a proxy on the way may answer any request with a page of its own and status 200. Such a page is
//! an error, or bytes would count as stored that nobody has.

use std::mem;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use http_body_util::Limited;

/// The most bytes of an answer that is read into memory as a whole: errors, listings, results. A full page of a listing
/// has some 4 MB.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Operations whose success has no body, so that the SDK reads none and would take any page for a success.
const WITHOUT_BODY: [&str; 4] = ["PutObject", "UploadPart", "DeleteObject", "AbortMultipartUpload"];

/// Said of an answer that is a page for people.
pub(crate) const HTML: &str =
    "an HTML page, which is not an answer of the service; a proxy or captive portal?";

/// Checks each answer before it is read. Every client of a service has this interceptor.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerCheck;

impl Intercept for AnswerCheck {
    fn name(&self) -> &'static str {
        "answer-check"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("", Metadata::name);
        let response = context.response_mut();
        let is_success = response.status().is_success();
        // The caller bounds an object's bytes; an object may also be HTML.
        if is_success && operation == "GetObject" {
            return Ok(());
        }
        if is_success && WITHOUT_BODY.contains(&operation) && announces_html(response) {
            return Err(HTML.into());
        }
        let body = mem::replace(response.body_mut(), SdkBody::taken());
        *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER_BYTES));
        Ok(())
    }
}

/// Some servers call an empty body HTML, which is none.
fn announces_html(response: &HttpResponse) -> bool {
    if response.status().as_u16() == 204 {
        return false;
    }
    let headers = response.headers();
    let is_html = headers
        .get("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    is_html && headers.get("content-length") != Some("0")
}

/// True if the body that was read is a page for people.
pub(crate) fn is_html(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default().trim_ascii_start();
    let begins = |with: &[u8]| {
        body.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;

    fn answer(headers: &[(&'static str, &'static str)], body: &'static str) -> HttpResponse {
        let mut response = HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body));
        for (name, value) in headers {
            response.headers_mut().insert(*name, *value);
        }
        response
    }

    #[test]
    fn a_page_is_known_by_its_type_or_its_beginning() {
        let html = ("content-type", "Text/HTML; charset=utf-8");
        assert!(announces_html(&answer(&[html], "")));
        assert!(!announces_html(&answer(&[html, ("content-length", "0")], "")));
        assert!(!announces_html(&answer(
            &[("content-type", "application/xml")],
            ""
        )));
        for page in ["<!DOCTYPE html><p>", "\n <html lang=en>"] {
            assert!(is_html(&answer(&[], page)), "{page}");
        }
        for other in ["", "<?xml version='1.0'?><Error/>", "{}", "<ht"] {
            assert!(!is_html(&answer(&[], other)), "{other}");
        }
    }
}
