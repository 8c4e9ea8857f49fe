//! The requests of a multipart upload, one by one.

use std::collections::HashMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tracking_model::{FileHash, Timestamp};

use crate::bucket::{Bucket, PayloadHash, decode_hash, timestamp, unsigned};
use crate::cause::S3Cause;
use crate::error::S3Failure;
use crate::lenient::{listed_parts, tells_completion, unread_success};
use crate::object::ENDLESS_LISTING;

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) size: u64,
    /// What the completion must name; a listing may lack it.
    pub(crate) etag: Option<String>,
    /// SHA-256, where the server tells it.
    pub(crate) hash: Option<FileHash>,
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
    ) -> Result<String, S3Failure> {
        let sdk = self.sdk().await;
        let _slot = self.concurrency.slot().await;
        let (encryption, kms_key) = self.encryption();
        let answer = sdk
            .create_multipart_upload()
            .bucket(self.name())
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_metadata(Some(metadata.clone()))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(kms_key)
            .set_storage_class(self.storage_class())
            .set_tagging(self.settings.tagging.clone())
            .set_expected_bucket_owner(self.owner())
            .send()
            .await;
        let output = answer.map_err(|error| self.failure(error))?;
        output
            .upload_id
            .ok_or_else(|| S3Failure::new(S3Cause::Other, self.name(), "the server gave the upload no id"))
    }

    /// Sends a part. The server verifies that `hash` is its SHA-256.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        id: &str,
        number: u32,
        bytes: Bytes,
        hash: FileHash,
    ) -> Result<Part, S3Failure> {
        let sdk = self.sdk().await;
        let _slot = self.concurrency.slot().await;
        let size = bytes.len() as u64;
        let request = sdk
            .upload_part()
            .bucket(self.name())
            .key(key)
            .upload_id(id)
            .part_number(signed(number))
            .checksum_sha256(STANDARD.encode(hash.as_bytes()))
            .body(ByteStream::from(bytes))
            .set_expected_bucket_owner(self.owner());
        let answer = request.customize().interceptor(PayloadHash(hash)).send().await;
        let output = answer.map_err(|error| self.failure(error))?;
        if let Some(failure) = self.foreign("the PUT of a part", output.e_tag.as_ref()) {
            return Err(failure);
        }
        Ok(Part {
            number,
            size,
            etag: output.e_tag,
            hash: Some(hash),
        })
    }

    /// Makes the parts one object; with `create` only if the key is free.
    pub(crate) async fn complete_upload(
        &self,
        key: &str,
        id: &str,
        mut parts: Vec<Part>,
        create: bool,
    ) -> Result<(), S3Failure> {
        parts.sort_by_key(|part| part.number);
        let parts = parts.into_iter().map(|part| {
            CompletedPart::builder()
                .part_number(signed(part.number))
                .set_e_tag(part.etag)
                .set_checksum_sha256(part.hash.map(|hash| STANDARD.encode(hash.as_bytes())))
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let sdk = self.sdk().await;
        let _slot = self.concurrency.slot().await;
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
            Ok(output) => match self.foreign("the completion of an upload", output.e_tag.as_ref()) {
                Some(failure) => Err(failure),
                None => Ok(()),
            },
            Err(error) if unread_success(&error).is_some_and(tells_completion) => Ok(()),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Gives an upload up; one that is gone is given up already.
    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> Result<(), S3Failure> {
        let sdk = self.sdk().await;
        let _slot = self.concurrency.slot().await;
        let answer = sdk
            .abort_multipart_upload()
            .bucket(self.name())
            .key(key)
            .upload_id(id)
            .set_expected_bucket_owner(self.owner())
            .send()
            .await;
        match answer.map_err(|error| self.failure(error)) {
            Err(failure) if failure.cause != S3Cause::NoObject => Err(failure),
            _ => Ok(()),
        }
    }

    /// The parts that the server has of an upload.
    pub(crate) async fn parts(&self, key: &str, id: &str) -> Result<Vec<Part>, S3Failure> {
        let sdk = self.sdk().await;
        let mut parts = Vec::new();
        let mut marker = None;
        loop {
            let _slot = self.concurrency.slot().await;
            let answer = sdk
                .list_parts()
                .bucket(self.name())
                .key(key)
                .upload_id(id)
                .set_part_number_marker(marker.clone())
                .set_expected_bucket_owner(self.owner())
                .send()
                .await;
            let output = match answer {
                Ok(output) => output,
                Err(error) => match unread_success(&error).and_then(listed_parts) {
                    Some(listed) => {
                        parts.extend(listed);
                        return Ok(parts);
                    }
                    None => return Err(self.failure(error)),
                },
            };
            parts.extend(output.parts().iter().filter_map(|part| {
                Some(Part {
                    number: u32::try_from(part.part_number()?).ok()?,
                    size: part.size().map_or(0, unsigned),
                    etag: part.e_tag.clone(),
                    hash: part.checksum_sha256().and_then(decode_hash),
                })
            }));
            let before = std::mem::replace(&mut marker, output.next_part_number_marker.clone());
            if output.is_truncated() != Some(true) || marker.is_none() {
                return Ok(parts);
            }
            if marker == before {
                return Err(S3Failure::new(S3Cause::Other, self.name(), ENDLESS_LISTING));
            }
        }
    }

    /// Uploads whose keys begin with `prefix` that are neither completed nor aborted.
    pub(crate) async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, S3Failure> {
        let sdk = self.sdk().await;
        let mut uploads = Vec::new();
        let mut markers: (Option<String>, Option<String>) = (None, None);
        loop {
            let _slot = self.concurrency.slot().await;
            let answer = sdk
                .list_multipart_uploads()
                .bucket(self.name())
                .prefix(prefix)
                .set_key_marker(markers.0.clone())
                .set_upload_id_marker(markers.1.clone())
                .set_expected_bucket_owner(self.owner())
                .send()
                .await;
            let output = answer.map_err(|error| self.failure(error))?;
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
                return Err(S3Failure::new(S3Cause::Other, self.name(), ENDLESS_LISTING));
            }
        }
    }
}

/// Part numbers go up to 10,000.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
