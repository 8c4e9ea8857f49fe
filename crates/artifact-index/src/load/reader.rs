//! Reading a segment, whoever wrote it: the reverse of [`super::segment`].

use rusqlite::{Rows, Statement, params};

use super::list::{List, Part};
use super::merge::Lists;
use super::structure::Segment;
use super::varint;
use crate::error::Cause;

pub(super) const PAGES: &str = "SELECT block FROM words_data WHERE id BETWEEN ?1 AND ?2 ORDER BY id";

/// Where what a page has begins.
const BODY: usize = 4;

/// The terms of a segment, and which of them is next.
pub(super) struct SegmentReader<'s> {
    pages: Rows<'s>,
    pages_left: u64,
    page: Vec<u8>,
    /// Where reading stands in the page, and where terms and lists end there.
    at: usize,
    end: usize,
    /// Where the first row is that begins before all terms of the page, if there is one.
    first_row: usize,
    /// Where the list of its terms goes on, and which is the next one of these.
    offsets: usize,
    next_term: Option<usize>,
    /// Whether a term of this page was read.
    has_read_term: bool,
    term: Vec<u8>,
    /// Its rows, where they are not the first of a term.
    own: List,
    ended: bool,
}

impl<'s> SegmentReader<'s> {
    /// Reads by a statement of [`PAGES`].
    pub(super) fn new(pages: &'s mut Statement<'_>, segment: &Segment) -> Result<Self, Cause> {
        let (first, last) = segment.leaves();
        let mut reader = Self {
            pages: pages.query(params![first, last])?,
            pages_left: last - first + 1,
            page: Vec::new(),
            at: 0,
            end: 0,
            first_row: 0,
            offsets: 0,
            next_term: None,
            has_read_term: false,
            term: Vec::new(),
            own: List::default(),
            ended: false,
        };
        reader.next_page()?;
        reader.read_term()?;
        Ok(reader)
    }

    /// Goes to the next page; tells whether there is one.
    fn next_page(&mut self) -> Result<bool, Cause> {
        let Some(row) = self.pages.next()? else {
            return if self.pages_left == 0 {
                Ok(false)
            } else {
                Err(Cause::damaged())
            };
        };
        self.pages_left = self.pages_left.checked_sub(1).ok_or_else(Cause::damaged)?;
        let page = row.get_ref(0)?.as_blob().map_err(|_| Cause::damaged())?;
        self.page.clear();
        self.page.extend_from_slice(page);
        let number = |at: usize| {
            let bytes = page.get(at..).and_then(|bytes| bytes.first_chunk());
            bytes.map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
        };
        let (first_row, end) = number(0).zip(number(2)).ok_or_else(Cause::damaged)?;
        if end < BODY || end > page.len() || first_row > end {
            return Err(Cause::damaged());
        }
        (self.at, self.end, self.first_row) = (BODY, end, first_row);
        (self.offsets, self.next_term, self.has_read_term) = (end, None, false);
        self.next_term = self.next_offset(0)?;
        Ok(true)
    }

