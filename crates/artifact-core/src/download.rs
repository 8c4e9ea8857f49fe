//! Getting artifacts out again: a file appears under its name only when it is whole and hashes to what was added.

mod file;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tracking_journal::storage;
use tracking_model::{Artifact, ArtifactId, SessionCommand, stored_file_name};

pub use file::DownloadFile;

use crate::dir::read_pieces;
use crate::manager::Inner;
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
            let artifact = inner.searcher().artifact(&id)?;
            let (reader, size) = inner.artifacts.open_artifact(&artifact)?;
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
            let artifact = inner.searcher().recorded(&id)?;
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
            let artifact = inner.searcher().artifact(&id)?;
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
        let write_error = |error| ArtifactError::io("create", &target, error);
        let (bytes, _) = self.artifacts.open_artifact(artifact)?;
        let tag = stored_file_name(artifact.artifact_id.as_str().as_bytes());
        let mut file = DownloadFile::create(&target, &tag).map_err(write_error)?;
        read_pieces(&bytes, |piece| file.write(piece))
            .map_err(|error| ArtifactError::io("copy the bytes to", &target, error))?;
        let found = file.hash();
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
        file.publish().map_err(write_error)?;
        Ok(target)
    }
}
