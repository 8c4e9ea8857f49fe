//! What a relay reads: the durable records of one stream, whatever happens to the file meanwhile.
//!
//! Nothing is kept open between two readings, so a journal that was removed, repaired or begun anew is seen at once.

use std::sync::Arc;

use crate::cursor::RestartCause;
use crate::io::FileId;
use crate::lines::Lines;
use crate::place::Place;
use crate::reader::open_journal;
use crate::seek::chain_before;
use crate::{Head, JournalError, JournalReader, Position, Record};

/// Records passed over in one reading at most, so that a stretch of skipped ones does not keep a thread for long.
const MAX_SKIPPED: u64 = 100_000;

/// The first record of a stream, and the file it was read from.
#[derive(Debug, Clone)]
pub(super) struct First {
    file: FileId,
    pub(super) record: Arc<Record>,
}

/// What to read.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) from: Position,
    pub(super) first: Option<First>,
    pub(super) max_records: usize,
    pub(super) max_bytes: usize,
    pub(super) skip: Arc<[Arc<str>]>,
}

/// What there is to read.
#[derive(Debug)]
pub(super) enum Reading {
    /// The stream has no records.
    Nothing,
    /// The journal does not have the position from which to read.
    Elsewhere(RestartCause),
    /// Records from the position on.
    Chunk(Chunk),
}

/// Some records.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) first: First,
    /// The records, each with the point before it.
    pub(super) records: Vec<(Record, Position)>,
    pub(super) skipped: u64,
    /// The point after the last record that was read.
    pub(super) end: Position,
    /// Where the stream ends.
    pub(super) head: Head,
    /// Set if reading stopped before the end: more records follow, or something that cannot be read.
    pub(super) more: bool,
}

/// Reads on. Blocks for file access.
pub(super) fn read(place: &Place, request: &Request) -> Result<Reading, JournalError> {
    let mut reader = match JournalReader::begin(place.clone(), Some(request.from)) {
        Ok(reader) => reader,
        Err(JournalError::NoSuchStream { .. }) => return Ok(Reading::Nothing),
        Err(JournalError::Replaced { .. }) => {
            let first = first_record(place, None)?;
            return Ok(elsewhere(
                request.from,
                first.as_ref().map(|first| &*first.record),
            ));
        }
        Err(error) => return Err(error),
    };
    let Some(first) = first_record(place, request.first.as_ref())? else {
        return Ok(Reading::Nothing);
    };
    let mut chunk = Chunk {
        first,
        records: Vec::new(),
        skipped: 0,
        end: request.from,
        head: request.from.head,
        more: false,
    };
    let mut bytes = 0;
    while chunk.records.len() < request.max_records
        && bytes < request.max_bytes
        && chunk.skipped < MAX_SKIPPED
    {
        let before = reader.position();
        let record = match reader.next_record() {
            // What was read until then holds; what is there now is seen by the next reading.
            Ok(None) | Err(JournalError::Removed { .. } | JournalError::Replaced { .. }) => {
                chunk.head = chunk.end.head;
                return Ok(Reading::Chunk(chunk));
            }
            Ok(Some(record)) => record,
            // What comes before damage is delivered first.
            Err(_) if chunk.end != request.from => {
                chunk.head = chunk.end.head;
                chunk.more = true;
                return Ok(Reading::Chunk(chunk));
            }
            Err(error) => return Err(error),
        };
        chunk.end = reader.position();
        if request.skip.iter().any(|kind| **kind == *record.kind) {
            chunk.skipped += 1;
        } else {
            bytes += super::window::size(&record);
            chunk.records.push((record, before));
        }
    }
    chunk.more = true;
    let last = match reader.last_position() {
        Ok(last) => last.map(|position| position.head),
        // Only the lag is wrong for now: what cannot be read is met, and reported, when reading gets there.
        Err(_) => None,
    };
    chunk.head = last
        .filter(|head| head.seq > chunk.end.head.seq)
        .unwrap_or(chunk.end.head);
    Ok(Reading::Chunk(chunk))
}

fn elsewhere(from: Position, first: Option<&Record>) -> Reading {
    let (epoch, seq) = (from.head.epoch, from.head.seq);
    Reading::Elsewhere(match first {
        Some(first) if first.epoch == epoch => RestartCause::Diverged { seq },
        _ => RestartCause::Replaced { epoch, seq },
    })
}

/// The first record of the stream, `known` if that was read from the file that is there.
fn first_record(place: &Place, known: Option<&First>) -> Result<Option<First>, JournalError> {
    let file = place.io.identity(&place.journal);
    let Some(file) = file.map_err(|error| JournalError::io("look at", &place.journal, error))? else {
        return Ok(None);
    };
    if let Some(known) = known.filter(|known| known.file == file) {
        return Ok(Some(known.clone()));
    }
    match JournalReader::begin(place.clone(), None).and_then(|mut reader| reader.next_record()) {
        Ok(record) => Ok(record.map(|record| First {
            file,
            record: Arc::new(record),
        })),
        Err(
            JournalError::NoSuchStream { .. } | JournalError::Removed { .. } | JournalError::Replaced { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The record at `offset`, if it is the one with this sequence and id.
pub(super) fn record_at(
    place: &Place,
    offset: u64,
    wanted: (u64, uuid::Uuid),
) -> Result<Option<Record>, JournalError> {
    let read = |error| JournalError::io("read", &place.journal, error);
    let file = open_journal(place)?;
    let end = file.size().map_err(read)?;
    let mut lines = Lines::new(file, offset, end);
    let line = lines.next_line().map_err(read)?;
    let record = line.and_then(|line| Record::parse(line).ok());
    Ok(record.filter(|record| (record.seq, record.id) == wanted && record.stream == place.stream))
}

/// Tells if the stream's journal has the record after which a cursor stands, at its place.
pub(super) fn has(place: &Place, position: Position) -> Result<bool, JournalError> {
    if position.head.is_empty() {
        return Ok(true);
    }
    let read = |error| JournalError::io("read", &place.journal, error);
    let found = chain_before(place, &*open_journal(place)?, position.offset).map_err(read)?;
    Ok(found.is_some_and(|chain| chain.head == position.head))
}

/// Where the stream's journal ends; `None` if it has none or no records.
pub(super) fn head(place: &Place) -> Result<Option<Head>, JournalError> {
    let last = JournalReader::begin(place.clone(), None).and_then(|mut reader| reader.last_position());
    match last {
        Ok(position) => Ok(position.map(|position| position.head)),
        Err(JournalError::NoSuchStream { .. } | JournalError::Removed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
