//! Queries: where candidates come from, and which of them are the page that was asked for.

use std::collections::HashMap;
use std::sync::Arc;

use artifact_core::{ArtifactQuery, MAX_RANKED, Matches, PageCursor, Sort};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use tracking_model::Artifact;

use crate::error::Cause;
use crate::facets::{magnitude, sizes_of, upgrade_number};
use crate::record::{Stored, stored_size};
use crate::stream::{Common, Direction, Stream, Table};
use crate::{expression, facets, rank};

/// Up to so many matches are sorted by size or name; of more, the rows in that order are looked at one by one.
const GATHERED: usize = 2048;

/// A row as it is compared with the query.
const FETCH: &str = "SELECT id, session, record, name_key FROM artifact WHERE id = ?1";

pub(crate) fn find(at: &Connection, query: &ArtifactQuery) -> Result<Matches, Cause> {
    let search = Search::new(at, query)?;
    match query.sort {
        Sort::Newest => search.by_time(Direction::Newest),
        Sort::Oldest => search.by_time(Direction::Oldest),
        Sort::Size | Sort::Name => search.by_key(),
        Sort::Rank => rank::ranked(&search),
    }
}

/// The row of a slot.
const fn row_of(slot: i64) -> i64 {
    slot.saturating_neg()
}

/// A query, and what of it the tables can answer.
pub(crate) struct Search<'a> {
    pub(crate) at: &'a Connection,
    pub(crate) query: &'a ArtifactQuery,
    words: Option<String>,
    facets: Option<String>,
    /// The most by which a slot is later than its artifact's time.
    pub(crate) latest: i64,
    /// The rows that can match.
    low: i64,
    high: i64,
}

impl<'a> Search<'a> {
    pub(crate) fn new(at: &'a Connection, query: &'a ArtifactQuery) -> Result<Self, Cause> {
        let latest: i64 = at
            .prepare_cached("SELECT late FROM latest")?
            .query_row([], |row| row.get(0))?;
        let until = query.until.map(|until| until.as_micros().saturating_sub(1));
        let facets = facets::expression(query);
        Ok(Self {
            at,
            query,
            words: expression::expression(at, query, facets.is_some())?,
            facets,
            latest,
            low: until.map_or(i64::MIN, |until| row_of(until.saturating_add(latest))),
            high: query.since.map_or(i64::MAX, |since| row_of(since.as_micros())),
        })
    }

    /// Whether nothing can match.
    fn is_empty(&self) -> bool {
        let (least, most) = (
            self.query.min_size.unwrap_or(0),
            self.query.max_size.unwrap_or(u64::MAX),
        );
        self.low > self.high || least > most
    }

    /// Whether what the tables find is what matches, without another look.
    pub(crate) fn is_exact(&self) -> bool {
        // Unwanted tags alone are nothing that facets are asked for.
        let heeds_tags = self.facets.is_some() || self.query.no_tags.is_empty();
        self.latest == 0
            && heeds_tags
            && self.query.name.is_none()
            && self.query.min_size.is_none()
            && self.query.max_size.is_none()
    }

    /// Calls `each` for the rows that full-text search finds, until it says that it has enough. Tells whether the query
    /// says something that full-text search knows.
    pub(crate) fn candidates(
        &self,
        direction: Direction,
        each: impl FnMut(i64) -> Result<bool, Cause>,
    ) -> Result<bool, Cause> {
        let bounds = (self.low, self.high);
        let stream = |table, expression: &String| Stream::new(self.at, table, expression.clone());
        let words = self.words.as_ref().map(|words| stream(Table::Words, words));
        let facets = self.facets.as_ref().map(|facets| stream(Table::Facets, facets));
        match (words, facets) {
            (None, None) => return Ok(false),
            (Some(one), None) | (None, Some(one)) => one.visit(bounds, direction, each)?,
            (Some(words), Some(facets)) => Common::new(facets, words, bounds, direction).visit(each)?,
        }
        Ok(true)
    }

