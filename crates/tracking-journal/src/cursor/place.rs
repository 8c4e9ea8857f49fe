//! Where cursors are, and how one is read and replaced.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracking_model::{StreamId, Timestamp};

use super::{CURSOR_VERSION, Cursor};
use crate::io::{DiskIo, JournalIo, OpenMode, read_full, write_full};
use crate::seal::{is_sealed, seal};
use crate::sink::SinkName;
use crate::storage;
use crate::{DataDir, Position};

/// A cursor that is longer was not written by us.
const MAX_CURSOR_BYTES: u64 = 64 << 20;

/// Why a cursor could not be read or replaced. What it was before, it still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// A system call failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error(
        "{} has version {found}, and this program knows up to version {CURSOR_VERSION}; use a newer program",
        path.display()
    )]
    NewerVersion {
        /// The cursor.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The sink was never fed from this stream.
    #[error("sink {sink} has no cursor for {stream}; see which there are with `ekstrack sinks`")]
    NoSuchSink {
        /// The stream.
        stream: StreamId,
        /// The sink.
        sink: SinkName,
    },
    /// Something that is no directory where the cursors of a stream should be.
    #[error("{} is not a directory; move it away", path.display())]
    NotADirectory {
        /// What is there.
        path: PathBuf,
    },
}

/// What is at a cursor's place.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing yet.
    Nothing,
    /// A cursor.
    Cursor(Box<Cursor>),
    /// Bytes that are no cursor of this stream and sink.
    Corrupt { reason: String },
}

/// The files of one sink and stream.
#[derive(Debug, Clone)]
pub(crate) struct CursorPlace {
    pub(crate) io: Arc<dyn JournalIo>,
    pub(crate) stream: StreamId,
    pub(crate) sink: SinkName,
    pub(super) root: PathBuf,
}

impl CursorPlace {
    pub(crate) fn new(dir: &DataDir, stream: &StreamId, sink: &SinkName) -> Self {
        Self {
            io: Arc::new(DiskIo),
            stream: stream.clone(),
            sink: sink.clone(),
            root: dir.cursors_dir(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.root.join(self.stream.file_stem())
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.dir().join(format!("{}.{suffix}", self.sink.encoded()))
    }

    pub(crate) fn cursor_path(&self) -> PathBuf {
        self.path("json")
    }

    pub(crate) fn lease_path(&self) -> PathBuf {
        self.path("lease")
    }

    pub(crate) fn retry_path(&self) -> PathBuf {
        self.path("retry")
    }

    /// Creates the directories that are missing, with mode 0700.
    pub(crate) fn create_dirs(&self) -> Result<(), CursorError> {
        for dir in [&self.root, &self.dir()] {
            match DirBuilder::new().mode(0o700).create(dir) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed("create", dir, source)),
            }
        }
        if is_dir(&self.dir())? {
            Ok(())
        } else {
            Err(CursorError::NotADirectory { path: self.dir() })
        }
    }

