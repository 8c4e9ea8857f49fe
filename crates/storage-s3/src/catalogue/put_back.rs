//! Putting back what somebody deleted: the records of a journal that were delivered and are not in the bucket any more.
//!
//! One listing tells that. A segment has lines of the journal as they are, so its first sequence and its size tell with
//! which record it ends. Only a segment of another size than any of our records end at is read.

use std::collections::HashSet;
use std::sync::Arc;

use artifact_core::{StoreError, StoreErrorKind, run_blocking};
use tracking_journal::{DataDir, JournalError, JournalReader, Record};
use tracking_model::StreamId;
use uuid::Uuid;

use super::key::{self, SegmentName, segment_key};
use super::options::SegmentOptions;
use super::segment::{self, Packer, Segment};
use crate::key::ObjectKey;
use crate::metadata::ObjectMetadata;
use crate::object::S3Objects;

/// Larger segments of unknown content are not read: ours are smaller.
const MOST_BYTES: u64 = 64 << 20;
/// Segments that are ready before they are put.
const AT_A_TIME: usize = 8;

/// Which records of a stream's journal are to be in the bucket.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The stream.
    pub stream: StreamId,
    /// The life of its journal.
    pub epoch: Uuid,
    /// The last of them.
    pub seq: u64,
    /// Kinds of records that never go there.
    pub skipped_kinds: Arc<[Arc<str>]>,
}

impl Delivered {
    fn has(&self, record: &Record) -> bool {
        !self.skipped_kinds.iter().any(|kind| **kind == *record.kind)
    }
}

/// What was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PutBack {
    /// Records that were not there.
    pub records: u64,
    /// Segments that they are in now.
    pub segments: u64,
}

/// A segment that is listed.
#[derive(Debug, Clone)]
struct Listed {
    first_seq: u64,
    size: u64,
    key: ObjectKey,
}

/// What the sizes of segments tell.
#[derive(Debug, Default)]
struct Found {
    /// Records that are there, from the first to the last of a segment.
    spans: Vec<(u64, u64)>,
    /// Segments that do not end where a record does.
    odd: Vec<Listed>,
    /// Whether nothing is missing.
    is_complete: bool,
}

/// See [`SegmentSink::put_back`](super::SegmentSink::put_back).
pub(super) async fn put_back(
    objects: &S3Objects,
    options: &SegmentOptions,
    dir: &DataDir,
    delivered: &Delivered,
) -> Result<PutBack, StoreError> {
    let stream = &delivered.stream;
    let listed = objects.all(&key::epoch_folder(stream, delivered.epoch)).await?;
    let segments = listed.into_iter().filter_map(|object| {
        Some(Listed {
            first_seq: SegmentName::parse(&object.key)?.first_seq,
            size: object.size,
            key: object.key,
        })
    });
    let mut segments: Vec<Listed> = segments.collect();
    segments.sort_by(|a, b| (a.first_seq, &a.key).cmp(&(b.first_seq, &b.key)));
    let (at, of) = (dir.clone(), delivered.clone());
    let found = run_blocking(move || look(&at, &of, segments)).await;
    let found = found.map_err(|error| unreadable(stream, error))?;
    if found.is_complete {
        return Ok(PutBack::default());
    }
    let seen = read(objects, delivered, &found.odd).await?;
    let missing = Missing {
        spans: found.spans,
        seen,
        delivered: delivered.clone(),
    };
    put(objects, options, dir, missing).await
}

fn unreadable(stream: &StreamId, error: JournalError) -> StoreError {
    StoreError::new(StoreErrorKind::Unexpected, "read the journal of", stream).with_source(error)
}

/// Compares segments, in the order of their first sequences, with the journal.
fn look(dir: &DataDir, delivered: &Delivered, segments: Vec<Listed>) -> Result<Found, JournalError> {
    let mut found = Found::default();
    let mut reader = JournalReader::open(dir, &delivered.stream)?;
    let mut segments = segments.into_iter().peekable();
    // Segments that go on, and how many bytes of each are still to come.
    let mut open: Vec<(Listed, u64)> = Vec::new();
    let (mut records, mut in_segments, mut line) = (0_u64, 0_u64, Vec::new());
    while let Some(record) = reader.next_record()? {
        if record.epoch != delivered.epoch || (record.seq > delivered.seq && open.is_empty()) {
            break;
        }
        if !delivered.has(&record) {
            continue;
        }
        while let Some(segment) = segments.next_if(|segment| segment.first_seq <= record.seq) {
            if segment.first_seq == record.seq {
                let size = segment.size;
                open.push((segment, size));
            } else {
                found.odd.push(segment);
            }
        }
        line.clear();
        record.write_line(&mut line);
        records += u64::from(record.seq <= delivered.seq);
        for (segment, left) in std::mem::take(&mut open) {
            in_segments += u64::from(record.seq <= delivered.seq);
            match left.checked_sub(line.len() as u64) {
                Some(0) => found.spans.push((segment.first_seq, record.seq)),
                Some(left) => open.push((segment, left)),
                None => found.odd.push(segment),
            }
        }
    }
    found.odd.extend(open.into_iter().map(|(segment, _)| segment));
    found.odd.extend(segments);
    found.spans.sort_unstable();
    let apart = found
        .spans
        .windows(2)
        .all(|two| matches!(two, [(_, last), (first, _)] if last < first));
    found.is_complete = apart && found.odd.is_empty() && in_segments == records;
    found.spans = united(std::mem::take(&mut found.spans));
    Ok(found)
}

