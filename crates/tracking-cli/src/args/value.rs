//! Values on the command line that are neither ids nor plain text.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value};
use tracking_facade::Sort;
use tracking_facade::live::{NameError, check_host, check_origin};
use tracking_facade::s3::StorageClass;
use tracking_model::{
    ArtifactStatus, ArtifactType, Details, Percent, SessionOutcome, Span, TaskType, Timestamp,
};

use crate::exit::{Failure, Kind};

/// One of the types of task.
pub(super) fn task_type() -> impl TypedValueParser<Value = TaskType> {
    PossibleValuesParser::new(TaskType::ALL.map(TaskType::as_str)).try_map(|name| name.parse())
}

/// One of the types of artifact.
pub(super) fn artifact_type() -> impl TypedValueParser<Value = ArtifactType> {
    PossibleValuesParser::new(ArtifactType::ALL.map(ArtifactType::as_str)).try_map(|name| name.parse())
}

/// One of the statuses of an artifact.
pub(super) fn artifact_status() -> impl TypedValueParser<Value = ArtifactStatus> {
    PossibleValuesParser::new(ArtifactStatus::ALL.map(ArtifactStatus::as_str)).try_map(|name| name.parse())
}

/// One of the statuses of an artifact that can be deleted.
pub(super) fn deletable_status() -> impl TypedValueParser<Value = ArtifactStatus> {
    let names = ArtifactStatus::ALL
        .into_iter()
        .filter(|status| status.can_become(ArtifactStatus::Deleted))
        .map(ArtifactStatus::as_str);
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}

/// How an upgrade ended.
pub(super) fn outcome() -> impl TypedValueParser<Value = SessionOutcome> {
    PossibleValuesParser::new(["succeeded", "failed", "cancelled"]).map(|name| match name.as_str() {
        "succeeded" => SessionOutcome::Succeeded,
        "failed" => SessionOutcome::Failed,
        _ => SessionOutcome::Cancelled,
    })
}

/// In which order artifacts are found.
pub(super) fn sort() -> impl TypedValueParser<Value = Sort> {
    PossibleValuesParser::new(["newest", "oldest", "rank", "size", "name"]).map(|name| match name.as_str() {
        "oldest" => Sort::Oldest,
        "rank" => Sort::Rank,
        "size" => Sort::Size,
        "name" => Sort::Name,
        _ => Sort::Newest,
    })
}

/// A name that a viewer can call the server by.
pub(super) fn host(text: &str) -> Result<String, NameError> {
    check_host(text).map(|()| text.to_owned())
}

/// The origin that a page can have.
pub(super) fn origin(text: &str) -> Result<String, NameError> {
    check_origin(text).map(|()| text.to_owned())
}

/// A number of bytes: plain, in units of 1024 (`10k`, `4M`, `1GiB`) or of 1000 (`10kB`, `4MB`).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let error = || "give a number of bytes, such as 4096, 10k, 4M, 1GiB or 1GB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(error()),
    };
    let number: u64 = number.parse().map_err(|_| error())?;
    number.checked_mul(factor).ok_or_else(error)
}

/// A percentage, with or without a per-cent sign.
pub(super) fn percentage(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let value: f64 = number
        .parse()
        .map_err(|_| "give a number from 0 to 100, such as 42.5".to_owned())?;
    Percent::new(value)
        .map(Percent::value)
        .map_err(|error| error.to_string())
}

/// A weight: finite and above zero.
pub(super) fn weight(text: &str) -> Result<f64, String> {
    above_zero(text).ok_or_else(|| "give a finite number above 0".to_owned())
}

/// How many times as fast: finite and above zero.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = above_zero(text).filter(|speed| (0.01..=1000.0).contains(speed));
    speed.ok_or_else(|| "give a number from 0.01 to 1000, such as 2".to_owned())
}

fn above_zero(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value > 0.0)
}

/// A number of seconds, up to a day.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give a number of seconds from 0 to 86400".to_owned())
}

/// `DONE/TOTAL`, or `DONE` where the total is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlainSteps {
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
}

impl FromStr for PlainSteps {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || "give DONE/TOTAL, such as 3/12, or DONE where the total is known".to_owned();
        let (done, total) = match text.split_once('/') {
            Some((done, total)) => (done, Some(total.parse().map_err(|_| error())?)),
            None => (text, None),
        };
        let done = done.parse().map_err(|_| error())?;
        match total {
            Some(total) if total == 0 || done > total => {
                Err("the total is at least 1 and at least what is done".to_owned())
            }
            _ => Ok(Self { done, total }),
        }
    }
}

/// `key=text` or `key:=json`.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue {
    key: String,
    value: Value,
}

impl KeyValue {
    /// The pairs as one JSON object. A key that comes twice is refused: one of its values would be lost.
    pub(crate) fn map(pairs: &[Self]) -> Result<Map<String, Value>, Failure> {
        let mut map = Map::new();
        for Self { key, value } in pairs {
            if map.insert(key.clone(), value.clone()).is_some() {
                let cause = format!("the key {key:?} is given twice");
                return Err(Failure::new(Kind::Usage, "read the command line", cause)
                    .hint("give each key once; key:=[…] takes a list"));
            }
        }
        Ok(map)
    }

