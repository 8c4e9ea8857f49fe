//! Writing rows: what is found of an artifact, and how many there are.

use std::collections::HashMap;

use artifact_core::{ArtifactTexts, Day};
use rusqlite::{CachedStatement, Connection, params};
use tracking_model::{Artifact, UpgradeId};

use crate::ahead::Parts;
use crate::error::Cause;
use crate::facets::{add_cluster, status, upgrade_number};
use crate::fold::{Changed, New};
use crate::load::{Loader, Sorter};
use crate::record::stored_size;

/// New artifacts that are ready to be written.
#[derive(Default)]
pub(crate) struct Handful<'a> {
    rows: Vec<Row<'a>>,
    /// Words that are to be sorted now, of these and of artifacts before.
    words: Vec<Sorter>,
}

/// A new artifact as it is written.
struct Row<'a> {
    new: &'a New<'a>,
    name_key: String,
    words: RowWords,
    record: String,
}

enum RowWords {
    Unsorted(String),
    /// How many were given to be sorted.
    Sorted(u64),
}

impl<'a> Handful<'a> {
    /// No artifacts, only what is left of their words.
    pub(crate) fn of_words(words: Sorter) -> Self {
        Self {
            rows: Vec::new(),
            words: vec![words],
        }
    }

    /// Adds an artifact, whose words are sorted if there is a sorter.
    pub(crate) fn add(
        &mut self,
        new: &'a New<'a>,
        parts: Parts,
        cluster_name: &str,
        sorter: Option<&mut Sorter>,
    ) {
        let Parts {
            name_key,
            mut words,
            record,
        } = parts;
        add_cluster(&mut words, cluster_name);
        let words = match sorter {
            None => RowWords::Unsorted(words),
            Some(sorter) => {
                let count = sorter.add(-new.slot, &words);
                self.words.extend(sorter.take_full());
                RowWords::Sorted(count)
            }
        };
        self.rows.push(Row {
            new,
            name_key,
            words,
            record,
        });
    }
}

pub(crate) fn remove(at: &Connection, id: i64) -> Result<(), Cause> {
    for statement in [
        "DELETE FROM words WHERE rowid = ?1",
        "DELETE FROM statuses WHERE rowid = ?1",
        "DELETE FROM artifact WHERE id = ?1",
    ] {
        at.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}

/// Writes rows, in their order: full-text search begins a new piece for each row that comes before the last one.
pub(crate) struct Writer<'c> {
    at: &'c Connection,
    artifact: CachedStatement<'c>,
    statuses: CachedStatement<'c>,
    words: CachedStatement<'c>,
    /// Takes the words of new artifacts where there are very many.
    loader: Option<Loader<'c>>,
    latest: i64,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(at: &'c Connection) -> Result<Self, Cause> {
        Ok(Self {
            at,
            artifact: at.prepare_cached(
                "INSERT INTO artifact (id, session, upgrade, status, size, name_key, artifact_id, record) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            statuses: at.prepare_cached("INSERT INTO statuses (rowid, list) VALUES (?1, ?2)")?,
            words: at.prepare_cached("INSERT INTO words (rowid, list) VALUES (?1, ?2)")?,
            loader: None,
            latest: 0,
        })
    }

    /// Writes artifacts, in their order.
    pub(crate) fn add(&mut self, handful: Handful<'_>, counts: &mut Counts) -> Result<(), Cause> {
        for row in &handful.rows {
            self.add_row(row, counts)?;
        }
        for words in handful.words {
            self.loader()?.add(words)?;
        }
        Ok(())
    }

    fn add_row(&mut self, row: &Row<'_>, counts: &mut Counts) -> Result<(), Cause> {
        let New {
            session,
            slot,
            artifact,
        } = row.new;
        let id = -slot;
        self.artifact.execute(params![
            id,
            session,
            upgrade_number(artifact.upgrade_id.as_str()),
            artifact.status as i64,
            artifact.file_size.map(stored_size),
            row.name_key,
            artifact.artifact_id.as_str(),
            row.record,
        ])?;
        self.statuses.execute(params![id, status(artifact.status)])?;
        match &row.words {
            RowWords::Unsorted(words) => {
                self.words.execute(params![id, words])?;
            }
            RowWords::Sorted(count) => self.loader()?.count(id, *count)?,
        }
        self.latest = self.latest.max(slot - artifact.created_at.as_micros());
        counts.add(*session, artifact, 1);
        Ok(())
    }

    /// Made by the first words that are sorted: nothing may be asked of full-text search after that.
    fn loader(&mut self) -> Result<&mut Loader<'c>, Cause> {
        match &mut self.loader {
            Some(loader) => Ok(loader),
            none => Ok(none.insert(Loader::new(self.at)?)),
        }
    }

    pub(crate) fn change(
        &mut self,
        id: i64,
        changed: &Changed,
        cluster_name: &str,
        texts: &dyn ArtifactTexts,
        counts: &mut Counts,
    ) -> Result<(), Cause> {
        let artifact = &changed.artifact;
        self.at
            .prepare_cached("UPDATE artifact SET status = ?2, record = ?3 WHERE id = ?1")?
            .execute(params![
                id,
                artifact.status as i64,
                serde_json::to_string(artifact)?
            ])?;
        self.at
            .prepare_cached("DELETE FROM statuses WHERE rowid = ?1")?
            .execute([id])?;
        self.statuses.execute(params![id, status(artifact.status)])?;
        if changed.words {
            self.at
                .prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                .execute([id])?;
            let mut words = Parts::of(artifact, texts)?.words;
            add_cluster(&mut words, cluster_name);
            self.words.execute(params![id, words])?;
        }
        counts.add(changed.session, artifact, 1);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Cause> {
        self.loader.map_or(Ok(()), Loader::finish)?;
        self.at
            .prepare_cached("UPDATE latest SET late = ?1 WHERE late < ?1")?
            .execute([self.latest])?;
        Ok(())
    }
}

/// What artifacts have in common that are counted together.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group {
    session: i64,
    upgrade_id: UpgradeId,
    artifact_type: i64,
    status: i64,
    day: i64,
}

/// How many artifacts and bytes are to be added to each group.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<Group, (i64, i64)>);

impl Counts {
    pub(crate) fn add(&mut self, session: i64, artifact: &Artifact, by: i64) {
        let group = Group {
            session,
            upgrade_id: artifact.upgrade_id.clone(),
            artifact_type: artifact.artifact_type as i64,
            status: artifact.status as i64,
            day: Day::of(artifact.created_at).number(),
        };
        let (artifacts, bytes) = self.0.entry(group).or_default();
        *artifacts += by;
        *bytes = bytes.saturating_add(by.saturating_mul(stored_size(artifact.file_size.unwrap_or(0))));
    }

    pub(crate) fn write(&self, at: &Connection) -> Result<(), Cause> {
        let mut statement = at.prepare_cached(
            "INSERT INTO tally (session, upgrade_id, type, status, day, artifacts, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET artifacts = artifacts + excluded.artifacts, bytes = bytes + excluded.bytes",
        )?;
        for (group, (artifacts, bytes)) in &self.0 {
            statement.execute(params![
                group.session,
                group.upgrade_id.as_str(),
                group.artifact_type,
                group.status,
                group.day,
                artifacts,
                bytes
            ])?;
        }
        Ok(())
    }
}
