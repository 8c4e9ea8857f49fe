//! An upgrade as a viewer knows it that has no journal: a snapshot, and what happened after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::event::TASK_ADDED;
use crate::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Details, EventId, Fold, Percent, ProgressEventMessage,
    RecordMeta, ReferenceError, Span, Summary, TaskAdded, TaskChange, TaskChangeKind, TaskId, TaskProgress,
    TaskType, Timestamp, UpgradeChange, UpgradeChangeKind, UpgradeEvent, UpgradeImported, UpgradeProgress,
};

/// An upgrade that is followed by messages: begun with a snapshot, it takes in events and summaries as they come, and is
/// folded as by its journal.
///
/// What messages do not tell is not in it: metadata, steps, and when a task gave its last sign of life. Which tasks are
/// silent summaries say.
#[derive(Debug, Clone)]
pub struct UpgradeMirror {
    progress: UpgradeProgress,
    /// The last record that is in it.
    seq: u64,
    stalled: BTreeSet<TaskId>,
}

impl UpgradeMirror {
    /// Begins with a snapshot as of record `seq`, as [`Snapshot`](crate::Snapshot) writes it, and the summary that was made
    /// with it.
    ///
    /// # Errors
    /// [`ReferenceError`] if it is none.
    pub fn begin(snapshot: &str, summary: &Summary, seq: u64) -> Result<Self, ReferenceError> {
        let imported = UpgradeImported::from_reference(snapshot.as_bytes())?;
        Ok(Self {
            progress: imported.progress(),
            seq,
            stalled: summary.stalled_tasks.iter().cloned().collect(),
        })
    }

    /// The upgrade, as far as is known.
    #[must_use]
    pub const fn progress(&self) -> &UpgradeProgress {
        &self.progress
    }

    /// The tasks that run and are silent for too long, as far as is known.
    #[must_use]
    pub const fn stalled(&self) -> &BTreeSet<TaskId> {
        &self.stalled
    }

    /// Takes in what a later summary says of what changes without events. `now` is when it was made.
    pub fn summary(&mut self, summary: &Summary, now: Timestamp) {
        self.progress.last_report_at = self.progress.last_report_at.max(summary.last_report_at);
        let stalled: BTreeSet<TaskId> = summary.stalled_tasks.iter().cloned().collect();
        for task_id in stalled.difference(&self.stalled) {
            if let Some(task) = self.progress.task_mut(task_id) {
                // It was not silent before, so it gave signs of life that are not told.
                let silent = Span::from_secs(i64::from(task.heartbeat_seconds));
                task.last_report_at = task.last_report_at.max(Some(now - silent));
            }
        }
        self.stalled = stalled;
    }

    /// Takes in what record `seq` says, unless it is in already.
    pub fn event(&mut self, seq: u64, message: &ProgressEventMessage) {
        if seq <= self.seq {
            return;
        }
        self.seq = seq;
        let id = match message.event_id {
            EventId::Record(id) => id,
            EventId::Text(_) => Uuid::nil(),
        };
        let meta = RecordMeta {
            seq,
            id,
            at: message.timestamp,
            actor: Arc::from(""),
        };
        let task = message.task_id.as_ref().zip(message.task_type);
        let event = match task {
            Some((task_id, task_type)) => {
                self.stalled.remove(task_id);
                task_event(message, task_id, task_type, self.progress.task(task_id))
            }
            None => upgrade_event(message),
        };
        if let Some(event) = event {
            self.progress.apply(&meta, &event);
        }
    }
}

/// `None` for what is new to this version, and for what only a snapshot tells.
fn upgrade_event(message: &ProgressEventMessage) -> Option<UpgradeEvent> {
    let kind = UpgradeChangeKind::named(&message.kind)?;
    let details = message.details.to_map();
    let told = |key: &str| details.get(key).cloned();
    let change = UpgradeChange {
        status: message.status,
        percentage: message.percentage.unwrap_or(Percent::ZERO),
        phase: message.phase.clone(),
        duration: message.duration,
        error_message: message.error_message.clone(),
        reason: told("reason").and_then(|reason| reason.as_str().map(Arc::from)),
        unfinished: told("unfinished")
            .and_then(|unfinished| serde_json::from_value(unfinished).ok())
            .unwrap_or_default(),
    };
    Some(UpgradeEvent::Upgrade(kind, change))
}

/// `task` is as it was before.
fn task_event(
    message: &ProgressEventMessage,
    task_id: &TaskId,
    task_type: TaskType,
    task: Option<&TaskProgress>,
) -> Option<UpgradeEvent> {
    let task_name = message.task_name.clone();
    let task_name = task_name.unwrap_or_else(|| task_id.as_str().into());
    let Some(kind) = TaskChangeKind::named(&message.kind) else {
        let added = || added(task_id, task_type, task_name, &message.details);
        return (&*message.kind == TASK_ADDED).then(|| UpgradeEvent::TaskAdded(added()));
    };
    let retries = task.map_or(0, |task| task.retry_count);
    let change = TaskChange {
        task_id: task_id.clone(),
        task_name,
        task_type,
        status: message.status,
        percentage: message.percentage.unwrap_or(Percent::ZERO),
        message: Arc::clone(&message.message),
        details: message.details.clone(),
        current_step: None,
        steps: None,
        error_message: message.error_message.clone(),
        retry_count: retries.saturating_add(u32::from(kind == TaskChangeKind::Retried)),
        duration: message.duration,
        waiting_on: message.waiting_on.clone(),
    };
    Some(UpgradeEvent::Task(kind, change))
}

fn added(task_id: &TaskId, task_type: TaskType, task_name: Arc<str>, details: &Details) -> TaskAdded {
    let details = details.to_map();
    let parent = details.get("parent_task_id").and_then(|parent| parent.as_str());
    TaskAdded {
        task_id: task_id.clone(),
        task_name,
        task_type,
        parent_task_id: parent.and_then(|parent| TaskId::new(parent).ok()),
        weight: details
            .get("weight")
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(DEFAULT_WEIGHT),
        total_steps: None,
        heartbeat_seconds: DEFAULT_HEARTBEAT_SECONDS,
    }
}