    /// The pairs as details of an event.
    pub(crate) fn details(pairs: &[Self]) -> Result<Details, Failure> {
        Ok(Self::map(pairs)?.into())
    }
}

impl FromStr for KeyValue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| "give key=text, or key:=json for a number, list or object".to_owned())?;
        let (key, value) = match key.strip_suffix(':') {
            Some(key) => {
                let value = serde_json::from_str(value).map_err(|error| format!("not JSON: {error}"))?;
                (key, value)
            }
            None => (key, Value::String(value.to_owned())),
        };
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }
}

/// A point in time, or a span before now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(Deadline);

impl Moment {
    /// The point in time that it means at `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self.0 {
            Deadline::At(at) => at,
            Deadline::In(span) => now - span,
        }
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// A point in time, or a span from now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    At(Timestamp),
    In(Span),
}

impl Deadline {
    /// The point in time that it means at `now`.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::In(span) => now + span,
        }
    }
}

impl FromStr for Deadline {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(span) = short_span(text) {
            return Ok(Self::In(span));
        }
        // A date, and a time without seconds or zone, are those of UTC.
        let forms = ["", "Z", ":00Z", "T00:00:00Z"].map(|end| format!("{text}{end}"));
        let parsed = forms.iter().find_map(|form| Timestamp::parse(form).ok());
        parsed.map(Self::At).ok_or_else(|| {
            "give a time such as 2025-01-31T05:25:01Z, a date such as 2025-01-31, or a span such as 15m, 2h, 1d or 1w"
                .to_owned()
        })
    }
}

/// A span such as `15m`, `2h`, `1d` or `1w`.
pub(super) fn age(text: &str) -> Result<Span, String> {
    short_span(text).ok_or_else(|| "give a span such as 15m, 2h, 1d or 1w".to_owned())
}

fn short_span(text: &str) -> Option<Span> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let count: i64 = text
        .strip_suffix(unit)?
        .parse()
        .ok()
        .filter(|count| *count >= 0)?;
    count.checked_mul(seconds).map(Span::from_secs)
}

/// A storage class of S3 by its name there.
pub(super) fn storage_class() -> impl TypedValueParser<Value = StorageClass> {
    clap::builder::NonEmptyStringValueParser::new().try_map(|name| {
        StorageClass::named(&name).ok_or_else(|| format!("the storage classes are {}", StorageClass::names()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused_with_advice() {
        assert_eq!(percentage("42.5%"), Ok(42.5));
        assert_eq!((percentage("-3"), percentage("150")), (Ok(0.0), Ok(100.0)));
        assert!(percentage("NaN").is_err() && percentage("inf").is_err() && percentage("half").is_err());
        assert!(weight("0").is_err() && weight("NaN").is_err() && weight("2").is_ok());
        assert!(seconds("-1").is_err() && seconds("0.5").is_ok());
        let steps: PlainSteps = "3/12".parse().unwrap();
        assert_eq!((steps.done, steps.total), (3, Some(12)));
        assert!("13/12".parse::<PlainSteps>().is_err() && "1/0".parse::<PlainSteps>().is_err());
        let pairs: Vec<KeyValue> = ["node=a=b", "count:=3"].map(|pair| pair.parse().unwrap()).into();
        assert_eq!(KeyValue::details(&pairs).unwrap().to_map()["node"], "a=b");
        assert_eq!(KeyValue::map(&pairs).unwrap()["count"], 3);
        let twice: Vec<KeyValue> = ["a=1", "a=2"].map(|pair| pair.parse().unwrap()).into();
        assert!(KeyValue::map(&twice).is_err());
        assert!("novalue".parse::<KeyValue>().is_err() && "=x".parse::<KeyValue>().is_err());
        let now = Timestamp::EPOCH;
        assert_eq!(
            "15m".parse::<Deadline>().unwrap().at(now),
            now + Span::from_secs(900)
        );
        assert_eq!(
            "1970-01-01T00:00:01Z".parse::<Deadline>().unwrap().at(now),
            now + Span::from_secs(1)
        );
        assert_eq!((size("10k"), size("7")), (Ok(10_240), Ok(7)));
        assert_eq!((size("1KiB"), size("2 MB")), (Ok(1024), Ok(2_000_000)));
        for (text, seconds) in [
            ("1970-01-02", 86_400),
            ("1970-01-01T01:30", 5_400),
            ("1970-01-01T00:00:09", 9),
        ] {
            assert_eq!(
                text.parse::<Moment>().unwrap().at(now),
                now + Span::from_secs(seconds),
                "{text}"
            );
        }
        assert_eq!(
            "1w".parse::<Moment>().unwrap().at(now),
            now - Span::from_secs(604_800)
        );
        assert!(size("-1").is_err() && size("99999999999G").is_err() && size("").is_err());
        assert!("soon".parse::<Deadline>().is_err());
    }
}
