//! The few file operations that a journal needs, as a trait, so that tests can put a simulated disk under it.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod disk;
mod memory;
#[cfg(any(test, feature = "test-util"))]
mod simulated;

pub(crate) use disk::DiskIo;
pub(crate) use memory::MemoryIo;
#[cfg(any(test, feature = "test-util"))]
pub use simulated::{CrashStates, Fault, FaultAt, SimulatedDisk};

/// Which file a path names or a handle holds: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    /// Device number.
    pub(crate) device: u64,
    /// Inode number.
    pub(crate) inode: u64,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// Which file.
    pub(crate) id: FileId,
    /// Its length in bytes.
    pub(crate) size: u64,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenMode {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; it is created empty, mode 0600, where it does not exist.
    Create,
    /// To read and write; created empty, mode 0600, or emptied.
    Replace,
}

/// A file system, as far as a journal needs one.
pub(crate) trait JournalIo: Debug + Send + Sync + 'static {
    /// Opens a regular file; anything else (a symbolic link, a pipe, a device) is refused.
    ///
    /// # Errors
    /// As the system says; `NotFound` where a file must exist and does not.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>>;

    /// Opens a directory, for its lock.
    ///
    /// # Errors
    /// As the system says.
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn IoFile>>;

    /// What `path` names now, `None` if nothing.
    ///
    /// # Errors
    /// As the system says, except `NotFound`.
    fn named(&self, path: &Path) -> io::Result<Option<Named>>;

    /// Which file `path` names now, `None` if none.
    ///
    /// # Errors
    /// As [`Self::named`].
    fn identity(&self, path: &Path) -> io::Result<Option<FileId>> {
        Ok(self.named(path)?.map(|named| named.id))
    }

    /// Gives the file `from` the name `to`, atomically replacing what had it. Durable after [`Self::sync_dir`].
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must be free.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` if the name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name; a missing one is no error.
    ///
    /// # Errors
    /// As the system says, except `NotFound`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file. Handles are shared between threads; positions are given with each call.
pub(crate) trait IoFile: Debug + Send + Sync + 'static {
    /// Which file this is, whatever its name is now.
    ///
    /// # Errors
    /// As the system says.
    fn identity(&self) -> io::Result<FileId>;

    /// Length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `buffer` from `offset`; returns how many bytes, 0 at the end. May read less than asked.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; returns how many bytes, which may be fewer than given.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends the file to `size`.
    ///
    /// # Errors
    /// As the system says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes content and length durable. After an error the content of the disk is unknown, and calling again proves
    /// nothing: the system may have dropped what it could not write.
    ///
    /// # Errors
    /// As the system says.
    fn sync_data(&self) -> io::Result<()>;

    /// Takes the file's exclusive lock if nobody else has one; the system frees it when the process dies.
    /// Returns whether it was taken.
    ///
    /// # Errors
    /// As the system says.
    fn try_lock(&self) -> io::Result<bool>;

    /// Takes a shared lock if nobody has the exclusive one. Returns whether it was taken.
    ///
    /// # Errors
    /// As the system says.
    fn try_lock_shared(&self) -> io::Result<bool>;

    /// Gives up the lock.
    ///
    /// # Errors
    /// As the system says.
    fn unlock(&self) -> io::Result<()>;
}

/// Reads until `buffer` is full or the file ends; returns how many bytes.
pub(crate) fn read_full(file: &dyn IoFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `bytes`.
pub(crate) fn write_full(file: &dyn IoFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(wrote) => written += wrote,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