    /// All matches in the order of time, until `each` has enough.
    pub(crate) fn visit(
        &self,
        direction: Direction,
        mut each: impl FnMut(Stored) -> Result<bool, Cause>,
    ) -> Result<(), Cause> {
        if self.is_empty() {
            return Ok(());
        }
        let mut clusters = Clusters::new(self);
        let mut fetch = self.at.prepare_cached(FETCH)?;
        let known = self.candidates(direction, |id| {
            let mut rows = fetch.query([id])?;
            let Some(row) = rows.next()? else {
                return Err(Cause::Foreign("it has words of an artifact that it has not"));
            };
            let stored = clusters.read(row)?;
            drop(rows);
            stored.map_or(Ok(true), &mut each)
        })?;
        if known {
            return Ok(());
        }
        let sql = match direction {
            Direction::Newest => {
                "SELECT id, session, record, name_key FROM artifact WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
            }
            Direction::Oldest => {
                "SELECT id, session, record, name_key FROM artifact WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC"
            }
        };
        let mut statement = self.at.prepare_cached(sql)?;
        let mut rows = statement.query([self.low, self.high])?;
        while let Some(row) = rows.next()? {
            if let Some(stored) = clusters.read(row)?
                && !each(stored)?
            {
                break;
            }
        }
        Ok(())
    }

    fn by_time(mut self, direction: Direction) -> Result<Matches, Cause> {
        if let Some(after) = &self.query.after {
            let created = after.created_at().as_micros();
            match direction {
                Direction::Newest => self.low = self.low.max(row_of(created.saturating_add(self.latest))),
                Direction::Oldest => self.high = self.high.min(row_of(created)),
            }
        }
        let mut page = Page::new(self.query);
        self.visit(direction, |stored| {
            page.offer(stored.artifact);
            // Whatever comes later in this list was not added later, or earlier, than this.
            Ok(page.last_kept().is_none_or(|last| match direction {
                Direction::Newest => stored.slot >= last.created_at().as_micros(),
                Direction::Oldest => stored.slot.saturating_sub(self.latest) <= last.created_at().as_micros(),
            }))
        })?;
        Ok(page.into_matches())
    }

    fn by_key(&self) -> Result<Matches, Cause> {
        if self.is_empty() {
            return Ok(Matches::default());
        }
        if let Some(matches) = self.by_magnitude()? {
            return Ok(matches);
        }
        match self.gathered()? {
            Some(ids) => {
                let mut page = Page::new(self.query);
                self.sorted(&ids, &mut page)?;
                Ok(page.into_matches())
            }
            None => self.scanned(),
        }
    }

    /// All candidates, where they are few.
    fn gathered(&self) -> Result<Option<Vec<i64>>, Cause> {
        let mut gathered = Vec::new();
        let known = self.candidates(Direction::Newest, |id| {
            gathered.push(id);
            Ok(gathered.len() <= GATHERED)
        })?;
        Ok((known && gathered.len() <= GATHERED).then_some(gathered))
    }

