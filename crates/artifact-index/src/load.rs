//! Loading very many rows into full-text search.
//!
//! FTS5 takes a row's words one by one, each into the list of its term, and all of these lists are more memory than a cache
//! holds. Here many rows are sorted at once instead, and written as the segment that FTS5 would have made of them. It has the
//! same form, so FTS5 reads it, merges it and deletes from it like any other.

mod list;
mod merge;
mod reader;
mod run;
mod segment;
mod structure;
mod varint;

use rusqlite::{CachedStatement, Connection, params};

use self::merge::{Lists, merge};
use self::reader::{PAGES, SegmentReader};
use self::run::Run;
pub(crate) use self::run::Sorter;
use self::segment::SegmentWriter;
use self::structure::{Segment, Structure, count};
use crate::error::Cause;

/// Bytes of a page of a segment, as FTS5 makes them if nobody says otherwise.
const PAGE_BYTES: usize = 4050;
/// Bytes of what is sorted that become a segment.
const SEGMENT_BYTES: usize = 24 << 20;
/// Pages that FTS5 merges before a load where only FTS5 may merge: more than most loads write, or segments would get more and
/// more, for it does so on its own only with what is inserted.
const MERGED_PAGES: i64 = 8192;

/// Writes what is sorted of rows.
///
/// FTS5 remembers in each connection which segments there are, and looks again only when another one wrote: nothing else may
/// be asked of full-text search by this connection after this was made.
pub(crate) struct Loader<'c> {
    at: &'c Connection,
    structure: Structure,
    /// The turn of all rows: where one is deleted, FTS5 looks for it in the segments of its turn.
    origin: u64,
    sizes: CachedStatement<'c>,
    size: Vec<u8>,
    runs: Vec<Run>,
    page_bytes: usize,
}

impl<'c> Loader<'c> {
    pub(crate) fn new(at: &'c Connection) -> Result<Self, Cause> {
        // What FTS5 has not written yet it would write over ours.
        at.execute("INSERT INTO words(words) VALUES ('flush')", [])?;
        let mut structure = Structure::read(at)?;
        if structure.needs_fts5() {
            at.execute(
                "INSERT INTO words(words, rank) VALUES ('merge', ?1)",
                [MERGED_PAGES],
            )?;
            structure = Structure::read(at)?;
        }
        Ok(Self {
            at,
            origin: structure.next_origin(),
            structure,
            sizes: at.prepare_cached("INSERT INTO words_docsize (id, sz, origin) VALUES (?1, ?2, ?3)")?,
            size: Vec::new(),
            runs: Vec::new(),
            page_bytes: PAGE_BYTES,
        })
    }

    /// Takes note of a row of so many words, which come sorted.
    pub(crate) fn count(&mut self, row: i64, words: u64) -> Result<(), Cause> {
        self.size.clear();
        varint::put(&mut self.size, words);
        self.sizes.execute(params![row, self.size, self.origin])?;
        Ok(())
    }

    /// Sorts words, whose rows come after those before.
    pub(crate) fn add(&mut self, words: Sorter) -> Result<(), Cause> {
        self.runs.push(words.sort());
        if self.runs.iter().map(Run::size).sum::<usize>() >= SEGMENT_BYTES {
            self.write_segment()?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), Cause> {
        if !self.runs.is_empty() {
            self.write_segment()?;
        }
        self.structure.write(self.at)
    }

    /// Writes all that is sorted, together with the segments that would be too many with it.
    fn write_segment(&mut self) -> Result<(), Cause> {
        let (level, merged) = self.structure.take_full();
        let id = self.structure.free_id(&merged)?;
        let runs = std::mem::take(&mut self.runs);
        let rows = runs.iter().map(|run| run.rows).sum();
        let words = runs.iter().map(|run| run.words).sum();
        let mut segment = SegmentWriter::new(self.at, id, self.page_bytes)?;
        merge_into(&mut segment, self.at, runs, &merged)?;
        let pages = segment.finish()?;
        for segment in &merged {
            segment.remove(self.at)?;
        }
        // Rows may have no words.
        if pages > 0 {
            let segment = Segment::new(id, self.origin, pages, rows);
            self.structure.add(level, segment.with(&merged));
        }
        count(self.at, rows, words)
    }
}

/// Writes what is sorted and what other segments have, the newest of these first.
fn merge_into(
    segment: &mut SegmentWriter<'_>,
    at: &Connection,
    mut runs: Vec<Run>,
    merged: &[Segment],
) -> Result<(), Cause> {
    let pages = merged.iter().map(|_| at.prepare(PAGES));
    let mut pages = pages.collect::<Result<Vec<_>, _>>()?;
    let readers = pages.iter_mut().zip(merged);
    let readers = readers.map(|(pages, segment)| SegmentReader::new(pages, segment));
    let mut readers = readers.collect::<Result<Vec<_>, _>>()?;
    // What comes later has lower rows, but for what came from elsewhere.
    let runs = runs.iter_mut().map(|run| -> &mut dyn Lists { run });
    let readers = readers.iter_mut().map(|reader| -> &mut dyn Lists { reader });
    merge(&mut runs.chain(readers).collect::<Vec<_>>(), segment)
}

#[cfg(test)]
mod tests;
