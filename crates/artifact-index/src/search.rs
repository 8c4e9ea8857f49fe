//! Queries: SQL yields candidates in the wanted order, and each is compared with the query.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use artifact_core::{ArtifactQuery, MAX_RANKED, Matches, PageCursor, Sort};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use tracking_model::{Artifact, ArtifactStatus};

use crate::error::Cause;
use crate::facets;
use crate::row::{record, size_column, stored_size};

pub(crate) fn find(at: &Connection, query: &ArtifactQuery) -> Result<Matches, Cause> {
    let mut page = Page::new(query);
    if query.sort == Sort::Rank {
        let mut newest = query.clone().with_sort(Sort::Newest).with_limit(MAX_RANKED);
        newest.after = None;
        for artifact in find(at, &newest)?.artifacts {
            page.offer(artifact);
        }
        return Ok(page.into_matches());
    }
    let search = Search::new(at, query)?;
    search.visit(|candidate, artifact| {
        if let Some(artifact) = artifact {
            page.offer(artifact);
        }
        !page
            .last_kept()
            .is_some_and(|last| search.is_past(candidate, last))
    })?;
    Ok(page.into_matches())
}

/// A row as SQL yields it, in the order of the query.
#[derive(Debug)]
struct Candidate {
    /// At its artifact's time, or later by at most `late`.
    slot: i64,
    key: Key,
}

/// The column that a query sorts by, beside time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    None,
    /// The largest first.
    Size(std::cmp::Reverse<i64>),
    Name(String),
}

/// A query, and its SQL.
pub(crate) struct Search<'a> {
    at: &'a Connection,
    query: &'a ArtifactQuery,
    /// The most by which a slot is later than its artifact's time.
    late: i64,
    sql: String,
    values: Vec<Value>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(at: &'a Connection, query: &'a ArtifactQuery) -> Result<Self, Cause> {
        let late: i64 = at
            .prepare_cached("SELECT late FROM latest")?
            .query_row([], |row| row.get(0))?;
        let (sql, values) = select(query, late);
        Ok(Self {
            at,
            query,
            late,
            sql,
            values,
        })
    }

    /// Calls `each` with all matches in the order of the query until it returns false.
    pub(crate) fn all(&self, mut each: impl FnMut(&Artifact)) -> Result<(), Cause> {
        self.visit(|_, artifact| {
            if let Some(artifact) = artifact {
                each(&artifact);
            }
            true
        })
    }

    /// Calls `each` with every candidate, and its artifact if that matches, until `each` returns false.
    fn visit(&self, mut each: impl FnMut(&Candidate, Option<Arc<Artifact>>) -> bool) -> Result<(), Cause> {
        let mut statement = self.at.prepare_cached(&self.sql)?;
        let mut rows = statement.query(params_from_iter(&self.values))?;
        let mut clusters = HashMap::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let key = match self.query.sort {
                Sort::Newest | Sort::Oldest | Sort::Rank => Key::None,
                Sort::Size => Key::Size(std::cmp::Reverse(row.get(1)?)),
                Sort::Name => Key::Name(row.get(1)?),
            };
            let artifact = self.matching(id, &mut clusters)?;
            if !each(&Candidate { slot: -id, key }, artifact) {
                break;
            }
        }
        Ok(())
    }

    /// The artifact of a row if the query matches it.
    fn matching(&self, id: i64, clusters: &mut HashMap<i64, String>) -> Result<Option<Arc<Artifact>>, Cause> {
        let mut statement = self
            .at
            .prepare_cached("SELECT session, name_key FROM artifact WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        let row = rows
            .next()?
            .ok_or(Cause::Foreign("it has words without an artifact"))?;
        if let Some(name) = &self.query.name
            && !name.matches(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)
        {
            return Ok(None);
        }
        let artifact = record(self.at, id)?;
        let session: i64 = row.get(0)?;
        let cluster = if self.query.cluster_name.is_none() {
            ""
        } else {
            match clusters.entry(session) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.cluster(session)?),
            }
            .as_str()
        };
        Ok(self
            .query
            .matches_record(&artifact, cluster)
            .then(|| Arc::new(artifact)))
    }

    fn cluster(&self, session: i64) -> Result<String, Cause> {
        let mut statement = self
            .at
            .prepare_cached("SELECT cluster_name FROM session WHERE id = ?1")?;
        Ok(statement.query_row([session], |row| row.get(0))?)
    }

    /// True if every candidate after this one comes after `last` in the order of the query.
    fn is_past(&self, candidate: &Candidate, last: &PageCursor) -> bool {
        let last_at = last.created_at().as_micros();
        let last_key = match self.query.sort {
            Sort::Oldest => return candidate.slot.saturating_sub(self.late) > last_at,
            Sort::Newest | Sort::Rank => Key::None,
            Sort::Size => Key::Size(std::cmp::Reverse(size_column(last.size()))),
            Sort::Name => Key::Name(last.name().unwrap_or_default().to_owned()),
        };
        candidate.key > last_key || (candidate.key == last_key && candidate.slot < last_at)
    }
}

