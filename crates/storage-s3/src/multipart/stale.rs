//! Removing uploads in parts that nobody finished: their parts cost until then.

use artifact_core::{ArtifactKey, StoreError, StoreErrorKind, run_blocking};
use aws_connect::Cause;
use tracking_model::{Span, Timestamp};

use super::records::{ResumeRecord, UploadRecords};
use crate::error::store_error;
use crate::store::S3Store;

/// Which uploads in parts are stale, and whether they are removed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StaleOptions {
    /// Uploads that began before this time.
    pub before: Timestamp,
    /// True to report them only.
    pub dry_run: bool,
    /// Records of uploads, for servers that cannot list them. A record has no time, so every recorded upload counts as stale:
    /// no upload that uses the records may be under way.
    pub records: Option<UploadRecords>,
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

    /// Reports which uploads are stale, and removes none.
    #[must_use]
    pub const fn with_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Sets the records of uploads.
    #[must_use]
    pub fn with_records(mut self, records: UploadRecords) -> Self {
        self.records = Some(records);
        self
    }
}

/// Stale uploads and the outcome for each.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StaleUploads {
    /// Keys of stale uploads.
    pub stale: Vec<String>,
    /// Number of uploads that were aborted.
    pub aborted: usize,
    /// Uploads that could not be aborted, and why.
    pub failed: Vec<(String, StoreError)>,
    /// True if the server listed its uploads; if not, only recorded ones are known.
    pub listed: bool,
}

impl S3Store {
    /// Aborts uploads of artifacts that were begun below this store's prefix and that nobody finished. A lifecycle rule of
    /// the bucket does the same.
    ///
    /// # Errors
    /// Whatever S3 refuses the listing; what it refuses of one upload stands in the report.
    pub async fn abort_stale_uploads(&self, options: &StaleOptions) -> Result<StaleUploads, StoreError> {
        let mut report = StaleUploads::default();
        let stale = self.stale_uploads(options, &mut report).await?;
        for (key, id) in stale {
            if !options.dry_run {
                match self.bucket().abort_upload(&key, &id).await {
                    Ok(()) => {
                        report.aborted += 1;
                        ResumeRecord::new(options.records.clone(), &key).end().await;
                    }
                    Err(failure) => {
                        let error = store_error(failure, "abort", &key);
                        report.failed.push((key.clone(), error));
                    }
                }
            }
            report.stale.push(key);
        }
        Ok(report)
    }

    /// Keys and ids.
    async fn stale_uploads(
        &self,
        options: &StaleOptions,
        report: &mut StaleUploads,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let root = &self.bucket().settings.root;
        match self.bucket().open_uploads(&root.full("")).await {
            Ok(open) => {
                report.listed = true;
                let is_artifact = |key: &str| {
                    let key = root.relative(key);
                    key.is_some_and(|key| key.as_str().parse::<ArtifactKey>().is_ok())
                };
                let stale = open.into_iter().filter(|upload| {
                    is_artifact(&upload.key) && upload.begun.is_some_and(|begun| begun < options.before)
                });
                Ok(stale.map(|upload| (upload.key, upload.id)).collect())
            }
            Err(failure) if failure.cause == Cause::Unsupported => {
                let Some(records) = options.records.clone() else {
                    return Ok(Vec::new());
                };
                let recorded = run_blocking(move || records.all()).await;
                let recorded = recorded.map_err(|error| {
                    StoreError::new(StoreErrorKind::Unexpected, "list", "records of uploads")
                        .with_source(error)
                })?;
                let stale = recorded.into_iter();
                Ok(stale.map(|record| (record.key, record.upload_id)).collect())
            }
            Err(failure) => Err(store_error(failure, "list", "uploads in parts")),
        }
    }
}
