//! Which segments a full-text index is made of: its *structure record*, and its *averages record*.
//!
//! The structure record of a table with `contentless_delete` is: four bytes of a counter of settings, `FF 00 00 01`, and
//! numbers: levels, segments, leaves that were ever written; then of each level how many of its segments are being merged,
//! how many there are, and of each, the oldest first, what [`Segment`] has.

use rusqlite::{Connection, OptionalExtension, params};

use super::varint;
use crate::error::Cause;

/// The rows of both records in the table of data.
const AVERAGES: i64 = 1;
const STRUCTURE: i64 = 10;

const SECOND_FORM: [u8; 4] = [0xff, 0, 0, 1];
/// FTS5 makes no more segments, and gives them no higher numbers.
const MOST_SEGMENTS: u64 = 2000;

/// There are 16 bits for the number of a segment, and 31 for those of its pages.
const MOST_SEGMENT_ID: u64 = 0xffff;
const MOST_PAGES: u64 = 0x7fff_ff00;
/// No table is written so often.
const MOST_ORIGIN: u64 = 1 << 62;

/// So many segments of a level are too many: they are merged into one of the next.
const FULL: usize = 8;
/// Merging into levels above this one, or so many pages, takes long, and a list of a term in memory: it is left to FTS5,
/// which does it little by little.
const MOST_LEVEL: usize = 2;
const MOST_MERGED_PAGES: u64 = 200_000;

/// A segment, in the order in which its numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) id: u64,
    first_page: u64,
    last_page: u64,
    /// Rows know in which turn of writing they came; a segment has those of all turns from one to another.
    first_origin: u64,
    last_origin: u64,
    tombstone_pages: u64,
    tombstones: u64,
    rows: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Level {
    merging: u64,
    segments: Vec<Segment>,
}

impl Segment {
    /// One of rows of the same turn.
    pub(super) const fn new(id: u64, origin: u64, pages: u64, rows: u64) -> Self {
        Self {
            id,
            first_page: 1,
            last_page: pages,
            first_origin: origin,
            last_origin: origin,
            tombstone_pages: 0,
            tombstones: 0,
            rows,
        }
    }

    /// The same with the rows of others in it.
    pub(super) fn with(mut self, others: &[Self]) -> Self {
        for other in others {
            self.first_origin = self.first_origin.min(other.first_origin);
            self.last_origin = self.last_origin.max(other.last_origin);
            self.rows = self.rows.saturating_add(other.rows);
        }
        self
    }

    /// Whether its numbers are such as FTS5 gives.
    const fn is_possible(&self) -> bool {
        self.id > 0
            && self.id <= MOST_SEGMENT_ID
            && self.first_page <= self.last_page
            && self.last_page <= MOST_PAGES
            && self.first_origin <= self.last_origin
            && self.last_origin <= MOST_ORIGIN
    }

    /// The rows of its pages in the table of data, the first and the last.
    pub(super) const fn leaves(&self) -> (u64, u64) {
        (self.id << 37 | self.first_page, self.id << 37 | self.last_page)
    }

    /// Removes it from the tables.
    pub(super) fn remove(&self, at: &Connection) -> Result<(), Cause> {
        at.prepare_cached("DELETE FROM words_data WHERE id BETWEEN ?1 AND ?2")?
            .execute([self.id << 37, ((self.id + 1) << 37) - 1])?;
        at.prepare_cached("DELETE FROM words_idx WHERE segid = ?1")?
            .execute([self.id])?;
        Ok(())
    }
}

impl Level {
    /// Whether one more segment would make them too many.
    fn is_full(&self) -> bool {
        self.segments.len() + 1 >= FULL
    }

    fn pages(&self) -> u64 {
        let pages = self
            .segments
            .iter()
            .map(|segment| segment.last_page - segment.first_page + 1);
        pages.sum()
    }

    /// Whether FTS5 does not merge it already, and nothing of it was deleted.
    fn can_be_merged(&self) -> bool {
        self.merging == 0 && self.segments.iter().all(|segment| segment.tombstone_pages == 0)
    }
}

/// All segments of a full-text index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure {
    settings: [u8; 4],
    written: u64,
    levels: Vec<Level>,
}

