//! The state of one stream in a cache: the segments in its copy, and how the copy was put together.
//!
//! A small file for each stream, `catalogue/<stem>.json` in the cache, replaced as a whole after the copy is durable: the
//! SHA-256 of what follows on a line of its own, then JSON. Without the file, or when it is damaged or not of the copy
//! that is there, the stream is read from the bucket anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracking_journal::{DataDir, Head, storage};
use tracking_model::{StreamId, Timestamp};
use uuid::Uuid;

use super::merge::{Run, Tails};
use crate::requests::sha256;

/// 2: `firsts`. 3: the checksum.
const VERSION: u32 = 3;
/// A larger file is not read: a stream of a million segments has a smaller one.
const MAX_BYTES: u64 = 256 << 20;

/// A line of a segment that could not be taken, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// `{epoch}/{name}` of the segment.
    pub(crate) segment: String,
    /// `None` for the whole segment.
    pub(crate) line: Option<u64>,
    pub(crate) reason: String,
}

/// The journal's file as it was when the state was written: another one is not that journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMark {
    length: u64,
    modified: (i64, i64),
    inode: u64,
}

impl FileMark {
    /// That of the stream's journal; `None` if it has none.
    pub(crate) fn of(dir: &DataDir, stream: &StreamId) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(dir.journal_path(stream)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Self {
                length: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                inode: metadata.ino(),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    v: u32,
    pub(crate) stream: String,
    /// The last record of the copy; `None` if no segment has a record.
    pub(crate) head: Option<Head>,
    pub(crate) file: Option<FileMark>,
    /// When the listing began that is behind this.
    pub(crate) listed_at: Timestamp,
    /// `{epoch}/{name}` of each segment that is in the copy, or that has nothing for it.
    pub(crate) segments: BTreeSet<String>,
    /// The least sequence that was read of each journal, copies of records of other journals included.
    pub(crate) firsts: BTreeMap<Uuid, u64>,
    pub(crate) tails: Tails,
    pub(crate) runs: Vec<Run>,
    pub(crate) refused: BTreeSet<Refused>,
}

impl State {
    pub(crate) fn new(stream: &StreamId, listed_at: Timestamp) -> Self {
        Self {
            v: VERSION,
            stream: stream.to_string(),
            head: None,
            file: None,
            listed_at,
            segments: BTreeSet::new(),
            firsts: BTreeMap::new(),
            tails: Tails::new(),
            runs: Vec::new(),
            refused: BTreeSet::new(),
        }
    }

    /// The state of the stream's copy, if what is there is what the state is of. What cannot be read is none.
    pub(crate) fn load(dir: &DataDir, stream: &StreamId) -> io::Result<Option<Self>> {
        let path = path(dir, stream);
        let bytes = match storage::read(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => {
                    tracing::warn!(path = %path.display(), %error, "a catalogue's state is begun anew");
                    return Ok(None);
                }
                _ => return Err(error),
            },
        };
        let Some(state) = Self::parse(&bytes) else {
            tracing::debug!(%stream, "a catalogue's state is damaged or of another version, and is begun anew");
            return Ok(None);
        };
        let ours = state.v == VERSION && state.stream == stream.to_string();
        Ok((ours && state.file == FileMark::of(dir, stream)?).then_some(state))
    }

    /// `None` for bytes that are not exactly what [`Self::save`] wrote.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (checksum, rest) = bytes.split_at_checked(end)?;
        let json = rest.strip_prefix(b"\n")?;
        let is_whole = checksum == sha256(json).to_string().as_bytes();
        is_whole.then(|| serde_json::from_slice(json).ok())?
    }

    /// Replaces the file.
    pub(crate) fn save(&self, dir: &DataDir, stream: &StreamId) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        // The saver holds the stream, so one fixed name suffices; the next save replaces a leftover of a crash.
        let path = path(dir, stream);
        let part = path.with_extension("json.part");
        let mut file = storage::create_anew(&part)?;
        writeln!(file, "{}", sha256(&json))?;
        file.write_all(&json)?;
        fs::rename(part, path)
    }

    /// Removes the file; a missing one is no error.
    pub(crate) fn remove(dir: &DataDir, stream: &StreamId) -> io::Result<()> {
        let path = path(dir, stream);
        for path in [path.with_extension("json.part"), path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Makes the folder of the states.
pub(crate) fn create_folder(dir: &DataDir) -> io::Result<()> {
    storage::create_directory(&folder(dir))
}

/// The streams that have a state.
pub(crate) fn streams(dir: &DataDir) -> io::Result<Vec<StreamId>> {
    let mut streams = Vec::new();
    for entry in storage::read_dir(&folder(dir))? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
        streams.extend(stem.and_then(|stem| StreamId::from_file_stem(stem).ok()));
    }
    Ok(streams)
}

fn folder(dir: &DataDir) -> PathBuf {
    dir.path().join("catalogue")
}

fn path(dir: &DataDir, stream: &StreamId) -> PathBuf {
    Path::new(&folder(dir)).join(format!("{}.json", stream.file_stem()))
}
