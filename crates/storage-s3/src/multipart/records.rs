//! The record of an upload in parts: all that is needed to resume it after a crash.
//!
//! It is the only source for resuming. The server verified each recorded part, and the record names the SHA-256 of the
//! whole file, so that parts of other content are never used.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifact_core::run_blocking;
use serde::{Deserialize, Serialize};
use tracking_journal::storage;
use tracking_model::FileHash;

use crate::requests::sha256;

/// A larger record is not read: one of 10,000 parts has less than 2 MiB.
const MAX_BYTES: u64 = 8 << 20;

/// An upload in parts that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadRecord {
    /// The key in the bucket.
    pub key: String,
    /// The server's id of the upload.
    pub upload_id: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub hash: FileHash,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// ETags of the parts that the server has, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub etags: BTreeMap<u32, String>,
}

/// A line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct PartLine {
    part: u32,
    etag: String,
    /// The upload that the part belongs to: two processes may upload to one key.
    #[serde(default)]
    upload_id: Option<String>,
}

/// The records of a directory, a file for each upload: the first line is the upload, each further one a part. A record that
/// is lost costs sending parts again, so records are not synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecords {
    dir: PathBuf,
}

impl UploadRecord {
    pub(crate) fn new(key: &str, upload_id: String, size: u64, hash: FileHash, part_bytes: u64) -> Self {
        Self {
            key: key.to_owned(),
            upload_id,
            size,
            hash,
            part_bytes,
            etags: BTreeMap::new(),
        }
    }
}

impl UploadRecords {
    /// Records in `dir`, which is created when it is needed.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn temporary_path(&self, key: &str) -> PathBuf {
        self.path(key).with_extension("jsonl.part")
    }

    /// Keys may be longer than file names, so files are named by their hash.
    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{}.jsonl", sha256(key.as_bytes())))
    }

    /// The record of the upload to `key`, if there is one that can be read.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn load(&self, key: &str) -> io::Result<Option<UploadRecord>> {
        Ok(read(&self.path(key))?.filter(|record| record.key == key))
    }

    /// Records a new upload, in place of an earlier one to its key.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn begin(&self, record: &UploadRecord) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // One name, so that what a crash leaves is replaced by the next upload.
        let (temporary, path) = (self.temporary_path(&record.key), self.path(&record.key));
        storage::create_anew(&temporary)?.write_all(&line)?;
        fs::rename(temporary, path)
    }

    /// Records a part that the server has.
    ///
    /// # Errors
    /// Where writing fails.
    pub fn part(&self, key: &str, upload_id: &str, number: u32, etag: &str) -> io::Result<()> {
        let line = PartLine {
            part: number,
            etag: etag.to_owned(),
            upload_id: Some(upload_id.to_owned()),
        };
        // The line break comes first, so that a line cut short spoils itself alone.
        let mut line = format!("\n{}", serde_json::to_string(&line)?);
        line.push('\n');
        let mut file = storage::open_with(&self.path(key), OpenOptions::new().append(true))?;
        file.write_all(line.as_bytes())
    }

    /// Removes the record of the upload to `key`, which is completed or given up.
    ///
    /// # Errors
    /// Where deleting fails.
    pub fn end(&self, key: &str) -> io::Result<()> {
        for path in [self.temporary_path(key), self.path(key)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// All records.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn all(&self) -> io::Result<Vec<UploadRecord>> {
        let entries = match storage::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                records.extend(read(&path)?);
            }
        }
        Ok(records)
    }
}

/// A file that is no record counts as lost.
fn read(path: &Path) -> io::Result<Option<UploadRecord>> {
    let text = match storage::read_to_string(path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => return Ok(None),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => {
                tracing::warn!(path = %path.display(), %error, "a record of an upload is not used");
                return Ok(None);
            }
            _ => return Err(error),
        },
    };
    let mut lines = text.lines();
    let first = lines.next().map(serde_json::from_str::<UploadRecord>);
    let Some(Ok(mut record)) = first else {
        return Ok(None);
    };
    for line in lines {
        // A line that a crash cut short is a part that is sent again.
        let Ok(part) = serde_json::from_str::<PartLine>(line) else {
            continue;
        };
        if part.upload_id.is_none_or(|id| id == record.upload_id) {
            record.etags.insert(part.part, part.etag);
        }
    }
    Ok(Some(record))
}

/// The record of one upload. Failing to write it costs sending parts again, so failures are only logged.
#[derive(Debug, Clone)]
pub(crate) struct ResumeRecord {
    records: Option<UploadRecords>,
    key: Arc<str>,
}

impl ResumeRecord {
    pub(crate) fn new(records: Option<UploadRecords>, key: &str) -> Self {
        Self {
            records,
            key: Arc::from(key),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&UploadRecords, &str) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (records, key) = (self.records.clone()?, Arc::clone(&self.key));
        match run_blocking(move || work(&records, &key)).await {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::warn!(key = &*self.key, %error, "the record of an upload could not be {action}");
                None
            }
        }
    }

    pub(crate) async fn load(&self) -> Option<UploadRecord> {
        let loaded = self.with("read", UploadRecords::load).await;
        loaded.flatten()
    }

    pub(crate) async fn begin(&self, record: &UploadRecord) {
        let record = record.clone();
        self.with("written", move |records, _| records.begin(&record))
            .await;
    }

    pub(crate) async fn part(&self, upload_id: &str, number: u32, etag: &str) {
        let (id, etag) = (upload_id.to_owned(), etag.to_owned());
        self.with("written", move |records, key| {
            records.part(key, &id, number, &etag)
        })
        .await;
    }

    pub(crate) async fn end(&self) {
        self.with("removed", UploadRecords::end).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> UploadRecord {
        UploadRecord::new("p/s/c/x", "id".into(), 10, sha256(b"x"), 5)
    }

    #[test]
    fn a_record_is_kept_until_its_end() {
        let dir = tempfile::TempDir::new().unwrap();
        let (records, mut record) = (UploadRecords::new(dir.path().join("new")), record());
        assert_eq!(records.load(&record.key).unwrap(), None);
        records.begin(&record).unwrap();
        records.part(&record.key, "id", 2, "\"b\"").unwrap();
        records.part(&record.key, "another upload", 1, "\"a\"").unwrap();
        record.etags.insert(2, "\"b\"".into());
        assert_eq!(records.load(&record.key).unwrap().as_ref(), Some(&record));
        assert_eq!(records.all().unwrap(), [record.clone()]);
        for _ in 0..2 {
            records.end(&record.key).unwrap();
        }
        assert_eq!(records.load(&record.key).unwrap(), None);
    }

    #[test]
    fn a_line_cut_short_is_a_part_less() {
        let dir = tempfile::TempDir::new().unwrap();
        let (records, record) = (UploadRecords::new(dir.path()), record());
        let key = record.key.as_str();
        // A crash before the record had its name.
        fs::write(records.temporary_path(key), "half").unwrap();
        records.begin(&record).unwrap();
        records.part(key, "id", 1, "a").unwrap();
        let path = records.path(key);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, whole.get(..whole.len() - 4).unwrap()).unwrap();
        records.part(key, "id", 2, "b").unwrap();
        let read = records.load(key).unwrap().unwrap();
        assert_eq!(read.etags, BTreeMap::from([(2, "b".to_owned())]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        records.end(key).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
