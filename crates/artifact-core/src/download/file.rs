//! A file that appears under its name when it is whole and durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tracking_journal::storage;
use tracking_model::FileHash;

/// Bytes after which the kernel is asked to begin writing them to the disk.
const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Attempts to open the temporary name while other downloads with the same tag end and remove it.
const ATTEMPTS: usize = 16;

/// A file that is being written, and hashed. It has no name where the file system can do that, so a process that dies
/// leaves nothing; elsewhere it has a hidden name, and the next download with the same tag to the same directory replaces
/// what is left.
#[derive(Debug)]
pub struct DownloadFile {
    target: PathBuf,
    file: File,
    /// Its hidden name, where it must have one.
    hidden: Option<PathBuf>,
    hasher: Sha256,
    size: u64,
    /// Bytes that the kernel was asked to write to the disk.
    written_back: u64,
}

impl DownloadFile {
    /// Begins a file that will have the name `target`. `tag` tells downloads to one directory apart; it must be a plain file
    /// name of at most 200 bytes.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, and whatever the file system refuses.
    pub fn create(target: &Path, tag: &str) -> io::Result<Self> {
        if target.file_name().is_none() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the destination has no file name",
            ));
        }
        if target.symlink_metadata().is_ok() {
            return Err(Errno::EXIST.into());
        }
        let directory = directory_of(target);
        let unnamed = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let (file, hidden) = match rustix::fs::open(directory, unnamed, Mode::from_raw_mode(0o666)) {
            Ok(file) if links_by_descriptor() => (file.into(), None),
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let hidden = directory.join(format!(".{tag}.part"));
                (open_anew(&hidden)?, Some(hidden))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            target: target.to_owned(),
            file,
            hidden,
            hasher: Sha256::new(),
            size: 0,
            written_back: 0,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Whatever the file system refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        if self.size - self.written_back >= WRITE_BACK_BYTES {
            // Little is left to the sync then, which reports errors.
            let range = NonZero::new(self.size - self.written_back);
            if let Err(error) = rustix::fs::fadvise(&self.file, self.written_back, range, Advice::DontNeed) {
                tracing::trace!(%error, "leaving all writing to the sync");
            }
            self.written_back = self.size;
        }
        Ok(())
    }

    /// The SHA-256 of all bytes.
    #[must_use]
    pub fn hash(&self) -> FileHash {
        FileHash::new(self.hasher.clone().finalize().into())
    }

    /// Makes the bytes durable and gives the file its name, which must be free. A hard link does that everywhere but on
    /// file systems that have none.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, and whatever the file system refuses.
    pub fn publish(self) -> io::Result<()> {
        self.file.sync_all()?;
        let target = &self.target;
        match &self.hidden {
            None => {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, file, CWD, target, AtFlags::SYMLINK_FOLLOW)?;
            }
            Some(hidden) => match fs::hard_link(hidden, target) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
                {
                    renameat_with(CWD, hidden, CWD, target, RenameFlags::NOREPLACE)?;
                }
                linked => linked?,
            },
        }
        match storage::sync_directory(directory_of(target)) {
            // Not every file system can sync a directory; the file is there and whole all the same.
            Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

fn directory_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn links_by_descriptor() -> bool {
    Path::new("/proc/self/fd").is_dir()
}

/// Creates the file, or empties what a download left that died.
fn open_anew(path: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        // not by storage: it is in a directory that the caller named
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(path)?;
        if !file.metadata()?.is_file() {
            let why = "something else has the name of the temporary file";
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        // The lock ends with the handle, also when the process dies.
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                ErrorKind::ResourceBusy,
                "another download of the artifact writes it",
            ),
        })?;
        match file.metadata()?.nlink() {
            1 => {
                file.set_len(0)?;
                return Ok(file);
            }
            // The other download removed it since it was opened.
            0 => {}
            // The other download died after it had given the file its final name.
            _ => fs::remove_file(path)?,
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

impl Drop for DownloadFile {
    fn drop(&mut self) {
        let Some(hidden) = &self.hidden else { return };
        match fs::remove_file(hidden) {
            Ok(()) => {}
            // It was renamed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %hidden.display(), %error, "cannot remove a temporary file");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_download_left_is_taken_up_and_a_live_one_is_not_disturbed() {
        let dir = tempfile::tempdir().unwrap();
        let (part, whole) = (dir.path().join(".a.part"), dir.path().join("whole.log"));
        fs::write(&part, "half of it").unwrap();
        let file = open_anew(&part).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        let busy = open_anew(&part).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::ResourceBusy);
        drop(file);

        fs::write(&part, "all of it").unwrap();
        fs::hard_link(&part, &whole).unwrap();
        open_anew(&part).unwrap();
        assert_eq!(fs::read(&whole).unwrap(), b"all of it");

        fs::remove_file(&part).unwrap();
        std::os::unix::fs::symlink(&whole, &part).unwrap();
        open_anew(&part).unwrap_err();
        assert_eq!(fs::read(&whole).unwrap(), b"all of it");
    }
}
