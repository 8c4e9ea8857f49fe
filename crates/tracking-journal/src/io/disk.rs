//! The real disk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::{blocking, storage};

use super::{FileId, IoFile, JournalIo, Named, OpenMode};

/// Files of the operating system, locked with `flock`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskIo;

impl JournalIo for DiskIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        options.create(matches!(mode, OpenMode::Create | OpenMode::Replace));
        options.truncate(mode == OpenMode::Replace);
        Ok(Arc::new(DiskFile(storage::open_with(path, &mut options)?)))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        blocking::note("open");
        Ok(Arc::new(DiskFile(open_directory(path)?)))
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        blocking::note("look at");
        match path.symlink_metadata() {
            Ok(metadata) => Ok(Some(Named {
                id: FileId {
                    device: metadata.dev(),
                    inode: metadata.ino(),
                },
                size: metadata.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        blocking::note("rename");
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        blocking::note("link");
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        blocking::note("remove");
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        blocking::note("sync");
        open_directory(path)?.sync_all()
    }
}

/// Opens a directory, and nothing that took its place.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    // not by storage: a directory, and no link to one
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

#[derive(Debug)]
struct DiskFile(File);

impl IoFile for DiskFile {
    fn identity(&self) -> io::Result<FileId> {
        blocking::note("look at");
        let metadata = self.0.metadata()?;
        Ok(FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    fn size(&self) -> io::Result<u64> {
        blocking::note("look at");
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        blocking::note("read");
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        blocking::note("write");
        self.0.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        blocking::note("resize");
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        blocking::note("sync");
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        blocking::note("lock");
        taken(self.0.try_lock())
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        blocking::note("lock");
        taken(self.0.try_lock_shared())
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

fn taken(result: Result<(), TryLockError>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
