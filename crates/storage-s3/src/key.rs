//! Keys of objects: below a prefix of a bucket, of any form that S3 and its tools bear.

use std::fmt;
use std::str::FromStr;

use artifact_core::ArtifactKey;
use aws_connect::without_user_info;

/// The longest key in bytes, prefix included, that S3 takes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The key of an object below the store's prefix: an artifact's, or any other, such as `_journal/…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} cannot be the key of an object: {rule}")]
#[non_exhaustive]
pub struct ObjectKeyError {
    /// The text.
    pub key: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl ObjectKey {
    /// Takes a key relative to the store's prefix.
    ///
    /// # Errors
    /// [`ObjectKeyError`] if it is empty or longer than [`MAX_KEY_BYTES`], begins with `/`, has an empty segment, `.` or
    /// `..` in it, or a control character.
    pub fn new(key: impl Into<String>) -> Result<Self, ObjectKeyError> {
        let key = key.into();
        match broken_rule(&key) {
            Some(rule) => Err(ObjectKeyError { key, rule }),
            None => Ok(Self(key)),
        }
    }

    /// The key, relative to the prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ArtifactKey> for ObjectKey {
    /// Keys of artifacts are made of ids and safe names, so they keep every rule.
    fn from(key: &ArtifactKey) -> Self {
        Self(key.to_string())
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;
    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        Self::new(text)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn broken_rule(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        Some("it is empty")
    } else if key.len() > MAX_KEY_BYTES {
        Some("it is longer than 1,024 bytes")
    } else if key.chars().any(char::is_control) {
        Some("it has a control character")
    } else if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Some("between its slashes something is empty, `.` or `..`")
    } else {
        None
    }
}

/// A bucket and the prefix in it below which a store has everything: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// The prefix, without slashes around it; empty for the whole bucket.
    pub prefix: String,
}

impl FromStr for S3Location {
    type Err = ObjectKeyError;
    /// Reads `s3://bucket` or `s3://bucket/prefix`. The builder says whether bucket and prefix are valid.
    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        let rule = "a place in S3 is written s3://bucket/prefix, without user or password";
        let rest = text
            .strip_prefix("s3://")
            .filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let shown = without_user_info(text);
        let rest = rest.filter(|_| shown == text).ok_or_else(|| ObjectKeyError {
            key: shown.into_owned(),
            rule,
        })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

/// A validated bucket and prefix: turns keys of the store into keys of the bucket and back.
#[derive(Debug, Clone)]
pub(crate) struct KeyRoot {
    bucket: String,
    /// Empty, or with its slash at the end.
    prefix: String,
}

impl KeyRoot {
    /// Bucket and prefix must be valid.
    pub(crate) fn new(location: &S3Location) -> Self {
        let prefix = match location.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self {
            bucket: location.bucket.clone(),
            prefix,
        }
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(crate) fn location(&self) -> S3Location {
        S3Location {
            bucket: self.bucket.clone(),
            prefix: self.prefix.trim_end_matches('/').to_owned(),
        }
    }

    /// The key in the bucket of what has `key` in the store.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key in the store of what has `full` in the bucket, `None` for what lies outside or breaks a rule.
    pub(crate) fn relative(&self, full: &str) -> Option<ObjectKey> {
        full.strip_prefix(&self.prefix)
            .and_then(|key| ObjectKey::new(key).ok())
    }

    /// As [`Self::relative`] for prefixes, which may end with a slash.
    pub(crate) fn relative_prefix(&self, full: &str) -> Option<String> {
        full.strip_prefix(&self.prefix).map(str::to_owned)
    }

    /// `s3://bucket/prefix/key`
    pub(crate) fn url(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_rules() {
        for key in ["a", "_journal/session:s/e/w-1.jsonl", "s/c/a b~1.log", "ü/x"] {
            assert_eq!(ObjectKey::new(key).unwrap().as_str(), key);
        }
        for key in ["", "/a", "a//b", "a/", "a/../b", "./a", "a\nb", &"x".repeat(1025)] {
            assert!(ObjectKey::new(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn places_are_read_and_written() {
        for text in ["s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(text.parse::<S3Location>().unwrap().to_string(), text);
        }
        assert_eq!("s3://b/p/".parse::<S3Location>().unwrap().prefix, "p");
        for text in [
            "bucket",
            "s3://",
            "s3:///key",
            "http://bucket/x",
            "s3://kate:sesame@bucket",
        ] {
            assert!(text.parse::<S3Location>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_root_leads_there_and_back() {
        let root = KeyRoot::new(&"s3://b/p".parse().unwrap());
        assert_eq!(root.full("x/y"), "p/x/y");
        assert_eq!(root.relative("p/x/y").unwrap().as_str(), "x/y");
        assert_eq!(root.relative("px/y"), None);
        assert_eq!(root.relative("p/../y"), None);
        assert_eq!(root.url("x"), "s3://b/p/x");
    }
}
