//! Free text and free-form details, with their limits.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Longest name of a cluster, task, session or collection, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest message, error, reason or phase, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Most bytes of an event's details, as compact JSON.
pub const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// A text that is too long, or holds what it may not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It has more bytes than allowed.
    #[error("{field} has {bytes} bytes, at most {limit} are allowed")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its bytes of UTF-8.
        bytes: usize,
        /// The most it may have.
        limit: usize,
    },
    /// A name is empty or has only white space.
    #[error("{field} is empty")]
    Empty {
        /// Which text.
        field: &'static str,
    },
    /// A name holds a control character.
    #[error("{field} {text:?} has a control character")]
    ControlCharacter {
        /// Which text.
        field: &'static str,
        /// The text.
        text: String,
    },
}

/// Checks a display name: 1 to 256 bytes without control characters.
///
/// # Errors
/// [`TextError`] names `field` and the rule it breaks.
pub fn check_name(field: &'static str, name: &str) -> Result<(), TextError> {
    if name.trim().is_empty() {
        return Err(TextError::Empty { field });
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(TextError::TooLong {
            field,
            bytes: name.len(),
            limit: MAX_NAME_BYTES,
        });
    }
    if name.chars().any(char::is_control) {
        return Err(TextError::ControlCharacter {
            field,
            text: name.to_owned(),
        });
    }
    Ok(())
}

/// Checks a message, error, reason or phase: at most 64 KiB.
///
/// # Errors
/// [`TextError::TooLong`] names `field`.
pub fn check_text(field: &'static str, text: &str) -> Result<(), TextError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(TextError::TooLong {
            field,
            bytes: text.len(),
            limit: MAX_TEXT_BYTES,
        });
    }
    Ok(())
}

/// Reads a text without the copy that serde's own way to an `Arc<str>` makes; replaying a journal reads many.
pub(crate) fn shared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Shared;

    impl de::Visitor<'_> for Shared {
        type Value = Arc<str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(Arc::from(text))
        }
    }

    deserializer.deserialize_str(Shared)
}

/// Free-form details of an event: a JSON object, kept as the text it travels as. Cheap to clone.
#[derive(Clone)]
pub struct Details(Option<Arc<RawValue>>);

impl Details {
    /// No details: `{}`.
    pub const NONE: Self = Self(None);

    /// Takes the text of a JSON object on one line.
    pub(crate) fn from_object_text(json: String) -> Self {
        debug_assert!(json.starts_with('{') && !json.contains('\n'), "{json}");
        if json == "{}" {
            Self::NONE
        } else {
            let raw = RawValue::from_string(json).expect("callers pass JSON that was just written or read");
            Self(Some(raw.into()))
        }
    }

    /// The details as compact JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.as_deref().map_or("{}", RawValue::get)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The details as a map. Those of a foreign journal may be nested too deeply or hold numbers out of range; they
    /// come as text under `unreadable`.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        self.read().unwrap_or_else(|_| {
            Map::from_iter([("unreadable".to_owned(), Value::String(self.as_json().to_owned()))])
        })
    }

    /// Reads the details as a map.
    pub(crate) fn read(&self) -> serde_json::Result<Map<String, Value>> {
        self.0
            .as_deref()
            .map_or_else(|| Ok(Map::new()), |raw| serde_json::from_str(raw.get()))
    }
}

/// Equal where the text is equal.
impl PartialEq for Details {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Details {}

impl Default for Details {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<Map<String, Value>> for Details {
    fn from(map: Map<String, Value>) -> Self {
        if map.is_empty() {
            Self::NONE
        } else {
            Self::from_object_text(Value::Object(map).to_string())
        }
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(raw) => raw.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

impl<'de> Deserialize<'de> for Details {
    /// Takes an object; null stands for none.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get() {
            "null" | "{}" => Ok(Self::NONE),
            json if json.starts_with('{') && !json.contains('\n') => Ok(Self(Some(raw.into()))),
            json if json.starts_with('{') => {
                let map: Map<String, Value> = serde_json::from_str(json).map_err(de::Error::custom)?;
                Ok(map.into())
            }
            _ => Err(de::Error::custom("details are a JSON object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_limits() {
        assert!(check_name("cluster name", "prod · eu-west-1 ☸").is_ok());
        assert!(matches!(check_name("n", " "), Err(TextError::Empty { .. })));
        assert!(matches!(
            check_name("n", "a\u{7}"),
            Err(TextError::ControlCharacter { .. })
        ));
        assert!(matches!(
            check_name("n", &"a".repeat(257)),
            Err(TextError::TooLong { .. })
        ));
    }

    #[test]
    fn details_keep_their_text() {
        let details: Details = serde_json::from_str("{\"b\":1,\"a\":[1.50]}").unwrap();
        assert_eq!(serde_json::to_string(&details).unwrap(), "{\"b\":1,\"a\":[1.50]}");
        assert!(serde_json::from_str::<Details>("null").unwrap().is_empty());
        assert!(serde_json::from_str::<Details>("[1]").is_err());
        assert_eq!(
            serde_json::from_str::<Details>("{\n\"a\": 1}").unwrap().as_json(),
            "{\"a\":1}"
        );
    }
}
