//! One record as one line: written and read by hand, because every event passes here several times.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tracking_model::{RecordMeta, Timestamp};
use uuid::Uuid;

use crate::ChainHash;

/// The format version that this crate writes.
pub const FORMAT_VERSION: u32 = 1;
/// Longest line in bytes, line feed included. Room for an imported state; ordinary records have some hundred bytes.
pub const MAX_LINE_BYTES: usize = 32 << 20;

/// How every line begins, whatever its version.
pub(crate) const RECORD_START: &[u8] = b"{\"v\":";
pub(crate) const HASH_KEY: &[u8] = b",\"hash\":\"";
pub(crate) const HASH_END: &[u8] = b"\"}";
/// Bytes of `,"hash":"<64 digits>"}`, which ends every line before its line feed.
pub(crate) const HASH_SUFFIX: usize = HASH_KEY.len() + 64 + HASH_END.len();

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at} of the line")]
pub struct LineError {
    /// What should be there.
    pub expected: &'static str,
    /// Offset within the line.
    pub at: usize,
}

/// The fields of a line, borrowed from it.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) v: u32,
    pub(crate) stream: Cow<'a, str>,
    pub(crate) epoch: Uuid,
    pub(crate) seq: u64,
    pub(crate) batch: u64,
    pub(crate) id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) actor: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) data: &'a str,
    pub(crate) hash: ChainHash,
    /// What the hash is over: the line up to but excluding `,"hash":`.
    pub(crate) body: &'a [u8],
}

/// The hash that ends `line` (without its line feed), if it ends in one.
pub(crate) fn trailing_hash(line: &[u8]) -> Option<ChainHash> {
    let suffix = line.get(line.len().checked_sub(HASH_SUFFIX)?..)?;
    let digits = suffix.strip_prefix(HASH_KEY)?.strip_suffix(HASH_END)?;
    ChainHash::from_hex(digits)
}

impl<'a> Line<'a> {
    /// Reads a line without its line feed.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let text = std::str::from_utf8(line).map_err(|error| LineError {
            expected: "UTF-8",
            at: error.valid_up_to(),
        })?;
        let hash = trailing_hash(line).ok_or(LineError {
            expected: "a hash at the end",
            at: line.len().saturating_sub(HASH_SUFFIX),
        })?;
        let end = line.len() - HASH_SUFFIX;
        let mut scan = Scanner { text, at: 0, end };
        scan.literal("{\"v\":")?;
        let v = u32::try_from(scan.number()?).map_err(|_| scan.expected("a format version"))?;
        if v > FORMAT_VERSION {
            return Self::parse_newer(v, text, hash, end);
        }
        if v == 0 {
            return Err(scan.expected("a format version"));
        }
        scan.literal(",\"stream\":\"")?;
        let stream = scan.string()?;
        scan.literal(",\"epoch\":\"")?;
        let epoch = scan.uuid()?;
        scan.literal(",\"seq\":")?;
        let seq = scan.number()?;
        scan.literal(",\"batch\":")?;
        let batch = scan.number()?;
        scan.literal(",\"id\":\"")?;
        let id = scan.uuid()?;
        scan.literal(",\"at\":\"")?;
        let at = scan.timestamp()?;
        scan.literal(",\"actor\":\"")?;
        let actor = scan.string()?;
        scan.literal(",\"type\":\"")?;
        let kind = scan.string()?;
        scan.literal(",\"data\":")?;
        let data = scan.rest()?;
        Ok(Self {
            v,
            stream,
            epoch,
            seq,
            batch,
            id,
            at,
            actor,
            kind,
            data,
            hash,
            body: &line[..end],
        })
    }

    /// Reads a line of a version that may have other keys, or the same in another order.
    fn parse_newer(v: u32, text: &'a str, hash: ChainHash, end: usize) -> Result<Self, LineError> {
        let newer: NewerLine<'a> = serde_json::from_str(text).map_err(|error| LineError {
            expected: "the known keys of a record of a newer format version",
            at: error.column(),
        })?;
        Ok(Self {
            v,
            stream: newer.stream,
            epoch: newer.epoch,
            seq: newer.seq,
            batch: newer.batch,
            id: newer.id,
            at: newer.at,
            actor: newer.actor,
            kind: newer.kind,
            data: newer.data.get(),
            hash,
            body: &text.as_bytes()[..end],
        })
    }

    /// The part of the record that a fold is told.
    pub(crate) fn meta(&self, actors: &mut ActorCache) -> RecordMeta {
        RecordMeta {
            seq: self.seq,
            id: self.id,
            at: self.at,
            actor: actors.shared(&self.actor),
        }
    }
}

