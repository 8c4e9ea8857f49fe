//! JSON as Python writes it: keys in their order, repeated ones included, bare `NaN` and `Infinity`, lone surrogates.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};

use super::ReferenceError;

/// A JSON value that keeps the order of keys and those that are repeated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a file's bytes; the warnings say what in them was not JSON but could be told all the same.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, Vec<String>), ReferenceError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if let Ok(json) = serde_json::from_slice(bytes) {
            return Ok((json, Vec::new()));
        }
        let (mended, warnings) = mend(bytes);
        let json = serde_json::from_slice(&mended).map_err(|error| ReferenceError::not_json(&error))?;
        Ok((json, warnings))
    }

    /// What it is, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// A whole number that is not negative; `3.0` counts as one.
    pub(crate) fn as_count(&self) -> Option<u64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Self::Number(number) => number.as_u64().or_else(|| {
                let value = number.as_f64()?;
                let whole = value.fract() == 0.0 && (0.0..=EXACT).contains(&value);
                // A float's text without its fraction is the number itself.
                whole.then(|| format!("{value:.0}").parse().ok()).flatten()
            }),
            _ => None,
        }
    }

    /// As compact JSON on one line.
    pub(crate) fn to_compact(&self) -> String {
        serde_json::to_string(self).expect("texts and finite numbers serialise into memory")
    }

    /// As a value of `serde_json`; of a repeated key the last counts.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(entries) => entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_value()))
                .collect(),
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }
}

/// Rewrites what Python writes and JSON does not know: `NaN`, `Infinity` and `-Infinity` become texts, a surrogate
/// without its other half becomes U+FFFD.
fn mend(bytes: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let (mut numbers, mut surrogates) = (0_usize, 0_usize);
    let mut rest = bytes;
    let mut in_text = false;
    while let Some(&byte) = rest.first() {
        let taken = if in_text && byte == b'\\' {
            let (length, lone) = escape(rest);
            if lone {
                surrogates += 1;
                out.extend_from_slice(b"\\ufffd");
            } else {
                out.extend_from_slice(&rest[..length]);
            }
            length
        } else if let Some(word) = bare_word(rest).filter(|_| !in_text) {
            numbers += 1;
            out.push(b'"');
            out.extend_from_slice(word);
            out.push(b'"');
            word.len()
        } else {
            in_text ^= byte == b'"';
            out.push(byte);
            1
        };
        rest = &rest[taken..];
    }
    let mut warnings = Vec::new();
    if numbers > 0 {
        warnings.push(format!(
            "{numbers} of its numbers are NaN or infinite, which JSON does not know: kept as texts"
        ));
    }
    if surrogates > 0 {
        warnings.push(format!(
            "{surrogates} characters in its texts are halves of surrogate pairs, which stand for nothing: replaced by U+FFFD"
        ));
    }
    (out, warnings)
}

fn bare_word(rest: &[u8]) -> Option<&'static [u8]> {
    [b"NaN".as_slice(), b"-Infinity", b"Infinity"]
        .into_iter()
        .find(|word| rest.starts_with(word))
}

/// How many bytes the escape at the start of `rest` has, with the other half of a surrogate pair, and whether it is
/// half of one alone.
fn escape(rest: &[u8]) -> (usize, bool) {
    match code_unit(rest) {
        Some(0xd800..=0xdbff) => match rest.get(6..).and_then(code_unit) {
            Some(0xdc00..=0xdfff) => (12, false),
            _ => (6, true),
        },
        Some(0xdc00..=0xdfff) => (6, true),
        Some(_) => (6, false),
        None => (rest.len().min(2), false),
    }
}

fn code_unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_repeated_keys() {
        let text = r#"{"b":1,"a":{"y":null,"x":[true,-2,1.5]},"b":"again"}"#;
        let (json, warnings) = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.to_compact(), text);
        assert!(warnings.is_empty());
        assert_eq!(json.to_value()["b"], "again");
    }

    #[test]
    fn reads_what_python_writes_beside_json() {
        let text =
            br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" \\", "d": "\udcff \ud83d\ude00 \ud800"}"#;
        let (json, warnings) = Json::parse(text).unwrap();
        assert_eq!(
            json.to_compact(),
            "{\"a\":\"NaN\",\"b\":[\"-Infinity\",\"Infinity\"],\"c\":\"NaN \\\" \\\\\",\"d\":\"\u{fffd} \u{1f600} \u{fffd}\"}"
        );
        assert_eq!(warnings.len(), 2);
        assert!(Json::parse(b"\xef\xbb\xbf{}").is_ok());
    }

    #[test]
    fn says_where_a_file_stops_being_json() {
        for (text, line) in [("", 1), ("{\n \"a\": 1,\n", 3), ("{\"a\": NaN,\n\"b\": oops}", 2)] {
            match Json::parse(text.as_bytes()) {
                Err(ReferenceError::NotJson { line: found, .. }) => {
                    assert!(found.abs_diff(line) <= 1, "{text:?}")
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        let deep = "[".repeat(100_000);
        assert!(Json::parse(deep.as_bytes()).is_err());
    }
}
