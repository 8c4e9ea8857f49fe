//! Answers that the SDK refuses to read because a server calls their outermost element otherwise than S3 does
//! (`ListPartsResponse` for `ListPartsResult`). What is in them is as it should be.

use aws_sdk_s3::error::SdkError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::multipart::Part;

/// The text of an answer that was a success and could not be read.
pub(crate) fn unread_success<E>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    let response = error.raw_response()?;
    if !response.status().is_success() {
        return None;
    }
    let text = std::str::from_utf8(response.body().bytes()?).ok()?;
    // A success may still tell of an error in its body.
    (!text.contains("<Error>")).then_some(text)
}

/// Whether it says that an upload was completed.
pub(crate) fn tells_completion(text: &str) -> bool {
    text.contains("<CompleteMultipartUploadResponse") && element(text, "ETag").is_some()
}

/// The parts that it lists, if it is a listing that ends there.
pub(crate) fn listed_parts(text: &str) -> Option<Vec<Part>> {
    if !text.contains("<ListPartsResponse") || element(text, "IsTruncated") != Some("false") {
        return None;
    }
    let parts = text.split("<Part>").skip(1).map(|part| {
        Some(Part {
            number: element(part, "PartNumber")?.parse().ok()?,
            size: element(part, "Size")?.parse().ok()?,
            etag: element(part, "ETag").map(|etag| etag.replace("&quot;", "\"")),
            hash: None,
        })
    });
    parts.collect()
}

/// What stands in the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_otherwise_is_read() {
        let text = "<ListPartsResponse><IsTruncated>false</IsTruncated><Part><PartNumber>2</PartNumber>\
                    <ETag>&quot;e&quot;</ETag><Size>5</Size></Part></ListPartsResponse>";
        let part = Part {
            number: 2,
            size: 5,
            etag: Some("\"e\"".into()),
            hash: None,
        };
        assert_eq!(listed_parts(text), Some(vec![part]));
        assert_eq!(
            listed_parts("<ListPartsResponse><IsTruncated>true</IsTruncated>"),
            None
        );
        let done = "<CompleteMultipartUploadResponse><ETag>x</ETag></CompleteMultipartUploadResponse>";
        assert!(tells_completion(done) && !tells_completion("<html>"));
    }
}
