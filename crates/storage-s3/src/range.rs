//! Reading an object, or a range of it, into memory through connections that break.

use std::ops;

use aws_connect::{Cause, Failure};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;

use crate::metadata::ObjectMetadata;
use crate::requests::{Bucket, Head, timestamp, unsigned};

/// The most memory that is taken on the word of a server, before the bytes arrive.
const MAX_RESERVED_BYTES: usize = 16 * 1024 * 1024;

/// The bytes of an object to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Range {
    All,
    /// Fewer where the object ends before.
    Bytes(ops::Range<u64>),
}

/// Bytes that were read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head: Head,
}

/// A request that did not bring all of its bytes.
#[derive(Debug)]
enum ReadError {
    /// The body ended too early: another request may bring the rest.
    Broken(Box<Failure>),
    /// The server refused, after all attempts.
    Refused(Box<Failure>),
}

impl Bucket {
    /// Reads a range of an object. A body that breaks off is continued by another request, up to the number of attempts.
    /// Other content than `etag`, or than the read began with, is [`Cause::PreconditionFailed`].
    pub(crate) async fn read(&self, key: &str, range: Range, etag: Option<&str>) -> Result<Read, Failure> {
        let mut read = Read::default();
        let mut etag = etag.map(str::to_owned);
        let mut attempt = 1;
        loop {
            match self.read_more(key, &range, &mut etag, &mut read).await {
                Ok(()) => return Ok(read),
                Err(ReadError::Refused(failure)) => return Err(*failure),
                Err(ReadError::Broken(failure)) if attempt >= self.settings.attempts => return Err(*failure),
                Err(ReadError::Broken(failure)) => {
                    tracing::debug!(key, attempt, got = read.bytes.len(), %failure, "a download broke off");
                    self.pause(attempt).await;
                    attempt += 1;
                }
            }
        }
    }

    /// One request for the bytes that are missing.
    async fn read_more(
        &self,
        key: &str,
        range: &Range,
        etag: &mut Option<String>,
        read: &mut Read,
    ) -> Result<(), ReadError> {
        let (sdk, _permit) = self.metadata_sdk().await;
        let got = read.bytes.len() as u64;
        let (from, header) = match range {
            Range::All if got == 0 => (0, None),
            Range::All => (got, Some(format!("bytes={got}-"))),
            Range::Bytes(bytes) => {
                let from = bytes.start + got;
                (from, Some(format!("bytes={from}-{}", bytes.end - 1)))
            }
        };
        let is_ranged = header.is_some();
        let request = sdk
            .get_object()
            .bucket(self.name())
            .key(key)
            .set_range(header)
            .set_expected_bucket_owner(self.owner());
        let refused = |failure| ReadError::Refused(Box::new(failure));
        let answer = request.send().await;
        let answer = answer.map_err(|error| refused(self.sdk_failure(&error)))?;
        self.check_etag("a GET", answer.e_tag.as_ref()).map_err(refused)?;
        if etag.is_some() && *etag != answer.e_tag {
            let message = "the object was replaced while it was read";
            return Err(refused(self.failure(Cause::PreconditionFailed, message)));
        }
        etag.clone_from(&answer.e_tag);
        let total = self.total(&answer, from, is_ranged).map_err(refused)?;
        let end = match range {
            Range::All => total,
            Range::Bytes(bytes) => bytes.end.min(total),
        };
        read.head = head(&answer, total);
        let wanted = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        read.bytes.reserve_exact(wanted.min(MAX_RESERVED_BYTES));
        self.read_body(answer.body, wanted, &mut read.bytes).await
    }

    /// The size of the object, by an answer that must begin at `from`.
    fn total(&self, answer: &GetObjectOutput, from: u64, is_ranged: bool) -> Result<u64, Failure> {
        match answer.content_range().map(content_range) {
            Some(Some((start, total))) if start == from => Ok(total),
            Some(_) => Err(self.failure(
                Cause::Other,
                "the server sent another range than the one asked for",
            )),
            None if is_ranged && from > 0 => {
                Err(self.failure(Cause::Unsupported, "the server ignores ranges"))
            }
            None => Ok(answer.content_length().map_or(0, unsigned)),
        }
    }

    async fn read_body(
        &self,
        mut body: ByteStream,
        wanted: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let goal = bytes.len() + wanted;
        let broken = |message| ReadError::Broken(Box::new(self.failure(Cause::NoConnection, message)));
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
                    let got = bytes.len();
                    return Err(broken(format!("the body ended after {got} of {goal} bytes")));
                }
                Err(error) => {
                    let (got, error) = (bytes.len(), aws_connect::innermost(&error));
                    return Err(broken(format!(
                        "the body broke off after {got} of {goal} bytes: {error}"
                    )));
                }
            }
        }
    }
}

fn head(answer: &GetObjectOutput, size: u64) -> Head {
    Head {
        size,
        etag: answer.e_tag.clone(),
        modified: answer.last_modified.as_ref().map(timestamp),
        storage_class: answer
            .storage_class
            .as_ref()
            .map(|class| class.as_str().to_owned()),
        metadata: ObjectMetadata::decode(answer.metadata.as_ref()),
    }
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
