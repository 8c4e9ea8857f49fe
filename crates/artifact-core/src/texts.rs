//! The texts of artifacts that can be searched: what is read of the bytes that a manager keeps.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use tracking_model::{Artifact, ArtifactStatus, ArtifactType};

use crate::store::{OpenCollection, Vault};
use crate::{ArtifactKey, ArtifactTexts};

/// One of so many characters may be no valid UTF-8 in what still counts as text.
const MOST_INVALID: usize = 20;

/// Reads texts from where a manager keeps its bytes.
#[derive(Debug)]
pub(crate) struct VaultTexts {
    vault: Vault,
    max_bytes: u64,
    /// Whose directory is open: most often the next artifact is of the same collection.
    last: Mutex<Option<OpenCollection>>,
}

impl VaultTexts {
    /// Reads at most so many bytes of each.
    pub(crate) const fn new(vault: Vault, max_bytes: u64) -> Self {
        Self {
            vault,
            max_bytes,
            last: Mutex::new(None),
        }
    }
}

impl ArtifactTexts for VaultTexts {
    fn text(&self, artifact: &Artifact) -> Option<String> {
        if self.max_bytes == 0 || !may_have_text(artifact) {
            return None;
        }
        // The place in a record is trusted only as far as it names a file of the artifact's own collection.
        let key = ArtifactKey::from_local_path(artifact.local_path.as_deref()?).ok()?;
        if *key.session_id() != artifact.session_id || *key.collection_id() != artifact.collection_id {
            return None;
        }
        let opened = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            self.vault.read_near(&key, &mut last)
        };
        let read = opened.map(|(reader, size)| {
            let size = size.min(self.max_bytes);
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            reader.take(size).read_to_end(&mut bytes).map(|_| bytes)
        });
        match read {
            Ok(Ok(bytes)) => text_of(bytes),
            Ok(Err(error)) => {
                tracing::debug!(%error, artifact = %artifact.artifact_id, "its text cannot be read and is not searched");
                None
            }
            // Bytes of artifacts that were deleted meanwhile are not there any more.
            Err(error) => {
                tracing::debug!(%error, artifact = %artifact.artifact_id, "it has no text to be searched");
                None
            }
        }
    }
}

/// Whether artifacts of its kind have text that is searched, as far as its record tells.
#[must_use]
pub const fn may_have_text(artifact: &Artifact) -> bool {
    let kind = match artifact.artifact_type {
        ArtifactType::Screenshot | ArtifactType::Backup => false,
        ArtifactType::LogFile
        | ArtifactType::TestResult
        | ArtifactType::Configuration
        | ArtifactType::MetricsData
        | ArtifactType::Report
        | ArtifactType::Diagnostic => true,
    };
    kind && !matches!(artifact.status, ArtifactStatus::Deleted)
}

/// Bytes as text: no NUL, and valid UTF-8 but for a few characters, one of which may be cut by the end; `None` if they
/// are no text.
#[must_use]
pub fn text_of(bytes: Vec<u8>) -> Option<String> {
    if bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).map_or_else(
        |error| {
            let bytes = error.into_bytes();
            let invalid = bytes
                .utf8_chunks()
                .filter(|chunk| !chunk.invalid().is_empty())
                .count();
            let most = bytes.len() / MOST_INVALID + 1;
            (invalid <= most).then(|| String::from_utf8_lossy(&bytes).into_owned())
        },
        Some,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_bytes() {
        assert_eq!(text_of(b"ready".to_vec()).unwrap(), "ready");
        assert_eq!(
            text_of("läuft \u{e4}".as_bytes().split_last().unwrap().1.to_vec()).unwrap(),
            "läuft \u{FFFD}"
        );
        assert_eq!(text_of(b"a\0b".to_vec()), None);
        assert_eq!(text_of(vec![0xff; 100]), None);
    }
}
