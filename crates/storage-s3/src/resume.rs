//! What is left of interrupted uploads: continuing them, and removing those that nobody continues.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact_core::{ArtifactKey, StoreError};
use bytes::Bytes;
use md5::{Digest, Md5};
use tracking_model::{FileHash, Span, Timestamp};

use crate::bucket::Bucket;
use crate::cause::S3Cause;
use crate::content::blocking;
use crate::error::S3Failure;
use crate::multipart::Part;
use crate::records::{UploadRecord, UploadRecords};
use crate::store::S3Store;

/// An upload in parts, with the parts that the server has of it.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) id: String,
    known: BTreeMap<u32, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    part: Part,
    /// Noted here when it got across, of a file of the same SHA-256.
    noted: bool,
}

impl Begun {
    pub(crate) const fn new(id: String) -> Self {
        Self {
            id,
            known: BTreeMap::new(),
        }
    }

    /// The part as the server has it, if it has these very bytes.
    pub(crate) async fn kept(&self, number: u32, bytes: &Bytes, hash: FileHash) -> Option<Part> {
        let Known { mut part, noted } = self.known.get(&number)?.clone();
        let same = part.size == bytes.len() as u64
            && match (part.hash, &part.etag) {
                (Some(theirs), _) => theirs == hash,
                (None, _) if noted => true,
                // Without encryption by KMS the ETag of a part is its MD5.
                (None, Some(etag)) => {
                    let (bytes, etag) = (bytes.clone(), etag.trim_matches('"').to_ascii_lowercase());
                    blocking(move || hex(&Md5::digest(&bytes)) == etag).await
                }
                (None, None) => false,
            };
        // Where the server keeps checksums of parts, the completion must name them.
        part.hash = Some(hash);
        same.then_some(part)
    }
}

impl Bucket {
    /// An upload to `key` that can be continued: the one that was noted, else one that the server tells of.
    pub(crate) async fn resumable(
        &self,
        key: &str,
        size: u64,
        hash: FileHash,
        part_bytes: u64,
        notes: &Notes,
    ) -> Result<Option<Begun>, S3Failure> {
        if let Some(record) = notes.load().await {
            if (record.size, record.hash, record.part_bytes) == (size, hash, part_bytes) {
                if let Some(begun) = self.noted(key, &record).await? {
                    return Ok(Some(begun));
                }
            } else {
                // The file is another by now: what was sent of the old one is of no use.
                self.abort_quietly(key, &record.upload_id).await;
            }
            notes.end().await;
        }
        let open = match self.open_uploads(key).await {
            Ok(open) => open,
            // Servers that cannot list, and credentials that may not: nothing is known, so it begins anew.
            Err(failure) if matches!(failure.cause, S3Cause::Unsupported | S3Cause::Denied) => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        for upload in open.into_iter().rev().filter(|upload| upload.key == key) {
            let parts = match self.parts(key, &upload.id).await {
                Ok(parts) => parts,
                Err(failure) if failure.cause == S3Cause::NoObject => continue,
                Err(failure) => return Err(failure),
            };
            if fits(&parts, size, part_bytes) {
                return Ok(Some(Begun {
                    id: upload.id,
                    known: known(parts, None),
                }));
            }
        }
        Ok(None)
    }

    async fn noted(&self, key: &str, record: &UploadRecord) -> Result<Option<Begun>, S3Failure> {
        let parts = match self.parts(key, &record.upload_id).await {
            Ok(parts) => parts,
            Err(failure) if failure.cause == S3Cause::NoObject => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let known = known(parts, Some(&record.etags));
        if known.is_empty() {
            // Some servers list the parts of an upload that is gone: there are none. Nothing is lost by a new one.
            self.abort_quietly(key, &record.upload_id).await;
            return Ok(None);
        }
        Ok(Some(Begun {
            id: record.upload_id.clone(),
            known,
        }))
    }

    /// Gives up an upload that is of no use; what cannot be given up now is stale later.
    async fn abort_quietly(&self, key: &str, id: &str) {
        if let Err(failure) = self.abort_upload(key, id).await {
            tracing::debug!(key, %failure, "an upload in parts that is of no use could not be aborted");
        }
    }
}

/// Whether these can be parts of a file of this size: it takes one at least to tell.
fn fits(parts: &[Part], size: u64, part_bytes: u64) -> bool {
    !parts.is_empty()
        && parts.iter().all(|part| {
            let offset = u64::from(part.number)
                .saturating_sub(1)
                .saturating_mul(part_bytes);
            offset < size && part.size == part_bytes.min(size - offset)
        })
}

/// Parts of which enough is known to name them in the completion.
fn known(parts: Vec<Part>, etags: Option<&BTreeMap<u32, String>>) -> BTreeMap<u32, Known> {
    let known = parts.into_iter().filter_map(|mut part| {
        let noted = etags.and_then(|etags| etags.get(&part.number));
        // Where the server tells no ETag in its list, the one that it told when the part arrived is as good.
        let etag = match (&part.etag, noted) {
            (None, Some(noted)) => Some(noted.clone()),
            (Some(listed), _) => Some(listed.clone()),
            (None, None) => None,
        };
        let noted = noted.is_some() && noted == etag.as_ref();
        part.etag = etag;
        part.etag
            .is_some()
            .then_some((part.number, Known { part, noted }))
    });
    known.collect()
}

/// The notes of one upload. Failing to take one costs sending parts again, so it is only warned of.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    records: Option<Arc<dyn UploadRecords>>,
    key: Arc<str>,
}

impl Notes {
    pub(crate) fn new(records: Option<Arc<dyn UploadRecords>>, key: &str) -> Self {
        Self {
            records,
            key: Arc::from(key),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&dyn UploadRecords, &str) -> std::io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (records, key) = (self.records.clone()?, Arc::clone(&self.key));
        match blocking(move || work(&*records, &key)).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::warn!(key = &*self.key, %error, "the record of an upload could not be {what}");
                None
            }
        }
    }

    async fn load(&self) -> Option<UploadRecord> {
        self.with("read", |records, key| records.load(key))
            .await
            .flatten()
    }

    pub(crate) async fn begin(&self, id: &str, size: u64, hash: FileHash, part_bytes: u64) {
        let record = UploadRecord {
            key: self.key.to_string(),
            upload_id: id.to_owned(),
            size,
            hash,
            part_bytes,
            etags: BTreeMap::new(),
        };
        self.with("written", move |records, _| records.begin(&record))
            .await;
    }

    pub(crate) async fn part(&self, number: u32, etag: &str) {
        let etag = etag.to_owned();
        self.with("written", move |records, key| records.part(key, number, &etag))
            .await;
    }

    pub(crate) async fn end(&self) {
        self.with("removed", |records, key| records.end(key)).await;
    }
}

