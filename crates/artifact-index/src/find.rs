//! Queries: where candidates come from, and which of them are the page that was asked for.

use std::sync::Arc;

use artifact_core::{ArtifactQuery, MAX_RANKED, Matches, Sort};
use rusqlite::Connection;
use tracking_model::Artifact;

use crate::compare::Comparison;
use crate::error::Cause;
use crate::page::Page;
use crate::record::Stored;
use crate::stream::{Common, Direction, Stream, Table};
use crate::{expression, facets, rank};

/// A row as it is compared with the query.
pub(crate) const FETCH: &str = "SELECT id, session, record, name_key FROM artifact WHERE id = ?1";

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
    pub(crate) words: Option<String>,
    pub(crate) statuses: Option<String>,
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
        Ok(Self {
            at,
            query,
            words: expression::expression(at, query)?,
            statuses: facets::statuses(query),
            latest,
            low: until.map_or(i64::MIN, |until| row_of(until.saturating_add(latest))),
            high: query.since.map_or(i64::MAX, |since| row_of(since.as_micros())),
        })
    }

    /// Whether nothing can match.
    pub(crate) fn is_empty(&self) -> bool {
        let (least, most) = (
            self.query.min_size.unwrap_or(0),
            self.query.max_size.unwrap_or(u64::MAX),
        );
        self.low > self.high || least > most
    }

    /// Whether what the tables find is what matches, without another look.
    pub(crate) fn is_exact(&self) -> bool {
        self.latest == 0
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
        self.follow(self.words.as_ref(), direction, each)
    }

    /// The same, with other words than the query's.
    fn follow(
        &self,
        words: Option<&String>,
        direction: Direction,
        each: impl FnMut(i64) -> Result<bool, Cause>,
    ) -> Result<bool, Cause> {
        let bounds = (self.low, self.high);
        let stream = |table, expression: &String| Stream::new(self.at, table, expression.clone());
        let words = words.map(|words| stream(Table::Words, words));
        let statuses = self.statuses.as_ref().map(|one| stream(Table::Statuses, one));
        match (words, statuses) {
            (None, None) => return Ok(false),
            (Some(one), None) | (None, Some(one)) => one.visit(bounds, direction, each)?,
            (Some(words), Some(statuses)) => Common::new(statuses, words, bounds, direction).visit(each)?,
        }
        Ok(true)
    }

    /// The candidate at a place, from 1, counted from the newest; `None` if there are fewer.
    pub(crate) fn nth(&self, place: usize) -> Result<Option<i64>, Cause> {
        let bounds = (self.low, self.high);
        if let (Some(words), None) = (&self.words, &self.statuses) {
            return Stream::new(self.at, Table::Words, words.clone()).nth(bounds, place);
        }
        let (mut at, mut found) = (0, None);
        self.candidates(Direction::Newest, |id| {
            at += 1;
            found = (at == place).then_some(id);
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Calls `each` for the candidates, the newest first, that are also in one of the lists of words, until it has enough.
    pub(crate) fn with_any<'l>(
        &self,
        lists: impl Iterator<Item = &'l String>,
        each: impl FnMut(i64) -> Result<bool, Cause>,
    ) -> Result<(), Cause> {
        let any: Vec<&str> = lists.map(String::as_str).collect();
        if any.is_empty() {
            return Ok(());
        }
        let any = any.join(" OR ");
        let both = match &self.words {
            Some(words) => format!("({words}) AND ({any})"),
            None => any,
        };
        self.follow(Some(&both), Direction::Newest, each).map(|_| ())
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
        let mut comparison = Comparison::new(self);
        let mut fetch = self.at.prepare_cached(FETCH)?;
        let known = self.candidates(direction, |id| {
            let mut rows = fetch.query([id])?;
            let Some(row) = rows.next()? else {
                return Err(Cause::Foreign("it has words of an artifact that it has not"));
            };
            let stored = comparison.read(row)?;
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
            if let Some(stored) = comparison.read(row)?
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

#[cfg(test)]
mod tests {
    use artifact_core::{ArtifactIndex, IndexBatch, NoTexts, TextQuery};
    use serde_json::json;
    use tracking_journal::Committed;
    use tracking_model::{ArtifactStatus, RecordMeta, SessionEvent, SessionId, StreamEvent, Timestamp};

    use super::*;
    use crate::SqliteIndex;
    use crate::database::Database;

    fn record(seq: u64, kind: &str, data: &serde_json::Value) -> Committed<SessionEvent> {
        Committed {
            meta: RecordMeta {
                seq,
                id: uuid::Uuid::nil(),
                at: Timestamp::from_micros(0),
                actor: Arc::from("test"),
            },
            event: SessionEvent::decode(kind, &data.to_string()).unwrap(),
        }
    }

    #[test]
    fn candidates_with_any_list_are_those_alone_where_statuses_are_asked_for_too() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("index.sqlite");
        let session: SessionId = "s".parse().unwrap();
        let artifact = |number: i64| {
            json!({
                "artifact_id": format!("a{number}"), "session_id": "s", "collection_id": "c", "upgrade_id": "u",
                "name": if number % 10 == 0 { "needle.log" } else { "hay.log" }, "artifact_type": "log_file",
                "description": "every one", "status": if number % 3 == 0 { "uploaded" } else { "created" }, "tags": [],
                "created_at": Timestamp::from_micros(number)
            })
        };
        let batch = IndexBatch {
            session_id: session,
            records: (1..=60_i64)
                .map(|number| record(number.unsigned_abs(), "artifact.added", &artifact(number)))
                .collect(),
            position: None,
        };
        SqliteIndex::new(&path).apply(&[batch], &NoTexts).unwrap();

        let mut query = ArtifactQuery::new().with_text(TextQuery::new("every").unwrap());
        let needles = facets::quoted(&facets::plain(facets::Kind::InName, "needle"));
        let database = Database::open(&path).unwrap();
        let mut found = |statuses: Vec<ArtifactStatus>| {
            query.statuses = statuses;
            let visited = |at: &Connection| {
                let mut found = Vec::new();
                Search::new(at, &query)?.with_any([&needles].into_iter(), |id| {
                    found.push(-id);
                    Ok(true)
                })?;
                Ok(found)
            };
            database.read(visited).unwrap()
        };
        assert_eq!(found(vec![]), [60, 50, 40, 30, 20, 10]);
        assert_eq!(found(vec![ArtifactStatus::Uploaded]), [60, 30]);
        assert_eq!(found(vec![ArtifactStatus::Created]), [50, 40, 20, 10]);
        assert_eq!(found(ArtifactStatus::ALL.to_vec()), [60, 50, 40, 30, 20, 10]);
    }
}
