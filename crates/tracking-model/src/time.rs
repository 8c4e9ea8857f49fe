//! Points in time and spans of it, to the microsecond, and the texts in which they travel.
//!
//! Journals write `2025-01-31T05:25:01.056236Z`; the wire and snapshots `2025-01-31T05:25:01.056236+00:00`;
//! the reference's files Python's `str(datetime)`. Spans travel as Python's `str(timedelta)`.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 9999-12-31T23:59:59.999999Z, the last moment that four digits of year can name.
const MAX_MICROS: i64 = 253_402_300_799_999_999;
/// 0001-01-01T00:00:00Z, the first that Python can name.
const MIN_MICROS: i64 = -62_135_596_800_000_000;

/// A text that is no time or no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {text:?} as {expected}")]
pub struct TimeError {
    /// The text.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The time `micros` microseconds after 1970-01-01T00:00:00Z, limited to the years 1 to 9999.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros > MAX_MICROS {
            Self(MAX_MICROS)
        } else if micros < MIN_MICROS {
            Self(MIN_MICROS)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The span from `earlier` to this, zero where the clock went back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        let micros = self.0 - earlier.0;
        Span(if micros < 0 { 0 } else { micros })
    }

    fn civil(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).expect("constructors limit the value to years 1 to 9999")
    }

    /// Appends `2025-01-31T05:25:01.056236` and `zone`: the hot path of the journal, so digits are set by hand.
    fn write_iso(self, zone: &str, out: &mut String) {
        let civil = self.civil();
        let mut text = *b"0000-00-00T00:00:00.000000";
        let mut set = |at: usize, width: usize, mut value: u32| {
            for position in (at..at + width).rev() {
                text[position] = b'0' + u8::try_from(value % 10).expect("a digit is below ten");
                value /= 10;
            }
        };
        set(0, 4, civil.year().unsigned_abs());
        set(5, 2, civil.month());
        set(8, 2, civil.day());
        set(11, 2, civil.hour());
        set(14, 2, civil.minute());
        set(17, 2, civil.second());
        set(20, 6, civil.timestamp_subsec_micros());
        out.push_str(std::str::from_utf8(&text).expect("digits and punctuation are ASCII"));
        out.push_str(zone);
    }

    /// RFC 3339 in UTC to the microsecond with `Z`, as journals write it.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let mut out = String::with_capacity(27);
        self.write_iso("Z", &mut out);
        out
    }

    /// Appends what [`Self::to_rfc3339`] returns.
    pub fn write_rfc3339(self, out: &mut String) {
        self.write_iso("Z", out);
    }

    /// ISO 8601 to the microsecond with `+00:00`, as the wire and snapshots write it.
    #[must_use]
    pub fn to_iso(self) -> String {
        let mut out = String::with_capacity(32);
        self.write_iso("+00:00", &mut out);
        out
    }

    /// Python's `str(datetime)` with zone: `2025-01-31 05:25:01.056236+00:00`, without a fraction where it is zero.
    #[must_use]
    pub fn to_python(self) -> String {
        let civil = self.civil();
        let format = if civil.timestamp_subsec_micros() == 0 {
            "%Y-%m-%d %H:%M:%S+00:00"
        } else {
            "%Y-%m-%d %H:%M:%S%.6f+00:00"
        };
        civil.format(format).to_string()
    }

    /// Reads ISO 8601 and Python's `str(datetime)`: `T` or a space between, any fraction, `Z`, an offset or,
    /// meaning UTC as the reference wrote it, no zone.
    ///
    /// # Errors
    /// [`TimeError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError {
            text: text.to_owned(),
            expected: "a date and time such as 2025-01-31T05:25:01Z",
        };
        let trimmed = text.trim();
        if !trimmed.is_ascii() || trimmed.len() < 16 {
            return Err(error());
        }
        let normal = trimmed.replacen(' ', "T", 1);
        let zoned = DateTime::parse_from_rfc3339(&normal)
            .map(|at| at.with_timezone(&Utc))
            .or_else(|_| {
                DateTime::parse_from_str(&normal, "%Y-%m-%dT%H:%M:%S%.f%z").map(|at| at.with_timezone(&Utc))
            })
            .or_else(|_| {
                NaiveDateTime::parse_from_str(&normal, "%Y-%m-%dT%H:%M:%S%.f").map(|at| at.and_utc())
            })
            .or_else(|_| NaiveDateTime::parse_from_str(&normal, "%Y-%m-%dT%H:%M").map(|at| at.and_utc()))
            .map_err(|_| error())?;
        let micros = zoned.timestamp_micros();
        if (MIN_MICROS..=MAX_MICROS).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self::from_micros(at.timestamp_micros())
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_micros(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_micros(self.0.saturating_sub(span.0))
    }
}

