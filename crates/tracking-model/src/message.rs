//! Events as they go over the wire to live viewers: those of upgrades, and those of artifacts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Artifact, ArtifactChange, ArtifactId, ArtifactStatus, ArtifactType, CollectionId, Details, EventId,
    FileHash, Percent, RecordMeta, SessionEvent, SessionId, Span, Status, StreamEvent, TaskAdded, TaskChange,
    TaskId, TaskType, Timestamp, UpgradeChange, UpgradeChangeKind, UpgradeCreated, UpgradeEvent, UpgradeId,
    UpgradeImported, Waiting,
};

/// One event of an upgrade as live viewers get it: the reference's keys in its order, then ours.
///
/// Whoever sends it adds `stream`, `epoch` and `seq`. Events of the upgrade itself have no `task_id` and `task_type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProgressEventMessage {
    /// The id of its record.
    pub event_id: EventId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The task; `None` where the upgrade itself changed.
    pub task_id: Option<TaskId>,
    /// The task's type.
    pub task_type: Option<TaskType>,
    /// The status after the event, in lower case.
    pub status: Status,
    /// What happened, in words.
    pub message: Arc<str>,
    /// The percentage after the event: the task's, or where the upgrade itself changed, the overall one.
    pub percentage: Option<Percent>,
    /// Free-form details.
    #[serde(default)]
    pub details: Details,
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The record's type: `task.progress`.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// The task's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<Arc<str>>,
    /// The upgrade's phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Arc<str>>,
    /// From start to end, at an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Arc<str>>,
    /// What the task waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<Waiting>,
}

impl ProgressEventMessage {
    /// What viewers of `upgrade_id` get for a record; `None` for heartbeats and types that this version does not know.
    #[must_use]
    pub fn new(upgrade_id: &UpgradeId, meta: &RecordMeta, event: &UpgradeEvent) -> Option<Self> {
        let blank = || Self::blank(upgrade_id, meta, event.kind());
        match event {
            UpgradeEvent::Created(created) => Some(blank().created(created)),
            UpgradeEvent::Imported(imported) => Some(blank().imported(imported)),
            UpgradeEvent::Upgrade(kind, change) => Some(blank().upgrade(*kind, change)),
            UpgradeEvent::TaskAdded(added) => Some(blank().added(added)),
            UpgradeEvent::Task(_, change) => Some(blank().task(change)),
            UpgradeEvent::Heartbeat(_) | UpgradeEvent::Unknown { .. } => None,
        }
    }

    fn blank(upgrade_id: &UpgradeId, meta: &RecordMeta, kind: &str) -> Self {
        Self {
            event_id: meta.event_id(),
            timestamp: meta.at,
            task_id: None,
            task_type: None,
            status: Status::NotStarted,
            message: Arc::from(""),
            percentage: None,
            details: Details::NONE,
            upgrade_id: upgrade_id.clone(),
            kind: kind.into(),
            task_name: None,
            phase: None,
            duration: None,
            error_message: None,
            waiting_on: None,
        }
    }

    fn created(self, created: &UpgradeCreated) -> Self {
        let UpgradeCreated {
            plan_id,
            cluster_name,
            ..
        } = created;
        Self {
            percentage: Some(Percent::ZERO),
            message: format!("Upgrade created for plan {plan_id} and cluster {cluster_name}").into(),
            details: details(json!({ "plan_id": plan_id, "cluster_name": cluster_name })),
            ..self
        }
    }

    fn imported(self, imported: &UpgradeImported) -> Self {
        let progress = imported.progress();
        let UpgradeImported {
            plan_id,
            cluster_name,
            ..
        } = imported;
        Self {
            status: progress.status,
            percentage: Some(progress.overall_percentage()),
            message: format!("Upgrade imported, with {} tasks", progress.tasks().len()).into(),
            details: details(json!({
                "plan_id": plan_id, "cluster_name": cluster_name, "warnings": imported.warnings,
            })),
            phase: progress.current_phase,
            duration: progress.duration,
            error_message: progress.error_message,
            ..self
        }
    }

