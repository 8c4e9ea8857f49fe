//! Single rows: sessions and artifacts.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use tracking_journal::Position;
use tracking_model::{Artifact, ArtifactId, SessionId};

use crate::error::Cause;
use crate::facets::hash;
use crate::schema::UNKNOWN_SIZE;

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
    let id: Option<i64> = at
        .prepare_cached(
            "SELECT artifact.id FROM artifact CROSS JOIN session ON session.id = artifact.session \
             WHERE artifact_id = ?1 ORDER BY session.session_id LIMIT 1",
        )?
        .query_row([artifact_id.as_str()], |row| row.get(0))
        .optional()?;
    id.map(|id| record(at, id).map(Arc::new)).transpose()
}

/// Reads the record of a row, and checks that it is the one that was written.
pub(crate) fn record(at: &Connection, id: i64) -> Result<Artifact, Cause> {
    let mut statement = at.prepare_cached("SELECT json, checksum FROM record WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let row = rows
        .next()?
        .ok_or(Cause::Foreign("it has a row without a record"))?;
    let json = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    if row.get::<_, i64>(1)? != checksum(id, json) {
        return Err(Cause::Foreign("a record in it is not the one that was written"));
    }
    Ok(serde_json::from_str(json)?)
}

/// Tells accidents, not forgery: `verify` and downloads compare with the journal.
pub(crate) fn checksum(id: i64, json: &str) -> i64 {
    hash(json).cast_signed() ^ id
}

/// A number of bytes as SQLite keeps it.
pub(crate) fn stored_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The size of an artifact as its column has it.
pub(crate) fn size_column(size: Option<u64>) -> i64 {
    size.map_or(UNKNOWN_SIZE, stored_size)
}
