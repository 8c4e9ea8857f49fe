//! Putting back the records of a stream whose segments somebody deleted.
//!
//! One listing tells if any is missing. A segment has lines of the journal as they are, so its first sequence and its size
//! tell with which record it ends. Where a record is missing, all of the stream is sent again: readers merge by id.

use std::sync::Arc;

use artifact_core::{StoreError, StoreErrorKind, run_blocking};
use tracking_journal::{DataDir, JournalError, JournalReader, Record};
use tracking_model::StreamId;
use uuid::Uuid;

use super::key::{self, SegmentName, segment_key};
use super::options::SegmentOptions;
use super::segment::{Packer, Segment};
use crate::metadata::ObjectMetadata;
use crate::object::S3Objects;

/// Segments that are ready before they are put.
const AT_A_TIME: usize = 8;

/// The records of a stream's journal that were delivered to the bucket.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The stream.
    pub stream: StreamId,
    /// The life of its journal.
    pub epoch: Uuid,
    /// The sequence of the last of them.
    pub seq: u64,
    /// Kinds of records that are never delivered.
    pub skipped_kinds: Arc<[Arc<str>]>,
}

impl Delivered {
    fn is_kept(&self, record: &Record) -> bool {
        !self.skipped_kinds.iter().any(|kind| **kind == *record.kind)
    }
}

/// A segment in the bucket.
#[derive(Debug, Clone, Copy)]
struct Listed {
    first_seq: u64,
    size: u64,
}

/// See [`SegmentSink::put_back`](super::SegmentSink::put_back).
pub(super) async fn put_back(
    objects: &S3Objects,
    options: &SegmentOptions,
    dir: &DataDir,
    delivered: &Delivered,
) -> Result<u64, StoreError> {
    let stream = &delivered.stream;
    let listed = objects.all(&key::epoch_folder(stream, delivered.epoch)).await?;
    let segments = listed.into_iter().filter_map(|object| {
        Some(Listed {
            first_seq: SegmentName::parse(&object.key)?.first_seq,
            size: object.size,
        })
    });
    let mut segments: Vec<Listed> = segments.collect();
    segments.sort_by_key(|segment| segment.first_seq);
    let (at, of) = (dir.clone(), delivered.clone());
    let complete = run_blocking(move || is_complete(&at, &of, &segments)).await;
    if complete.map_err(|error| unreadable(stream, error))? {
        return Ok(0);
    }
    send_again(objects, options, dir, delivered).await
}

fn unreadable(stream: &StreamId, error: JournalError) -> StoreError {
    StoreError::new(StoreErrorKind::Unexpected, "read the journal of", stream).with_source(error)
}

/// True if the segments, in the order of their first sequences, have every delivered record. A segment that does not end
/// where a record ends was altered, and counts as missing.
fn is_complete(dir: &DataDir, delivered: &Delivered, segments: &[Listed]) -> Result<bool, JournalError> {
    let mut reader = JournalReader::open(dir, &delivered.stream)?;
    let mut segments = segments.iter().peekable();
    // Segments that have begun: the number of the first record, and the bytes that are still to come.
    let mut open: Vec<(u64, u64)> = Vec::new();
    // The first and last record of each whole segment.
    let mut spans: Vec<(u64, u64)> = Vec::new();
    let (mut number, mut expected, mut line) = (0, 0, Vec::new());
    while let Some(record) = reader.next_record()? {
        let is_delivered = record.seq <= delivered.seq;
        if record.epoch != delivered.epoch || (!is_delivered && open.is_empty()) {
            break;
        }
        if !delivered.is_kept(&record) {
            continue;
        }
        while let Some(segment) = segments.next_if(|segment| segment.first_seq <= record.seq) {
            if segment.first_seq == record.seq {
                open.push((number, segment.size));
            }
        }
        line.clear();
        record.write_line(&mut line);
        open.retain_mut(|(first, left)| match left.checked_sub(line.len() as u64) {
            Some(0) => {
                spans.push((*first, number));
                false
            }
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        });
        number += 1;
        expected += u64::from(is_delivered);
    }
    spans.sort_unstable();
    let covered = spans.into_iter().fold(0, |covered, (first, last)| {
        if first <= covered {
            covered.max(last + 1)
        } else {
            covered
        }
    });
    Ok(covered >= expected)
}

/// A journal that is read for its delivered records.
#[derive(Debug)]
struct Source {
    reader: JournalReader,
    delivered: Delivered,
    packer: Packer,
    is_read: bool,
}

impl Source {
    /// The next segments to put.
    fn next(&mut self) -> Result<Vec<Segment>, JournalError> {
        let (mut segments, mut line) = (Vec::new(), Vec::new());
        while !self.is_read && segments.len() < AT_A_TIME {
            let delivered = &self.delivered;
            let record = self.reader.next_record()?;
            match record.filter(|record| record.epoch == delivered.epoch && record.seq <= delivered.seq) {
                None => {
                    self.is_read = true;
                    segments.extend(self.packer.finish());
                }
                Some(record) if delivered.is_kept(&record) => {
                    line.clear();
                    record.write_line(&mut line);
                    segments.extend(self.packer.push(record.seq, &line));
                }
                Some(_) => {}
            }
        }
        Ok(segments)
    }
}

/// Puts all delivered records, under names of a new writer; returns their number.
async fn send_again(
    objects: &S3Objects,
    options: &SegmentOptions,
    dir: &DataDir,
    delivered: &Delivered,
) -> Result<u64, StoreError> {
    let Delivered { stream, epoch, .. } = delivered;
    let (at, of) = (dir.clone(), stream.clone());
    let reader = run_blocking(move || JournalReader::open(&at, &of)).await;
    let mut source = Source {
        reader: reader.map_err(|error| unreadable(stream, error))?,
        delivered: delivered.clone(),
        packer: Packer::new(options.segment_bytes),
        is_read: false,
    };
    let (writer, mut sent) = (tracking_model::new_uuid(), 0);
    loop {
        let (segments, rest) = run_blocking(move || (source.next(), source)).await;
        source = rest;
        let segments = segments.map_err(|error| unreadable(stream, error))?;
        if segments.is_empty() {
            return Ok(sent);
        }
        for segment in segments {
            let key = segment_key(stream, *epoch, writer, segment.first_seq);
            objects
                .create(&key, segment.bytes, &ObjectMetadata::default())
                .await?;
            sent += segment.records as u64;
        }
    }
}
