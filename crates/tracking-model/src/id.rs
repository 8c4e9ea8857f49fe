//! Ids given by callers, checked once where they enter, and the stream ids made of them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 128;
/// Longest encoded id in bytes, where `:` counts three (`%3A`).
pub const MAX_ENCODED_ID_BYTES: usize = 200;

/// The rule an id breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdRule {
    /// Ids are 1 to 128 bytes long.
    Length,
    /// The first character is an ASCII letter or digit.
    FirstCharacter,
    /// Characters are ASCII letters, digits, `.`, `_`, `:` and `-`.
    Characters,
    /// Ids do not end in `.json` or `.jsonl`, which name files beside them.
    Suffix,
    /// The encoded form, with `:` as `%3A`, is at most 200 bytes.
    EncodedLength,
    /// A stream is an upgrade's or a session's.
    Stream,
}

impl fmt::Display for IdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "an id has 1 to 128 characters",
            Self::FirstCharacter => "an id begins with a letter or digit",
            Self::Characters => "an id has only letters, digits, '.', '_', ':' and '-'",
            Self::Suffix => "an id does not end in '.json' or '.jsonl'",
            Self::EncodedLength => "an id with each ':' written '%3A' has at most 200 characters",
            Self::Stream => "a stream is 'upgrade:ID' or 'session:ID'",
        })
    }
}

/// An id that breaks the rules of ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {id:?}: {rule}")]
pub struct IdError {
    /// What the id was to name: `upgrade id`, `task id`, and so on.
    pub kind: &'static str,
    /// The id as given.
    pub id: String,
    /// The first rule that it breaks.
    pub rule: IdRule,
}

/// Tells which rule of ids `id` breaks, if any.
///
/// # Errors
/// The first broken rule.
pub fn check_id(id: &str) -> Result<(), IdRule> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(IdRule::Length);
    }
    if !id.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(IdRule::FirstCharacter);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if !id.bytes().all(allowed) {
        return Err(IdRule::Characters);
    }
    if id.ends_with(".json") || id.ends_with(".jsonl") {
        return Err(IdRule::Suffix);
    }
    if id.len() + 2 * id.bytes().filter(|b| *b == b':').count() > MAX_ENCODED_ID_BYTES {
        return Err(IdRule::EncodedLength);
    }
    Ok(())
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// Cheap to clone. Matches `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`, does not end in `.json` or `.jsonl`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `id` and takes it.
            ///
            /// # Errors
            /// [`IdError`] names the id and the rule that it breaks.
            pub fn new(id: impl AsRef<str>) -> Result<Self, IdError> {
                let id = id.as_ref();
                match check_id(id) {
                    Ok(()) => Ok(Self(id.into())),
                    Err(rule) => Err(IdError { kind: $kind, id: id.to_owned(), rule }),
                }
            }

            /// A new UUID v7, whose order is that of creation.
            #[must_use]
            pub fn generate() -> Self {
                Self(crate::new_uuid().to_string().into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form used in file names and S3 keys: `:` is written `%3A`.
            #[must_use]
            pub fn encoded(&self) -> String {
                self.0.replace(':', "%3A")
            }

            /// Reads the form used in file names and S3 keys.
            ///
            /// # Errors
            /// [`IdError`] if what comes out is no valid id.
            pub fn from_encoded(encoded: &str) -> Result<Self, IdError> {
                Self::new(encoded.replace("%3A", ":"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(id: &str) -> Result<Self, IdError> {
                Self::new(id)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FromText;

                impl de::Visitor<'_> for FromText {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($kind)
                    }

                    fn visit_str<E: de::Error>(self, id: &str) -> Result<$name, E> {
                        $name::new(id).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(FromText)
            }
        }
    };
}

id_type! {
    /// Names an upgrade.
    UpgradeId, "upgrade id"
}
id_type! {
    /// Names the plan that an upgrade follows.
    PlanId, "plan id"
}
id_type! {
    /// Names a task within its upgrade.
    TaskId, "task id"
}
id_type! {
    /// Names a session of artifacts.
    SessionId, "session id"
}
id_type! {
    /// Names a collection within its session.
    CollectionId, "collection id"
}
id_type! {
    /// Names an artifact.
    ArtifactId, "artifact id"
}

/// Names a stream of records: `upgrade:<id>` (progress) or `session:<id>` (artifacts).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// The progress of an upgrade.
    Upgrade(UpgradeId),
    /// The artifacts of a session.
    Session(SessionId),
}

impl StreamId {
    /// The stem of the stream's files: `upgrade_<id>` or `session_<id>`, with `:` in the id written `%3A`.
    #[must_use]
    pub fn file_stem(&self) -> String {
        match self {
            Self::Upgrade(id) => format!("upgrade_{}", id.encoded()),
            Self::Session(id) => format!("session_{}", id.encoded()),
        }
    }

    /// Reads the stem of a stream's file.
    ///
    /// # Errors
    /// [`IdError`] if the stem has neither prefix or its id is invalid.
    pub fn from_file_stem(stem: &str) -> Result<Self, IdError> {
        if let Some(id) = stem.strip_prefix("upgrade_") {
            UpgradeId::from_encoded(id).map(Self::Upgrade)
        } else if let Some(id) = stem.strip_prefix("session_") {
            SessionId::from_encoded(id).map(Self::Session)
        } else {
            Err(IdError {
                kind: "stream file name",
                id: stem.to_owned(),
                rule: IdRule::Characters,
            })
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade(id) => write!(f, "upgrade:{id}"),
            Self::Session(id) => write!(f, "session:{id}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("upgrade", id)) => UpgradeId::new(id).map(Self::Upgrade),
            Some(("session", id)) => SessionId::new(id).map(Self::Session),
            _ => Err(IdError {
                kind: "stream",
                id: text.to_owned(),
                rule: IdRule::Stream,
            }),
        }
    }
}

impl From<UpgradeId> for StreamId {
    fn from(id: UpgradeId) -> Self {
        Self::Upgrade(id)
    }
}

impl From<SessionId> for StreamId {
    fn from(id: SessionId) -> Self {
        Self::Session(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_named() {
        let rule = |id: &str| UpgradeId::new(id).unwrap_err().rule;
        assert_eq!(rule(""), IdRule::Length);
        assert_eq!(rule(&"a".repeat(129)), IdRule::Length);
        assert_eq!(rule("-a"), IdRule::FirstCharacter);
        assert_eq!(rule(".."), IdRule::FirstCharacter);
        assert_eq!(rule("a/b"), IdRule::Characters);
        assert_eq!(rule("a b"), IdRule::Characters);
        assert_eq!(rule("aé"), IdRule::Characters);
        assert_eq!(rule("a.json"), IdRule::Suffix);
        assert_eq!(rule("a.jsonl"), IdRule::Suffix);
        assert_eq!(rule(&format!("a{}", ":".repeat(100))), IdRule::EncodedLength);
        assert!(UpgradeId::new("prod-1.30:blue_green").is_ok());
        assert!(UpgradeId::new("a".repeat(128)).is_ok());
    }

    #[test]
    fn encoding_round_trips() {
        let id = TaskId::new("a:b").unwrap();
        assert_eq!(id.encoded(), "a%3Ab");
        assert_eq!(TaskId::from_encoded("a%3Ab").unwrap(), id);
        let stream: StreamId = "upgrade:a:b".parse().unwrap();
        assert_eq!(stream.to_string(), "upgrade:a:b");
        assert_eq!(stream.file_stem(), "upgrade_a%3Ab");
        assert_eq!(StreamId::from_file_stem("upgrade_a%3Ab").unwrap(), stream);
    }
}