    /// Where the term after the one at `last` is, if the page has one.
    fn next_offset(&mut self, last: usize) -> Result<Option<usize>, Cause> {
        let mut rest = self.page.get(self.offsets..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let distance = varint::take(&mut rest).and_then(|number| usize::try_from(number).ok());
        self.offsets = self.page.len() - rest.len();
        let next = distance.and_then(|distance| last.checked_add(distance));
        next.filter(|next| *next < self.end && *next >= self.at.max(BODY))
            .map(Some)
            .ok_or_else(Cause::damaged)
    }

    /// Where what belongs to the term before ends on this page.
    fn limit(&self) -> usize {
        self.next_term.unwrap_or(self.end)
    }

    fn number(&mut self, limit: usize) -> Result<u64, Cause> {
        let mut rest = self.page.get(self.at..limit).ok_or_else(Cause::damaged)?;
        let before = rest.len();
        let number = varint::take(&mut rest).ok_or_else(Cause::damaged)?;
        self.at += before - rest.len();
        Ok(number)
    }

    fn size(&mut self, limit: usize) -> Result<usize, Cause> {
        usize::try_from(self.number(limit)?).map_err(|_| Cause::damaged())
    }

    /// Reads the term that is next on this page.
    fn read_term(&mut self) -> Result<(), Cause> {
        let place = self.next_term.ok_or_else(Cause::damaged)?;
        self.at = place;
        let common = if self.has_read_term {
            self.size(self.end)?
        } else {
            0
        };
        let own = self.size(self.end)?;
        let end = self.at.checked_add(own).ok_or_else(Cause::damaged)?;
        let own = self
            .page
            .get(self.at..end)
            .filter(|_| end <= self.end)
            .ok_or_else(Cause::damaged)?;
        // Each comes after the one before: what is written of them is found by their order.
        if self.term.get(common..).is_none_or(|before| own <= before) {
            return Err(Cause::damaged());
        }
        self.term.truncate(common);
        self.term.extend_from_slice(own);
        self.at = end;
        self.has_read_term = true;
        self.next_term = self.next_offset(place)?;
        Ok(())
    }

    /// Reads the rows of the term into an empty list; there are some.
    fn read_list(&mut self, list: &mut List) -> Result<(), Cause> {
        self.read_pages(list)?;
        if list.is_empty() {
            return Err(Cause::damaged());
        }
        Ok(())
    }

    /// Reads as many pages as the rows of the term go over.
    fn read_pages(&mut self, list: &mut List) -> Result<(), Cause> {
        loop {
            while self.at < self.limit() {
                self.read_rows(list)?;
            }
            if self.next_term.is_some() {
                return Ok(());
            }
            self.ended = !self.next_page()?;
            if self.ended || self.first_row == 0 {
                return Ok(());
            }
            self.at = self.first_row;
        }
    }

    /// Reads the rows that begin on this page, of which the first is known by its whole number.
    fn read_rows(&mut self, list: &mut List) -> Result<(), Cause> {
        let limit = self.limit();
        let first = self.number(limit)?.cast_signed();
        if !list.is_empty() && first <= list.last() {
            return Err(Cause::damaged());
        }
        let rows = self.page.get(self.at..limit).unwrap_or_default();
        let (mut rest, mut whole) = (rows, rows);
        let (mut row, mut last) = (first, None);
        let cut = loop {
            let size = varint::take(&mut rest).ok_or_else(Cause::damaged)?;
            // An odd one tells that the row is deleted, which none is in an index that deletes by its own lists.
            let size = usize::try_from(size / 2).ok().filter(|_| size % 2 == 0);
            let size = size.ok_or_else(Cause::damaged)?;
            let Some((_, behind)) = rest.split_at_checked(size) else {
                break Some(size);
            };
            (rest, whole, last) = (behind, behind, Some(row));
            if rest.is_empty() {
                break None;
            }
            let distance = varint::take(&mut rest).filter(|distance| *distance > 0);
            let next = distance.and_then(|distance| row.checked_add_unsigned(distance));
            row = next.ok_or_else(Cause::damaged)?;
        };
        if let Some(last) = last {
            let bytes = rows.get(..rows.len() - whole.len()).unwrap_or_default();
            list.add(Part { first, last, bytes })?;
        }
        self.at = limit - rest.len();
        match cut {
            Some(size) => self.read_cut(list, row, size),
            None => Ok(()),
        }
    }

    /// Reads a row whose places go on on other pages.
    fn read_cut(&mut self, list: &mut List, row: i64, size: usize) -> Result<(), Cause> {
        list.push_row(row, size);
        let mut missing = size;
        loop {
            let limit = self.limit();
            let here = missing.min(limit - self.at);
            let places = self.page.get(self.at..self.at + here).unwrap_or_default();
            list.push_places(places);
            self.at += here;
            missing -= here;
            if missing == 0 {
                return Ok(());
            }
            if self.next_term.is_some() || !self.next_page()? {
                return Err(Cause::damaged());
            }
        }
    }
}

impl Lists for SegmentReader<'_> {
    fn term(&self) -> Option<&[u8]> {
        (!self.ended).then_some(&self.term)
    }

    fn take(&mut self, list: &mut List) -> Result<(), Cause> {
        if list.is_empty() {
            self.read_list(list)?;
        } else {
            let mut own = std::mem::take(&mut self.own);
            own.clear();
            self.read_list(&mut own)?;
            list.add(own.as_part())?;
            self.own = own;
        }
        if !self.ended {
            self.read_term()?;
        }
        Ok(())
    }
}
