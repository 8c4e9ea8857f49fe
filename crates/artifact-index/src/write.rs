//! Writing: records, rows and how far a session was taken up, in one transaction.

use std::collections::HashMap;

use artifact_core::tokenizer::folded;
use artifact_core::{ArtifactTexts, IndexBatch};
use rusqlite::{Connection, params};
use tracking_model::{Artifact, SessionId};

use crate::error::Cause;
use crate::facets::word_list;
use crate::fold::Outcome;
use crate::row::{checksum, size_column};
use crate::session::Session;

/// Takes up the records of the batches that are not there yet.
pub(crate) fn apply(at: &Connection, batches: &[IndexBatch], texts: &dyn ArtifactTexts) -> Result<(), Cause> {
    let mut outcome = Outcome::new(at)?;
    let mut clusters = HashMap::new();
    for batch in batches {
        let mut session = Session::of(at, &batch.session_id)?;
        // Another process may have taken up the same records meanwhile.
        let first = batch
            .records
            .partition_point(|record| record.meta.seq <= session.seq);
        let new = batch.records.get(first..).unwrap_or_default();
        for record in new {
            outcome.take(&mut session, record)?;
        }
        let seq = new.last().map_or(session.seq, |record| record.meta.seq);
        session.write(at, seq, batch)?;
        clusters.insert(session.id, session.cluster_name);
    }
    outcome.place()?;
    let writer = Writer { at, texts, clusters };
    for id in outcome.gone {
        remove(at, id)?;
    }
    let mut counts = outcome.counts;
    for (id, changed) in &outcome.changed {
        writer.change(*id, changed.session, &changed.artifact, changed.words)?;
        counts.add(changed.session, &changed.artifact, 1);
    }
    let mut latest = 0;
    for new in &outcome.new {
        writer.add(-new.slot, new.session, &new.artifact)?;
        counts.add(new.session, &new.artifact, 1);
        latest = latest.max(new.slot - new.artifact.created_at.as_micros());
    }
    at.prepare_cached("UPDATE latest SET late = ?1 WHERE late < ?1")?
        .execute([latest])?;
    counts.write(at)
}

/// Removes everything that is known of a session.
pub(crate) fn forget(at: &Connection, session_id: &SessionId) -> Result<(), Cause> {
    let Some(session) = Session::find(at, session_id)? else {
        return Ok(());
    };
    let found: Vec<i64> = at
        .prepare_cached("SELECT id FROM artifact WHERE session = ?1 ORDER BY id")?
        .query_map([session.id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in found {
        remove(at, id)?;
    }
    at.execute("DELETE FROM tally WHERE session = ?1", [session.id])?;
    at.execute("DELETE FROM tombstone WHERE session = ?1", [session.id])?;
    at.execute("DELETE FROM session WHERE id = ?1", [session.id])?;
    Ok(())
}

fn remove(at: &Connection, id: i64) -> Result<(), Cause> {
    for statement in [
        "DELETE FROM words WHERE rowid = ?1",
        "DELETE FROM artifact WHERE id = ?1",
        "DELETE FROM record WHERE id = ?1",
    ] {
        at.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}

/// Writes rows. Full-text search is fastest where they come in the order of their numbers.
struct Writer<'a> {
    at: &'a Connection,
    texts: &'a dyn ArtifactTexts,
    /// The names of clusters, by session.
    clusters: HashMap<i64, String>,
}

impl Writer<'_> {
    fn add(&self, id: i64, session: i64, artifact: &Artifact) -> Result<(), Cause> {
        self.at
            .prepare_cached(
                "INSERT INTO artifact (id, session, status, size, name_key, artifact_id) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id,
                session,
                artifact.status as i64,
                size_column(artifact.file_size),
                folded(&artifact.name),
                artifact.artifact_id.as_str(),
            ])?;
        let json = serde_json::to_string(artifact)?;
        self.at
            .prepare_cached("INSERT INTO record (id, json, checksum) VALUES (?1, ?2, ?3)")?
            .execute(params![id, json, checksum(id, &json)])?;
        self.add_words(id, session, artifact)
    }

    /// A change keeps the name, the size and the time of an artifact.
    fn change(&self, id: i64, session: i64, artifact: &Artifact, words: bool) -> Result<(), Cause> {
        self.at
            .prepare_cached("UPDATE artifact SET status = ?2 WHERE id = ?1")?
            .execute(params![id, artifact.status as i64])?;
        let json = serde_json::to_string(artifact)?;
        self.at
            .prepare_cached("UPDATE record SET json = ?2, checksum = ?3 WHERE id = ?1")?
            .execute(params![id, json, checksum(id, &json)])?;
        if words {
            self.at
                .prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                .execute([id])?;
            self.add_words(id, session, artifact)?;
        }
        Ok(())
    }

    fn add_words(&self, id: i64, session: i64, artifact: &Artifact) -> Result<(), Cause> {
        let cluster_name = self.clusters.get(&session).map_or("", String::as_str);
        let list = word_list(artifact, cluster_name, &self.texts.words(artifact));
        self.at
            .prepare_cached("INSERT INTO words (rowid, list) VALUES (?1, ?2)")?
            .execute(params![id, list])?;
        Ok(())
    }
}
