//! Messages about records that sinks did not get.

use std::collections::{BTreeMap, BTreeSet};

use tracking_facade::s3::SharedBucket;
use tracking_facade::{SinkStatus, Undrained};

use super::is_of_bucket;
use crate::output::note;
use crate::render::{one_line, several, time};

/// Says what sinks cannot take as it is.
pub(crate) fn tell_parked(parked: &[SinkStatus]) {
    for status in parked {
        let reason = status.cursor.parked.last().map_or("", |last| &last.reason);
        let what = format!(
            "{} of {} cannot be delivered to {} and {} parked: {reason}; `ekstrack sinks` lists them, `ekstrack sinks retry` tries again",
            several(status.cursor.parked.len() as u64, "record"),
            status.stream,
            status.sink,
            if status.cursor.parked.len() == 1 {
                "is"
            } else {
                "are"
            },
        );
        note("warning", &what);
    }
}

/// Says what sinks did not get: in one line what is left for the same reason, and what is left for a bucket that does not
/// answer.
pub(crate) fn tell_undrained(undrained: &[Undrained], bucket: Option<&SharedBucket>) {
    // It may be that there was no time because nobody is there.
    let silent = bucket.and_then(|bucket| Some((bucket.location().to_string(), bucket.silent_endpoint()?)));
    let mut groups: Vec<(String, bool, Vec<&Undrained>)> = Vec::new();
    for left in undrained {
        let silent = silent.as_ref().filter(|_| is_of_bucket(left));
        let why = why_left(left, silent);
        let same = groups
            .iter_mut()
            .find(|(known, of_silent, _)| *known == why || (*of_silent && silent.is_some()));
        match same {
            Some((_, _, group)) => group.push(left),
            None => groups.push((why, silent.is_some(), vec![left])),
        }
    }
    for (why, _, group) in groups {
        let what = format!(
            "{}: {why}; `ekstrack sync` or the next command delivers what is left",
            waiting(&group)
        );
        note("note", &what);
    }
}

fn why_left(left: &Undrained, silent: Option<&(String, String)>) -> String {
    let why = match (&left.reason, left.earlier, silent) {
        (Some(reason), None, _) => reason.clone(),
        (_, _, Some((location, place))) => {
            format!("{place} does not answer for {location}: check the endpoint, and the network on the way")
        }
        (Some(reason), Some(at), None) => format!("at {} it was refused: {reason}", time(at)),
        (None, _, None) => "there was no time for all of it".to_owned(),
    };
    one_line(&why)
}

/// `3 records of session:s and upgrade:u wait for s3-files:… and s3-journal:…`
fn waiting(group: &[&Undrained]) -> String {
    let mut records: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for left in group {
        // Each sink lacks records of the same journal.
        let most = records.entry(left.stream.to_string()).or_insert(left.records);
        *most = (*most).zip(left.records).map(|(one, other)| one.max(other));
    }
    let total: Option<u64> = records.values().copied().sum();
    let streams: Vec<&str> = records.keys().map(String::as_str).collect();
    let sinks: BTreeSet<&str> = group.iter().map(|left| left.sink.as_str()).collect();
    let sinks: Vec<&str> = sinks.into_iter().collect();
    let (streams, sinks) = (listed(&streams), listed(&sinks));
    match total {
        Some(1) => format!("1 record of {streams} waits for {sinks}"),
        Some(total) => format!("{total} records of {streams} wait for {sinks}"),
        None => format!("records of {streams} wait for {sinks}"),
    }
}

/// `a, b and c`
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_in_one_sentence() {
        let waiting_of = |names: &[(&str, &str, Option<u64>)]| {
            let left: Vec<Undrained> = names
                .iter()
                .map(|(stream, sink, records)| Undrained::new(stream.parse().unwrap(), *sink, *records))
                .collect();
            waiting(&left.iter().collect::<Vec<_>>())
        };
        assert_eq!(
            waiting_of(&[("upgrade:u", "s3-journal:b", Some(1))]),
            "1 record of upgrade:u waits for s3-journal:b"
        );
        assert_eq!(
            waiting_of(&[
                ("upgrade:u", "s3-journal:b", Some(2)),
                ("session:s", "s3-journal:b", Some(3)),
                ("session:s", "s3-files:b", Some(1)),
                ("session:s", "s3-documents:b", Some(3)),
            ]),
            "5 records of session:s and upgrade:u wait for s3-documents:b, s3-files:b and s3-journal:b"
        );
        assert_eq!(
            waiting_of(&[
                ("upgrade:u", "s3-journal:b", None),
                ("session:s", "s3-journal:b", Some(2))
            ]),
            "records of session:s and upgrade:u wait for s3-journal:b"
        );
    }
}
