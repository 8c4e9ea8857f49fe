#![doc = include_str!("../README.md")]

mod bucket;
mod buffers;
mod builder;
mod catalogue;
mod cause;
mod client;
mod config;
mod content;
mod download;
mod error;
mod fetch;
mod key;
mod large;
mod lenient;
mod limits;
mod metadata;
mod multipart;
mod names;
mod object;
mod open;
mod part_file;
mod presign;
mod probe;
mod records;
mod resume;
mod settings;
mod store;
mod transfer;
mod upload;
mod window;

pub use aws_connect::Address;
pub use builder::{BuildError, S3StoreBuilder};
pub use catalogue::{
    Catalogue, CatalogueOptions, Compacted, Delivered, MissingStart, PutBack, RefreshProgress,
    RefreshProgressCallback, RefreshReport, RefreshScope, SegmentOptions, SegmentSink, UnreadableSegment,
};
pub use cause::S3Cause;
pub use config::S3Config;
pub use download::{DownloadOptions, Downloaded, Durability, Existing};
pub use error::S3Failure;
pub use key::{MAX_KEY_BYTES, ObjectKey, ObjectKeyError, S3Location};
pub use metadata::{MAX_METADATA_BYTES, ObjectMetadata};
pub use object::{DeleteReport, ListPage, ListRequest, ObjectInfo, ReadObject, S3Objects, hash_of};
pub use presign::{MAX_PRESIGNED, PresignOptions, PresignedUrl};
pub use records::{FileUploadRecords, MemoryUploadRecords, UploadRecord, UploadRecords};
pub use resume::{StaleOptions, StaleUploads};
pub use settings::{
    ChecksumPolicy, ConditionalWrites, DEFAULT_PREFIX, Encryption, MAX_PART_BYTES, MIN_PART_BYTES, Patience,
    StorageClass, TransferLimits,
};
pub use store::S3Store;
pub use transfer::{Meter, Progress, ProgressCallback};
pub use upload::{Arrival, UploadOptions, Uploaded};
