//! Row numbers from full-text search, in order, and what two such lists have in common.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Rows, params};

use crate::error::Cause;
use crate::record::stored_size;

/// So many rows of one list are passed over to find the next row of the other, before that counts as far.
const FAR: usize = 64;
/// After it was far so often, the rarer list leads: whether the other one has a row is asked row by row.
const OFTEN: usize = 2;
/// So many rows are asked for until the lists are followed side by side again, for asking is what costs where both have
/// many.
const ASKED: usize = 64;

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Newest,
    Oldest,
}

impl Direction {
    /// Whether a row comes before another.
    const fn is_before(self, row: i64, other: i64) -> bool {
        match self {
            Self::Newest => row < other,
            Self::Oldest => row > other,
        }
    }
}

/// A full-text index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    Words,
    Statuses,
}

/// The rows that match an expression. The newest have the lowest numbers.
pub(crate) struct Stream<'c> {
    at: &'c Connection,
    table: Table,
    expression: String,
}

impl<'c> Stream<'c> {
    pub(crate) const fn new(at: &'c Connection, table: Table, expression: String) -> Self {
        Self {
            at,
            table,
            expression,
        }
    }

    /// Calls `each` for all rows within bounds, until it says that it has enough.
    pub(crate) fn visit(
        &self,
        (low, high): (i64, i64),
        direction: Direction,
        mut each: impl FnMut(i64) -> Result<bool, Cause>,
    ) -> Result<(), Cause> {
        let mut list = self.list(direction)?;
        let mut rows = list.query(params![self.expression, low, high])?;
        while let Some(row) = rows.next()? {
            if !each(row.get(0)?)? {
                break;
            }
        }
        Ok(())
    }

    /// The row at a place, from 1, counted from the newest; `None` if there are fewer.
    pub(crate) fn nth(&self, (low, high): (i64, i64), place: usize) -> Result<Option<i64>, Cause> {
        let sql = match self.table {
            Table::Words => {
                "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 \
                 ORDER BY rowid LIMIT 1 OFFSET ?4"
            }
            Table::Statuses => {
                "SELECT rowid FROM statuses WHERE statuses MATCH ?1 AND rowid BETWEEN ?2 AND ?3 \
                 ORDER BY rowid LIMIT 1 OFFSET ?4"
            }
        };
        let mut statement = self.at.prepare_cached(sql)?;
        let passed = stored_size(place.saturating_sub(1) as u64);
        let row = statement.query_row(params![self.expression, low, high, passed], |row| row.get(0));
        Ok(row.optional()?)
    }

    fn list(&self, direction: Direction) -> Result<CachedStatement<'c>, Cause> {
        Ok(self.at.prepare_cached(match (self.table, direction) {
            (Table::Words, Direction::Newest) => {
                "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid"
            }
            (Table::Words, Direction::Oldest) => {
                "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC"
            }
            (Table::Statuses, Direction::Newest) => {
                "SELECT rowid FROM statuses WHERE statuses MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid"
            }
            (Table::Statuses, Direction::Oldest) => {
                "SELECT rowid FROM statuses WHERE statuses MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid DESC"
            }
        })?)
    }

    fn question(&self) -> Result<CachedStatement<'c>, Cause> {
        Ok(self.at.prepare_cached(match self.table {
            Table::Words => "SELECT 1 FROM words WHERE words MATCH ?1 AND rowid = ?2",
            Table::Statuses => "SELECT 1 FROM statuses WHERE statuses MATCH ?1 AND rowid = ?2",
        })?)
    }
}

/// A list that is being followed.
struct Cursor<'s> {
    rows: Rows<'s>,
    current: Option<i64>,
}

impl<'s> Cursor<'s> {
    fn new(mut rows: Rows<'s>) -> Result<Self, Cause> {
        let current = next(&mut rows)?;
        Ok(Self { rows, current })
    }

    fn advance(&mut self) -> Result<(), Cause> {
        self.current = next(&mut self.rows)?;
        Ok(())
    }
}

fn next(rows: &mut Rows<'_>) -> Result<Option<i64>, Cause> {
    let row = rows.next()?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// How following two lists side by side ended.
enum Ended {
    /// There are no more rows, or enough.
    Done,
    /// The first one, or the second, is the rarer one, which goes on with this row.
    Leads(Which, i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// What two lists have in common.
pub(crate) struct Common<'c> {
    first: Stream<'c>,
    second: Stream<'c>,
    direction: Direction,
    /// What is left of the rows.
    low: i64,
    high: i64,
}

impl<'c> Common<'c> {
    pub(crate) const fn new(
        first: Stream<'c>,
        second: Stream<'c>,
        (low, high): (i64, i64),
        direction: Direction,
    ) -> Self {
        Self {
            first,
            second,
            direction,
            low,
            high,
        }
    }

    /// Calls `each` for all rows that both have, until it says that it has enough.
    pub(crate) fn visit(mut self, mut each: impl FnMut(i64) -> Result<bool, Cause>) -> Result<(), Cause> {
        loop {
            match self.side_by_side(&mut each)? {
                Ended::Done => return Ok(()),
                Ended::Leads(which, row) => {
                    self.go_on_with(row);
                    if self.led_by(which, &mut each)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    const fn go_on_with(&mut self, row: i64) {
        match self.direction {
            Direction::Newest => self.low = row,
            Direction::Oldest => self.high = row,
        }
    }

    fn side_by_side(&self, each: &mut impl FnMut(i64) -> Result<bool, Cause>) -> Result<Ended, Cause> {
        let (mut one, mut other) = (
            self.first.list(self.direction)?,
            self.second.list(self.direction)?,
        );
        let mut first = Cursor::new(one.query(params![self.first.expression, self.low, self.high])?)?;
        let mut second = Cursor::new(other.query(params![self.second.expression, self.low, self.high])?)?;
        let mut far = 0;
        let mut passed = 0;
        let mut behind = Which::First;
        while let (Some(one), Some(two)) = (first.current, second.current) {
            if one == two {
                if !each(one)? {
                    break;
                }
                first.advance()?;
                second.advance()?;
                passed = 0;
                continue;
            }
            let (which, cursor) = if self.direction.is_before(one, two) {
                (Which::First, &mut first)
            } else {
                (Which::Second, &mut second)
            };
            cursor.advance()?;
            passed = if which == behind { passed + 1 } else { 1 };
            behind = which;
            if passed == FAR {
                far += 1;
                if far == OFTEN {
                    return Ok(match which {
                        Which::First => Ended::Leads(Which::Second, two),
                        Which::Second => Ended::Leads(Which::First, one),
                    });
                }
            }
        }
        Ok(Ended::Done)
    }

    /// Follows one list, and asks for each of its rows whether the other has it. Tells whether that was all.
    fn led_by(
        &mut self,
        which: Which,
        each: &mut impl FnMut(i64) -> Result<bool, Cause>,
    ) -> Result<bool, Cause> {
        let (leader, other) = match which {
            Which::First => (&self.first, &self.second),
            Which::Second => (&self.second, &self.first),
        };
        let mut question = other.question()?;
        let mut list = leader.list(self.direction)?;
        let mut rows = list.query(params![leader.expression, self.low, self.high])?;
        let mut asked = 0;
        while let Some(row) = next(&mut rows)? {
            if asked == ASKED {
                drop(rows);
                drop(list);
                self.go_on_with(row);
                return Ok(false);
            }
            asked += 1;
            if question.exists(params![other.expression, row])? && !each(row)? {
                break;
            }
        }
        Ok(true)
    }
}
