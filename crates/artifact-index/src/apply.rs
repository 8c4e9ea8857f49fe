//! Taking up records: all of them and how far they go, in one transaction.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use artifact_core::{ArtifactTexts, IndexBatch};
use rusqlite::{Connection, OptionalExtension, params};
use tracking_model::SessionId;

use crate::ahead::Ahead;
use crate::error::Cause;
use crate::facets::{Kind, hashed, quoted};
use crate::fold::{New, Outcome};
use crate::load::Sorter;
use crate::record::stored_size;
use crate::schema;
use crate::write::{Counts, Handful, Writer, remove};

/// From so many artifacts on, one thread makes ready what another writes.
const WORTH_A_THREAD: usize = 256;
/// Artifacts that are handed from one to the other at a time.
const HANDFUL: usize = 64;

/// The names of clusters, by session.
type Clusters = HashMap<i64, String>;

/// How many artifacts there are.
fn artifacts(at: &Connection) -> Result<i64, Cause> {
    let mut count = at.prepare_cached("SELECT coalesce(sum(artifacts), 0) FROM tally")?;
    Ok(count.query_row([], |row| row.get(0))?)
}

/// Takes up what of the batches is not there yet; `loading` where that is much.
pub(crate) fn apply(
    at: &Connection,
    batches: &[IndexBatch],
    ahead: Ahead,
    texts: &dyn ArtifactTexts,
    loading: bool,
) -> Result<(), Cause> {
    let mut outcome = Outcome::new(at)?;
    let mut clusters = Clusters::new();
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
    let Outcome {
        new,
        changed,
        gone,
        mut counts,
        ..
    } = outcome;
    if loading && 8 * stored_size(new.len() as u64) > artifacts(at)? {
        at.execute_batch(schema::NO_SORTS)?;
    }
    let mut writer = Writer::new(at)?;
    for id in gone {
        remove(at, id)?;
    }
    for (id, changed) in &changed {
        let cluster_name = clusters.get(&changed.session).map_or("", String::as_str);
        writer.change(*id, changed, cluster_name, texts, &mut counts)?;
    }
    let ready = Preparing {
        new: &new,
        clusters: &clusters,
        ahead,
        texts,
        loading,
    };
    add(&mut writer, ready, &mut counts)?;
    writer.finish()?;
    counts.write(at)
}

fn add(writer: &mut Writer<'_>, preparing: Preparing<'_>, counts: &mut Counts) -> Result<(), Cause> {
    if preparing.new.len() < WORTH_A_THREAD {
        return preparing.run(|handful| {
            writer.add(handful, counts)?;
            Ok(true)
        });
    }
    let preparing = Mutex::new(Some(preparing));
    let take = || {
        let taken = preparing.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.expect("either the thread takes it or nobody else does")
    };
    thread::scope(|scope| {
        let (sender, handfuls) = sync_channel(2);
        let builder = thread::Builder::new().name("index-prepare".to_owned());
        // Where a handful is not taken, writing failed and says why.
        let prepare = || take().run(move |handful| Ok(sender.send(handful).is_ok()));
        let thread = match builder.spawn_scoped(scope, prepare) {
            Ok(thread) => thread,
            Err(error) => {
                tracing::debug!(%error, "indexing without a second thread");
                return take().run(|handful| {
                    writer.add(handful, counts)?;
                    Ok(true)
                });
            }
        };
        let written = handfuls
            .iter()
            .try_for_each(|handful| writer.add(handful, counts));
        drop(handfuls);
        let prepared = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(prepared)
    })
}

/// New artifacts that are to be made ready for writing.
struct Preparing<'a> {
    new: &'a [New<'a>],
    clusters: &'a Clusters,
    ahead: Ahead,
    texts: &'a dyn ArtifactTexts,
    loading: bool,
}

impl<'a> Preparing<'a> {
    /// Makes some ready at a time, as long as `each` takes them.
    fn run(mut self, mut each: impl FnMut(Handful<'a>) -> Result<bool, Cause>) -> Result<(), Cause> {
        let mut sorter = self.loading.then(Sorter::default);
        for some in self.new.chunks(HANDFUL) {
            let mut handful = Handful::default();
            for new in some {
                let parts = self.ahead.take(&new.artifact, self.texts)?;
                let cluster_name = self.clusters.get(&new.session).map_or("", String::as_str);
                handful.add(new, parts, cluster_name, sorter.as_mut());
            }
            if !each(handful)? {
                return Ok(());
            }
        }
        if let Some(words) = sorter.and_then(Sorter::rest) {
            each(Handful::of_words(words))?;
        }
        Ok(())
    }
}

/// Removes all that is known of a session.
pub(crate) fn forget(at: &Connection, session_id: &SessionId) -> Result<(), Cause> {
    let Some(session) = Session::find(at, session_id)? else {
        return Ok(());
    };
    let found: Vec<i64> = at
        .prepare_cached(
            "SELECT artifact.id FROM words JOIN artifact ON artifact.id = words.rowid \
             WHERE words MATCH ?1 AND artifact.session = ?2 ORDER BY words.rowid",
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
    at.execute("DELETE FROM buried WHERE session = ?1", [session.id])?;
    at.execute("DELETE FROM session WHERE id = ?1", [session.id])?;
    Ok(())
}

/// A session, as far as it was taken up.
pub(crate) struct Session {
    pub(crate) id: i64,
    pub(crate) cluster_name: String,
    seq: u64,
    /// Whether no record of it was taken up yet.
    pub(crate) is_new: bool,
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
                    is_new: false,
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
            is_new: true,
        })
    }

    /// Writes how far it is taken up with a batch.
    fn write(&self, at: &Connection, seq: u64, batch: &IndexBatch) -> Result<(), Cause> {
        at.prepare_cached("UPDATE session SET cluster_name = ?2, seq = ?3 WHERE id = ?1")?
            .execute(params![self.id, self.cluster_name, stored_size(seq)])?;
        if let Some(position) = batch.position.filter(|position| position.head.seq >= seq) {
            at.prepare_cached("UPDATE session SET position = ?2 WHERE id = ?1")?
                .execute(params![self.id, serde_json::to_string(&position)?])?;
        }
        Ok(())
    }
}
