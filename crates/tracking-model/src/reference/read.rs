//! Reading the fields of an object that may lack any of them, hold them in odd forms, or have more.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::json::Json;
use crate::{MAX_NAME_BYTES, Percent, Span, Timestamp, check_id, check_name};

/// Most warnings that one import reports one by one.
const MAX_WARNINGS: usize = 200;
/// Most bytes of a value that a warning quotes.
const MAX_QUOTED: usize = 80;

/// What was impossible in a file: the values by their path, and the warnings about them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Map<String, Value>,
    warnings: Vec<String>,
    unlisted: usize,
}

impl Findings {
    /// Keeps `value`, found at `path`, and warns why it could not be taken as it is.
    pub(crate) fn keep(&mut self, path: &str, value: &Json, why: impl fmt::Display) {
        self.warn(format!("{path} {why}: {}", quote(value)));
        let mut key = path.to_owned();
        while self.kept.contains_key(&key) {
            key.push('+');
        }
        self.kept.insert(key, value.to_value());
    }

    pub(crate) fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(warning);
        } else {
            self.unlisted += 1;
        }
    }

    /// The values that were kept, and the warnings.
    pub(crate) fn into_parts(self) -> (Map<String, Value>, Vec<String>) {
        let mut warnings = self.warnings;
        if self.unlisted > 0 {
            warnings.push(format!("and {} more of these", self.unlisted));
        }
        (self.kept, warnings)
    }
}

fn quote(value: &Json) -> String {
    let text = value.to_compact();
    if text.len() <= MAX_QUOTED {
        return text;
    }
    format!("{}…", truncated(&text, MAX_QUOTED))
}

/// The longest part of `text` with at most `limit` bytes.
fn truncated(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// The fields of one object, taken out one by one. Null stands for a missing field.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    left: IndexMap<&'a str, &'a Json>,
}

impl<'a> Fields<'a> {
    /// The fields of `entries`, which stand at `path`, the empty path being the file's top. Of a repeated key the
    /// last value counts, as in Python; the earlier ones are kept.
    pub(crate) fn new(path: impl Into<String>, entries: &'a [(String, Json)], found: &mut Findings) -> Self {
        let mut fields = Self {
            path: path.into(),
            left: IndexMap::with_capacity(entries.len()),
        };
        for (key, value) in entries {
            if let Some(earlier) = fields.left.insert(key, value) {
                found.keep(
                    &fields.path_of(key),
                    earlier,
                    "is repeated, and the last one counts",
                );
            }
        }
        fields
    }

