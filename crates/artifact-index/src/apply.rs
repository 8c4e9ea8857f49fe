//! Taking up records: all of a batch and how far it goes, in one transaction.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::thread;

use artifact_core::words::Words;
use artifact_core::{ArtifactTexts, Day, IndexBatch};
use rusqlite::{Connection, OptionalExtension, params};
use tracking_journal::Committed;
use tracking_model::{Artifact, ArtifactChange, ArtifactStatus, SessionEvent, SessionId, Timestamp};

use crate::error::Cause;
use crate::expression::{DELETED, LIVE};
use crate::facets::{Kind, facets_of, hashed, quoted};
use crate::record::{decode, stored_size};
use crate::schema;

/// From so many records on, one thread makes ready what another writes.
const WORTH_A_THREAD: usize = 256;
/// Records that are handed from one to the other at a time.
const HANDFUL: usize = 64;

/// From so many records on, a batch may be part of building the index anew.
const MANY: usize = 2048;

/// How many artifacts there are.
fn artifacts(at: &Connection) -> Result<i64, Cause> {
    let mut count = at.prepare_cached("SELECT coalesce(sum(artifacts), 0) FROM tally")?;
    Ok(count.query_row([], |row| row.get(0))?)
}

/// Takes up what of a batch is not there yet.
pub(crate) fn apply(at: &Connection, batch: &IndexBatch, texts: &dyn ArtifactTexts) -> Result<(), Cause> {
    let session = Session::of(at, &batch.session_id)?;
    // Another process may have taken up the same records meanwhile.
    let first = batch
        .records
        .partition_point(|record| record.meta.seq <= session.seq);
    let new = batch.records.get(first..).unwrap_or_default();
    if new.len() >= MANY && 8 * stored_size(new.len() as u64) > artifacts(at)? {
        at.execute_batch(schema::NO_SORTS)?;
    }
    let mut writer = Writer::new(at, session.id)?;
    let mut preparation = Preparation {
        cluster_name: session.cluster_name,
        texts,
    };
    if new.len() < WORTH_A_THREAD {
        for record in new {
            let ready = preparation.prepare(record)?;
            writer.take(ready, texts)?;
        }
    } else {
        thread::scope(|scope| {
            let (sender, handfuls) = sync_channel(2);
            let preparing = scope.spawn(move || {
                for handful in new.chunks(HANDFUL) {
                    let ready: Result<Vec<Ready<'_>>, Cause> =
                        handful.iter().map(|record| preparation.prepare(record)).collect();
                    if sender.send(ready?).is_err() {
                        // Writing failed and says why.
                        break;
                    }
                }
                Ok::<(), Cause>(())
            });
            let written = handfuls
                .iter()
                .flatten()
                .try_for_each(|ready| writer.take(ready, texts));
            drop(handfuls);
            let prepared = preparing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(prepared)
        })?;
    }
    writer.finish()?;
    let seq = new.last().map_or(session.seq, |record| record.meta.seq);
    at.prepare_cached("UPDATE session SET seq = ?2 WHERE id = ?1")?
        .execute(params![session.id, stored_size(seq)])?;
    if let Some(position) = batch.position.filter(|position| position.head.seq >= seq) {
        at.prepare_cached("UPDATE session SET position = ?2 WHERE id = ?1")?
            .execute(params![session.id, serde_json::to_string(&position)?])?;
    }
    Ok(())
}

