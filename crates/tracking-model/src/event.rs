//! What happens to an upgrade: the events of its stream.
//!
//! Each is the `type` and `data` of one journal record. The data is self-contained: it carries what live viewers and
//! notifications print, so that neither needs the state to make sense of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    DecodeError, Details, Percent, PlanId, Span, Status, StreamEvent, TaskId, TaskType, Timestamp, UpgradeId,
};

/// One event of an upgrade's stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum UpgradeEvent {
    /// `upgrade.created`, the first record of a stream: whose progress this is.
    Created(UpgradeCreated),
    /// `upgrade.imported`, the first record of a stream taken over from the reference's file.
    Imported(UpgradeImported),
    /// Any change of the upgrade itself: `upgrade.started`, `upgrade.phase_changed` and so on.
    Upgrade(UpgradeChangeKind, UpgradeChange),
    /// `task.added`.
    TaskAdded(TaskAdded),
    /// Any change of a task: `task.started`, `task.progress` and so on.
    Task(TaskChangeKind, TaskChange),
    /// `task.heartbeat`: the task is alive and has nothing to report. Never sent to sinks.
    Heartbeat(Heartbeat),
    /// A record of a type that this version does not know; it changes nothing.
    Unknown {
        /// The record's type.
        kind: Arc<str>,
        /// The record's data.
        data: Details,
    },
}

/// Data of `upgrade.created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradeCreated {
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The plan that it follows.
    pub plan_id: PlanId,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub metadata: Details,
}

/// Data of `upgrade.imported`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradeImported {
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The plan that it follows.
    pub plan_id: PlanId,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// The file's content, verbatim but for white space.
    pub state: Details,
    /// What was impossible in it, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What changed of the upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpgradeChangeKind {
    /// It began, or began again after a failure.
    Started,
    /// It entered another phase.
    PhaseChanged,
    /// It was asked to wait.
    Paused,
    /// It goes on.
    Resumed,
    /// It ended well, or with failures that the caller allowed.
    Completed,
    /// It ended badly.
    Failed,
    /// It was given up.
    Cancelled,
}

impl UpgradeChangeKind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Started, "upgrade.started"),
        (Self::PhaseChanged, "upgrade.phase_changed"),
        (Self::Paused, "upgrade.paused"),
        (Self::Resumed, "upgrade.resumed"),
        (Self::Completed, "upgrade.completed"),
        (Self::Failed, "upgrade.failed"),
        (Self::Cancelled, "upgrade.cancelled"),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, other)| *other == name).map(|(kind, _)| kind)
    }

    /// The record's type: `upgrade.started`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Data of every change of the upgrade itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradeChange {
    /// The status after the change.
    pub status: Status,
    /// The overall percentage after the change.
    pub percentage: Percent,
    /// The phase after the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Arc<str>>,
    /// Time from start to end, at an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Arc<str>>,
    /// Why someone paused or cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// The tasks that were not complete when the upgrade was completed all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<TaskId>,
}

/// Data of `task.added`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskAdded {
    /// The task.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// Its type.
    pub task_type: TaskType,
    /// The task that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<TaskId>,
    /// Its share in its parent's percentage, relative to its siblings.
    #[serde(default = "default_weight", skip_serializing_if = "is_default_weight")]
    pub weight: f64,
    /// How many steps it has, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// After how many seconds without a report it is shown as stalled.
    #[serde(default = "default_heartbeat", skip_serializing_if = "is_default_heartbeat")]
    pub heartbeat_seconds: u32,
}

/// The weight of a task for which none is given.
pub const DEFAULT_WEIGHT: f64 = 1.0;
/// The largest weight of a task: far above any use, and far below where sums of weights overflow.
pub const MAX_WEIGHT: f64 = 1e100;
/// Seconds without a report after which a running task is shown as stalled, unless given.
pub const DEFAULT_HEARTBEAT_SECONDS: u32 = 300;

