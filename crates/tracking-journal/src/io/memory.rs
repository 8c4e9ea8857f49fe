//! Files that exist in memory only, for tests, examples and trackers that keep nothing.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileId, IoFile, JournalIo, Named, OpenMode};

/// A file system in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryIo {
    files: Arc<Mutex<HashMap<PathBuf, Arc<Inode>>>>,
    inodes: Arc<AtomicU64>,
}

impl MemoryIo {
    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Inode>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inode(&self) -> Arc<Inode> {
        let number = self.inodes.fetch_add(1, Ordering::Relaxed);
        Arc::new(Inode {
            number,
            content: Mutex::default(),
            locks: Mutex::default(),
        })
    }

    /// The file that a path names.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.files().get(path).map(|inode| inode.content().clone())
    }

    /// Creates or replaces a file.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn put(&self, path: &Path, content: Vec<u8>) {
        let inode = self.inode();
        *inode.content() = content;
        self.files().insert(path.to_owned(), inode);
    }

    /// All files.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn all(&self) -> Vec<(PathBuf, u64, Vec<u8>)> {
        let files = self.files();
        files
            .iter()
            .map(|(path, inode)| (path.clone(), inode.number, inode.content().clone()))
            .collect()
    }
}

impl JournalIo for MemoryIo {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        let mut files = self.files();
        let inode = match files.get(path) {
            Some(inode) => {
                if mode == OpenMode::Replace {
                    inode.content().clear();
                }
                Arc::clone(inode)
            }
            None if matches!(mode, OpenMode::Create | OpenMode::Replace) => {
                let inode = self.inode();
                files.insert(path.to_owned(), Arc::clone(&inode));
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemoryFile {
            inode,
            held: Mutex::new(Held::Nothing),
        }))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        self.open(path, OpenMode::Create)
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        Ok(self.files().get(path).map(|inode| Named {
            id: inode.id(),
            size: inode.content().len() as u64,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let inode = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), inode);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let inode = Arc::clone(files.get(from).ok_or(io::ErrorKind::NotFound)?);
        if files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path);
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Inode {
    number: u64,
    content: Mutex<Vec<u8>>,
    locks: Mutex<Locks>,
}

#[derive(Debug, Default)]
struct Locks {
    exclusive: bool,
    shared: usize,
}

impl Inode {
    const fn id(&self) -> FileId {
        FileId {
            device: 0,
            inode: self.number,
        }
    }

    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Shared,
    Exclusive,
}

#[derive(Debug)]
struct MemoryFile {
    inode: Arc<Inode>,
    held: Mutex<Held>,
}

impl MemoryFile {
    fn lock_as(&self, wanted: Held) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locks = self.inode.locks();
        match *held {
            Held::Shared => locks.shared -= 1,
            Held::Exclusive => locks.exclusive = false,
            Held::Nothing => {}
        }
        *held = Held::Nothing;
        let free = match wanted {
            Held::Exclusive => !locks.exclusive && locks.shared == 0,
            Held::Shared => !locks.exclusive,
            Held::Nothing => true,
        };
        if free {
            match wanted {
                Held::Shared => locks.shared += 1,
                Held::Exclusive => locks.exclusive = true,
                Held::Nothing => {}
            }
            *held = wanted;
        }
        free
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.lock_as(Held::Nothing);
    }
}

impl IoFile for MemoryFile {
    fn identity(&self) -> io::Result<FileId> {
        Ok(self.inode.id())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inode.content().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.inode.content();
        let rest = content.get(position(offset)?..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let start = position(offset)?;
        let mut content = self.inode.content();
        if content.len() < start + bytes.len() {
            content.resize(start + bytes.len(), 0);
        }
        content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.inode.content().resize(position(size)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(self.lock_as(Held::Exclusive))
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        Ok(self.lock_as(Held::Shared))
    }

    fn unlock(&self) -> io::Result<()> {
        self.lock_as(Held::Nothing);
        Ok(())
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