    /// The largest, by the facets of sizes: one order of magnitude after the other, until the page is full. `None` where
    /// that is no help.
    fn by_magnitude(&self) -> Result<Option<Matches>, Cause> {
        let after = self.query.after.as_ref().map(PageCursor::size);
        if self.query.sort != Sort::Size
            || (self.words.is_none() && self.facets.is_none())
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
        for magnitude in (0..=magnitude(most)).rev() {
            let (least, most) = sizes_of(magnitude);
            let mut query = self.query.clone();
            query.min_size = Some(query.min_size.map_or(least, |min| min.max(least)));
            query.max_size = Some(query.max_size.map_or(most, |max| max.min(most)));
            let of_magnitude = Search::new(self.at, &query)?;
            if of_magnitude.is_empty() {
                continue;
            }
            let Some(ids) = of_magnitude.gathered()? else {
                return Ok(None);
            };
            self.sorted(&ids, &mut page)?;
            if page.is_full() {
                return Ok(Some(page.into_matches()));
            }
        }
        // There may be some of unknown size.
        Ok(None)
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
        let mut clusters = Clusters::new(self);
        for (key, id) in keyed {
            if self.is_before_cursor(&key) {
                continue;
            }
            let mut rows = fetch.query([id])?;
            let Some(row) = rows.next()? else { continue };
            let stored = clusters.read(row)?;
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
            Some(expression) => Some((
                self.at
                    .prepare_cached("SELECT 1 FROM words WHERE words MATCH ?1 AND rowid = ?2")?,
                expression,
            )),
            None => None,
        };
        let mut clusters = Clusters::new(self).with_needles()?;
        let mut page = Page::new(self.query);
        for (sql, bounds) in self.scans() {
            let mut statement = self.at.prepare_cached(sql)?;
            let mut rows = statement.query(params_from_iter(bounds))?;
            while let Some(row) = rows.next()? {
                let (id, key) = (row.get(0)?, Key::of(row.get(4)?));
                let mut found = clusters.read(row)?;
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

/// Compares rows with the query, whose cluster is a matter of their sessions.
struct Clusters<'s> {
    at: &'s Connection,
    query: &'s ArtifactQuery,
    names: HashMap<i64, String>,
    /// Texts that the record of each match has: reading records is what costs where few match.
    needles: Vec<String>,
}

impl<'s> Clusters<'s> {
    fn new(search: &Search<'s>) -> Self {
        Self {
            at: search.at,
            query: search.query,
            names: HashMap::new(),
            needles: Vec::new(),
        }
    }

    /// Has records searched for what they must say, as it was written, before they are read.
    fn with_needles(mut self) -> Result<Self, Cause> {
        let query = self.query;
        let mut needed = |key: &str, value: Option<serde_json::Result<String>>| -> Result<(), Cause> {
            if let Some(value) = value {
                self.needles.push(format!("\"{key}\":{}", value?));
            }
            Ok(())
        };
        needed("session_id", query.session_id.as_ref().map(serde_json::to_string))?;
        needed(
            "collection_id",
            query.collection_id.as_ref().map(serde_json::to_string),
        )?;
        needed("upgrade_id", query.upgrade_id.as_ref().map(serde_json::to_string))?;
        needed("task_id", query.task_id.as_ref().map(serde_json::to_string))?;
        if let [one] = query.types.as_slice() {
            needed("artifact_type", Some(serde_json::to_string(one)))?;
        }
        Ok(self)
    }

    /// An artifact if it matches: `SELECT id, session, record, name_key`.
    fn read(&mut self, row: &Row<'_>) -> Result<Option<Stored>, Cause> {
        if let Some(name) = &self.query.name
            && !name.matches(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)
        {
            return Ok(None);
        }
        if !self.needles.is_empty() {
            let record = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            if !self.needles.iter().all(|needle| record.contains(needle)) {
                return Ok(None);
            }
        }
        let stored = Stored::read(row)?;
        Ok(self.matches(&stored)?.then_some(stored))
    }

    fn matches(&mut self, stored: &Stored) -> Result<bool, Cause> {
        if self.query.cluster_name.is_none() {
            return Ok(self.query.matches_record(&stored.artifact, ""));
        }
        if !self.names.contains_key(&stored.session) {
            let name = self
                .at
                .prepare_cached("SELECT cluster_name FROM session WHERE id = ?1")?
                .query_row([stored.session], |row| row.get(0))?;
            self.names.insert(stored.session, name);
        }
        let name = self.names.get(&stored.session).map_or("", String::as_str);
        Ok(self.query.matches_record(&stored.artifact, name))
    }
}

/// The first matches after the cursor, and one more if there is one.
pub(crate) struct Page<'q> {
    query: &'q ArtifactQuery,
    kept: Vec<(PageCursor, Arc<Artifact>)>,
}

impl<'q> Page<'q> {
    pub(crate) const fn new(query: &'q ArtifactQuery) -> Self {
        Self {
            query,
            kept: Vec::new(),
        }
    }

    /// Takes a match if it belongs here. They come nearly in order.
    pub(crate) fn offer(&mut self, artifact: Arc<Artifact>) {
        let place = PageCursor::of(self.query, &artifact);
        if self.query.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        let index = self.kept.partition_point(|(kept, _)| *kept <= place);
        if index <= self.query.limit {
            self.kept.insert(index, (place, artifact));
            self.kept.truncate(self.query.limit.saturating_add(1));
        }
    }

    /// Whether nothing that comes after what it has can belong here.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() > self.query.limit
    }

    /// The place of the one that shows that there are more, once there is one.
    fn last_kept(&self) -> Option<&PageCursor> {
        self.kept.get(self.query.limit).map(|(place, _)| place)
    }

    pub(crate) fn into_matches(mut self) -> Matches {
        let more = self.kept.len() > self.query.limit;
        self.kept.truncate(self.query.limit);
        Matches {
            next: self.kept.last().filter(|_| more).map(|(place, _)| place.clone()),
            artifacts: self.kept.into_iter().map(|(_, artifact)| artifact).collect(),
            more,
        }
    }
}

/// The newest matches, as many as are ranked.
pub(crate) fn newest(search: &Search<'_>) -> Result<Vec<Arc<Artifact>>, Cause> {
    let mut query = search
        .query
        .clone()
        .with_sort(Sort::Newest)
        .with_limit(MAX_RANKED);
    query.after = None;
    Ok(Search::new(search.at, &query)?
        .by_time(Direction::Newest)?
        .artifacts)
}