#[derive(Deserialize)]
struct NewerLine<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    epoch: Uuid,
    seq: u64,
    batch: u64,
    id: Uuid,
    at: Timestamp,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Gives equal actors one allocation: nearly all records of a stream have the same.
#[derive(Debug, Default)]
pub(crate) struct ActorCache(Option<Arc<str>>);

impl ActorCache {
    pub(crate) fn shared(&mut self, actor: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *actor => Arc::clone(last),
            _ => {
                let shared: Arc<str> = actor.into();
                self.0 = Some(Arc::clone(&shared));
                shared
            }
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl<'a> Scanner<'a> {
    const fn expected(&self, expected: &'static str) -> LineError {
        LineError {
            expected,
            at: self.at,
        }
    }

    fn bytes(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..self.end]
    }

    fn slice(&self, from: usize, to: usize) -> Result<&'a str, LineError> {
        self.text.get(from..to).ok_or(LineError {
            expected: "a character boundary",
            at: from,
        })
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), LineError> {
        if self.at <= self.end && self.bytes().starts_with(literal.as_bytes()) {
            self.at += literal.len();
            Ok(())
        } else {
            Err(self.expected(literal))
        }
    }

    /// A whole number without leading zeros.
    fn number(&mut self) -> Result<u64, LineError> {
        let bytes = self.bytes();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || (digits > 1 && bytes[0] == b'0') {
            return Err(self.expected("a whole number"));
        }
        let value = bytes[..digits]
            .iter()
            .try_fold(0_u64, |value, digit| {
                value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
            })
            .ok_or_else(|| self.expected("a number below 2^64"))?;
        self.at += digits;
        Ok(value)
    }

    /// The rest of a string after its opening quote, and the closing quote.
    fn string(&mut self) -> Result<Cow<'a, str>, LineError> {
        let start = self.at;
        let mut escaped = false;
        let mut bytes = self.bytes().iter().enumerate();
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.at = start + index + 1;
                    return if escaped {
                        let quoted = self.slice(start - 1, self.at)?;
                        let text = serde_json::from_str::<String>(quoted);
                        text.map(Cow::Owned).map_err(|_| LineError {
                            expected: "a string",
                            at: start,
                        })
                    } else {
                        self.slice(start, start + index).map(Cow::Borrowed)
                    };
                }
                b'\\' => {
                    escaped = true;
                    bytes.next();
                }
                0..0x20 => break,
                _ => {}
            }
        }
        Err(self.expected("a string"))
    }

    /// A hyphenated lower-case UUID and the closing quote.
    fn uuid(&mut self) -> Result<Uuid, LineError> {
        let canonical = |text: &&[u8]| text[36] == b'"' && !text.iter().any(u8::is_ascii_uppercase);
        let text = self.bytes().get(..37).filter(canonical);
        let uuid = text.and_then(|text| Uuid::try_parse_ascii(&text[..36]).ok());
        let uuid = uuid.ok_or_else(|| self.expected("a UUID"))?;
        self.at += 37;
        Ok(uuid)
    }

    /// `2025-01-31T05:25:01.056236Z` and the closing quote.
    fn timestamp(&mut self) -> Result<Timestamp, LineError> {
        let text = self.bytes().get(..28).filter(|text| text[27] == b'"');
        let at = text.and_then(|text| read_timestamp(&text[..27]));
        let at = at.ok_or_else(|| self.expected("a time such as 2025-01-31T05:25:01.056236Z"))?;
        self.at += 28;
        Ok(at)
    }

    /// The object that goes on to the end of the body.
    fn rest(&mut self) -> Result<&'a str, LineError> {
        let data = self.slice(self.at, self.end)?;
        if data.starts_with('{') && data.ends_with('}') {
            Ok(data)
        } else {
            Err(self.expected("an object"))
        }
    }
}