    fn upgrade(self, kind: UpgradeChangeKind, change: &UpgradeChange) -> Self {
        let because =
            |text: &Option<Arc<str>>| text.as_ref().map_or(String::new(), |text| format!(": {text}"));
        let message = match kind {
            UpgradeChangeKind::Started => format!("Upgrade started{}", because(&change.phase)),
            UpgradeChangeKind::PhaseChanged => format!("Phase changed{}", because(&change.phase)),
            UpgradeChangeKind::Paused => format!("Upgrade paused{}", because(&change.reason)),
            UpgradeChangeKind::Resumed => "Upgrade resumed".to_owned(),
            UpgradeChangeKind::Completed => match change.unfinished.len() {
                0 => "Upgrade completed".to_owned(),
                count => format!("Upgrade completed with {count} tasks unfinished or failed"),
            },
            UpgradeChangeKind::Failed => format!("Upgrade failed{}", because(&change.error_message)),
            UpgradeChangeKind::Cancelled => format!("Upgrade cancelled{}", because(&change.reason)),
        };
        let details = match (&change.reason, change.unfinished.as_slice()) {
            (None, []) => Details::NONE,
            (Some(reason), _) => details(json!({ "reason": reason })),
            (None, unfinished) => details(json!({ "unfinished": unfinished })),
        };
        Self {
            status: change.status,
            percentage: Some(change.percentage),
            message: message.into(),
            details,
            phase: change.phase.clone(),
            duration: change.duration,
            error_message: change.error_message.clone(),
            ..self
        }
    }

    fn added(self, added: &TaskAdded) -> Self {
        Self {
            task_id: Some(added.task_id.clone()),
            task_type: Some(added.task_type),
            percentage: Some(Percent::ZERO),
            message: "Task added".into(),
            details: details(json!({ "parent_task_id": added.parent_task_id, "weight": added.weight })),
            task_name: Some(Arc::clone(&added.task_name)),
            ..self
        }
    }

    fn task(self, change: &TaskChange) -> Self {
        Self {
            task_id: Some(change.task_id.clone()),
            task_type: Some(change.task_type),
            status: change.status,
            percentage: Some(change.percentage),
            message: Arc::clone(&change.message),
            details: change.details.clone(),
            task_name: Some(Arc::clone(&change.task_name)),
            duration: change.duration,
            error_message: change.error_message.clone(),
            waiting_on: change.waiting_on.clone(),
            ..self
        }
    }
}

/// One event of an artifact as live viewers get it.
///
/// Whoever sends it adds `stream`, `epoch` and `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArtifactEventMessage {
    /// The id of its record.
    pub event_id: EventId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The collection that it belongs to.
    pub collection_id: CollectionId,
    /// The upgrade that produced it.
    pub upgrade_id: UpgradeId,
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// Its status after the event.
    pub status: ArtifactStatus,
    /// How many bytes it has.
    pub file_size: Option<u64>,
    /// The SHA-256 of its bytes.
    pub file_hash: Option<FileHash>,
    /// The record's type: `artifact.added`.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
}

impl ArtifactEventMessage {
    /// What viewers get for a record of a session; `None` for what is about the session itself, for downloads, which
    /// change nothing, and for types that this version does not know.
    #[must_use]
    pub fn new(meta: &RecordMeta, event: &SessionEvent) -> Option<Self> {
        match event {
            SessionEvent::ArtifactAdded(artifact) => Some(Self::added(meta, event.kind(), artifact)),
            SessionEvent::Artifact(_, change) => Some(Self::changed(meta, event.kind(), change)),
            SessionEvent::Created(_)
            | SessionEvent::Imported(_)
            | SessionEvent::CollectionCreated(_)
            | SessionEvent::Completed(_)
            | SessionEvent::Outcome(_)
            | SessionEvent::Downloaded(_)
            | SessionEvent::Pinned(_)
            | SessionEvent::Unknown { .. } => None,
        }
    }

    fn added(meta: &RecordMeta, kind: &str, artifact: &Artifact) -> Self {
        Self {
            event_id: meta.event_id(),
            timestamp: meta.at,
            artifact_id: artifact.artifact_id.clone(),
            session_id: artifact.session_id.clone(),
            collection_id: artifact.collection_id.clone(),
            upgrade_id: artifact.upgrade_id.clone(),
            name: Arc::clone(&artifact.name),
            artifact_type: artifact.artifact_type,
            status: artifact.status,
            file_size: artifact.file_size,
            file_hash: artifact.file_hash,
            kind: kind.into(),
        }
    }

    fn changed(meta: &RecordMeta, kind: &str, change: &ArtifactChange) -> Self {
        Self {
            event_id: meta.event_id(),
            timestamp: meta.at,
            artifact_id: change.artifact_id.clone(),
            session_id: change.session_id.clone(),
            collection_id: change.collection_id.clone(),
            upgrade_id: change.upgrade_id.clone(),
            name: Arc::clone(&change.name),
            artifact_type: change.artifact_type,
            status: change.status,
            file_size: change.file_size,
            file_hash: change.file_hash,
            kind: kind.into(),
        }
    }
}

fn details(value: serde_json::Value) -> Details {
    Details::from_object_text(value.to_string())
}
