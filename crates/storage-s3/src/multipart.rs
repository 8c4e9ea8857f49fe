//! Multipart uploads: the requests, the upload of a file, the record of an upload that is resumed, and stale uploads.

mod records;
mod stale;
pub(crate) mod upload;

use std::collections::HashMap;

use aws_connect::{Cause, Failure};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use tracking_model::{FileHash, Timestamp};

use crate::requests::{Bucket, ENDLESS_LISTING, PayloadHash, encode_hash, timestamp};

pub(crate) use records::ResumeRecord;
pub use records::{UploadRecord, UploadRecords};
pub use stale::{StaleOptions, StaleUploads};

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) size: u64,
    pub(crate) etag: String,
    /// SHA-256.
    pub(crate) hash: FileHash,
}

/// An upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenUpload {
    /// The key in the bucket.
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) begun: Option<Timestamp>,
}

impl Bucket {
    /// Begins an upload and returns its id.
    pub(crate) async fn create_upload(
        &self,
        key: &str,
        metadata: &HashMap<String, String>,
    ) -> Result<String, Failure> {
        let (sdk, _permit) = self.sdk().await;
        let answer = sdk
            .create_multipart_upload()
            .bucket(self.name())
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_metadata(Some(metadata.clone()))
            .set_server_side_encryption(self.settings.encryption.clone())
            .set_ssekms_key_id(self.settings.kms_key.clone())
            .set_storage_class(self.settings.storage_class.map(|class| class.name().into()))
            .set_tagging(self.settings.tagging.clone())
            .set_expected_bucket_owner(self.owner())
            .send()
            .await;
        let output = answer.map_err(|error| self.sdk_failure(&error))?;
        output
            .upload_id
            .ok_or_else(|| self.failure(Cause::Other, "the server gave the upload no id"))
    }

    /// Sends a part. The server verifies that `hash` is its SHA-256.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        bytes: Bytes,
        hash: FileHash,
    ) -> Result<Part, Failure> {
        let (sdk, _permit) = self.sdk().await;
        let size = bytes.len() as u64;
        let request = sdk
            .upload_part()
            .bucket(self.name())
            .key(key)
            .upload_id(id)
            .part_number(signed(number))
            .checksum_sha256(encode_hash(hash))
            .body(ByteStream::from(bytes))
            .set_expected_bucket_owner(self.owner());
        let answer = request.customize().interceptor(PayloadHash(hash)).send().await;
        let output = answer.map_err(|error| self.sdk_failure(&error))?;
        self.check_etag("the PUT of a part", output.e_tag.as_ref())?;
        Ok(Part {
            number,
            size,
            etag: output.e_tag.unwrap_or_default(),
            hash,
        })
    }

    /// Makes the parts one object; with `create` only if the key is free.
    pub(crate) async fn complete_upload(
        &self,
        key: &str,
        id: &str,
        mut parts: Vec<Part>,
        create: bool,
    ) -> Result<(), Failure> {
        parts.sort_by_key(|part| part.number);
        let parts = parts.into_iter().map(|part| {
            CompletedPart::builder()
                .part_number(signed(part.number))
                .e_tag(part.etag)
                .checksum_sha256(encode_hash(part.hash))
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let (sdk, _permit) = self.sdk().await;
        let answer = sdk
            .complete_multipart_upload()
            .bucket(self.name())
            .key(key)
            .upload_id(id)
            .multipart_upload(parts)
            .set_if_none_match(create.then(|| "*".to_owned()))
            .set_expected_bucket_owner(self.owner())
            .send()
            .await;
        match answer {
            Ok(output) => self.check_etag("the completion of an upload", output.e_tag.as_ref()),
            Err(error) if is_renamed_completion(&error) => Ok(()),
            Err(error) => Err(self.sdk_failure(&error)),
        }
    }

    /// Gives an upload up; one that is gone is given up already.
    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> Result<(), Failure> {
        let (sdk, _permit) = self.sdk().await;
        let answer = sdk
            .abort_multipart_upload()
            .bucket(self.name())
            .key(key)
            .upload_id(id)
            .set_expected_bucket_owner(self.owner())
            .send()
            .await;
        match answer.map_err(|error| self.sdk_failure(&error)) {
            Err(failure) if failure.cause != Cause::NoObject => Err(failure),
            _ => Ok(()),
        }
    }

    /// Uploads whose keys begin with `prefix` that are neither completed nor aborted.
    pub(crate) async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Failure> {
        let mut uploads = Vec::new();
        let mut markers: (Option<String>, Option<String>) = (None, None);
        loop {
            let (sdk, _permit) = self.metadata_sdk().await;
            let answer = sdk
                .list_multipart_uploads()
                .bucket(self.name())
                .prefix(prefix)
                .set_key_marker(markers.0.clone())
                .set_upload_id_marker(markers.1.clone())
                .set_expected_bucket_owner(self.owner())
                .send()
                .await;
            let output = answer.map_err(|error| self.sdk_failure(&error))?;
            uploads.extend(output.uploads().iter().filter_map(|upload| {
                Some(OpenUpload {
                    key: upload.key.clone().filter(|key| key.starts_with(prefix))?,
                    id: upload.upload_id.clone()?,
                    begun: upload.initiated.as_ref().map(timestamp),
                })
            }));
            let next = (
                output.next_key_marker.clone(),
                output.next_upload_id_marker.clone(),
            );
            let before = std::mem::replace(&mut markers, next);
            if output.is_truncated() != Some(true) || markers.0.is_none() {
                return Ok(uploads);
            }
            if markers == before {
                return Err(self.failure(Cause::Other, ENDLESS_LISTING));
            }
        }
    }
}

/// Part numbers go up to 10,000.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// True for a completion that the SDK refuses to read because the server names its outermost element
/// `CompleteMultipartUploadResponse`, as some servers do, where S3 names it `CompleteMultipartUploadResult`.
fn is_renamed_completion<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let Some(response) = error.raw_response().filter(|answer| answer.status().is_success()) else {
        return false;
    };
    let text = response
        .body()
        .bytes()
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    // A success may still tell of an error in its body.
    text.is_some_and(|text| {
        text.contains("<CompleteMultipartUploadResponse")
            && text.contains("<ETag>")
            && !text.contains("<Error>")
    })
}
