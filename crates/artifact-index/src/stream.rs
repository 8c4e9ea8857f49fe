//! Row numbers from full-text search, in order, and what several such lists have in common.

use rusqlite::{CachedStatement, Connection, params};

use crate::error::Cause;

/// How many row numbers are asked for at first; four times as many each time, as long as they are used.
const FIRST: i64 = 64;
const MOST: i64 = 4096;
/// Fewer are asked for, down to these, where a rarer list leads and all but one are passed over.
const FEWEST: i64 = 4;

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Newest,
    Oldest,
}

/// A full-text index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Words,
    Facets,
}

/// The row numbers that match an expression, one after the other.
pub(crate) struct Stream<'c> {
    statement: CachedStatement<'c>,
    expression: String,
    direction: Direction,
    /// What is left to be asked for.
    low: i64,
    high: i64,
    /// The next ones, in reverse.
    buffer: Vec<i64>,
    chunk: i64,
    /// How many of those that were asked for last were looked at.
    used: usize,
}

impl<'c> Stream<'c> {
    pub(crate) fn new(
        at: &'c Connection,
        table: Table,
        expression: String,
        (low, high): (i64, i64),
        direction: Direction,
    ) -> Result<Self, Cause> {
        let sql = match (table, direction) {
            (Table::Words, Direction::Newest) => {
                "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC LIMIT ?4"
            }
            (Table::Words, Direction::Oldest) => {
                "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid LIMIT ?4"
            }
            (Table::Facets, Direction::Newest) => {
                "SELECT rowid FROM facets WHERE facets MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC LIMIT ?4"
            }
            (Table::Facets, Direction::Oldest) => {
                "SELECT rowid FROM facets WHERE facets MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid LIMIT ?4"
            }
        };
        Ok(Self {
            statement: at.prepare_cached(sql)?,
            expression,
            direction,
            low,
            high,
            buffer: Vec::new(),
            chunk: FIRST,
            used: 0,
        })
    }

    /// The next row number at `from` or beyond, in this direction; `None` if there are no more.
    fn seek(&mut self, from: i64) -> Result<Option<i64>, Cause> {
        let beyond = |id: i64| match self.direction {
            Direction::Newest => id <= from,
            Direction::Oldest => id >= from,
        };
        // What was passed over in the buffer is a step of the same search.
        if let Some(at) = self.buffer.iter().rposition(|id| beyond(*id)) {
            self.buffer.truncate(at + 1);
            self.used += 1;
            return Ok(self.buffer.last().copied());
        }
        self.buffer.clear();
        let skips = match self.direction {
            Direction::Newest => from < self.high,
            Direction::Oldest => from > self.low,
        };
        if skips {
            match self.direction {
                Direction::Newest => self.high = from,
                Direction::Oldest => self.low = from,
            }
        }
        if self.used > 0 {
            self.chunk = match (skips, self.used) {
                (true, 1) => (self.chunk / 4).max(FEWEST),
                _ => (self.chunk * 4).min(MOST),
            };
        }
        self.used = 1;
        self.fill()?;
        Ok(self.buffer.last().copied())
    }

    fn fill(&mut self) -> Result<(), Cause> {
        if self.low > self.high {
            return Ok(());
        }
        let asked = params![self.expression, self.low, self.high, self.chunk];
        let mut rows = self.statement.query(asked)?;
        while let Some(row) = rows.next()? {
            self.buffer.push(row.get(0)?);
        }
        drop(rows);
        match (self.buffer.last(), self.direction) {
            (None, _) => self.high = self.low.saturating_sub(1),
            (Some(last), Direction::Newest) => self.high = last.saturating_sub(1),
            (Some(last), Direction::Oldest) => self.low = last.saturating_add(1),
        }
        self.buffer.reverse();
        Ok(())
    }
}

/// What all of some streams have in common; there is at least one.
pub(crate) struct Common<'c> {
    streams: Vec<Stream<'c>>,
    /// The one that passed over most of the others' last, and so is asked first.
    leader: usize,
    from: Option<i64>,
    direction: Direction,
}

impl<'c> Common<'c> {
    pub(crate) fn new(streams: Vec<Stream<'c>>, direction: Direction) -> Self {
        let from = match direction {
            Direction::Newest => i64::MAX,
            Direction::Oldest => i64::MIN,
        };
        Self {
            streams,
            leader: 0,
            from: Some(from),
            direction,
        }
    }

    /// The next row number that all have.
    pub(crate) fn next(&mut self) -> Result<Option<i64>, Cause> {
        let Some(mut wanted) = self.from else {
            return Ok(None);
        };
        let mut agreed = 0;
        // Each that has not the wanted one names the next that it has; until all agree.
        for turn in (0..self.streams.len()).cycle().skip(self.leader) {
            let Some(stream) = self.streams.get_mut(turn) else {
                break;
            };
            let Some(found) = stream.seek(wanted)? else {
                self.from = None;
                return Ok(None);
            };
            if found == wanted {
                agreed += 1;
            } else {
                if agreed > 0 {
                    self.leader = turn;
                }
                wanted = found;
                agreed = 1;
            }
            if agreed >= self.streams.len() {
                break;
            }
        }
        self.from = match self.direction {
            Direction::Newest => wanted.checked_sub(1),
            Direction::Oldest => wanted.checked_add(1),
        };
        Ok(Some(wanted))
    }
}
