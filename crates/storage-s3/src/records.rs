//! What is noted of an upload in parts, for servers that cannot be asked after a crash what they have.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracking_journal::storage;
use tracking_model::FileHash;

use crate::bucket::sha256;

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
    /// Bytes in all.
    pub size: u64,
    /// Their SHA-256.
    pub hash: FileHash,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// Parts that got across, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub etags: BTreeMap<u32, String>,
}

/// Keeps [`UploadRecord`]s over a crash. A record that is lost costs sending parts again, so it need not be synced.
///
/// All calls block shortly and are made off the executor.
pub trait UploadRecords: Debug + Send + Sync {
    /// The record of the upload to `key`, if there is one that can be read.
    ///
    /// # Errors
    /// Where reading fails.
    fn load(&self, key: &str) -> io::Result<Option<UploadRecord>>;

    /// Notes a new upload, in place of what is noted of its key.
    ///
    /// # Errors
    /// Where writing fails.
    fn begin(&self, record: &UploadRecord) -> io::Result<()>;

    /// Notes a part that got across.
    ///
    /// # Errors
    /// Where writing fails.
    fn part(&self, key: &str, number: u32, etag: &str) -> io::Result<()>;

    /// Forgets the upload to `key`, which is completed or given up.
    ///
    /// # Errors
    /// Where deleting fails.
    fn end(&self, key: &str) -> io::Result<()>;

    /// All records.
    ///
    /// # Errors
    /// Where reading fails.
    fn all(&self) -> io::Result<Vec<UploadRecord>>;
}

/// Records in memory, for tests and for programs that do not outlive their uploads.
#[derive(Debug, Default)]
pub struct MemoryUploadRecords(Mutex<BTreeMap<String, UploadRecord>>);

impl MemoryUploadRecords {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, UploadRecord>) -> T) -> io::Result<T> {
        Ok(work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl UploadRecords for MemoryUploadRecords {
    fn load(&self, key: &str) -> io::Result<Option<UploadRecord>> {
        self.with(|records| records.get(key).cloned())
    }

    fn begin(&self, record: &UploadRecord) -> io::Result<()> {
        self.with(|records| drop(records.insert(record.key.clone(), record.clone())))
    }

    fn part(&self, key: &str, number: u32, etag: &str) -> io::Result<()> {
        self.with(|records| {
            if let Some(record) = records.get_mut(key) {
                record.etags.insert(number, etag.to_owned());
            }
        })
    }

    fn end(&self, key: &str) -> io::Result<()> {
        self.with(|records| drop(records.remove(key)))
    }

    fn all(&self) -> io::Result<Vec<UploadRecord>> {
        self.with(|records| records.values().cloned().collect())
    }
}

/// Records in a directory, a file each: the first line is the upload, each further one a part.
#[derive(Debug, Clone)]
pub struct FileUploadRecords {
    dir: PathBuf,
}

/// A line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct PartLine {
    part: u32,
    etag: String,
}

impl FileUploadRecords {
    /// Records in `dir`, which is made when it is needed.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn part_path(&self, key: &str) -> PathBuf {
        self.path(key).with_extension("jsonl.part")
    }

    /// Keys may be longer than file names, so files are named by their hash.
    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{}.jsonl", sha256(key.as_bytes())))
    }
}

/// A record that cannot be one of ours counts as lost.
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
    let Some(mut record) = lines
        .next()
        .and_then(|line| serde_json::from_str::<UploadRecord>(line).ok())
    else {
        return Ok(None);
    };
    // A line that a crash cut short is a part that is sent again.
    record.etags.extend(
        lines
            .filter_map(|line| serde_json::from_str::<PartLine>(line).ok())
            .map(|line| (line.part, line.etag)),
    );
    Ok(Some(record))
}

impl UploadRecords for FileUploadRecords {
    fn load(&self, key: &str) -> io::Result<Option<UploadRecord>> {
        Ok(read(&self.path(key))?.filter(|record| record.key == key))
    }

    fn begin(&self, record: &UploadRecord) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // One name, so that what a crash leaves is replaced by the next upload.
        let (part, path) = (self.part_path(&record.key), self.path(&record.key));
        storage::create_anew(&part)?.write_all(&line)?;
        fs::rename(part, path)
    }

    fn part(&self, key: &str, number: u32, etag: &str) -> io::Result<()> {
        let line = PartLine {
            part: number,
            etag: etag.to_owned(),
        };
        // The line break comes first, so that a line cut short spoils itself alone.
        let mut line = format!("\n{}", serde_json::to_string(&line)?);
        line.push('\n');
        let mut file = storage::open_with(&self.path(key), OpenOptions::new().append(true))?;
        file.write_all(line.as_bytes())
    }

    fn end(&self, key: &str) -> io::Result<()> {
        for path in [self.part_path(key), self.path(key)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn all(&self) -> io::Result<Vec<UploadRecord>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps_what_it_is_told(records: &dyn UploadRecords) {
        let mut record = UploadRecord {
            key: "p/s/c/x".into(),
            upload_id: "id".into(),
            size: 10,
            hash: sha256(b"x"),
            part_bytes: 5,
            etags: BTreeMap::new(),
        };
        assert_eq!(records.load(&record.key).unwrap(), None);
        records.begin(&record).unwrap();
        records.part(&record.key, 2, "\"b\"").unwrap();
        record.etags.insert(2, "\"b\"".into());
        assert_eq!(records.load(&record.key).unwrap().as_ref(), Some(&record));
        assert_eq!(records.all().unwrap(), [record.clone()]);
        for _ in 0..2 {
            records.end(&record.key).unwrap();
        }
        assert_eq!(records.load(&record.key).unwrap(), None);
    }

    #[test]
    fn records_are_kept_in_memory_and_in_files() {
        let dir = tempfile::TempDir::new().unwrap();
        keeps_what_it_is_told(&MemoryUploadRecords::default());
        keeps_what_it_is_told(&FileUploadRecords::new(dir.path().join("new")));
    }

    #[test]
    fn a_line_cut_short_is_a_part_less() {
        let dir = tempfile::TempDir::new().unwrap();
        let records = FileUploadRecords::new(dir.path());
        let record = UploadRecord {
            key: "k".into(),
            upload_id: "id".into(),
            size: 10,
            hash: sha256(b"x"),
            part_bytes: 5,
            etags: BTreeMap::new(),
        };
        // A crash before the record had its name.
        fs::write(records.part_path("k"), "half").unwrap();
        records.begin(&record).unwrap();
        records.part("k", 1, "a").unwrap();
        let path = records.path("k");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, whole.get(..whole.len() - 4).unwrap()).unwrap();
        records.part("k", 2, "b").unwrap();
        let read = records.load("k").unwrap().unwrap();
        assert_eq!(read.etags, BTreeMap::from([(2, "b".to_owned())]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        records.end("k").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
