//! Keys of stored bytes. A key is made of ids and a safe file name, so no path that is built from one leaves its root.

use std::fmt;
use std::str::FromStr;

use tracking_model::{CollectionId, SessionId, is_safe_segment};

/// The first part of paths in records, which are relative to the data directory.
const ARTIFACTS: &str = "artifacts/";

/// Names the bytes of one artifact: `<session>/<collection>/<file name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactKey {
    session_id: SessionId,
    collection_id: CollectionId,
    file_name: String,
}

/// A text that is no key: it would lead elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the place of an artifact: it must be a session, a collection and a plain file name")]
pub struct KeyError {
    /// The text.
    pub text: String,
}

impl ArtifactKey {
    /// Takes a file name that is safe as one component of a path, as
    /// [`stored_file_name`](tracking_model::stored_file_name) makes them.
    ///
    /// # Errors
    /// [`KeyError`] for any other file name.
    pub fn new(
        session_id: SessionId,
        collection_id: CollectionId,
        file_name: impl Into<String>,
    ) -> Result<Self, KeyError> {
        let file_name = file_name.into();
        if !is_safe_segment(&file_name) {
            return Err(KeyError { text: file_name });
        }
        Ok(Self {
            session_id,
            collection_id,
            file_name,
        })
    }

    /// Reads the path that stands in a record: `artifacts/<session>/<collection>/<file name>`.
    ///
    /// # Errors
    /// [`KeyError`] for any other path, so that a record cannot point outside the data directory.
    pub fn from_local_path(path: &str) -> Result<Self, KeyError> {
        path.strip_prefix(ARTIFACTS)
            .and_then(|key| key.parse().ok())
            .ok_or_else(|| KeyError {
                text: path.to_owned(),
            })
    }

    /// The path that stands in records, relative to the data directory.
    #[must_use]
    pub fn local_path(&self) -> String {
        format!("{ARTIFACTS}{self}")
    }

    /// The session.
    #[must_use]
    pub const fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// The collection.
    #[must_use]
    pub const fn collection_id(&self) -> &CollectionId {
        &self.collection_id
    }

    /// The file name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The same place under another file name, which must be safe.
    pub(crate) fn with_file_name(&self, file_name: String) -> Self {
        Self {
            file_name,
            ..self.clone()
        }
    }
}

/// With `:` in ids written `%3A`, as on disk and in S3.
impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.session_id.encoded(),
            self.collection_id.encoded(),
            self.file_name
        )
    }
}

impl FromStr for ArtifactKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let error = || KeyError {
            text: text.to_owned(),
        };
        let mut parts = text.split('/');
        let (Some(session), Some(collection), Some(file_name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error());
        };
        let session = SessionId::from_encoded(session).map_err(|_| error())?;
        let collection = CollectionId::from_encoded(collection).map_err(|_| error())?;
        Self::new(session, collection, file_name).map_err(|_| error())
    }
}

/// Which keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPrefix {
    /// All of a session.
    Session(SessionId),
    /// All of a collection.
    Collection(SessionId, CollectionId),
}

impl KeyPrefix {
    /// True if `key` begins with the prefix.
    #[must_use]
    pub fn matches(&self, key: &ArtifactKey) -> bool {
        match self {
            Self::Session(session) => key.session_id == *session,
            Self::Collection(session, collection) => {
                key.session_id == *session && key.collection_id == *collection
            }
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => write!(f, "{}/", session.encoded()),
            Self::Collection(session, collection) => {
                write!(f, "{}/{}/", session.encoded(), collection.encoded())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_lead_nowhere_else() {
        let key: ArtifactKey = "a%3Ab/c/log-2.txt".parse().unwrap();
        assert_eq!(key.session_id().as_str(), "a:b");
        assert_eq!(key.to_string(), "a%3Ab/c/log-2.txt");
        assert_eq!(ArtifactKey::from_local_path(&key.local_path()).unwrap(), key);
        for path in [
            "artifacts/s/c/../x",
            "artifacts/../c/x",
            "artifacts/s/c/..",
            "artifacts/s/c/",
            "artifacts/s/x",
            "artifacts/s/c/d/x",
            "/etc/passwd",
            "artifacts//etc/passwd",
            "artifacts/s/c/a\0b",
            "artifacts/s/.incoming/x",
        ] {
            assert!(ArtifactKey::from_local_path(path).is_err(), "{path}");
        }
    }
}
