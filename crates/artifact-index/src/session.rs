//! The rows of sessions.

use artifact_core::IndexBatch;
use rusqlite::{Connection, OptionalExtension, params};
use tracking_model::SessionId;

use crate::error::Cause;
use crate::row::stored_size;

/// A session, as far as it was taken up.
pub(crate) struct Session {
    pub(crate) id: i64,
    pub(crate) cluster_name: String,
    pub(crate) seq: u64,
    /// True if no record of the session was taken up yet.
    pub(crate) is_new: bool,
}

impl Session {
    pub(crate) fn find(at: &Connection, session_id: &SessionId) -> Result<Option<Self>, Cause> {
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

    pub(crate) fn of(at: &Connection, session_id: &SessionId) -> Result<Self, Cause> {
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
    pub(crate) fn write(&self, at: &Connection, seq: u64, batch: &IndexBatch) -> Result<(), Cause> {
        at.prepare_cached("UPDATE session SET cluster_name = ?2, seq = ?3 WHERE id = ?1")?
            .execute(params![self.id, self.cluster_name, stored_size(seq)])?;
        if let Some(position) = batch.position.filter(|position| position.head.seq >= seq) {
            at.prepare_cached("UPDATE session SET position = ?2 WHERE id = ?1")?
                .execute(params![self.id, serde_json::to_string(&position)?])?;
        }
        Ok(())
    }
}
