//! Writing a segment: terms in order, each with its rows and where the term is in them, cut into pages.
//!
//! The form is the one that the comments at the head of SQLite's `fts5_index.c` describe, and what is written where follows
//! the functions `fts5Write…` there, so that FTS5 reads, merges and checks it as its own.

use rusqlite::{CachedStatement, Connection, params};

use super::list::Part;
use super::varint;
use crate::error::Cause;

/// Where the first row of a page that goes on with the term before is, and where its list of terms is.
const HEADER: [u8; 4] = [0; 4];
/// A term that goes over so many whole pages gets an index of its own, by which to skip them.
const WORTH_SKIPPING: usize = 4;
/// Says of a page of skips that there is one above it.
const BELOW_ANOTHER: u8 = 1;
/// Most bytes of a number, such as that of a row.
const MOST_NUMBER_BYTES: usize = 9;

/// A segment that is being written.
pub(super) struct SegmentWriter<'c> {
    id: u64,
    page_bytes: usize,
    pages: CachedStatement<'c>,
    branches: CachedStatement<'c>,
    page: Vec<u8>,
    /// From one to the next, how far apart the terms of the page are.
    offsets: Vec<u8>,
    last_offset: usize,
    number: u64,
    /// The last term.
    term: Vec<u8>,
    page_has_term: bool,
    page_has_row: bool,
    /// The page that is to be found by a beginning of its first term.
    branch: Option<(u64, Vec<u8>)>,
    /// Pages since then without a term.
    without_term: usize,
    skips: Vec<Skips>,
}

/// A page of the index of the pages of one term.
#[derive(Debug, Default)]
struct Skips {
    number: u64,
    page: Vec<u8>,
    first: u64,
    last: u64,
}

impl<'c> SegmentWriter<'c> {
    pub(super) fn new(at: &'c Connection, id: u64, page_bytes: usize) -> Result<Self, Cause> {
        Ok(Self {
            id,
            page_bytes,
            pages: at.prepare_cached("INSERT INTO words_data (id, block) VALUES (?1, ?2)")?,
            branches: at.prepare_cached("INSERT INTO words_idx (segid, term, pgno) VALUES (?1, ?2, ?3)")?,
            page: HEADER.to_vec(),
            offsets: Vec::new(),
            last_offset: 0,
            number: 1,
            term: Vec::new(),
            page_has_term: false,
            page_has_row: false,
            branch: Some((1, Vec::new())),
            without_term: 0,
            skips: vec![Skips::default()],
        })
    }

    /// Adds a term, which must come after the one before, and its rows.
    pub(super) fn add(&mut self, term: &[u8], list: Part<'_>) -> Result<(), Cause> {
        self.begin_term(term)?;
        let mut left = list;
        // A row after another one of the page is known by how far it is from that.
        let mut goes_on = false;
        while !left.bytes.is_empty() {
            if goes_on {
                self.write_page()?;
            }
            let space = self.page_bytes.saturating_sub(self.filled() + MOST_NUMBER_BYTES);
            let (fitting, rest) = left.split_at_size(space)?;
            if !fitting.bytes.is_empty() {
                self.begin_row(fitting.first)?;
                self.page.extend_from_slice(fitting.bytes);
                (left, goes_on) = (rest, true);
            } else if self.page.len() > HEADER.len() {
                self.write_page()?;
                goes_on = false;
            } else {
                let (long, rest) = left.split_first()?;
                self.add_long(long)?;
                (left, goes_on) = (rest, self.page_has_row);
            }
        }
        Ok(())
    }

    fn begin_term(&mut self, term: &[u8]) -> Result<(), Cause> {
        if self.filled() + term.len() + 2 >= self.page_bytes && self.page.len() > HEADER.len() {
            self.write_page()?;
        }
        varint::put(&mut self.offsets, (self.page.len() - self.last_offset) as u64);
        self.last_offset = self.page.len();
        let common = self.term.iter().zip(term).take_while(|(one, other)| one == other);
        let mut common = common.count();
        if self.page_has_term {
            varint::put(&mut self.page, common as u64);
        } else {
            if self.number > 1 {
                self.write_branch()?;
                let split = term.get(..=common).unwrap_or(term);
                self.branch = Some((self.number, split.to_vec()));
            }
            common = 0;
        }
        let own = &term[common..];
        varint::put(&mut self.page, own.len() as u64);
        self.page.extend_from_slice(own);
        self.term.clear();
        self.term.extend_from_slice(term);
        self.page_has_term = true;
        self.page_has_row = true;
        self.skips[0].number = self.number;
        Ok(())
    }

    /// Begins a row that is the first of its term, or of the page.
    fn begin_row(&mut self, row: i64) -> Result<(), Cause> {
        let row = row.cast_unsigned();
        if !self.page_has_row {
            self.set_header(0);
            self.add_skip(row)?;
            self.page_has_row = true;
        }
        varint::put(&mut self.page, row);
        Ok(())
    }