    /// Where the field `key` stands in the file.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Takes a field out as it is; `None` if it is missing or null.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'a Json> {
        self.left.shift_remove(key).filter(|value| **value != Json::Null)
    }

    /// Takes a field that `read` understands; one that it does not is kept.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        found: &mut Findings,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let result = read(value);
        if result.is_none() {
            found.keep(&self.path_of(key), value, format_args!("is not {expected}"));
        }
        result
    }

    pub(crate) fn text(&mut self, key: &str, found: &mut Findings) -> Option<Arc<str>> {
        self.read(key, "a text", found, |value| value.as_text().map(Arc::from))
    }

    /// A display name; one that breaks the rules of names is mended, and kept.
    pub(crate) fn name(&mut self, key: &str, found: &mut Findings) -> Option<Arc<str>> {
        let value = self.take(key)?;
        let Some(name) = value.as_text() else {
            found.keep(&self.path_of(key), value, "is not a name");
            return None;
        };
        let Err(error) = check_name("it", name) else {
            return Some(name.into());
        };
        found.keep(
            &self.path_of(key),
            value,
            format_args!("is not a valid name ({error})"),
        );
        let visible: String = name
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        Some(truncated(visible.trim(), MAX_NAME_BYTES).into()).filter(|name: &Arc<str>| !name.is_empty())
    }

    pub(crate) fn time(&mut self, key: &str, found: &mut Findings) -> Option<Timestamp> {
        self.read(key, "a date and time", found, |value| {
            value.as_text().and_then(|text| Timestamp::parse(text).ok())
        })
    }

    /// Reads a duration: Python's text, or a number of seconds. It may be negative.
    pub(crate) fn span_of(value: &Json) -> Option<Span> {
        match value {
            Json::Text(text) => Span::parse(text).ok(),
            Json::Number(seconds) => Span::parse(&seconds.to_string()).ok(),
            _ => None,
        }
    }

    pub(crate) fn percent(&mut self, key: &str, found: &mut Findings) -> Option<Percent> {
        let value = self.take(key)?;
        Self::percent_of(&self.path_of(key), value, found)
    }

    /// Reads the percentage at `path`; one outside 0–100 is clamped, and kept.
    pub(crate) fn percent_of(path: &str, value: &Json, found: &mut Findings) -> Option<Percent> {
        let number = value.as_f64();
        let percent = number.and_then(|number| Percent::new(number).ok());
        match (percent, number) {
            (Some(percent), Some(number)) if !(0.0..=100.0).contains(&number) => {
                found.keep(
                    path,
                    value,
                    format_args!("is outside 0–100, and was taken as {percent}"),
                );
            }
            (None, _) => found.keep(path, value, "is not a percentage"),
            (Some(_), _) => {}
        }
        percent
    }

    pub(crate) fn count(&mut self, key: &str, found: &mut Findings) -> Option<u64> {
        self.read(key, "a count", found, Json::as_count)
    }

    pub(crate) fn count_u32(&mut self, key: &str, found: &mut Findings) -> Option<u32> {
        self.read(key, "a count", found, |value| {
            value.as_count().and_then(|count| u32::try_from(count).ok())
        })
    }

    pub(crate) fn flag(&mut self, key: &str, found: &mut Findings) -> Option<bool> {
        self.read(key, "true or false", found, |value| match value {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// One of a fixed set of names, in either case; `ProgressStatus.FAILED`, as Python prints it, is `failed`.
    pub(crate) fn named<T: FromStr>(&mut self, key: &str, expected: &str, found: &mut Findings) -> Option<T> {
        self.read(key, expected, found, |value| {
            let text = value.as_text()?;
            text.rsplit('.').next()?.parse().ok()
        })
    }

    pub(crate) fn object(&mut self, key: &str, found: &mut Findings) -> Option<&'a [(String, Json)]> {
        self.read(key, "an object", found, |value| match value {
            Json::Object(entries) => Some(entries.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn list(&mut self, key: &str, found: &mut Findings) -> Option<&'a [Json]> {
        self.read(key, "a list", found, |value| match value {
            Json::Array(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// Takes an id as its text; numbers count as texts.
    pub(crate) fn id(&mut self, key: &str, found: &mut Findings) -> Option<Cow<'a, str>> {
        self.read(key, "an id", found, |value| match value {
            Json::Text(text) => Some(Cow::Borrowed(text.as_str())),
            Json::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        })
    }

    /// The fields that were not taken out.
    pub(crate) fn into_left(self) -> IndexMap<&'a str, &'a Json> {
        self.left
    }

    /// Keeps all fields that were not taken out.
    pub(crate) fn keep_rest(self, found: &mut Findings) {
        for (key, value) in &self.left {
            if **value != Json::Null {
                found.keep(&self.path_of(key), value, "is not a field of these files");
            }
        }
    }
}

/// `original` if it is a valid id, else a valid one made of it: the same for the same original, another for another.
pub(crate) fn valid_id(original: &str) -> Cow<'_, str> {
    /// With at most 60 colons, each written `%3A`, the encoded id stays below its limit.
    const STEM: usize = 60;
    const HASH_BYTES: usize = 6;
    if check_id(original).is_ok() {
        return Cow::Borrowed(original);
    }
    let stem: String = original
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._:-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(STEM)
        .collect();
    let stem = if stem.is_empty() { "id" } else { &stem };
    let hash: String = Sha256::digest(original)
        .iter()
        .take(HASH_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Cow::Owned(format!("{stem}-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ids_become_valid_ones() {
        assert_eq!(valid_id("prod-1"), "prod-1");
        assert_eq!(valid_id("Prod upgrade/1"), "Prod-upgrade-1-a38490d0e68e");
        let odd = [
            "",
            "  ",
            "../..",
            "ü",
            "a.json",
            &":".repeat(300),
            &"é:".repeat(90),
            "a\u{0}b",
            "A b",
            "A/b",
        ];
        let mapped: Vec<_> = odd.iter().map(|id| valid_id(id).into_owned()).collect();
        for id in &mapped {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        let different: std::collections::HashSet<_> = mapped.iter().collect();
        assert_eq!(different.len(), odd.len());
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let (json, _) = Json::parse(
            br#"{"n": -1, "n": "3", "at": "soon", "p": 140, "q": "x", "name": "a\nb", "c": 3.0, "more": [1], "no": null}"#,
        )
        .unwrap();
        let Json::Object(entries) = &json else {
            panic!("an object")
        };
        let mut found = Findings::default();
        let mut fields = Fields::new("tasks.a", entries, &mut found);
        assert_eq!(fields.count("n", &mut found), None);
        assert_eq!(fields.time("at", &mut found), None);
        assert_eq!(fields.percent("p", &mut found), Some(Percent::FULL));
        assert_eq!(fields.percent("q", &mut found), None);
        assert_eq!(fields.name("name", &mut found).as_deref(), Some("a\u{fffd}b"));
        assert_eq!(fields.count("c", &mut found), Some(3));
        assert_eq!(fields.text("missing", &mut found), None);
        fields.keep_rest(&mut found);
        let (kept, warnings) = found.into_parts();
        assert_eq!(
            Value::Object(kept),
            serde_json::json!({
                "tasks.a.n": -1, "tasks.a.n+": "3", "tasks.a.at": "soon", "tasks.a.p": 140, "tasks.a.q": "x",
                "tasks.a.name": "a\nb", "tasks.a.more": [1]
            })
        );
        assert_eq!(warnings.len(), 7);
        assert_eq!(warnings[2], "tasks.a.at is not a date and time: \"soon\"");
    }
}
