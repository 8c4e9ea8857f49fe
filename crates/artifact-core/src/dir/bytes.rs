//! The bytes of artifacts, by their records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracking_model::{Artifact, ArtifactStatus, FileHash};

use crate::store::CHUNK_BYTES;
use crate::{ArtifactDir, ArtifactError, ArtifactKey, KeyError, PutBody};

impl ArtifactDir {
    /// Opens an artifact's bytes; returns their number too.
    pub(crate) fn open_artifact(&self, artifact: &Artifact) -> Result<(File, u64), ArtifactError> {
        Ok(self.read(&key_of_bytes(artifact)?)?)
    }

    /// Opens an artifact's bytes, with their key, to be put into another store.
    pub(crate) fn open_body(&self, artifact: &Artifact) -> Result<(ArtifactKey, PutBody), ArtifactError> {
        let key = key_of_bytes(artifact)?;
        let (file, _) = self.read(&key)?;
        Ok((key, PutBody::File(file)))
    }
}

/// True if the record says that the bytes are here.
pub(crate) fn has_bytes(artifact: &Artifact) -> bool {
    artifact.local_path.is_some()
        && match artifact.status {
            ArtifactStatus::Created | ArtifactStatus::Uploaded | ArtifactStatus::Failed => true,
            ArtifactStatus::Archived | ArtifactStatus::Deleted => false,
        }
}

/// The key of an artifact's bytes, if its record says that they are here.
fn key_of_bytes(artifact: &Artifact) -> Result<ArtifactKey, ArtifactError> {
    let elsewhere = match artifact.status {
        ArtifactStatus::Created | ArtifactStatus::Uploaded | ArtifactStatus::Failed => None,
        ArtifactStatus::Archived => Some("they went to an archive; the session's history tells where"),
        // Its file may have the name of another artifact's by now.
        ArtifactStatus::Deleted => {
            Some("they were deleted; the session's history tells who did that, when and why")
        }
    };
    if let Some(reason) = elsewhere {
        return Err(ArtifactError::BytesMissing {
            artifact_id: artifact.artifact_id.clone(),
            name: Arc::clone(&artifact.name),
            reason,
        });
    }
    key_of(artifact)
}

/// The key of an artifact's bytes, deleted or not. The path in the record is trusted only as far as it names a file in the
/// artifact's own session and collection.
pub(crate) fn key_of(artifact: &Artifact) -> Result<ArtifactKey, ArtifactError> {
    let Some(local_path) = &artifact.local_path else {
        return Err(ArtifactError::BytesMissing {
            artifact_id: artifact.artifact_id.clone(),
            name: Arc::clone(&artifact.name),
            reason: "the record was taken over without them",
        });
    };
    ArtifactKey::from_local_path(local_path)
        .and_then(|key| {
            if *key.session_id() == artifact.session_id && *key.collection_id() == artifact.collection_id {
                Ok(key)
            } else {
                Err(KeyError {
                    text: local_path.to_string(),
                })
            }
        })
        .map_err(|source| ArtifactError::UnsafePath {
            artifact_id: artifact.artifact_id.clone(),
            source,
        })
}

/// Passes a file to `piece` from its beginning, wherever it stands, in pieces of at most a quarter of a MiB.
pub(crate) fn read_pieces(file: &File, mut piece: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut buffer, mut offset) = (vec![0; CHUNK_BYTES], 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                piece(buffer.get(..read).unwrap_or_default())?;
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of a file; `read` is told the bytes of each piece.
pub(crate) fn hash_of_file(file: &File, mut read: impl FnMut(u64)) -> io::Result<FileHash> {
    let mut hasher = Sha256::new();
    read_pieces(file, |bytes| {
        hasher.update(bytes);
        read(bytes.len() as u64);
        Ok(())
    })?;
    Ok(FileHash::new(hasher.finalize().into()))
}
