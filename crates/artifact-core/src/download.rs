//! Getting artifacts out again: a file appears under its name only when it is whole and hashes to what was added.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tracking_journal::storage;
use tracking_model::{Artifact, ArtifactId, FileHash, SessionCommand, stored_file_name};

use crate::manager::Inner;
use crate::store::CHUNK_BYTES;
use crate::{ArtifactError, ArtifactReader, TestArtifactsManager};

impl TestArtifactsManager {
    /// Opens an artifact's bytes to read; they are not compared with the record, and no record tells of it: whoever hands
    /// them on says so with [`Self::record_download`].
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::BytesMissing`] and [`ArtifactError::Store`] if they are not
    /// here.
    pub async fn open_artifact(&self, id: &ArtifactId) -> Result<ArtifactReader, ArtifactError> {
        let id = id.clone();
        self.run(move |inner| {
            let artifact = inner.artifact(&id)?;
            let (reader, size) = inner.read_artifact(&artifact)?;
            Ok(ArtifactReader { reader, size })
        })
        .await
    }

    /// Copies an artifact to `destination`: a new file, or a directory in which it gets its own name. Its bytes are
    /// those that were added. That it was taken stands in the session's journal, if that can be written; if not, the
    /// copy is there all the same, and [`Download::record`] says why not. The record is read from the journal, as far as
    /// that is long, for an index could have been altered along with the bytes.
    ///
    /// # Errors
    /// [`ArtifactError::Altered`] if they are not, and [`ArtifactError::Io`] if the file exists or cannot be written;
    /// nothing is left at the destination then. Else as [`Self::open_artifact`].
    ///
    /// # Cancellation
    /// Copying that has begun goes on when the future is dropped.
    pub async fn download_artifact(
        &self,
        id: &ArtifactId,
        destination: impl Into<PathBuf>,
    ) -> Result<Download, ArtifactError> {
        let (id, destination) = (id.clone(), destination.into());
        self.run(move |inner| {
            let artifact = inner.artifact_in_journal(&id)?;
            let path = inner.download_to(&artifact, &destination)?;
            let record = match inner.record_download(&artifact) {
                Ok(()) => DownloadRecord::Written,
                Err(error) => DownloadRecord::NotWritten(error),
            };
            Ok(Download {
                path,
                artifact,
                record,
            })
        })
        .await
    }
}

impl TestArtifactsManager {
    /// Notes in the session's journal that somebody took a copy of an artifact, as [`Self::download_artifact`] does by
    /// itself.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownArtifact`]; [`ArtifactError::Journal`] if it cannot be written.
    pub async fn record_download(&self, id: &ArtifactId) -> Result<(), ArtifactError> {
        let id = id.clone();
        self.run(move |inner| {
            let artifact = inner.artifact(&id)?;
            inner.record_download(&artifact)
        })
        .await
    }
}

/// A copy that was taken, whose bytes are those that were added.
#[derive(Debug)]
#[non_exhaustive]
pub struct Download {
    /// The file.
    pub path: PathBuf,
    /// The artifact.
    pub artifact: Arc<Artifact>,
    /// Tells if the session's journal has a record of the download.
    pub record: DownloadRecord,
}

/// Tells if a journal has a record of a download.
#[derive(Debug)]
#[must_use = "what is not written is missing from the session's history"]
pub enum DownloadRecord {
    /// It does.
    Written,
    /// It does not, for it could not be written.
    NotWritten(ArtifactError),
}

/// The name that an artifact gets in a directory: its own if that names a file there, else that under which it is stored.
#[must_use]
pub fn download_name(artifact: &Artifact) -> PathBuf {
    let name = artifact.exact_name();
    let path = Path::new(OsStr::from_bytes(&name));
    let mut components = path.components();
    let plain = matches!(components.next(), Some(Component::Normal(only)) if only == path.as_os_str())
        && components.next().is_none()
        && !name.contains(&0)
        && name.len() <= 255;
    if plain {
        path.to_owned()
    } else {
        stored_file_name(&name).into()
    }
}