/// Removes all that is known of a session.
pub(crate) fn forget(at: &Connection, session_id: &SessionId) -> Result<(), Cause> {
    let Some(session) = Session::find(at, session_id)? else {
        return Ok(());
    };
    let found: Vec<i64> = at
        .prepare_cached(
            "SELECT artifact.id FROM facets JOIN artifact ON artifact.id = facets.rowid \
             WHERE facets MATCH ?1 AND artifact.session = ?2",
        )?
        .query_map(
            params![quoted(&hashed(Kind::Session, session_id.as_str())), session.id],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    for id in found {
        remove(at, id)?;
    }
    at.execute("DELETE FROM tally WHERE session = ?1", [session.id])?;
    at.execute("DELETE FROM session WHERE id = ?1", [session.id])?;
    Ok(())
}

fn remove(at: &Connection, id: i64) -> Result<(), Cause> {
    for statement in [
        "DELETE FROM words WHERE rowid = ?1",
        "DELETE FROM facets WHERE rowid = ?1",
        "DELETE FROM artifact WHERE id = ?1",
    ] {
        at.prepare_cached(statement)?.execute([id])?;
    }
    Ok(())
}

struct Session {
    id: i64,
    cluster_name: String,
    seq: u64,
}

impl Session {
    fn find(at: &Connection, session_id: &SessionId) -> Result<Option<Self>, Cause> {
        let found = at
            .prepare_cached("SELECT id, cluster_name, seq FROM session WHERE session_id = ?1")?
            .query_row([session_id.as_str()], |row| {
                Ok(Self {
                    id: row.get(0)?,
                    cluster_name: row.get(1)?,
                    seq: row.get(2)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    fn of(at: &Connection, session_id: &SessionId) -> Result<Self, Cause> {
        if let Some(session) = Self::find(at, session_id)? {
            return Ok(session);
        }
        at.prepare_cached("INSERT INTO session (session_id, cluster_name, seq) VALUES (?1, '', 0)")?
            .execute([session_id.as_str()])?;
        Ok(Self {
            id: at.last_insert_rowid(),
            cluster_name: String::new(),
            seq: 0,
        })
    }
}

/// What is to be written for a record.
enum Ready<'a> {
    Nothing,
    Cluster(String),
    Added(Box<Row<'a>>),
    Changed {
        change: &'a ArtifactChange,
        at: Timestamp,
        cluster_name: String,
    },
}

/// An artifact as it is written.
struct Row<'a> {
    artifact: &'a Artifact,
    name_key: String,
    facets: String,
    words: String,
    record: String,
}

impl<'a> Row<'a> {
    fn new(artifact: &'a Artifact, cluster_name: &str, texts: &dyn ArtifactTexts) -> Result<Self, Cause> {
        let name_key = artifact.name.to_lowercase();
        Ok(Self {
            facets: facets_of(artifact, cluster_name, &name_key),
            words: words_of(artifact, texts),
            record: serde_json::to_string(artifact)?,
            name_key,
            artifact,
        })
    }
}

fn words_of(artifact: &Artifact, texts: &dyn ArtifactTexts) -> String {
    let deleted = artifact.status == ArtifactStatus::Deleted;
    let text = if deleted { None } else { texts.text(artifact) };
    let words = Words::of(artifact, text.as_deref());
    let mark = if deleted { DELETED } else { LIVE };
    format!("{} {mark}", words.as_str())
}

/// Makes records ready to be written, in their order.
struct Preparation<'t> {
    cluster_name: String,
    texts: &'t dyn ArtifactTexts,
}

impl Preparation<'_> {
    fn prepare<'a>(&mut self, record: &'a Committed<SessionEvent>) -> Result<Ready<'a>, Cause> {
        let cluster_name = match &record.event {
            SessionEvent::Created(created) => &created.cluster_name,
            SessionEvent::Imported(imported) => &imported.created.cluster_name,
            SessionEvent::ArtifactAdded(artifact) => {
                let row = Row::new(artifact, &self.cluster_name, self.texts)?;
                return Ok(Ready::Added(Box::new(row)));
            }
            SessionEvent::Artifact(_, change) => {
                return Ok(Ready::Changed {
                    change,
                    at: record.meta.at,
                    cluster_name: self.cluster_name.clone(),
                });
            }
            _ => return Ok(Ready::Nothing),
        };
        self.cluster_name = cluster_name.to_string();
        Ok(Ready::Cluster(self.cluster_name.clone()))
    }
}

/// What artifacts have in common that are counted together, but for their session.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group {
    upgrade_id: String,
    artifact_type: i64,
    status: i64,
    day: i64,
}

/// Writes what is ready.
struct Writer<'c> {
    at: &'c Connection,
    session: i64,
    /// How many artifacts and bytes are to be added to each group.
    counts: HashMap<Group, (i64, i64)>,
    latest: i64,
    /// The time and the row number of what was added last.
    last: (i64, i64),
}

impl<'c> Writer<'c> {
    fn new(at: &'c Connection, session: i64) -> Result<Self, Cause> {
        Ok(Self {
            at,
            session,
            counts: HashMap::new(),
            latest: at
                .prepare_cached("SELECT late FROM latest")?
                .query_row([], |row| row.get(0))?,
            last: (i64::MIN, 0),
        })
    }

    fn take(&mut self, ready: Ready<'_>, texts: &dyn ArtifactTexts) -> Result<(), Cause> {
        match ready {
            Ready::Nothing => Ok(()),
            Ready::Cluster(name) => {
                self.at
                    .prepare_cached("UPDATE session SET cluster_name = ?2 WHERE id = ?1")?
                    .execute(params![self.session, name])?;
                Ok(())
            }
            Ready::Added(row) => self.add(&row),
            Ready::Changed {
                change,
                at,
                cluster_name,
            } => self.change(change, at, &cluster_name, texts),
        }
    }