    /// Adds a row of more than a page. Numbers are not cut.
    fn add_long(&mut self, row: Part<'_>) -> Result<(), Cause> {
        self.begin_row(row.first)?;
        let mut rest = row.bytes;
        while self.filled() + rest.len() >= self.page_bytes {
            let space = self.page_bytes.saturating_sub(self.filled());
            let (now, then) = rest.split_at(whole(rest, space).ok_or_else(Cause::damaged)?);
            self.page.extend_from_slice(now);
            rest = then;
            self.write_page()?;
        }
        self.page.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what is left; tells how many pages there are.
    pub(super) fn finish(mut self) -> Result<u64, Cause> {
        if self.page.len() > HEADER.len() {
            self.write_page()?;
        }
        let pages = self.number - 1;
        if pages > 0 {
            self.write_branch()?;
        }
        Ok(pages)
    }

    fn filled(&self) -> usize {
        self.page.len() + self.offsets.len()
    }

    /// Says at `at` where the page ends now.
    fn set_header(&mut self, at: usize) {
        let end =
            u16::try_from(self.page.len()).expect("a page has little more than its bytes, some thousand");
        self.page[at..at + 2].copy_from_slice(&end.to_be_bytes());
    }

    fn write_page(&mut self) -> Result<(), Cause> {
        self.set_header(2);
        if self.page_has_term {
            self.page.extend_from_slice(&self.offsets);
        } else {
            // No row begins here, so there is nothing to skip to.
            if !self.page_has_row && self.skips[0].is_begun() {
                varint::put(&mut self.skips[0].page, 0);
            }
            self.without_term += 1;
        }
        let id = self.id << 37 | self.number;
        self.pages.execute(params![id, self.page])?;
        self.page.clear();
        self.page.extend_from_slice(&HEADER);
        self.offsets.clear();
        self.last_offset = 0;
        self.number += 1;
        self.page_has_term = false;
        self.page_has_row = false;
        Ok(())
    }

    /// The terms from the last branch on are all written: has their page found.
    fn write_branch(&mut self) -> Result<(), Cause> {
        let Some((number, split)) = self.branch.take() else {
            return Ok(());
        };
        let skipping = self.without_term >= WORTH_SKIPPING && self.skips[0].is_begun();
        let begun = self.skips.iter().take_while(|skips| skips.is_begun()).count();
        for height in 0..begun {
            if skipping {
                self.write_skips(height)?;
            }
            self.skips[height].page.clear();
        }
        self.without_term = 0;
        self.branches
            .execute(params![self.id, split, number << 1 | u64::from(skipping)])?;
        Ok(())
    }

    /// The page that is being written begins with a row of the term before.
    fn add_skip(&mut self, row: u64) -> Result<(), Cause> {
        let mut child = self.number;
        for height in 0.. {
            let full = self.skips[height].page.len() >= self.page_bytes;
            if full {
                self.end_skips(height)?;
            }
            let skips = &mut self.skips[height];
            if skips.is_begun() {
                varint::put(&mut skips.page, row.wrapping_sub(skips.last));
            } else {
                skips.begin(if full { BELOW_ANOTHER } else { 0 }, child, row);
            }
            skips.last = row;
            if !full {
                break;
            }
            child = skips.number;
        }
        Ok(())
    }

    /// Writes a full page; the first one of a height gets another above it, of which it is the first child.
    fn end_skips(&mut self, height: usize) -> Result<(), Cause> {
        self.skips[height].page[0] = BELOW_ANOTHER;
        self.write_skips(height)?;
        if self.skips.len() == height + 1 {
            self.skips.push(Skips::default());
        }
        let Skips { number, first, .. } = self.skips[height];
        let above = &mut self.skips[height + 1];
        if !above.is_begun() {
            above.number = number;
            above.begin(0, number, first);
        }
        self.skips[height].page.clear();
        self.skips[height].number += 1;
        Ok(())
    }

    fn write_skips(&mut self, height: usize) -> Result<(), Cause> {
        let skips = &self.skips[height];
        let id = (self.id << 1 | 1) << 36 | (height as u64) << 31 | skips.number;
        self.pages.execute(params![id, skips.page])?;
        Ok(())
    }
}

impl Skips {
    fn is_begun(&self) -> bool {
        !self.page.is_empty()
    }

    fn begin(&mut self, flags: u8, child: u64, row: u64) {
        self.page.push(flags);
        varint::put(&mut self.page, child);
        varint::put(&mut self.page, row);
        (self.first, self.last) = (row, row);
    }
}

/// How many bytes are whole numbers that fill so much space, and the one that does not fit any more; `None` if that one
/// does not end.
fn whole(numbers: &[u8], space: usize) -> Option<usize> {
    let Some(last) = space.checked_sub(1) else {
        return Some(0);
    };
    let mut behind = numbers.iter().skip(last).take(MOST_NUMBER_BYTES);
    behind.position(|byte| byte & 0x80 == 0).map(|more| space + more)
}
