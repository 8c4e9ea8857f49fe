//! Folds the records of a batch: each artifact once, in its last state, in the order of rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use tracking_journal::Committed;
use tracking_model::{Artifact, ArtifactChange, ArtifactStatus, RecordMeta, SessionEvent};

use crate::error::Cause;
use crate::row;
use crate::session::Session;
use crate::tally::Counts;

/// An artifact that has no row yet.
pub(crate) struct New<'a> {
    pub(crate) session: i64,
    /// The row number with another sign: the microsecond at which the artifact was added, or the next free one.
    pub(crate) slot: i64,
    pub(crate) artifact: Cow<'a, Artifact>,
}

/// An artifact that changes in its row.
pub(crate) struct Changed {
    pub(crate) session: i64,
    pub(crate) artifact: Artifact,
    /// True if its words change too, not only its status.
    pub(crate) words: bool,
}

/// The outcome of records of one or several sessions.
pub(crate) struct Outcome<'a, 'c> {
    at: &'c Connection,
    pub(crate) new: Vec<New<'a>>,
    new_by_id: HashMap<(i64, &'a str), usize>,
    /// By row, so that they are written in this order.
    pub(crate) changed: BTreeMap<i64, Changed>,
    /// Rows whose artifact was added again.
    pub(crate) gone: Vec<i64>,
    pub(crate) counts: Counts,
    /// True if there are artifacts that were deleted before they were added.
    has_tombstones: bool,
}

impl<'a, 'c> Outcome<'a, 'c> {
    pub(crate) fn new(at: &'c Connection) -> Result<Self, Cause> {
        Ok(Self {
            has_tombstones: at.prepare_cached("SELECT 1 FROM tombstone LIMIT 1")?.exists([])?,
            at,
            new: Vec::new(),
            new_by_id: HashMap::new(),
            changed: BTreeMap::new(),
            gone: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Takes a record that the session has not taken yet.
    pub(crate) fn take(
        &mut self,
        session: &mut Session,
        record: &'a Committed<SessionEvent>,
    ) -> Result<(), Cause> {
        match &record.event {
            SessionEvent::Created(created) => session.cluster_name = created.cluster_name.to_string(),
            SessionEvent::Imported(imported) => {
                session.cluster_name = imported.created.cluster_name.to_string();
            }
            SessionEvent::ArtifactAdded(artifact) => self.add(session, artifact)?,
            SessionEvent::Artifact(_, change) => self.change(session, change, &record.meta)?,
            _ => {}
        }
        Ok(())
    }

    /// A deleted artifact stays deleted, whatever is added.
    fn add(&mut self, session: &Session, artifact: &'a Artifact) -> Result<(), Cause> {
        let id = (session.id, artifact.artifact_id.as_str());
        if let Some(new) = self.new_by_id.get(&id).and_then(|at| self.new.get_mut(*at)) {
            if new.artifact.status != ArtifactStatus::Deleted {
                (new.artifact, new.slot) = (Cow::Borrowed(artifact), artifact.created_at.as_micros());
            }
            return Ok(());
        }
        if let Some((row, stored)) = self.find(session, artifact.artifact_id.as_str())? {
            let status = self
                .changed
                .get(&row)
                .map_or(stored.status, |changed| changed.artifact.status);
            if status == ArtifactStatus::Deleted {
                return Ok(());
            }
            // Where it changed before, that was counted already.
            if self.changed.remove(&row).is_none() {
                self.counts.add(session.id, &stored, -1);
            }
            self.gone.push(row);
        }
        let mut added = Cow::Borrowed(artifact);
        if self.has_tombstone(id)? {
            added.to_mut().status = ArtifactStatus::Deleted;
        }
        self.new_by_id.insert(id, self.new.len());
        self.new.push(New {
            session: session.id,
            slot: artifact.created_at.as_micros(),
            artifact: added,
        });
        Ok(())
    }

    fn change(
        &mut self,
        session: &Session,
        change: &'a ArtifactChange,
        meta: &RecordMeta,
    ) -> Result<(), Cause> {
        let id = (session.id, change.artifact_id.as_str());
        if let Some(new) = self.new_by_id.get(&id).and_then(|at| self.new.get_mut(*at)) {
            change.apply(new.artifact.to_mut(), meta.at);
            return Ok(());
        }
        let Some((row, stored)) = self.find(session, change.artifact_id.as_str())? else {
            return if change.status == ArtifactStatus::Deleted {
                self.add_tombstone(id)
            } else {
                Ok(())
            };
        };
        let counts = &mut self.counts;
        let changed = self.changed.entry(row).or_insert_with(|| {
            counts.add(session.id, &stored, -1);
            Changed {
                session: session.id,
                artifact: stored,
                words: false,
            }
        });
        change.apply(&mut changed.artifact, meta.at);
        changed.words |= change.tags.is_some() || change.status == ArtifactStatus::Deleted;
        Ok(())
    }

    fn add_tombstone(&mut self, (session, artifact_id): (i64, &str)) -> Result<(), Cause> {
        self.has_tombstones = true;
        self.at
            .prepare_cached("INSERT OR IGNORE INTO tombstone (session, artifact_id) VALUES (?1, ?2)")?
            .execute(params![session, artifact_id])?;
        Ok(())
    }

    fn has_tombstone(&self, (session, artifact_id): (i64, &str)) -> Result<bool, Cause> {
        if !self.has_tombstones {
            return Ok(false);
        }
        let mut tombstone = self
            .at
            .prepare_cached("SELECT 1 FROM tombstone WHERE session = ?1 AND artifact_id = ?2")?;
        Ok(tombstone.exists(params![session, artifact_id])?)
    }

    /// The row of an artifact, and the artifact as it stands there.
    fn find(&self, session: &Session, artifact_id: &str) -> Result<Option<(i64, Artifact)>, Cause> {
        if session.is_new {
            return Ok(None);
        }
        let row: Option<i64> = self
            .at
            // The sign keeps SQLite from the index of sessions, which have many artifacts.
            .prepare_cached("SELECT id FROM artifact WHERE artifact_id = ?1 AND +session = ?2")?
            .query_row(params![artifact_id, session.id], |row| row.get(0))
            .optional()?;
        // A row that is to go has been replaced by one that is not written yet.
        row.map(|row| Ok((row, row::record(self.at, row)?))).transpose()
    }

    /// Gives each new artifact a slot of its own, and puts the newest first, as rows are in order.
    pub(crate) fn place(&mut self) -> Result<(), Cause> {
        self.new_by_id.clear();
        self.new.sort_by_key(|new| new.slot);
        let (Some(first), Some(last)) = (self.new.first(), self.new.last()) else {
            return Ok(());
        };
        // Most batches are newer than all that is there.
        let most = last.slot.saturating_add(stored_len(self.new.len()));
        let has_rows = self
            .at
            .prepare_cached("SELECT 1 FROM artifact WHERE id BETWEEN ?1 AND ?2")?
            .exists([-most, -first.slot])?;
        let mut is_taken = self.at.prepare_cached("SELECT 1 FROM artifact WHERE id = ?1")?;
        let mut free = i64::MIN;
        for new in &mut self.new {
            let mut slot = new.slot.max(free);
            // Where many are taken, a free one is looked for in larger and larger steps.
            let mut step = 1;
            while has_rows && is_taken.exists([-slot])? {
                slot += step;
                step *= 2;
            }
            new.slot = slot;
            free = slot + 1;
        }
        self.new.reverse();
        Ok(())
    }
}

fn stored_len(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