impl Structure {
    pub(super) fn read(at: &Connection) -> Result<Self, Cause> {
        let record: Vec<u8> = at
            .prepare_cached("SELECT block FROM words_data WHERE id = ?1")?
            .query_row([STRUCTURE], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        Self::decode(&record).ok_or_else(Cause::damaged)
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (settings, rest) = record.split_first_chunk()?;
        let mut rest = rest.strip_prefix(&SECOND_FORM)?;
        let mut number = || varint::take(&mut rest);
        let (levels, segments, written) = (number()?, number()?, number()?);
        if levels.max(segments) > MOST_SEGMENTS {
            return None;
        }
        let mut level = || {
            let (merging, segments) = (number()?, number()?);
            let mut segment = || {
                let segment = Segment {
                    id: number()?,
                    first_page: number()?,
                    last_page: number()?,
                    first_origin: number()?,
                    last_origin: number()?,
                    tombstone_pages: number()?,
                    tombstones: number()?,
                    rows: number()?,
                };
                segment.is_possible().then_some(segment)
            };
            let segments = (0..segments.min(MOST_SEGMENTS)).map(|_| segment());
            Some(Level {
                merging,
                segments: segments.collect::<Option<_>>()?,
            })
        };
        let levels = (0..levels).map(|_| level()).collect::<Option<_>>()?;
        Some(Self {
            settings: *settings,
            written,
            levels,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut record = [self.settings, SECOND_FORM].concat();
        let mut put = |number| varint::put(&mut record, number);
        put(self.levels.len() as u64);
        put(self.segments().count() as u64);
        put(self.written);
        for level in &self.levels {
            put(level.merging);
            put(level.segments.len() as u64);
            for segment in &level.segments {
                put(segment.id);
                put(segment.first_page);
                put(segment.last_page);
                put(segment.first_origin);
                put(segment.last_origin);
                put(segment.tombstone_pages);
                put(segment.tombstones);
                put(segment.rows);
            }
        }
        record
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.levels.iter().flat_map(|level| &level.segments)
    }

    /// The turn in which what is written next comes.
    pub(super) fn next_origin(&self) -> u64 {
        self.segments()
            .map(|segment| segment.last_origin)
            .max()
            .unwrap_or(0)
            + 1
    }

    /// A number that no segment has, none of `others` either.
    pub(super) fn free_id(&self, others: &[Segment]) -> Result<u64, Cause> {
        (1..=MOST_SEGMENTS)
            .find(|id| self.segments().chain(others).all(|segment| segment.id != *id))
            .ok_or(Cause::Foreign("it has more segments than there can be"))
    }

    /// Whether a level has so many segments that they are to be merged, but only by FTS5.
    pub(super) fn needs_fts5(&self) -> bool {
        let full = self
            .levels
            .iter()
            .enumerate()
            .filter(|(_, level)| level.is_full());
        full.into_iter().any(|(at, level)| {
            at >= MOST_LEVEL || !level.can_be_merged() || level.pages() > MOST_MERGED_PAGES
        })
    }

    /// Takes out the segments that a new one is to be merged with, the newest first, and tells the level that it then
    /// comes to: of each level from the lowest on, all that it has if one more would make them too many.
    pub(super) fn take_full(&mut self) -> (usize, Vec<Segment>) {
        let mut taken = Vec::new();
        let mut pages = 0;
        for at in 0..MOST_LEVEL {
            let full = self.levels.get_mut(at).filter(|level| level.is_full());
            let Some(level) = full.filter(|level| level.can_be_merged()) else {
                return (at, taken);
            };
            pages += level.pages();
            if pages > MOST_MERGED_PAGES {
                return (at, taken);
            }
            taken.extend(level.segments.drain(..).rev());
        }
        (MOST_LEVEL, taken)
    }

    /// Adds a segment to a level, of which it is the newest.
    pub(super) fn add(&mut self, level: usize, segment: Segment) {
        while self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        self.written = self.written.saturating_add(segment.last_page);
        if let Some(level) = self.levels.get_mut(level) {
            level.segments.push(segment);
        }
    }

    pub(super) fn write(&self, at: &Connection) -> Result<(), Cause> {
        write(at, STRUCTURE, &self.encode())
    }
}

/// Counts rows and words to those that the index has.
pub(super) fn count(at: &Connection, rows: u64, words: u64) -> Result<(), Cause> {
    let record: Option<Vec<u8>> = at
        .prepare_cached("SELECT block FROM words_data WHERE id = ?1")?
        .query_row([AVERAGES], |row| row.get(0))
        .optional()?;
    let record = record.unwrap_or_default();
    let mut rest = record.as_slice();
    // Empty until there are rows.
    let (had_rows, had_words) = if rest.is_empty() {
        (0, 0)
    } else {
        varint::take(&mut rest)
            .zip(varint::take(&mut rest))
            .ok_or_else(Cause::damaged)?
    };
    let mut record = Vec::new();
    varint::put(&mut record, had_rows.saturating_add(rows));
    varint::put(&mut record, had_words.saturating_add(words));
    write(at, AVERAGES, &record)
}

fn write(at: &Connection, id: i64, record: &[u8]) -> Result<(), Cause> {
    at.prepare_cached("REPLACE INTO words_data (id, block) VALUES (?1, ?2)")?
        .execute(params![id, record])?;
    Ok(())
}

#[cfg(test)]
impl Structure {
    pub(super) fn set_pages(&mut self, id: u64, pages: u64) {
        for segment in self.levels.iter_mut().flat_map(|level| &mut level.segments) {
            if segment.id == id {
                segment.last_page = pages;
            }
        }
    }

    pub(super) fn is_merging(&self) -> bool {
        self.levels.iter().any(|level| level.merging > 0)
    }

    /// How many segments each level has.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.levels.iter().map(|level| level.segments.len()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_at_once_is_left_to_fts5() {
        let level = |pages: u64| {
            let segments = (1..8).map(|id| Segment::new(id, id, pages, 1)).collect();
            Level { merging: 0, segments }
        };
        let structure = |pages: &[u64]| Structure {
            settings: [0; 4],
            written: 0,
            levels: pages.iter().map(|pages| level(*pages)).collect(),
        };
        for (pages, taken_levels, needs_fts5) in [
            (&[20_000][..], 1, false),
            (&[40_000], 0, true),
            (&[2_000, 20_000], 2, false),
            (&[10_000, 20_000], 1, false),
            (&[2_000, 40_000], 1, true),
            (&[2_000, 2_000, 2_000], 2, true),
        ] {
            let mut structure = structure(pages);
            assert_eq!(structure.needs_fts5(), needs_fts5, "{pages:?}");
            let (level, taken) = structure.take_full();
            assert_eq!(
                (level, taken.len()),
                (taken_levels, 7 * taken_levels),
                "{pages:?}"
            );
        }
    }
}