/// Spans in order, those that overlap as one.
fn united(spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut united: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match united.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => united.push((first, last)),
        }
    }
    united
}

/// The sequences of records that are in segments of which the size tells nothing.
async fn read(
    objects: &S3Objects,
    delivered: &Delivered,
    odd: &[Listed],
) -> Result<HashSet<u64>, StoreError> {
    let mut seen = HashSet::new();
    for segment in odd.iter().filter(|segment| segment.size <= MOST_BYTES) {
        let bytes = match objects.read_range(&segment.key, 0, segment.size).await {
            Ok(read) => read.bytes,
            // Somebody put it together with others.
            Err(error) if error.kind() == StoreErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = SegmentName {
            stream: delivered.stream.clone(),
            epoch: delivered.epoch,
            first_seq: segment.first_seq,
        };
        let found = run_blocking(move || {
            let mut found = Vec::new();
            segment::read(&name, &bytes, |record, _| found.push(record.seq));
            found
        });
        seen.extend(found.await);
    }
    Ok(seen)
}

/// Which records are to be put.
#[derive(Debug)]
struct Missing {
    spans: Vec<(u64, u64)>,
    seen: HashSet<u64>,
    delivered: Delivered,
}

impl Missing {
    fn has(&self, record: &Record) -> bool {
        let seq = record.seq;
        let before = self.spans.partition_point(|(first, _)| *first <= seq);
        let nearest = before.checked_sub(1).and_then(|at| self.spans.get(at));
        let is_there = nearest.is_some_and(|(_, last)| seq <= *last);
        self.delivered.has(record) && !is_there && !self.seen.contains(&seq)
    }
}

/// A journal that is read for what is missing.
#[derive(Debug)]
struct Source {
    reader: JournalReader,
    missing: Missing,
    packer: Packer,
    done: bool,
}

impl Source {
    /// The next segments to put.
    fn next(&mut self) -> Result<Vec<Segment>, JournalError> {
        let (mut segments, mut line) = (Vec::new(), Vec::new());
        while !self.done && segments.len() < AT_A_TIME {
            let record = self.reader.next_record()?.filter(|record| {
                let delivered = &self.missing.delivered;
                record.epoch == delivered.epoch && record.seq <= delivered.seq
            });
            match record {
                None => {
                    self.done = true;
                    segments.extend(self.packer.finish());
                }
                Some(record) if self.missing.has(&record) => {
                    line.clear();
                    record.write_line(&mut line);
                    segments.extend(self.packer.push(record.seq, &line));
                }
                // A segment has no gap, so that its size tells what is in it.
                Some(record) if self.missing.delivered.has(&record) => segments.extend(self.packer.finish()),
                Some(_) => {}
            }
        }
        Ok(segments)
    }
}

async fn put(
    objects: &S3Objects,
    options: &SegmentOptions,
    dir: &DataDir,
    missing: Missing,
) -> Result<PutBack, StoreError> {
    let Delivered { stream, epoch, .. } = missing.delivered.clone();
    let (at, of) = (dir.clone(), stream.clone());
    let reader = run_blocking(move || JournalReader::open(&at, &of)).await;
    let mut source = Source {
        reader: reader.map_err(|error| unreadable(&stream, error))?,
        missing,
        packer: Packer::new(options.segment_bytes),
        done: false,
    };
    let (writer, mut done) = (tracking_model::new_uuid(), PutBack::default());
    loop {
        let (segments, next) = run_blocking(move || {
            let segments = source.next();
            (segments, source)
        })
        .await;
        source = next;
        let segments = segments.map_err(|error| unreadable(&stream, error))?;
        if segments.is_empty() && source.done {
            return Ok(done);
        }
        for Segment {
            first_seq,
            bytes,
            records,
        } in segments
        {
            let key = segment_key(&stream, epoch, writer, first_seq);
            objects.create(&key, bytes, &ObjectMetadata::default()).await?;
            done.records += records as u64;
            done.segments += 1;
        }
    }
}
