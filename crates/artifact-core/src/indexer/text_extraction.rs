//! The texts of artifacts that can be searched: what is read of the bytes that a manager keeps.

mod encoding;
mod json;

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use anstream::adapter::strip_str;
use tracking_model::{Artifact, ArtifactStatus, ArtifactType};

use crate::dir::OpenCollection;
use crate::{ArtifactDir, ArtifactKey, ArtifactTexts};

/// Reads texts from where a manager keeps its bytes.
#[derive(Debug)]
pub(crate) struct StoredTexts {
    artifacts: ArtifactDir,
    max_bytes: u64,
    /// Whose directory is open: most often the next artifact is of the same collection.
    last: Mutex<Option<OpenCollection>>,
}

impl StoredTexts {
    /// Reads at most so many bytes of each.
    pub(crate) const fn new(artifacts: ArtifactDir, max_bytes: u64) -> Self {
        Self {
            artifacts,
            max_bytes,
            last: Mutex::new(None),
        }
    }
}

impl ArtifactTexts for StoredTexts {
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
            self.artifacts.read_near(&key, &mut last)
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

/// True if an artifact has text that is searched, as far as its record tells.
#[must_use]
pub const fn may_have_text(artifact: &Artifact) -> bool {
    type_has_text(artifact.artifact_type) && !matches!(artifact.status, ArtifactStatus::Deleted)
}

/// True if artifacts of a type have text that is searched.
pub(crate) const fn type_has_text(artifact_type: ArtifactType) -> bool {
    match artifact_type {
        ArtifactType::Screenshot | ArtifactType::Backup => false,
        ArtifactType::LogFile
        | ArtifactType::TestResult
        | ArtifactType::Configuration
        | ArtifactType::MetricsData
        | ArtifactType::Report
        | ArtifactType::Diagnostic => true,
    }
}

/// Bytes as the text that is searched and shown; `None` if they are no text.
///
/// Text is UTF-8 but for a few bytes, UTF-16, or Latin-1; one character may be cut by the end. Sequences that steer
/// terminals are removed, and escapes of JSON become their characters.
#[must_use]
pub fn text_of(bytes: Vec<u8>) -> Option<String> {
    let mut text = encoding::decoded(bytes)?;
    if text.contains('\\') {
        text = json::unescaped(&text);
    }
    // Colours stand in JSON as escapes, too.
    if text.contains('\u{1b}') {
        text = strip_str(&text).to_string();
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::tokenizer::words_of;

    #[test]
    fn words_in_colours_are_words() {
        let text = text_of(b"\x1b[31mFATAL\x1b[0m\tdisk\r\n\x1b]0;title\x07full".to_vec()).unwrap();
        assert_eq!(words_of(&text), ["fatal", "disk", "full"]);
    }

    #[test]
    fn escapes_of_json_end_words() {
        let text =
            text_of(br#"2026 {"m":"one\nFATAL\ttwo C:\\new \u00e9t\u00e9 \ud83d\ude00x"}"#.to_vec()).unwrap();
        assert_eq!(
            words_of(&text),
            ["2026", "m", "one", "fatal", "two", "c", "new", "été", "x"]
        );
        let text = text_of(br#"{"log":"\u001b[31mFATAL"} err="a\nPANIC""#.to_vec()).unwrap();
        assert_eq!(words_of(&text), ["log", "fatal", "err", "a", "panic"]);
        // Elsewhere a backslash is one.
        assert_eq!(
            words_of(&text_of(br"open C:\new\table".to_vec()).unwrap()),
            ["open", "c", "new", "table"]
        );
        assert_eq!(
            text_of(br#""bad \u12 \q end\"#.to_vec()).unwrap(),
            r#""bad \u12 \q end\"#
        );
    }
}