    /// Reads the cursor.
    pub(crate) fn load(&self) -> Result<Found, CursorError> {
        let path = self.cursor_path();
        let file = match self.io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(source) => return Err(failed("open", &path, source)),
        };
        let size = file.size().map_err(|source| failed("look at", &path, source))?;
        if size > MAX_CURSOR_BYTES {
            return Ok(Found::Corrupt {
                reason: format!("{size} bytes are too many for a cursor"),
            });
        }
        let mut text = vec![0; usize::try_from(size).expect("the limit fits in memory")];
        let read = read_full(&*file, &mut text, 0).map_err(|source| failed("read", &path, source))?;
        text.truncate(read);
        self.parse(&text, path)
    }

    fn parse(&self, text: &[u8], path: PathBuf) -> Result<Found, CursorError> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let corrupt = |reason: String| Ok(Found::Corrupt { reason });
        let found = match serde_json::from_slice::<Version>(text) {
            Ok(Version { version }) => version,
            Err(error) => return corrupt(error.to_string()),
        };
        if found != 1 && !is_sealed(text) {
            return corrupt("its checksum is not that of its content".to_owned());
        }
        if found > CURSOR_VERSION {
            return Err(CursorError::NewerVersion { path, found });
        }
        match serde_json::from_slice::<Cursor>(text) {
            Ok(cursor) if cursor.stream != self.stream || cursor.sink != self.sink => {
                corrupt(format!("it belongs to sink {} of {}", cursor.sink, cursor.stream))
            }
            Ok(cursor) => Ok(Found::Cursor(Box::new(Cursor {
                version: CURSOR_VERSION,
                ..cursor
            }))),
            Err(error) => corrupt(error.to_string()),
        }
    }

    /// Replaces the cursor: afterwards it is the new one for good, and at any moment before, also of a crash, the old
    /// one or the new one.
    pub(crate) fn save(&self, cursor: &Cursor) -> Result<(), CursorError> {
        self.create_dirs()?;
        let mut text = serde_json::to_vec(cursor).expect("a cursor has nothing that JSON has not");
        seal(&mut text);
        let (new, path) = (self.path("new"), self.cursor_path());
        let file = self
            .io
            .open(&new, OpenMode::Replace)
            .map_err(|source| failed("create", &new, source))?;
        write_full(&*file, &text, 0).map_err(|source| failed("write", &new, source))?;
        file.sync_data().map_err(|source| failed("sync", &new, source))?;
        self.io
            .rename(&new, &path)
            .map_err(|source| failed("replace", &path, source))?;
        self.io
            .sync_dir(&self.dir())
            .map_err(|source| failed("sync", &self.dir(), source))
    }

    /// Moves a cursor that cannot be read out of the way and returns its new file name.
    pub(crate) fn set_aside(&self, now: Timestamp) -> Result<String, CursorError> {
        let path = self.cursor_path();
        let kept = self.path(&format!("corrupt-{}", now.as_micros()));
        self.io
            .rename(&path, &kept)
            .map_err(|source| failed("move aside", &path, source))?;
        self.io
            .sync_dir(&self.dir())
            .map_err(|source| failed("sync", &self.dir(), source))?;
        let name = kept
            .file_name()
            .expect("the path was joined from a directory and a name");
        Ok(name.to_string_lossy().into_owned())
    }

    /// Leaves word that the parked records are to be sent again.
    pub(crate) fn request_retry(&self) -> Result<(), CursorError> {
        self.create_dirs()?;
        let path = self.retry_path();
        let created = self.io.open(&path, OpenMode::Create);
        created
            .map(drop)
            .map_err(|source| failed("create", &path, source))
    }

    /// Whether somebody left word that the parked records are to be sent again.
    pub(crate) fn retry_requested(&self) -> Result<bool, CursorError> {
        let path = self.retry_path();
        let found = self
            .io
            .identity(&path)
            .map_err(|source| failed("look at", &path, source))?;
        Ok(found.is_some())
    }

    /// Takes that word away.
    pub(crate) fn clear_retry_request(&self) -> Result<(), CursorError> {
        let path = self.retry_path();
        self.io
            .remove(&path)
            .map_err(|source| failed("remove", &path, source))
    }
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> CursorError {
    CursorError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Whether `path` is a directory, and no symbolic link to one.
fn is_dir(path: &Path) -> Result<bool, CursorError> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("look at", path, source)),
    }
}

/// The sinks that have a cursor for `stream`, in order of their names.
pub(crate) fn sinks_of(dir: &DataDir, stream: &StreamId) -> Result<Vec<SinkName>, CursorError> {
    let path = dir.cursors_dir().join(stream.file_stem());
    if !is_dir(&path)? {
        return Ok(Vec::new());
    }
    let listing = |source| failed("list", &path, source);
    let mut sinks = Vec::new();
    for entry in storage::read_dir(&path).map_err(listing)? {
        let name = entry.map_err(listing)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
        sinks.extend(stem.and_then(|stem| SinkName::from_encoded(stem).ok()));
    }
    sinks.sort();
    Ok(sinks)
}

/// A point of a journal of which a sink's cursor says that it was durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedPoint {
    /// The sink whose cursor says so.
    pub sink: SinkName,
    /// The point.
    pub position: Position,
}

/// The points of `stream`'s journal for which cursors vouch: what lies before one of them in the same epoch was durable
/// and read once, so invalid bytes there are damage, never a torn tail. Cursors that cannot be read vouch for nothing.
///
/// # Errors
/// [`CursorError::Io`] if the cursors cannot be listed.
pub fn vouched_points(dir: &DataDir, stream: &StreamId) -> Result<Vec<VouchedPoint>, CursorError> {
    let mut points = Vec::new();
    for sink in sinks_of(dir, stream)? {
        match CursorPlace::new(dir, stream, &sink).load() {
            Ok(Found::Cursor(cursor)) if cursor.seq > 0 => {
                points.push(VouchedPoint {
                    sink,
                    position: cursor.position(),
                });
            }
            Ok(Found::Cursor(_) | Found::Nothing) => {}
            Ok(Found::Corrupt { reason }) => {
                tracing::warn!(%stream, %sink, reason, "a cursor that cannot be read vouches for nothing");
            }
            Err(error) => {
                tracing::warn!(%stream, %sink, %error, "a cursor that cannot be read vouches for nothing");
            }
        }
    }
    Ok(points)
}