impl Inner {
    fn record_download(&self, artifact: &Arc<Artifact>) -> Result<(), ArtifactError> {
        let entry = self.sessions.entry(&artifact.session_id);
        let command = SessionCommand::RecordDownload(Arc::clone(artifact));
        self.sessions.submit(&entry, command)?;
        Ok(())
    }

    fn download_to(&self, artifact: &Arc<Artifact>, destination: &Path) -> Result<PathBuf, ArtifactError> {
        let target = if storage::is_named_directory(destination) {
            destination.join(download_name(artifact))
        } else {
            destination.to_owned()
        };
        let (mut reader, _) = self.read_artifact(artifact)?;
        let directory = match target.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let part = Part::create(directory, &artifact.artifact_id)?;
        let found = part.fill(&mut reader)?;
        if let Some(expected) = artifact.file_hash
            && found != expected
        {
            return Err(ArtifactError::Altered {
                artifact_id: artifact.artifact_id.clone(),
                name: Arc::clone(&artifact.name),
                expected,
                found,
            });
        }
        part.publish(&target)?;
        sync_directory(directory)?;
        Ok(target)
    }
}

/// A file that is being written. It has no name where the file system can do that, so nothing is left of a process that
/// dies; elsewhere the next download of the artifact to the same directory replaces what is left.
struct Part {
    file: File,
    /// Its temporary name, where it must have one.
    named: Option<PathBuf>,
    /// For messages.
    path: PathBuf,
}

impl Part {
    fn create(directory: &Path, id: &ArtifactId) -> Result<Self, ArtifactError> {
        let unnamed = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let named = directory.join(format!(".{}.part", stored_file_name(id.as_str().as_bytes())));
        let opened = match rustix::fs::open(directory, unnamed, mode) {
            Ok(file) if links_by_descriptor() => {
                return Ok(Self {
                    file: file.into(),
                    named: None,
                    path: directory.to_owned(),
                });
            }
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => open_anew(&named),
            Err(error) => Err(error.into()),
        };
        let file = opened.map_err(|error| ArtifactError::io("create", &named, error))?;
        Ok(Self {
            file,
            named: Some(named.clone()),
            path: named,
        })
    }

    fn fill(&self, reader: &mut dyn Read) -> Result<FileHash, ArtifactError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArtifactError::io("read the bytes for", &self.path, error)),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            hasher.update(bytes);
            (&self.file)
                .write_all(bytes)
                .map_err(|error| ArtifactError::io("write", &self.path, error))?;
        }
        self.file
            .sync_all()
            .map_err(|error| ArtifactError::io("sync", &self.path, error))?;
        Ok(FileHash::new(hasher.finalize().into()))
    }

    /// Gives it a name that is free. A hard link does that everywhere but on file systems that have none.
    fn publish(self, target: &Path) -> Result<(), ArtifactError> {
        let linked = match &self.named {
            None => {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, file, CWD, target, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
            }
            Some(named) => match fs::hard_link(named, target) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) =>
                {
                    rename_to_free(named, target)
                }
                linked => linked,
            },
        };
        linked.map_err(|error| ArtifactError::io("create", target, error))
    }
}

fn links_by_descriptor() -> bool {
    Path::new("/proc/self/fd").is_dir()
}

/// How often the temporary name is opened while other downloads of the artifact end and remove it.
const ATTEMPTS: usize = 16;

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

fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Makes the file's name durable. Not every file system can; the file is there and whole all the same.
fn sync_directory(directory: &Path) -> Result<(), ArtifactError> {
    match storage::sync_directory(directory) {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Err(ArtifactError::io("sync", directory, error))
        }
        _ => Ok(()),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some(named) = &self.named else { return };
        match fs::remove_file(named) {
            Ok(()) => {}
            // It was renamed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %named.display(), %error, "cannot remove a temporary file");
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
