//! The content of segments: the lines of journals, as they are.

use bytes::Bytes;
use tracking_journal::{ChainHash, MAX_LINE_BYTES, Record};
use tracking_model::{SessionEvent, StreamEvent as _, StreamId, UpgradeEvent};

use super::key::SegmentName;

/// A line that grows by this much in a copy still fits one.
const ROOM: usize = 64;
/// A segment with more unreadable lines than this is given up: another tool wrote it, or somebody who means harm.
const MAX_BAD_LINES: usize = 1000;
/// Characters of a reason that are kept: a reason may quote the line.
const MAX_REASON_CHARS: usize = 300;

/// Some records as one object.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) first_seq: u64,
    pub(crate) bytes: Bytes,
    /// How many records it has.
    pub(crate) records: usize,
}

/// Packs records in order into segments of at most `limit` bytes; a line that is longer alone is one alone.
pub(crate) fn pack<'a>(records: impl IntoIterator<Item = &'a Record>, limit: usize) -> Vec<Segment> {
    let mut packer = Packer::new(limit);
    let mut segments = Vec::new();
    let mut line = Vec::new();
    for record in records {
        line.clear();
        record.write_line(&mut line);
        segments.extend(packer.push(record.seq, &line));
    }
    segments.extend(packer.finish());
    segments
}

/// Gathers lines until a segment is full.
#[derive(Debug)]
pub(crate) struct Packer {
    limit: usize,
    first_seq: u64,
    bytes: Vec<u8>,
    records: usize,
}

impl Packer {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            first_seq: 0,
            bytes: Vec::new(),
            records: 0,
        }
    }

    /// Takes a line with its line feed; gives the segment that was full before.
    pub(crate) fn push(&mut self, seq: u64, line: &[u8]) -> Option<Segment> {
        let full = self.records > 0 && self.bytes.len() + line.len() > self.limit;
        let before = if full { self.finish() } else { None };
        if self.records == 0 {
            self.first_seq = seq;
        }
        self.bytes.extend_from_slice(line);
        self.records += 1;
        before
    }

    /// The last segment, if there is anything in it.
    pub(crate) fn finish(&mut self) -> Option<Segment> {
        let records = std::mem::take(&mut self.records);
        let bytes = std::mem::take(&mut self.bytes);
        (records > 0).then(|| Segment {
            first_seq: self.first_seq,
            bytes: bytes.into(),
            records,
        })
    }
}

/// A line that is no record of the stream whose segment it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// From 1; `None` for the whole segment.
    pub(crate) line: Option<u64>,
    pub(crate) reason: String,
}

/// Hands out the records of a segment, each with its line, and returns the lines that are no records. After
/// [`MAX_BAD_LINES`] of those the rest of the segment is not read, and the last entry says so.
pub(crate) fn read<'a>(
    name: &SegmentName,
    bytes: &'a [u8],
    mut each: impl FnMut(Record, &'a [u8]),
) -> Vec<BadLine> {
    let mut bad = Vec::new();
    let mut before: Option<(u64, ChainHash)> = None;
    for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        match read_line(name, line, &mut before) {
            Ok(record) => each(record, line),
            Err(reason) if bad.len() < MAX_BAD_LINES => bad.push(BadLine {
                line: Some(number),
                reason: shortened(reason),
            }),
            Err(_) => {
                bad.push(BadLine {
                    line: None,
                    reason: format!(
                        "more than {MAX_BAD_LINES} of its lines are no records: it is not read from line {number} on"
                    ),
                });
                break;
            }
        }
    }
    bad
}

fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

fn read_line(
    name: &SegmentName,
    line: &[u8],
    before: &mut Option<(u64, ChainHash)>,
) -> Result<Record, String> {
    if line.len() > MAX_LINE_BYTES - ROOM {
        return Err(format!(
            "the line has {} bytes; no record has so many",
            line.len()
        ));
    }
    if !line.ends_with(b"\n") {
        return Err("the line does not end".to_owned());
    }
    let record = Record::parse(line).map_err(|error| error.to_string())?;
    if record.stream != name.stream || record.epoch != name.epoch {
        return Err(format!(
            "a record of another journal: {} {}",
            record.stream, record.epoch
        ));
    }
    if record.seq == 0 {
        return Err("records are counted from 1".to_owned());
    }
    let predecessor = match *before {
        Some((seq, hash)) if seq.checked_add(1) == Some(record.seq) => Some(hash),
        _ if record.seq == 1 => Some(ChainHash::genesis(&record.stream, record.epoch)),
        _ => None,
    };
    *before = Some((record.seq, record.hash));
    // A newer version may have more in its line than is known here, so its hash says nothing.
    if record.v == 1 && predecessor.is_some_and(|hash| !record.follows(&hash)) {
        return Err("the hash does not fit the record and its predecessor".to_owned());
    }
    decodes(&record).map_err(|error| error.to_string())?;
    Ok(record)
}

