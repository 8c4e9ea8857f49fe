//! All upgrades of a data directory, and whether their agents live.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tracking_journal::{DataDir, Head, JournalError, Liveness, load, remove};
use tracking_model::{
    DEFAULT_HEARTBEAT_SECONDS, Percent, PlanId, Span, Status, StreamId, Timestamp, UpgradeId, UpgradeProgress,
};

use crate::{ProgressError, ProgressTracker};

/// Whether somebody is at work on an upgrade. A view: it never changes a state, and the next writer reverses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Agent {
    /// The upgrade is not in progress: nobody needs to be.
    NotNeeded,
    /// A long-lived writer runs.
    Live,
    /// No long-lived writer runs, and something was recorded within the last 300 s: commands drive it, perhaps.
    Recent,
    /// The agent died, or nothing was recorded for 300 s and no long-lived writer runs.
    Gone,
    /// The upgrade is driven elsewhere, and what is here is a copy of its records: nobody can tell from here.
    Elsewhere,
}

impl Agent {
    /// Judges by the upgrade's state at `now` and by its marker of long-lived writers.
    #[must_use]
    pub fn of(state: &UpgradeProgress, liveness: Liveness, now: Timestamp) -> Self {
        let limit = Span::from_secs(i64::from(DEFAULT_HEARTBEAT_SECONDS));
        let silent = state.last_report_at.is_none_or(|last| now.since(last) > limit);
        match (state.status, liveness) {
            (
                Status::NotStarted | Status::Completed | Status::Failed | Status::Paused | Status::Cancelled,
                _,
            ) => Self::NotNeeded,
            (Status::InProgress, Liveness::Live) => Self::Live,
            (Status::InProgress, Liveness::Gone) => Self::Gone,
            (Status::InProgress, Liveness::Unmarked) if silent => Self::Gone,
            (Status::InProgress, Liveness::Unmarked) => Self::Recent,
            (Status::InProgress, Liveness::Unknown) => Self::Elsewhere,
        }
    }
}

/// An upgrade in a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpgradeHeader {
    /// Its id.
    pub upgrade_id: UpgradeId,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// The plan that it follows.
    pub plan_id: Option<PlanId>,
    /// Where it stands.
    pub status: Status,
    /// Whether it was completed with tasks that were not.
    pub completed_with_failures: bool,
    /// How far it is.
    pub overall_percentage: Percent,
    /// The phase that it is in.
    pub current_phase: Option<Arc<str>>,
    /// When it was started first.
    pub started_at: Option<Timestamp>,
    /// When it was completed, failed or was cancelled.
    pub completed_at: Option<Timestamp>,
    /// When anything was last recorded.
    pub last_report_at: Option<Timestamp>,
    /// Whether somebody is at work on it.
    pub agent: Agent,
    /// Where its journal stands.
    #[serde(skip)]
    pub head: Head,
}

/// One upgrade of a data directory: its header, or why it cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct UpgradeEntry {
    /// Its id.
    pub upgrade_id: UpgradeId,
    /// Its header.
    pub header: Result<UpgradeHeader, ProgressError>,
}

/// The upgrades of `dir`, in the order of their ids, as they stand at `now`. One that cannot be read does not hide the
/// others. Reads journals from their checkpoints and writes nothing; blocks meanwhile.
///
/// # Errors
/// [`ProgressError::DataDir`] if the directory cannot be listed.
pub fn upgrades(dir: &DataDir, now: Timestamp) -> Result<Vec<UpgradeEntry>, ProgressError> {
    let mut entries = Vec::new();
    for stream in dir.streams()? {
        let StreamId::Upgrade(upgrade_id) = &stream else {
            continue;
        };
        match header(dir, &stream, now) {
            // Removed since the directory was listed, or nothing but an interrupted beginning.
            Err(ProgressError::Journal(JournalError::NoSuchStream { .. })) | Ok(None) => {}
            Ok(Some(header)) => {
                entries.push(UpgradeEntry {
                    upgrade_id: upgrade_id.clone(),
                    header: Ok(header),
                });
            }
            Err(error) => entries.push(UpgradeEntry {
                upgrade_id: upgrade_id.clone(),
                header: Err(error),
            }),
        }
    }
    Ok(entries)
}

fn header(dir: &DataDir, stream: &StreamId, now: Timestamp) -> Result<Option<UpgradeHeader>, ProgressError> {
    let loaded = load::<UpgradeProgress>(dir, stream)?;
    if !loaded.state.exists() {
        return Ok(None);
    }
    let agent = Agent::of(&loaded.state, Liveness::of(dir, stream)?, now);
    let overall_percentage = loaded.state.overall_percentage();
    let state = loaded.state;
    Ok(Some(UpgradeHeader {
        upgrade_id: state.upgrade_id,
        cluster_name: state.cluster_name,
        plan_id: state.plan_id,
        status: state.status,
        completed_with_failures: state.completed_with_failures,
        overall_percentage,
        current_phase: state.current_phase,
        started_at: state.started_at,
        completed_at: state.completed_at,
        last_report_at: state.last_report_at,
        agent,
        head: loaded.head,
    }))
}

/// Removes an upgrade: its journal, snapshot and cursors. What was kept of the reference's file stays. Waits up to
/// `lock_timeout` for a commit that is under way.
///
/// # Errors
/// [`ProgressError::AgentAtWork`] while a long-lived writer has it open; [`ProgressError::UnknownUpgrade`] if it does
/// not exist; [`ProgressError::Journal`] as the system says.
pub fn remove_upgrade(
    dir: &DataDir,
    upgrade_id: &UpgradeId,
    lock_timeout: Duration,
) -> Result<(), ProgressError> {
    let stream = StreamId::Upgrade(upgrade_id.clone());
    if Liveness::of(dir, &stream)? == Liveness::Live {
        return Err(ProgressError::AgentAtWork {
            upgrade_id: upgrade_id.clone(),
        });
    }
    remove(dir, &stream, lock_timeout).map_err(|error| match error {
        JournalError::NoSuchStream { .. } => ProgressError::UnknownUpgrade {
            upgrade_id: upgrade_id.clone(),
            data_dir: dir.path().to_owned(),
        },
        error => error.into(),
    })
}

impl ProgressTracker {
    /// Whether somebody is at work on the upgrade; a long-lived tracker counts itself. In memory there is only this
    /// tracker.
    ///
    /// # Errors
    /// [`ProgressError::Journal`] if the marker of long-lived writers cannot be read.
    pub fn agent(&self) -> Result<Agent, ProgressError> {
        let now = self.now();
        let liveness = match self.data_dir() {
            Some(dir) => Liveness::of(dir, self.journal().stream())?,
            None => Liveness::Live,
        };
        Ok(self.read(|state| Agent::of(state, liveness, now)))
    }
}
