//! The tally of artifacts, by which statistics are answered.

use std::collections::HashMap;

use artifact_core::Day;
use rusqlite::{Connection, params};
use tracking_model::{Artifact, UpgradeId};

use crate::error::Cause;
use crate::row::stored_size;

/// The properties by which the tally groups artifacts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group {
    session: i64,
    upgrade_id: UpgradeId,
    artifact_type: i64,
    status: i64,
    day: i64,
}

/// Artifacts and bytes to add to each group.
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