/// Readers give up a stream with an event that they cannot decode, so each event is decoded before it is taken.
fn decodes(record: &Record) -> Result<(), tracking_model::DecodeError> {
    let (kind, data) = (&record.kind, record.data.get());
    match record.stream {
        StreamId::Upgrade(_) => UpgradeEvent::decode(kind, data).map(drop),
        StreamId::Session(_) => SessionEvent::decode(kind, data).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use tracking_journal::NewRecord;
    use tracking_model::Timestamp;

    use super::*;

    fn records(count: i64) -> Vec<Record> {
        let new = (1..=count).map(|at| NewRecord {
            id: tracking_model::new_uuid(),
            at: Timestamp::from_micros(at),
            actor: "a".into(),
            kind: "of.another.day".to_owned(),
            data: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
        });
        Record::begin(
            &"session:s".parse().unwrap(),
            tracking_model::new_uuid(),
            new.collect(),
        )
    }

    fn name(record: &Record) -> SegmentName {
        SegmentName {
            stream: record.stream.clone(),
            epoch: record.epoch,
            first_seq: 1,
        }
    }

    #[test]
    fn records_are_packed_and_read_back() {
        let records = records(10);
        let mut line = Vec::new();
        records[0].write_line(&mut line);
        let segments = pack(&records, 3 * line.len() + 10);
        let counts: Vec<_> = segments
            .iter()
            .map(|segment| (segment.first_seq, segment.records))
            .collect();
        assert_eq!(counts, [(1, 3), (4, 3), (7, 3), (10, 1)]);
        assert_eq!(pack(&records, 1).len(), 10, "a line alone is a segment alone");
        let mut ids = Vec::new();
        for segment in &segments {
            assert_eq!(
                read(&name(&records[0]), &segment.bytes, |record, _| ids
                    .push(record.id)),
                []
            );
        }
        let expected: Vec<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn a_line_that_is_no_record_of_its_stream_costs_no_other() {
        let records = records(4);
        let mut text = String::from_utf8(pack(&records, 1 << 20).remove(0).bytes.to_vec()).unwrap();
        text = text.replacen("\"actor\":\"a\"", "\"actor\":\"b\"", 1);
        let mut other = Vec::new();
        self::records(1)[0].write_line(&mut other);
        text.push_str(std::str::from_utf8(&other).unwrap());
        text.push_str("{}\n\u{0}\n");
        text.push_str(text.clone().lines().nth(3).unwrap());
        let mut kept = Vec::new();
        let bad = read(&name(&records[0]), text.as_bytes(), |record, _| {
            kept.push(record.seq)
        });
        assert_eq!(kept, [2, 3, 4]);
        let lines: Vec<_> = bad.iter().filter_map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 5, 6, 7, 8], "{bad:?}");
        assert!(bad[0].reason.contains("hash"), "{bad:?}");
        assert!(bad[1].reason.contains("another journal"), "{bad:?}");
    }

    #[test]
    fn a_segment_of_many_bad_lines_is_given_up() {
        let records = records(2);
        let lines = pack(&records, 1);
        let mut bytes = lines[0].bytes.to_vec();
        bytes.resize(bytes.len() + 3_000_000, b'\n');
        bytes.extend_from_slice(&lines[1].bytes);
        let mut kept = Vec::new();
        let bad = read(&name(&records[0]), &bytes, |record, _| kept.push(record.seq));
        assert_eq!(kept, [1], "the rest is not read");
        assert_eq!(bad.len(), MAX_BAD_LINES + 1);
        let last = bad.last().unwrap();
        assert_eq!(last.line, None);
        assert!(last.reason.contains("from line 1002 on"), "{last:?}");
    }

    #[test]
    fn a_reason_that_quotes_a_long_line_is_shortened() {
        let records = records(1);
        let text = String::from_utf8(pack(&records, 1).remove(0).bytes.to_vec()).unwrap();
        let long = format!("\"seq\":\"{}\"", "é".repeat(1 << 20));
        let text = text.replacen("\"seq\":1", &long, 1);
        let bad = read(&name(&records[0]), text.as_bytes(), |_, _| {});
        assert!(
            bad[0].reason.chars().count() <= MAX_REASON_CHARS + 1,
            "{}",
            bad[0].reason.len()
        );
    }

    #[test]
    fn a_line_that_nests_deeply_is_refused() {
        let records = records(1);
        let mut event = records[0].clone();
        event.kind = "artifact.added".to_owned();
        for nested in [
            "[".repeat(1 << 20) + &"]".repeat(1 << 20),
            "{\"a\":".repeat(1 << 18) + "1" + &"}".repeat(1 << 18),
        ] {
            event.data = serde_json::value::RawValue::from_string(nested).unwrap();
            let mut line = Vec::new();
            event.write_line(&mut line);
            let mut read_records = 0;
            let bad = read(&name(&records[0]), &line, |_, _| read_records += 1);
            assert_eq!((bad.len(), read_records), (1, 0));
        }
    }
}