    fn find(&self, artifact_id: &str) -> Result<Option<(i64, String)>, Cause> {
        let found = self
            .at
            .prepare_cached("SELECT id, record FROM artifact WHERE artifact_id = ?1 AND session = ?2")?
            .query_row(params![artifact_id, self.session], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(found)
    }

    fn add(&mut self, row: &Row<'_>) -> Result<(), Cause> {
        let artifact = row.artifact;
        if let Some((id, record)) = self.find(artifact.artifact_id.as_str())? {
            self.count(&*decode(&record)?, -1);
            remove(self.at, id)?;
        }
        let created = artifact.created_at.as_micros();
        let mut id = if self.last.0 == created {
            self.last.1 + 1
        } else {
            created
        };
        let mut step = 1;
        // Most rows have their microsecond for themselves. Where many have the same, a free place is looked for in larger
        // and larger steps, and the next go on from there.
        while self
            .at
            .prepare_cached(
                "INSERT OR IGNORE INTO artifact (id, late, session, status, size, name_key, artifact_id, record) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                id,
                id - created,
                self.session,
                artifact.status as i64,
                artifact.file_size.map(stored_size),
                row.name_key,
                artifact.artifact_id.as_str(),
                row.record,
            ])?
            == 0
        {
            id += step;
            step *= 2;
        }
        self.last = (created, id);
        self.latest = self.latest.max(id - created);
        self.insert_facets(id, &row.facets)?;
        self.insert_words(id, &row.words)?;
        self.count(artifact, 1);
        Ok(())
    }

    fn insert_facets(&self, id: i64, facets: &str) -> Result<(), Cause> {
        self.at
            .prepare_cached("INSERT INTO facets (rowid, list) VALUES (?1, ?2)")?
            .execute(params![id, facets])?;
        Ok(())
    }

    fn insert_words(&self, id: i64, words: &str) -> Result<(), Cause> {
        self.at
            .prepare_cached("INSERT INTO words (rowid, list) VALUES (?1, ?2)")?
            .execute(params![id, words])?;
        Ok(())
    }

    fn change(
        &mut self,
        change: &ArtifactChange,
        at: Timestamp,
        cluster_name: &str,
        texts: &dyn ArtifactTexts,
    ) -> Result<(), Cause> {
        let Some((id, record)) = self.find(change.artifact_id.as_str())? else {
            return Ok(());
        };
        let mut artifact = Artifact::clone(&*decode(&record)?);
        self.count(&artifact, -1);
        change.apply(&mut artifact, at);
        self.count(&artifact, 1);
        self.at
            .prepare_cached("UPDATE artifact SET status = ?2, record = ?3 WHERE id = ?1")?
            .execute(params![
                id,
                artifact.status as i64,
                serde_json::to_string(&artifact)?
            ])?;
        self.at
            .prepare_cached("DELETE FROM facets WHERE rowid = ?1")?
            .execute([id])?;
        self.insert_facets(
            id,
            &facets_of(&artifact, cluster_name, &artifact.name.to_lowercase()),
        )?;
        if change.tags.is_some() || change.status == ArtifactStatus::Deleted {
            self.at
                .prepare_cached("DELETE FROM words WHERE rowid = ?1")?
                .execute([id])?;
            self.insert_words(id, &words_of(&artifact, texts))?;
        }
        Ok(())
    }

    fn count(&mut self, artifact: &Artifact, by: i64) {
        let group = Group {
            upgrade_id: artifact.upgrade_id.to_string(),
            artifact_type: artifact.artifact_type as i64,
            status: artifact.status as i64,
            day: Day::of(artifact.created_at).number(),
        };
        let (artifacts, bytes) = self.counts.entry(group).or_default();
        *artifacts += by;
        *bytes = bytes.saturating_add(by.saturating_mul(stored_size(artifact.file_size.unwrap_or(0))));
    }

    fn finish(self) -> Result<(), Cause> {
        let mut statement = self.at.prepare_cached(
            "INSERT INTO tally (session, upgrade_id, type, status, day, artifacts, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
             ON CONFLICT DO UPDATE SET artifacts = artifacts + excluded.artifacts, bytes = bytes + excluded.bytes",
        )?;
        for (group, (artifacts, bytes)) in &self.counts {
            statement.execute(params![
                self.session,
                group.upgrade_id,
                group.artifact_type,
                group.status,
                group.day,
                artifacts,
                bytes
            ])?;
        }
        self.at
            .prepare_cached("UPDATE latest SET late = ?1 WHERE late < ?1")?
            .execute([self.latest])?;
        Ok(())
    }
}