const fn default_weight() -> f64 {
    DEFAULT_WEIGHT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_default_weight(weight: &f64) -> bool {
    weight.to_bits() == DEFAULT_WEIGHT.to_bits()
}

const fn default_heartbeat() -> u32 {
    DEFAULT_HEARTBEAT_SECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_default_heartbeat(seconds: &u32) -> bool {
    *seconds == DEFAULT_HEARTBEAT_SECONDS
}

/// What changed of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskChangeKind {
    /// It began.
    Started,
    /// It reports how far it is.
    Progress,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It begins again after a failure.
    Retried,
    /// It was asked to wait.
    Paused,
    /// It goes on.
    Resumed,
    /// It was given up.
    Cancelled,
    /// It waits for something outside.
    Waiting,
}

impl TaskChangeKind {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Started, "task.started"),
        (Self::Progress, "task.progress"),
        (Self::Completed, "task.completed"),
        (Self::Failed, "task.failed"),
        (Self::Retried, "task.retried"),
        (Self::Paused, "task.paused"),
        (Self::Resumed, "task.resumed"),
        (Self::Cancelled, "task.cancelled"),
        (Self::Waiting, "task.waiting"),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, other)| *other == name).map(|(kind, _)| kind)
    }

    /// The record's type: `task.started`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Data of every change of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskChange {
    /// The task.
    pub task_id: TaskId,
    /// Its display name.
    #[serde(deserialize_with = "crate::text::shared")]
    pub task_name: Arc<str>,
    /// Its type.
    pub task_type: TaskType,
    /// The status after the change.
    pub status: Status,
    /// The percentage after the change.
    pub percentage: Percent,
    /// What happened, in words.
    #[serde(deserialize_with = "crate::text::shared")]
    pub message: Arc<str>,
    /// Free-form details.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// The step that runs, in words, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_step: Option<Arc<str>>,
    /// Steps after the change, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Arc<str>>,
    /// How often it was retried, from the first retry on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_count: u32,
    /// Time from start to end, at an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<Waiting>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// How many steps are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Steps done, at most `total`.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
}

/// What a task waits for, and until when at the latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What for, in words.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// When it should be over at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Data of `task.heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The task.
    pub task_id: TaskId,
}

const CREATED: &str = "upgrade.created";
const IMPORTED: &str = "upgrade.imported";
pub(crate) const TASK_ADDED: &str = "task.added";
const HEARTBEAT: &str = "task.heartbeat";

impl StreamEvent for UpgradeEvent {
    fn kind(&self) -> &str {
        match self {
            Self::Created(_) => CREATED,
            Self::Imported(_) => IMPORTED,
            Self::Upgrade(kind, _) => kind.as_str(),
            Self::TaskAdded(_) => TASK_ADDED,
            Self::Task(kind, _) => kind.as_str(),
            Self::Heartbeat(_) => HEARTBEAT,
            Self::Unknown { kind, .. } => kind,
        }
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        match self {
            Self::Created(data) => serde_json::to_writer(out, data),
            Self::Imported(data) => serde_json::to_writer(out, data),
            Self::Upgrade(_, data) => serde_json::to_writer(out, data),
            Self::TaskAdded(data) => serde_json::to_writer(out, data),
            Self::Task(_, data) => serde_json::to_writer(out, data),
            Self::Heartbeat(data) => serde_json::to_writer(out, data),
            Self::Unknown { data, .. } => serde_json::to_writer(out, data),
        }
        .expect("strings, finite numbers and valid raw JSON always serialise into memory");
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        decode(kind, data).map_err(|error| DecodeError {
            kind: kind.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn decode(kind: &str, data: &str) -> serde_json::Result<UpgradeEvent> {
    if let Some(kind) = TaskChangeKind::named(kind) {
        return Ok(UpgradeEvent::Task(kind, serde_json::from_str(data)?));
    }
    if let Some(kind) = UpgradeChangeKind::named(kind) {
        return Ok(UpgradeEvent::Upgrade(kind, serde_json::from_str(data)?));
    }
    Ok(match kind {
        CREATED => UpgradeEvent::Created(serde_json::from_str(data)?),
        IMPORTED => UpgradeEvent::Imported(serde_json::from_str(data)?),
        TASK_ADDED => UpgradeEvent::TaskAdded(serde_json::from_str(data)?),
        HEARTBEAT => UpgradeEvent::Heartbeat(serde_json::from_str(data)?),
        _ => UpgradeEvent::Unknown {
            kind: kind.into(),
            data: serde_json::from_str(data)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_own_place() {
        for (index, (kind, _)) in UpgradeChangeKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, (kind, _)) in TaskChangeKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_as_it_is() {
        let event = UpgradeEvent::decode("task.levitated", "{\"task_id\":\"a\",\"height\":2}").unwrap();
        let mut out = Vec::new();
        event.write_data(&mut out);
        assert_eq!(
            (event.kind(), out.as_slice()),
            ("task.levitated", b"{\"task_id\":\"a\",\"height\":2}".as_slice())
        );
        assert!(UpgradeEvent::decode("task.progress", "{}").is_err());
    }
}
