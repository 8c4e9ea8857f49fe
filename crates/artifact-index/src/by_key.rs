//! Queries in the order of sizes or names: few matches are sorted, of many the rows in that order are looked at.

use artifact_core::{Matches, PageCursor, Sort};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params, params_from_iter};

use crate::compare::Comparison;
use crate::error::Cause;
use crate::facets::{magnitude, sizes_of, upgrade_number};
use crate::find::{FETCH, Search};
use crate::page::Page;
use crate::record::stored_size;
use crate::stream::Direction;

/// Up to so many matches are sorted by size or name; of more, the rows in that order are looked at one by one.
const GATHERED: usize = 2048;
/// So few are sorted without a look at which of them are the largest.
const FEW: usize = 256;

impl Search<'_> {
    pub(crate) fn by_key(&self) -> Result<Matches, Cause> {
        if self.is_empty() {
            return Ok(Matches::default());
        }
        let mut found = self.gathered(FEW)?;
        if found.is_none() {
            if let Some(matches) = self.by_magnitude()? {
                return Ok(matches);
            }
            found = self.gathered(GATHERED)?;
        }
        let Some(ids) = found else {
            return self.scanned();
        };
        let mut page = Page::new(self.query);
        self.sorted(&ids, &mut page)?;
        Ok(page.into_matches())
    }

    /// All candidates, where they are not more than `most`.
    fn gathered(&self, most: usize) -> Result<Option<Vec<i64>>, Cause> {
        let mut gathered = Vec::new();
        let known = self.candidates(Direction::Newest, |id| {
            gathered.push(id);
            Ok(gathered.len() <= most)
        })?;
        Ok((known && gathered.len() <= most).then_some(gathered))
    }

    /// The largest, by the facets of sizes: orders of magnitude from the largest down, as many at a time as will fill the
    /// page if these have as many as those before. `None` where that is no help.
    fn by_magnitude(&self) -> Result<Option<Matches>, Cause> {
        let after = self.query.after.as_ref().map(PageCursor::size);
        if self.query.sort != Sort::Size
            || (self.words.is_none() && self.statuses.is_none())
            || after == Some(None)
        {
            return Ok(None);
        }
        let mut largest = self
            .at
            .prepare_cached("SELECT coalesce(max(size), 0) FROM artifact")?;
        let largest: i64 = largest.query_row([], |row| row.get(0))?;
        // Larger ones than SQLite knows are kept as its largest.
        let largest = u64::try_from(largest).ok().filter(|_| largest < i64::MAX);
        let most = [after.flatten(), self.query.max_size, largest];
        let most = most.into_iter().flatten().min().unwrap_or(u64::MAX);
        let mut page = Page::new(self.query);
        let magnitudes = magnitude(most) + 1;
        let (mut end, mut at_a_time) = (magnitudes, 1);
        while end > 0 {
            let begin = end.saturating_sub(at_a_time);
            match self.of_magnitudes(begin, end - 1)? {
                Some(ids) => self.sorted(&ids, &mut page)?,
                None if at_a_time == 1 => return Ok(None),
                None => {
                    at_a_time = 1;
                    continue;
                }
            }
            if page.is_full() {
                return Ok(Some(page.into_matches()));
            }
            end = begin;
            at_a_time = page.estimate(magnitudes - end);
        }
        // There may be some of unknown size.
        Ok(None)
    }

    /// All candidates of some orders of magnitude, where they are few.
    fn of_magnitudes(&self, first: u32, last: u32) -> Result<Option<Vec<i64>>, Cause> {
        let ((least, _), (_, most)) = (sizes_of(first), sizes_of(last));
        let mut query = self.query.clone();
        query.min_size = Some(query.min_size.map_or(least, |min| min.max(least)));
        query.max_size = Some(query.max_size.map_or(most, |max| max.min(most)));
        let search = Search::new(self.at, &query)?;
        if search.is_empty() {
            return Ok(Some(Vec::new()));
        }
        search.gathered(GATHERED)
    }

    /// Offers few candidates to the page.
    fn sorted(&self, ids: &[i64], page: &mut Page<'_>) -> Result<(), Cause> {
        let sql = match self.query.sort {
            Sort::Size => "SELECT size FROM artifact WHERE id = ?1",
            _ => "SELECT name_key FROM artifact WHERE id = ?1",
        };
        let mut key_of = self.at.prepare_cached(sql)?;
        let mut keyed = Vec::with_capacity(ids.len());
        for id in ids {
            let key = key_of.query_row([id], |row| row.get::<_, Value>(0)).optional()?;
            keyed.push((Key::of(key.unwrap_or(Value::Null)), *id));
        }
        keyed.sort_unstable_by(|(key, id), (other_key, other_id)| {
            key.cmp(other_key).then_with(|| id.cmp(other_id))
        });
        let mut fetch = self.at.prepare_cached(FETCH)?;
        let mut comparison = Comparison::new(self);
        for (key, id) in keyed {
            if self.is_before_cursor(&key) {
                continue;
            }
            let mut rows = fetch.query([id])?;
            let Some(row) = rows.next()? else { continue };
            let stored = comparison.read(row)?;
            drop(rows);
            if let Some(stored) = stored {
                page.offer(stored.artifact);
            }
            if self.is_past(&key, id, page) {
                break;
            }
        }
        Ok(())
    }

    /// The page among all rows in the order of the key.
    fn scanned(&self) -> Result<Matches, Cause> {
        let mut has_words = match &self.words {
            Some(expression) if self.query.text.is_some() => Some((
                self.at
                    .prepare_cached("SELECT 1 FROM words WHERE words MATCH ?1 AND rowid = ?2")?,
                expression,
            )),
            _ => None,
        };
        let mut comparison = Comparison::new(self).with_needles()?;
        let mut page = Page::new(self.query);
        for (sql, bounds) in self.scans() {
            let mut statement = self.at.prepare_cached(sql)?;
            let mut rows = statement.query(params_from_iter(bounds))?;
            while let Some(row) = rows.next()? {
                let (id, key) = (row.get(0)?, Key::of(row.get(4)?));
                let mut found = comparison.read(row)?;
                if let Some((statement, expression)) = &mut has_words
                    && found.is_some()
                    && !statement.exists(params![*expression, id])?
                {
                    found = None;
                }
                if let Some(stored) = found {
                    page.offer(stored.artifact);
                }
                if self.is_past(&key, id, &page) {
                    return Ok(page.into_matches());
                }
            }
        }
        Ok(page.into_matches())
    }

    /// How all rows are read in the order of the key, from the cursor on: those of unknown size come after all others.
    fn scans(&self) -> Vec<(&'static str, Vec<Value>)> {
        let after = self.query.after.as_ref();
        // The indexes of sorts know it, so that rows of other upgrades are passed over without a look at them.
        let upgrade_id = self.query.upgrade_id.as_ref();
        let upgrade = upgrade_id.map_or(Value::Null, |id| Value::Integer(upgrade_number(id.as_str())));
        if self.query.sort == Sort::Name {
            let from = after.and_then(PageCursor::name).unwrap_or("").to_owned();
            return vec![(
                "SELECT id, session, record, name_key, name_key FROM artifact \
                 WHERE (?1 IS NULL OR upgrade = ?1) AND name_key >= ?2 ORDER BY name_key, id",
                vec![upgrade, Value::Text(from)],
            )];
        }
        let least = self.query.min_size.map_or(0, stored_size);
        let most = after
            .and_then(PageCursor::size)
            .or(self.query.max_size)
            .map_or(i64::MAX, stored_size);
        let mut scans = Vec::new();
        if after.is_none_or(|after| after.size().is_some()) {
            scans.push((
                "SELECT id, session, record, name_key, size FROM artifact \
                 WHERE (?1 IS NULL OR upgrade = ?1) AND size BETWEEN ?2 AND ?3 ORDER BY size DESC, id",
                vec![upgrade.clone(), Value::Integer(least), Value::Integer(most)],
            ));
        }
        if self.query.min_size.is_none() && self.query.max_size.is_none() {
            scans.push((
                "SELECT id, session, record, name_key, size FROM artifact \
                 WHERE (?1 IS NULL OR upgrade = ?1) AND size IS NULL ORDER BY id",
                vec![upgrade],
            ));
        }
        scans
    }

    fn is_before_cursor(&self, key: &Key) -> bool {
        self.query
            .after
            .as_ref()
            .is_some_and(|after| *key < Key::of_cursor(after))
    }

    /// Whether whatever comes after a row in the order of keys, then of rows, is past the page.
    fn is_past(&self, key: &Key, id: i64, page: &Page<'_>) -> bool {
        page.last_kept().is_some_and(|last| {
            let last_key = Key::of_cursor(last);
            *key > last_key || (*key == last_key && -id < last.created_at().as_micros())
        })
    }
}

/// What rows are sorted by, in its order: the largest first, or the first name first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Size(std::cmp::Reverse<Option<i64>>),
    Name(String),
}

impl Key {
    fn of(value: Value) -> Self {
        match value {
            Value::Integer(size) => Self::Size(std::cmp::Reverse(Some(size))),
            Value::Text(name) => Self::Name(name),
            _ => Self::Size(std::cmp::Reverse(None)),
        }
    }

    fn of_cursor(cursor: &PageCursor) -> Self {
        match cursor.name() {
            Some(name) => Self::Name(name.to_owned()),
            None => Self::Size(std::cmp::Reverse(cursor.size().map(stored_size))),
        }
    }
}
