//! User metadata of objects: ASCII, at most 2 KB.

use std::collections::{BTreeMap, HashMap};

use tracking_model::{Artifact, ArtifactId, ArtifactType, FileHash, TaskId, UpgradeId, percent_decode};

/// The most bytes of all names and values together that S3 keeps.
pub const MAX_METADATA_BYTES: usize = 2048;

const ARTIFACT_ID: &str = "artifact-id";
const ARTIFACT_TYPE: &str = "artifact-type";
const UPGRADE_ID: &str = "upgrade-id";
const TASK_ID: &str = "task-id";
const FILE_HASH: &str = "file-hash";

/// Metadata of an object. Anybody who may write the bucket may have written it, so it is compared and never trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMetadata {
    /// `artifact-id`
    pub artifact_id: Option<ArtifactId>,
    /// `artifact-type`
    pub artifact_type: Option<ArtifactType>,
    /// `upgrade-id`
    pub upgrade_id: Option<UpgradeId>,
    /// `task-id`
    pub task_id: Option<TaskId>,
    /// `file-hash`: SHA-256 of all bytes, in hexadecimal digits.
    pub file_hash: Option<FileHash>,
    /// Other pairs: names of lower-case letters, digits and `-`, values of any text.
    pub extra: BTreeMap<String, String>,
}

impl From<&Artifact> for ObjectMetadata {
    fn from(artifact: &Artifact) -> Self {
        Self {
            artifact_id: Some(artifact.artifact_id.clone()),
            artifact_type: Some(artifact.artifact_type),
            upgrade_id: Some(artifact.upgrade_id.clone()),
            task_id: artifact.task_id.clone(),
            file_hash: artifact.file_hash,
            extra: BTreeMap::from([("artifact-name".to_owned(), artifact.name.to_string())]),
        }
    }
}

/// Metadata as it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) pairs: HashMap<String, String>,
    /// Names of pairs that did not fit.
    pub(crate) omitted: Vec<String>,
}

impl ObjectMetadata {
    /// Adds a pair.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The pairs to send. The fields always fit, since ids are short. Other pairs that do not fit are left out whole, in the
    /// order of names, and named: half a value is worse than none.
    pub(crate) fn encode(&self) -> Encoded {
        let mut encoded = Encoded::default();
        let fields = [
            (ARTIFACT_ID, self.artifact_id.as_ref().map(ToString::to_string)),
            (
                ARTIFACT_TYPE,
                self.artifact_type.map(|kind| kind.as_str().to_owned()),
            ),
            (UPGRADE_ID, self.upgrade_id.as_ref().map(ToString::to_string)),
            (TASK_ID, self.task_id.as_ref().map(ToString::to_string)),
            (FILE_HASH, self.file_hash.map(|hash| hash.to_string())),
        ];
        let mut room = MAX_METADATA_BYTES;
        for (name, value) in fields {
            let Some(value) = value.map(|value| encode_value(&value)) else {
                continue;
            };
            room = room.saturating_sub(name.len() + value.len());
            encoded.pairs.insert(name.to_owned(), value);
        }
        for (name, value) in &self.extra {
            let value = encode_value(value);
            let length = name.len() + value.len();
            if length <= room && !encoded.pairs.contains_key(name) {
                room -= length;
                encoded.pairs.insert(name.clone(), value);
            } else {
                encoded.omitted.push(name.clone());
            }
        }
        encoded
    }

    /// Reads the metadata of an object. A field that is no id or hash counts as absent.
    pub(crate) fn decode(pairs: Option<&HashMap<String, String>>) -> Self {
        let mut metadata = Self::default();
        for (name, value) in pairs.into_iter().flatten() {
            let value = decode_value(value);
            match name.as_str() {
                ARTIFACT_ID => metadata.artifact_id = value.parse().ok(),
                ARTIFACT_TYPE => metadata.artifact_type = value.parse().ok(),
                UPGRADE_ID => metadata.upgrade_id = value.parse().ok(),
                TASK_ID => metadata.task_id = value.parse().ok(),
                FILE_HASH => metadata.file_hash = value.parse().ok(),
                _ => {
                    metadata.extra.insert(name.clone(), value);
                }
            }
        }
        metadata
    }

    /// The first name that cannot be that of a header.
    pub(crate) fn invalid_name(&self) -> Option<&str> {
        let is_valid = |name: &str| {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !name.is_empty() && name.bytes().all(allowed)
        };
        self.extra.keys().map(String::as_str).find(|name| !is_valid(name))
    }
}

/// Printable ASCII stays; `%`, every other byte, and blanks at the ends, which headers lose, are written `%XX`.
fn encode_value(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (position, byte) in value.bytes().enumerate() {
        let blank_end = byte == b' ' && (position == 0 || position == last);
        if matches!(byte, b' '..=b'~') && byte != b'%' && !blank_end {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A value that [`encode_value`] did not write is taken as it is.
fn decode_value(text: &str) -> String {
    percent_decode(text)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest() -> ObjectMetadata {
        ObjectMetadata {
            artifact_id: Some(ArtifactId::new("a".repeat(128)).unwrap()),
            artifact_type: Some(ArtifactType::Configuration),
            upgrade_id: Some(UpgradeId::new("u:1").unwrap()),
            task_id: Some(TaskId::new("t".repeat(128)).unwrap()),
            file_hash: Some(FileHash::new([7; 32])),
            extra: BTreeMap::new(),
        }
    }

    #[test]
    fn metadata_comes_back_as_it_was() {
        let metadata = longest()
            .with_extra("artifact-name", " grüße 100%\n")
            .with_extra("note", "plain, (ASCII)");
        let encoded = metadata.encode();
        assert!(encoded.omitted.is_empty());
        assert!(encoded.pairs.values().all(|value| value.is_ascii()));
        assert_eq!(encoded.pairs["note"], "plain, (ASCII)");
        assert_eq!(ObjectMetadata::decode(Some(&encoded.pairs)), metadata);
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let metadata = longest()
            .with_extra("a", "ü".repeat(200))
            .with_extra("b", "x".repeat(3000));
        let encoded = metadata.encode();
        assert_eq!(encoded.omitted, ["b"]);
        let size: usize = encoded
            .pairs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(size <= MAX_METADATA_BYTES, "{size}");
        assert_eq!(encoded.pairs.len(), 6);
    }

    #[test]
    fn what_others_wrote_is_taken_with_care() {
        let pairs = HashMap::from([
            ("file-hash".to_owned(), "not a hash".to_owned()),
            ("artifact-id".to_owned(), "../../etc".to_owned()),
            ("other".to_owned(), "50%".to_owned()),
        ]);
        let metadata = ObjectMetadata::decode(Some(&pairs));
        assert_eq!((metadata.file_hash, metadata.artifact_id), (None, None));
        assert_eq!(metadata.extra["other"], "50%");
    }
}
