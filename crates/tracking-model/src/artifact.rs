//! An artifact: what it is, where its bytes are and what they hash to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::named::named;
use crate::{
    ArtifactId, CollectionId, Details, SessionId, TaskId, Timestamp, UpgradeId, percent_decode,
    percent_encode,
};

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactType {
    /// Output of something that ran.
    #[default]
    LogFile,
    /// The outcome of tests.
    TestResult,
    /// Settings and manifests.
    Configuration,
    /// A picture of a screen.
    Screenshot,
    /// Measurements.
    MetricsData,
    /// A copy from which something can be restored.
    Backup,
    /// A document for people.
    Report,
    /// What helps to find a cause: dumps, traces, descriptions.
    Diagnostic,
}

impl ArtifactType {
    /// All types, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::LogFile,
        Self::TestResult,
        Self::Configuration,
        Self::Screenshot,
        Self::MetricsData,
        Self::Backup,
        Self::Report,
        Self::Diagnostic,
    ];

    /// The name in JSON: `log_file`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogFile => "log_file",
            Self::TestResult => "test_result",
            Self::Configuration => "configuration",
            Self::Screenshot => "screenshot",
            Self::MetricsData => "metrics_data",
            Self::Backup => "backup",
            Self::Report => "report",
            Self::Diagnostic => "diagnostic",
        }
    }
}

named!(ArtifactType, "artifact type");

/// Where an artifact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactStatus {
    /// Its bytes are in the data directory.
    #[default]
    Created,
    /// Its bytes are in S3 too.
    Uploaded,
    /// It is kept, its bytes elsewhere.
    Archived,
    /// Its bytes were deleted; the record tells what they were. Final.
    Deleted,
    /// An upload failed; it may be tried again.
    Failed,
}

impl ArtifactStatus {
    /// All statuses, in the order of their declaration.
    pub const ALL: [Self; 5] = [
        Self::Created,
        Self::Uploaded,
        Self::Archived,
        Self::Deleted,
        Self::Failed,
    ];

    /// The table of transitions: whether `self` may become `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Created => matches!(
                next,
                Self::Uploaded | Self::Archived | Self::Deleted | Self::Failed
            ),
            Self::Uploaded => matches!(next, Self::Archived | Self::Deleted),
            Self::Archived => matches!(next, Self::Deleted),
            Self::Failed => matches!(
                next,
                Self::Uploaded | Self::Archived | Self::Deleted | Self::Failed
            ),
            Self::Deleted => false,
        }
    }

    /// The name in JSON: `created`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Uploaded => "uploaded",
            Self::Archived => "archived",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}

named!(ArtifactStatus, "artifact status");

/// The SHA-256 of an artifact's bytes; 64 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

/// A text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a SHA-256: give 64 hexadecimal digits")]
pub struct FileHashError(pub String);

impl FileHash {
    /// Takes the 32 bytes of a SHA-256.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FileHash {
    type Err = FileHashError;
    fn from_str(text: &str) -> Result<Self, FileHashError> {
        let error = || FileHashError(text.to_owned());
        let digits: Vec<u8> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .filter(|digits: &Vec<u8>| digits.len() == 64)
            .ok_or_else(error)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] * 16 + pair[1];
        }
        Ok(Self(bytes))
    }
}

impl Serialize for FileHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// One artifact: the record that is kept of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Artifact {
    /// Its id.
    pub artifact_id: ArtifactId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The collection that it belongs to.
    pub collection_id: CollectionId,
    /// The upgrade that produced it.
    pub upgrade_id: UpgradeId,
    /// Its name as UTF-8 text; where the name is none, bytes that are not UTF-8 are replaced.
    pub name: Arc<str>,
    /// Its exact name, percent-encoded, where that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_bytes: Option<Arc<str>>,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// What kind of thing it is.
    pub artifact_type: ArtifactType,
    /// Where its bytes are, relative to the data directory: `artifacts/<session>/<collection>/<file name>`.
    /// `None` where they never were, for records taken over without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_path: Option<Arc<str>>,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// The SHA-256 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<FileHash>,
    /// The bucket that holds a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<Arc<str>>,
    /// The key of that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<Arc<str>>,
    /// The URL of that copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_url: Option<Arc<str>>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// Where it stands.
    pub status: ArtifactStatus,
    /// The task that produced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The step of the task that produced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<Arc<str>>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub metadata: Details,
    /// Words to find it by; each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
}

impl Artifact {
    /// Its exact name, as the bytes that a file name has.
    #[must_use]
    pub fn exact_name(&self) -> Cow<'_, [u8]> {
        self.name_bytes
            .as_deref()
            .and_then(percent_decode)
            .map_or(Cow::Borrowed(self.name.as_bytes()), Cow::Owned)
    }
}

/// A name as it is kept in a record: its text, and its exact bytes where they are not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactName {
    /// The name as text.
    pub text: Arc<str>,
    /// Its exact bytes, percent-encoded, where they are not UTF-8.
    pub bytes: Option<Arc<str>>,
}

impl ArtifactName {
    /// Takes any bytes.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match String::from_utf8_lossy(name) {
            Cow::Borrowed(text) => Self {
                text: text.into(),
                bytes: None,
            },
            Cow::Owned(text) => Self {
                text: text.into(),
                bytes: Some(percent_encode(name).into()),
            },
        }
    }

    /// The bytes that it was made from.
    #[must_use]
    pub fn exact(&self) -> Cow<'_, [u8]> {
        self.bytes
            .as_deref()
            .and_then(percent_decode)
            .map_or(Cow::Borrowed(self.text.as_bytes()), Cow::Owned)
    }
}

impl From<&str> for ArtifactName {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            bytes: None,
        }
    }
}

impl From<String> for ArtifactName {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_statuses() {
        let allowed: Vec<String> = ArtifactStatus::ALL
            .into_iter()
            .flat_map(|from| ArtifactStatus::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.can_become(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            allowed.join(" "),
            "created>uploaded created>archived created>deleted created>failed uploaded>archived uploaded>deleted \
             archived>deleted failed>uploaded failed>archived failed>deleted failed>failed"
        );
    }

    #[test]
    fn names_in_json_are_those_of_the_reference() {
        for kind in ArtifactType::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(kind.as_str().parse::<ArtifactType>().unwrap(), kind);
        }
        for status in ArtifactStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
            assert_eq!(status.as_str().parse::<ArtifactStatus>().unwrap(), status);
        }
    }

    #[test]
    fn hashes_and_names_round_trip() {
        let hash = FileHash::new([0xab; 32]);
        assert_eq!(hash.to_string().parse::<FileHash>().unwrap(), hash);
        assert!("abc".parse::<FileHash>().is_err());
        assert!("é".repeat(32).parse::<FileHash>().is_err());
        let name = ArtifactName::from_bytes(b"a\xffb");
        assert_eq!(&*name.text, "a\u{fffd}b");
        assert_eq!(name.exact().as_ref(), b"a\xffb");
        assert_eq!(ArtifactName::from_bytes("é".as_bytes()).bytes, None);
    }
}
