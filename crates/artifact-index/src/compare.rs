//! Comparing rows with a query: what the tables find is a superset of what matches.

use std::collections::HashMap;

use artifact_core::ArtifactQuery;
use rusqlite::{Connection, Row};

use crate::error::Cause;
use crate::find::Search;
use crate::record::Stored;

/// Compares rows with the query, whose cluster is a matter of their sessions.
pub(crate) struct Comparison<'s> {
    at: &'s Connection,
    query: &'s ArtifactQuery,
    names: HashMap<i64, String>,
    /// Texts that the record of each match has: reading records is what costs where few match.
    needles: Vec<String>,
}

impl<'s> Comparison<'s> {
    pub(crate) fn new(search: &Search<'s>) -> Self {
        Self {
            at: search.at,
            query: search.query,
            names: HashMap::new(),
            needles: Vec::new(),
        }
    }

    /// Has records searched for what they must say, as it was written, before they are read.
    pub(crate) fn with_needles(mut self) -> Result<Self, Cause> {
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
    pub(crate) fn read(&mut self, row: &Row<'_>) -> Result<Option<Stored>, Cause> {
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
