//! Writing rows: what is found of an artifact, and how many there are.

use std::collections::HashMap;

use artifact_core::words::Words;
use artifact_core::{ArtifactTexts, Day};
use rusqlite::{CachedStatement, Connection, params};
use tracking_model::{Artifact, ArtifactStatus};

use crate::error::Cause;
use crate::expression::{DELETED, LIVE};
use crate::facets::{add_facets, status, upgrade_number};
use crate::fold::{Changed, New};
use crate::record::stored_size;

/// A new artifact as it is written.
pub(crate) struct Row<'a> {
    new: &'a New<'a>,
    name_key: String,
    words: String,
    record: String,
}

impl<'a> Row<'a> {
    pub(crate) fn new(
        new: &'a New<'a>,
        cluster_name: &str,
        texts: &dyn ArtifactTexts,
    ) -> Result<Self, Cause> {
        let name_key = new.artifact.name.to_lowercase();
        Ok(Self {
            words: words_of(&new.artifact, cluster_name, &name_key, texts),
            record: serde_json::to_string(&*new.artifact)?,
            name_key,
            new,
        })
    }
}

/// All that full-text search knows of an artifact, but for its status. What is short comes first, for places in a list are
/// written in fewer bytes the smaller they are.
fn words_of(artifact: &Artifact, cluster_name: &str, name_key: &str, texts: &dyn ArtifactTexts) -> String {
    let deleted = artifact.status == ArtifactStatus::Deleted;
    let text = if deleted { None } else { texts.text(artifact) };
    let words = Words::of(artifact, text.as_deref());
    let mut list = String::with_capacity(words.as_str().len() + 768);
    add_facets(&mut list, artifact, cluster_name, name_key);
    list.push_str(if deleted { DELETED } else { LIVE });
    list.push(' ');
    list.push_str(words.as_str());
    list
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
            latest: 0,
        })
    }

    pub(crate) fn add(&mut self, row: &Row<'_>, counts: &mut Counts) -> Result<(), Cause> {
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
        self.words.execute(params![id, row.words])?;
        self.latest = self.latest.max(slot - artifact.created_at.as_micros());
        counts.add(*session, artifact, 1);
        Ok(())
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
            let words = words_of(artifact, cluster_name, &artifact.name.to_lowercase(), texts);
            self.words.execute(params![id, words])?;
        }
        counts.add(changed.session, artifact, 1);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Cause> {
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
    upgrade_id: String,
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
            upgrade_id: artifact.upgrade_id.to_string(),
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
                group.upgrade_id,
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
