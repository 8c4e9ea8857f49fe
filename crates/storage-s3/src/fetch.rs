//! Reading an object, or a range of it, through connections that break.

use crate::bucket::{Bucket, Head, timestamp, unsigned};
use crate::buffers::Buffer;
use crate::cause::S3Cause;
use crate::error::S3Failure;
use crate::metadata::ObjectMetadata;

/// What is read of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// All of it.
    Whole,
    /// Bytes `from..to`, fewer where it ends before.
    Part { from: u64, to: u64 },
}

/// Bytes that were read.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) bytes: Buffer,
    pub(crate) head: Head,
}

impl Bucket {
    /// Reads a span of an object into memory. A body that breaks off is continued by another request, as often as
    /// requests are tried; another content than `etag`, or than the one it began with, is [`S3Cause::Condition`].
    pub(crate) async fn fetch(
        &self,
        key: &str,
        span: Span,
        etag: Option<&str>,
    ) -> Result<Fetched, S3Failure> {
        let likely = match span {
            Span::Whole => 0,
            Span::Part { from, to } => usize::try_from(to.saturating_sub(from)).unwrap_or(0),
        };
        let mut fetched = Fetched {
            bytes: self.buffers.take_empty(likely),
            head: Head::default(),
        };
        let mut etag = etag.map(str::to_owned);
        let mut attempt = 1;
        loop {
            match self.fetch_more(key, span, &mut etag, &mut fetched).await {
                Ok(()) => return Ok(fetched),
                Err(Broken::ForGood(failure)) => return Err(*failure),
                Err(Broken::Body(failure)) if attempt >= self.settings.patience.attempts => {
                    return Err(*failure);
                }
                Err(Broken::Body(failure)) => {
                    tracing::debug!(key, attempt, got = fetched.bytes.len(), %failure, "a download broke off");
                    self.pause(attempt).await;
                    attempt += 1;
                }
            }
        }
    }

    /// One request for what is missing yet.
    async fn fetch_more(
        &self,
        key: &str,
        span: Span,
        etag: &mut Option<String>,
        fetched: &mut Fetched,
    ) -> Result<(), Broken> {
        let sdk = self.asking().await;
        let _slot = self.concurrency.slot().await;
        let got = fetched.bytes.len() as u64;
        let (from, range) = match span {
            Span::Whole if got == 0 => (0, None),
            Span::Whole => (got, Some(format!("bytes={got}-"))),
            Span::Part { from, to } => (from + got, Some(format!("bytes={}-{}", from + got, to - 1))),
        };
        let ranged = range.is_some();
        let request = sdk
            .get_object()
            .bucket(self.name())
            .key(key)
            .set_range(range)
            .set_expected_bucket_owner(self.owner());
        let answer = request
            .send()
            .await
            .map_err(|error| Broken::ForGood(Box::new(self.failure(error))))?;
        let fail = |cause, message: &str| {
            Err(Broken::ForGood(Box::new(S3Failure::new(
                cause,
                self.name(),
                message,
            ))))
        };
        if let Some(failure) = self.foreign("a GET", answer.e_tag.as_ref()) {
            return Err(Broken::ForGood(Box::new(failure)));
        }
        match (&etag, &answer.e_tag) {
            (Some(before), Some(now)) if before != now => {
                return fail(S3Cause::Condition, "the object was replaced while it was read");
            }
            (None, Some(now)) => *etag = Some(now.clone()),
            _ => {}
        }
        let length = answer.content_length().map_or(0, unsigned);
        let total = match answer.content_range().map(content_range) {
            Some(Some((start, total))) if start == from => total,
            Some(_) => {
                return fail(
                    S3Cause::Other,
                    "the server sent another range than the one asked for",
                );
            }
            None if ranged && from > 0 => return fail(S3Cause::Unsupported, "the server ignores ranges"),
            None => length,
        };
        let end = match span {
            Span::Whole => total,
            Span::Part { to, .. } => to.min(total),
        };
        fetched.head = Head {
            size: total,
            etag: answer.e_tag.clone(),
            modified: answer.last_modified.as_ref().map(timestamp),
            storage_class: answer
                .storage_class
                .as_ref()
                .map(|class| class.as_str().to_owned()),
            metadata: ObjectMetadata::decode(answer.metadata.as_ref()),
        };
        let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        // What a server claims is no reason to take memory that may never be filled.
        let bytes = fetched.bytes.bytes_mut();
        bytes.reserve_exact(wanted.min(16 * 1024 * 1024));
        self.read_body(answer.body, wanted, bytes).await
    }

    async fn read_body(
        &self,
        mut body: aws_sdk_s3::primitives::ByteStream,
        wanted: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let goal = bytes.len() + wanted;
        let broken = |message: String| {
            Broken::Body(Box::new(S3Failure::new(
                S3Cause::NoConnection,
                self.name(),
                message,
            )))
        };
        loop {
            // The end is waited for, so that the connection can be used again.
            match body.try_next().await {
                Ok(Some(chunk)) => {
                    let room = goal - bytes.len();
                    bytes.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                    if chunk.len() > room {
                        return Ok(());
                    }
                }
                Ok(None) if bytes.len() == goal => return Ok(()),
                Ok(None) => {
                    return Err(broken(format!(
                        "the body ended after {} of {goal} bytes",
                        bytes.len()
                    )));
                }
                Err(error) => {
                    let error = aws_connect::innermost(&error);
                    return Err(broken(format!(
                        "the body broke off after {} of {goal} bytes: {error}",
                        bytes.len()
                    )));
                }
            }
        }
    }
}

/// Why a request did not bring what it was to bring.
#[derive(Debug)]
enum Broken {
    /// The body ended too early: another request may bring the rest.
    Body(Box<S3Failure>),
    /// The server refused, after all attempts.
    ForGood(Box<S3Failure>),
}

/// Start and total of `bytes 0-9/100`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for text in ["bytes */100", "5-9/100", "bytes 5-9/*", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
