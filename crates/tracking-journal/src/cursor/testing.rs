//! A place for cursors in a temporary directory, and a disk that stops working at a chosen step.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tracking_model::StreamId;

use super::CursorPlace;
use crate::DataDir;
use crate::io::{DiskIo, FileId, IoFile, JournalIo, Named, OpenMode};
use crate::sink::SinkName;

pub(crate) fn stream() -> StreamId {
    "upgrade:u".parse().unwrap()
}

pub(crate) fn place() -> (TempDir, CursorPlace) {
    let dir = tempfile::tempdir().unwrap();
    let place = CursorPlace::new(
        &DataDir::open(dir.path()).unwrap(),
        &stream(),
        &SinkName::new("bus").unwrap(),
    );
    (dir, place)
}

/// The real disk for a number of steps that change something, and nothing but errors from then on, as a process sees
/// it that died there. The step at which it stops is half done where it can be: a write writes half of its bytes.
#[derive(Debug, Clone)]
pub(crate) struct StoppingIo {
    left: Arc<AtomicUsize>,
}

impl StoppingIo {
    pub(crate) fn after(steps: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(steps)),
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn step(&self) -> io::Result<()> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken
            .map(drop)
            .map_err(|_| io::Error::other("the process died here"))
    }
}

impl JournalIo for StoppingIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        self.step()?;
        Ok(Arc::new(StoppingFile {
            io: self.clone(),
            file: DiskIo.open(path, mode)?,
        }))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        DiskIo.open_dir(path)
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        DiskIo.named(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        DiskIo.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        DiskIo.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        DiskIo.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        DiskIo.sync_dir(path)
    }
}

#[derive(Debug)]
struct StoppingFile {
    io: StoppingIo,
    file: Arc<dyn IoFile>,
}

impl IoFile for StoppingFile {
    fn identity(&self) -> io::Result<FileId> {
        self.file.identity()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if let Err(error) = self.io.step() {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.file.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.io.step()?;
        self.file.set_size(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.io.step()?;
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.file.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