/// Serialises as [`Timestamp::to_iso`], reads whatever [`Timestamp::parse`] reads.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_iso())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A length of time in microseconds. Ours are never negative; the reference's may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `micros` microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// A span of `seconds` seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Its microseconds.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Its seconds, with a fraction.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "for display and estimates; exact up to 285 years"
    )]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_SECOND as f64
    }

    /// As a standard duration, zero if negative.
    #[must_use]
    pub fn to_duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads Python's `str(timedelta)`: `0:00:00.000780`, `1 day, 2:03:04`, `-1 day, 23:59:59.9`; or a number of seconds.
    ///
    /// # Errors
    /// [`TimeError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        parse_timedelta(text.trim()).ok_or_else(|| TimeError {
            text: text.to_owned(),
            expected: "a duration such as 1 day, 2:03:04.5",
        })
    }
}

fn parse_timedelta(text: &str) -> Option<Span> {
    let (days, clock) = match text.split_once(" day") {
        Some((days, rest)) => {
            let rest = rest.strip_prefix('s').unwrap_or(rest);
            (days.parse::<i64>().ok()?, rest.strip_prefix(',')?.trim_start())
        }
        None => (0, text),
    };
    let mut parts = clock.split(':');
    let (first, second, third) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let micros = match (second, third) {
        (None, None) if days == 0 => seconds_to_micros(first)?,
        (Some(minutes), Some(seconds)) => {
            let hours: i64 = first
                .parse()
                .ok()
                .filter(|_| first.bytes().all(|b| b.is_ascii_digit()))?;
            let minutes: i64 = minutes.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
            let seconds =
                seconds_to_micros(seconds).filter(|micros| (0..60 * MICROS_PER_SECOND).contains(micros))?;
            hours
                .checked_mul(3600)?
                .checked_add(minutes * 60)?
                .checked_mul(MICROS_PER_SECOND)?
                .checked_add(seconds)?
        }
        _ => return None,
    };
    days.checked_mul(MICROS_PER_DAY)?.checked_add(micros).map(Span)
}

fn seconds_to_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse().ok()?;
    let six: String = fraction.chars().chain(std::iter::repeat('0')).take(6).collect();
    let fraction: i64 = six.parse().ok()?;
    whole
        .checked_mul(MICROS_PER_SECOND)?
        .checked_add(if negative { -fraction } else { fraction })
}

/// Python's `str(timedelta)`, negative spans included.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        let rest = self.0.rem_euclid(MICROS_PER_DAY);
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        let (seconds, micros) = (rest / MICROS_PER_SECOND, rest % MICROS_PER_SECOND);
        write!(
            f,
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Span {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_reference_and_others_write() {
        let expected = Timestamp::from_micros(1_738_301_101_056_236);
        for text in [
            "2025-01-31 05:25:01.056236+00:00",
            "2025-01-31 05:25:01.056236",
            "2025-01-31T05:25:01.056236Z",
            "2025-01-31T05:25:01.056236+00:00",
            "2025-01-31T07:25:01.056236+02:00",
            "2025-01-31 07:25:01.056236+0200",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            Timestamp::parse("2025-01-31 05:25:01").unwrap().to_python(),
            "2025-01-31 05:25:01+00:00"
        );
        assert_eq!(expected.to_python(), "2025-01-31 05:25:01.056236+00:00");
        assert_eq!(expected.to_rfc3339(), "2025-01-31T05:25:01.056236Z");
        assert_eq!(expected.to_iso(), "2025-01-31T05:25:01.056236+00:00");
        for text in [
            "",
            "yesterday",
            "2025-01-31",
            "2025-13-31 05:25:01",
            "２025-01-31 05:25:01",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_those_of_python() {
        for (text, micros) in [
            ("0:00:00.000780", 780),
            ("1 day, 2:03:04", 93_784_000_000),
            ("-1 day, 23:59:59.947690", -52_310),
            ("12 days, 0:00:00", 12 * MICROS_PER_DAY),
            ("0:00:00", 0),
        ] {
            assert_eq!(Span::parse(text).unwrap().as_micros(), micros, "{text}");
            assert_eq!(Span::from_micros(micros).to_string(), text);
        }
        assert_eq!(Span::parse("-1 day, 23:59:59.9").unwrap().as_micros(), -100_000);
        assert_eq!(Span::parse("12.5").unwrap().as_micros(), 12_500_000);
        for text in ["", "1:2", "a:00:00", "0:61:00", "1 day", "0:00:00:00", "-0:00:01"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_zero() {
        assert_eq!(Timestamp::EPOCH.since(Timestamp::from_micros(5)), Span::ZERO);
    }
}