/// The statement that yields `id, key` of the candidates of a query, in its order, and the statement's values.
fn select(query: &ArtifactQuery, late: i64) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    let words = facets::expression(query);
    let id = match &words {
        Some(_) => "words.rowid",
        None => "artifact.id",
    };
    let (low, high) = rows_of(query, late);
    conditions.add(&format!("{id} >= "), low.map(Value::Integer));
    conditions.add(&format!("{id} <= "), high.map(Value::Integer));
    let from = match words {
        Some(words) => {
            // Conditions on columns let a row pass that is missing, which is damage and is reported.
            let columns = columns(query, &mut conditions.values);
            if !columns.is_empty() {
                let all = columns.join(" AND ");
                conditions.list.push(format!("(artifact.id IS NULL OR ({all}))"));
            }
            conditions.add("words MATCH ", Some(Value::Text(words)));
            "words LEFT JOIN artifact ON artifact.id = words.rowid"
        }
        None => {
            let columns = columns(query, &mut conditions.values);
            conditions.list.extend(columns);
            "artifact"
        }
    };
    let (key, order) = match query.sort {
        Sort::Newest | Sort::Rank => ("0", id.to_owned()),
        Sort::Oldest => ("0", format!("{id} DESC")),
        Sort::Size => ("artifact.size", "artifact.size DESC, artifact.id".to_owned()),
        Sort::Name => ("artifact.name_key", "artifact.name_key, artifact.id".to_owned()),
    };
    let Conditions { list, values } = conditions;
    let list = if list.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", list.join(" AND "))
    };
    (
        format!("SELECT {id}, {key} FROM {from}{list} ORDER BY {order}"),
        values,
    )
}

/// Conditions that must all hold, with the values of their parameters.
#[derive(Default)]
struct Conditions {
    list: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, comparison: &str, value: Option<Value>) {
        self.list.extend(condition(comparison, value, &mut self.values));
    }
}

fn condition(comparison: &str, value: Option<Value>, values: &mut Vec<Value>) -> Option<String> {
    values.push(value?);
    Some(format!("{comparison}?{}", values.len()))
}

/// The conditions on the columns of an artifact.
fn columns(query: &ArtifactQuery, values: &mut Vec<Value>) -> Vec<String> {
    let any_size = query.min_size.is_none() && query.max_size.is_none();
    let least = (!any_size).then(|| query.min_size.map_or(0, stored_size));
    let most = query.max_size.map(stored_size);
    let (mut from_size, mut from_name) = (None, None);
    if let Some(after) = &query.after {
        match query.sort {
            Sort::Size => from_size = Some(size_column(after.size())),
            Sort::Name => from_name = Some(after.name().unwrap_or_default().to_owned()),
            Sort::Newest | Sort::Oldest | Sort::Rank => {}
        }
    }
    let comparisons = [
        ("+artifact.size >= ", least.map(Value::Integer)),
        ("+artifact.size <= ", most.map(Value::Integer)),
        ("artifact.size <= ", from_size.map(Value::Integer)),
        ("artifact.name_key >= ", from_name.map(Value::Text)),
    ];
    let mut columns: Vec<String> = comparisons
        .into_iter()
        .filter_map(|(comparison, value)| condition(comparison, value, values))
        .collect();
    columns.extend(statuses(query));
    columns
}

/// The least and the greatest row that can match, by time.
fn rows_of(query: &ArtifactQuery, late: i64) -> (Option<i64>, Option<i64>) {
    let row_of = |slot: i64| slot.saturating_neg();
    let until = query.until.map(|until| until.as_micros().saturating_sub(1));
    let mut low = until.map(|until| row_of(until.saturating_add(late)));
    let mut high = query.since.map(|since| row_of(since.as_micros()));
    if let Some(after) = &query.after {
        let created = after.created_at().as_micros();
        match query.sort {
            Sort::Newest => low = low.max(Some(row_of(created.saturating_add(late)))),
            Sort::Oldest => high = Some(high.map_or(row_of(created), |high| high.min(row_of(created)))),
            Sort::Rank | Sort::Size | Sort::Name => {}
        }
    }
    (low, high)
}

/// A condition for the statuses of a query. Only one rare status is worth the index of statuses: it has the order of time
/// for one, and for more every match would be sorted.
fn statuses(query: &ArtifactQuery) -> Option<String> {
    match query.statuses.as_slice() {
        [] => Some(format!("+artifact.status <> {}", ArtifactStatus::Deleted as i64)),
        [one] if matches!(query.sort, Sort::Newest | Sort::Oldest) => {
            Some(format!("artifact.status = {}", *one as i64))
        }
        all if ArtifactStatus::ALL.iter().all(|one| all.contains(one)) => None,
        some => {
            let numbers: Vec<String> = some.iter().map(|one| (*one as i64).to_string()).collect();
            Some(format!("+artifact.status IN ({})", numbers.join(", ")))
        }
    }
}

/// The page that was asked for, as matches are offered to it.
struct Page<'q> {
    query: &'q ArtifactQuery,
    /// The first matches after the cursor, and one more if there is one.
    kept: Vec<(PageCursor, Arc<Artifact>)>,
}

impl<'q> Page<'q> {
    const fn new(query: &'q ArtifactQuery) -> Self {
        Self {
            query,
            kept: Vec::new(),
        }
    }

    /// Takes a match if it belongs here. Matches come nearly in order.
    fn offer(&mut self, artifact: Arc<Artifact>) {
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

    /// The place of the match that shows that there are more, once there is one.
    fn last_kept(&self) -> Option<&PageCursor> {
        self.kept.get(self.query.limit).map(|(place, _)| place)
    }

    fn into_matches(mut self) -> Matches {
        let more = self.kept.len() > self.query.limit;
        self.kept.truncate(self.query.limit);
        Matches {
            next: self.kept.last().filter(|_| more).map(|(place, _)| place.clone()),
            artifacts: self.kept.into_iter().map(|(_, artifact)| artifact).collect(),
            more,
        }
    }
}