/// Which uploads in parts are stale, and whether they are removed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StaleOptions {
    /// Uploads that began before this.
    pub before: Timestamp,
    /// Only tells which they are.
    pub dry_run: bool,
    /// Records of uploads, for servers that cannot list them. A record tells no time, so what it names counts as stale:
    /// no upload that uses the records may be under way.
    pub records: Option<Arc<dyn UploadRecords>>,
}

impl StaleOptions {
    /// Uploads that began `age` before `now`.
    #[must_use]
    pub const fn older_than(age: Span, now: Timestamp) -> Self {
        Self {
            before: Timestamp::from_micros(now.as_micros().saturating_sub(age.as_micros())),
            dry_run: false,
            records: None,
        }
    }

    /// Only tells which uploads are stale.
    #[must_use]
    pub const fn with_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Sets the records of uploads.
    #[must_use]
    pub fn with_records(mut self, records: Arc<dyn UploadRecords>) -> Self {
        self.records = Some(records);
        self
    }
}

/// What became of stale uploads.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StaleUploads {
    /// Keys of uploads that are stale.
    pub stale: Vec<String>,
    /// How many of them were aborted.
    pub aborted: usize,
    /// Those that could not be aborted, and why.
    pub failed: Vec<(String, StoreError)>,
    /// Whether the server could be asked; where not, only what was noted here is known.
    pub listed: bool,
}

impl S3Store {
    /// Aborts uploads of artifacts that were begun below this store's prefix and that nobody finished: their parts cost
    /// until then. A lifecycle rule of the bucket does the same without us.
    ///
    /// # Errors
    /// Whatever S3 refuses the listing; what it refuses of one upload stands in the report.
    pub async fn abort_stale_uploads(&self, options: &StaleOptions) -> Result<StaleUploads, StoreError> {
        let mut report = StaleUploads::default();
        let root = &self.bucket().settings.root;
        let mut stale = Vec::new();
        match self.bucket().open_uploads(&root.full("")).await {
            Ok(open) => {
                report.listed = true;
                let ours = open.into_iter().filter(|upload| {
                    let key = root.relative(&upload.key);
                    key.is_some_and(|key| key.as_str().parse::<ArtifactKey>().is_ok())
                        && upload.begun.is_some_and(|begun| begun < options.before)
                });
                stale.extend(ours.map(|upload| (upload.key, upload.id)));
            }
            Err(failure) if failure.cause == S3Cause::Unsupported => {
                let records = options.records.clone();
                let noted = blocking(move || records.map(|records| records.all())).await;
                let noted = noted.transpose().map_err(|error| {
                    StoreError::new(
                        artifact_core::StoreErrorKind::Unexpected,
                        "list",
                        "records of uploads",
                    )
                    .with_source(error)
                })?;
                stale.extend(
                    noted
                        .into_iter()
                        .flatten()
                        .map(|record| (record.key, record.upload_id)),
                );
            }
            Err(failure) => return Err(failure.into_store_error("list", "uploads in parts")),
        }
        for (key, id) in stale {
            if !options.dry_run {
                match self.bucket().abort_upload(&key, &id).await {
                    Ok(()) => {
                        report.aborted += 1;
                        Notes::new(options.records.clone(), &key).end().await;
                    }
                    Err(failure) => {
                        let error = failure.into_store_error("abort", &key);
                        report.failed.push((key.clone(), error));
                    }
                }
            }
            report.stale.push(key);
        }
        Ok(report)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