/// Reads exactly the form that journals write; anything else is no canonical line.
fn read_timestamp(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
        })
    };
    let punctuation = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (26, b'Z'),
    ];
    if !punctuation.iter().all(|(at, byte)| text[*at] == *byte) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, micros) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 26)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if year == 0 || !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01 of the proleptic Gregorian calendar, counting years from March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_micros(seconds * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::write_string;

    #[test]
    fn only_canonical_times_are_read() {
        for text in [
            "2024-02-29T23:59:59.999999Z",
            "0001-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
        ] {
            assert_eq!(read_timestamp(text.as_bytes()).unwrap().to_rfc3339(), text);
        }
        for text in [
            "2023-02-29T00:00:00.000000Z",
            "2100-02-29T00:00:00.000000Z",
            "2024-13-01T00:00:00.000000Z",
            "2024-04-31T00:00:00.000000Z",
            "2024-01-00T00:00:00.000000Z",
            "2024-01-01T24:00:00.000000Z",
            "2024-01-01T00:60:00.000000Z",
            "2024-01-01T00:00:60.000000Z",
            "2024-01-01 00:00:00.000000Z",
            "2024-01-01T00:00:00.00000xZ",
            "0000-01-01T00:00:00.000000Z",
        ] {
            assert!(read_timestamp(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn lines_that_are_not_canonical_are_refused_with_the_place() {
        let epoch = "0194c6a8-3b52-7c3e-9f53-0c1f6e2a9b10";
        let hash = "0".repeat(64);
        let line = format!(
            "{{\"v\":1,\"stream\":\"upgrade:u\",\"epoch\":\"{epoch}\",\"seq\":1,\"batch\":1,\"id\":\"{epoch}\",\
             \"at\":\"2025-01-31T05:25:01.056236Z\",\"actor\":\"a\",\"type\":\"t\",\"data\":{{}},\"hash\":\"{hash}\"}}"
        );
        assert_eq!(Line::parse(line.as_bytes()).unwrap().seq, 1);
        for (from, to, expected) in [
            ("\"v\":1", "\"v\":0", "a format version"),
            ("\"v\":1", "\"v\": 1", "a whole number"),
            ("\"seq\":1", "\"seq\":01", "a whole number"),
            ("\"seq\":1", "\"seq\":18446744073709551616", "a number below 2^64"),
            ("\"epoch\":\"0194c6a8", "\"epoch\":\"0194C6A8", "a UUID"),
            ("05:25", "25:25", "a time such as 2025-01-31T05:25:01.056236Z"),
            ("\"actor\":\"a\"", "\"actor\":\"\u{1}\"", "a string"),
            ("\"data\":{}", "\"data\":[]", "an object"),
            ("\"type\"", "\"kind\"", ",\"type\":\""),
            ("\"hash\":\"0", "\"hash\":\"A", "a hash at the end"),
        ] {
            let error = Line::parse(line.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.expected, expected, "{to}");
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_they_are_written(micros in any::<i64>()) {
            let at = Timestamp::from_micros(micros);
            prop_assert_eq!(read_timestamp(at.to_rfc3339().as_bytes()), Some(at));
        }

        #[test]
        fn strings_are_read_as_they_are_written(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            let written = std::str::from_utf8(&out).unwrap();
            let mut scan = Scanner { text: written, at: 1, end: written.len() };
            prop_assert_eq!(scan.string().unwrap(), text);
            prop_assert_eq!(scan.at, written.len());
        }
    }
}
