//! Single rows: sessions and artifacts.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};
use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, SessionId};

use crate::error::Cause;

pub(crate) fn position(at: &Connection, session_id: &SessionId) -> Result<Option<Position>, Cause> {
    let text: Option<Option<String>> = at
        .prepare_cached("SELECT position FROM session WHERE session_id = ?1")?
        .query_row([session_id.as_str()], |row| row.get(0))
        .optional()?;
    let position = text.flatten().map(|text| serde_json::from_str(&text));
    Ok(position.transpose()?)
}

pub(crate) fn sessions(at: &Connection) -> Result<Vec<SessionId>, Cause> {
    let mut statement = at.prepare_cached("SELECT session_id FROM session ORDER BY session_id")?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut sessions = Vec::new();
    for id in ids {
        let id = SessionId::new(id?).map_err(|_| Cause::Foreign("it has a session with an impossible id"))?;
        sessions.push(id);
    }
    Ok(sessions)
}

pub(crate) fn artifact(at: &Connection, artifact_id: &ArtifactId) -> Result<Option<Arc<Artifact>>, Cause> {
    let record: Option<String> = at
        .prepare_cached(
            "SELECT record FROM artifact JOIN session ON session.id = artifact.session \
             WHERE artifact_id = ?1 ORDER BY session.session_id LIMIT 1",
        )?
        .query_row([artifact_id.as_str()], |row| row.get(0))
        .optional()?;
    record.map(|record| decode(&record)).transpose()
}

pub(crate) fn decode(record: &str) -> Result<Arc<Artifact>, Cause> {
    Ok(Arc::new(serde_json::from_str(record)?))
}

/// A row of an artifact: `SELECT id, session, record`.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) slot: i64,
    pub(crate) session: i64,
    pub(crate) artifact: Arc<Artifact>,
}

impl Stored {
    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Cause> {
        let record = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        Ok(Self {
            slot: -row.get::<_, i64>(0)?,
            session: row.get(1)?,
            artifact: decode(record)?,
        })
    }
}

/// A number of bytes as SQLite keeps it.
pub(crate) fn stored_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
