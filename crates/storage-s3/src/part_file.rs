//! The file that a download fills: hidden until all of it is verified.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tracking_journal::storage;
use tracking_model::FileHash;

use crate::content::blocking;
use crate::download::{Durability, Existing};

/// Bytes of a read while what is there is hashed again.
const READ_BYTES: usize = 1024 * 1024;

/// The hidden file: locked, appended to, and hashed on the way.
pub(crate) struct PartFile {
    path: PathBuf,
    inner: Option<(File, Sha256)>,
    /// How many bytes it has.
    pub(crate) length: u64,
}

impl PartFile {
    /// Opens it, and hashes what an earlier call left.
    pub(crate) async fn open(path: PathBuf) -> io::Result<Self> {
        blocking(move || Self::open_blocking(path)).await
    }

    fn open_blocking(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = storage::open_with(&below_real_directory(&path)?, &mut options)?;
        file.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another download writes this file; wait for it, or choose another destination",
            )
        })?;
        // Whoever had the lock before may have given the file its name by now: then it is not ours to write.
        let (opened, there) = (file.metadata()?, fs::symlink_metadata(&path));
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another download of this file ended at this moment; try again",
            ));
        }
        let mut hasher = Sha256::new();
        let length = hash_rest(&mut file, &mut hasher)?;
        Ok(Self {
            path,
            inner: Some((file, hasher)),
            length,
        })
    }

    /// Writes bytes that were verified already, and gives the file its name.
    pub(crate) async fn write_whole(
        hidden: PathBuf,
        bytes: Bytes,
        path: PathBuf,
        finish: Finish,
    ) -> io::Result<()> {
        blocking(move || {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let file = storage::open_with(&below_real_directory(&hidden)?, &mut options);
            let mut file = match file {
                // Left by a call that died, or written by one that lives: the lock tells.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let (file, _) = Self::open_blocking(hidden.clone())?
                        .inner
                        .ok_or(io::ErrorKind::BrokenPipe)?;
                    file.set_len(0)?;
                    file
                }
                created => created?,
            };
            let named = file
                .seek(SeekFrom::Start(0))
                .and_then(|_| file.write_all(&bytes))
                .and_then(|()| finish.name(&file, &hidden, &path));
            // There is nothing in it that a later call could make use of.
            if named.is_err()
                && let Err(error) = fs::remove_file(&hidden)
            {
                tracing::debug!(path = %hidden.display(), %error, "leaving a part of a download behind");
            }
            named
        })
        .await
    }

    /// Writes and hashes at the same time.
    pub(crate) async fn append(&mut self, bytes: Bytes) -> io::Result<()> {
        let length = bytes.len() as u64;
        let (mut file, mut hasher) = self.inner.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let to_hash = bytes.clone();
        let ((written, file), hasher) = tokio::join!(
            blocking(move || (file.write_all(&bytes), file)),
            blocking(move || {
                hasher.update(&to_hash);
                hasher
            }),
        );
        self.inner = Some((file, hasher));
        written?;
        self.length += length;
        Ok(())
    }

    pub(crate) async fn clear(&mut self) -> io::Result<()> {
        self.with(|file, hasher| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            *hasher = Sha256::new();
            Ok(())
        })
        .await?;
        self.length = 0;
        Ok(())
    }

    async fn with(
        &mut self,
        work: impl FnOnce(&mut File, &mut Sha256) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let (mut file, mut hasher) = self.inner.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (outcome, inner) = blocking(move || {
            let outcome = work(&mut file, &mut hasher);
            (outcome, (file, hasher))
        })
        .await;
        self.inner = Some(inner);
        outcome
    }

    pub(crate) fn hash(&self) -> FileHash {
        let hasher = self.inner.as_ref().map(|(_, hasher)| hasher.clone());
        FileHash::new(hasher.unwrap_or_default().finalize().into())
    }

    /// Gives it its name.
    pub(crate) async fn appear(mut self, path: &Path, finish: Finish) -> io::Result<()> {
        let (hidden, path) = (self.path.clone(), path.to_owned());
        self.with(move |file, _| finish.name(file, &hidden, &path)).await
    }

    /// Removes what is of no use.
    pub(crate) async fn discard(self) {
        let path = self.path.clone();
        let removed = blocking(move || fs::remove_file(&path)).await;
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "a part of a download could not be removed");
        }
    }
}

/// How a file gets its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish {
    pub(crate) existing: Existing,
    pub(crate) durability: Durability,
}

impl Finish {
    fn name(self, file: &File, hidden: &Path, path: &Path) -> io::Result<()> {
        if self.durability == Durability::Synced {
            file.sync_all()?;
        }
        match self.existing {
            Existing::Replace => fs::rename(hidden, path)?,
            Existing::Keep => rename_to_free(hidden, path)?,
        }
        match self.durability {
            Durability::Synced => storage::sync_directory(directory_of(path)),
            Durability::Written => Ok(()),
        }
    }
}

/// The same file by a path without symbolic links: its directory is the operator's, who may have named one.
fn below_real_directory(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(directory_of(path).canonicalize()?.join(name))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Renames, unless something has appeared under the name meanwhile.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems that cannot do that can link, which replaces nothing either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        outcome => outcome.map_err(io::Error::from),
    }
}

fn hash_rest(file: &mut File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
