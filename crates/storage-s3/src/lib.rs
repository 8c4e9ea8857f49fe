#![doc = include_str!("../README.md")]

mod artifact_store;
mod body;
mod catalogue;
mod client;
mod config;
mod download;
mod error;
mod key;
mod list;
mod memory;
mod metadata;
mod multipart;
mod object;
mod presign;
mod probe;
mod range;
mod requests;
mod store;
mod transfer;
mod upload;

pub use aws_connect::{Address, Cause, Failure, StaticCredentials};
pub use catalogue::{
    Catalogue, CatalogueOptions, Compacted, Delivered, MissingStart, RefreshProgress,
    RefreshProgressCallback, RefreshReport, RefreshScope, SegmentOptions, SegmentSink, UnreadableSegment,
};
pub use config::{
    DEFAULT_PREFIX, MAX_PART_BYTES, MIN_PART_BYTES, RetryConfig, S3Config, S3ConfigError, StorageClass,
};
pub use download::{DownloadOptions, Downloaded};
pub use error::failure_of;
pub use key::{MAX_KEY_BYTES, ObjectKey, ObjectKeyError, S3Location};
pub use list::{ListPage, ListRequest};
pub use metadata::{MAX_METADATA_BYTES, ObjectMetadata};
pub use multipart::{StaleOptions, StaleUploads, UploadRecord, UploadRecords};
pub use object::{DeleteReport, ObjectInfo, ReadObject, S3Objects, hash_of};
pub use presign::{MAX_PRESIGNED, PresignOptions, PresignedUrl};
pub use store::S3Store;
pub use transfer::{Meter, ProgressCallback, TransferProgress};
pub use upload::{UploadOptions, UploadOutcome, Uploaded};
