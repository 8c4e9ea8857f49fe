//! A task's state and its recent events.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Details, EventId, MAX_WEIGHT, Percent, RecordMeta, Span, Status, Steps, TaskAdded, TaskChange,
    TaskChangeKind, TaskId, TaskType, Timestamp, Waiting,
};

/// How many of a task's events stay in memory and in snapshots; the journal has them all.
pub const RECENT_EVENTS: usize = 20;

/// Something that a task reported, as viewers and snapshots show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressEvent {
    /// The id of its record.
    pub event_id: EventId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The task.
    pub task_id: TaskId,
    /// Its type.
    pub task_type: TaskType,
    /// Its status after the event.
    pub status: Status,
    /// What happened, in words.
    pub message: Arc<str>,
    /// Free-form details.
    #[serde(default)]
    pub details: Details,
    /// Its percentage after the event.
    pub percentage: Option<Percent>,
}

impl ProgressEvent {
    /// What `change`, written as `meta` says, looks like to viewers.
    #[must_use]
    pub fn new(meta: &RecordMeta, change: &TaskChange) -> Self {
        Self::of(change.task_id.clone(), meta, change)
    }

    /// As [`Self::new`], with a copy of the task's id that is shared already.
    fn of(task_id: TaskId, meta: &RecordMeta, change: &TaskChange) -> Self {
        Self {
            event_id: meta.event_id(),
            timestamp: meta.at,
            task_id,
            task_type: change.task_type,
            status: change.status,
            message: Arc::clone(&change.message),
            details: change.details.clone(),
            percentage: Some(change.percentage),
        }
    }
}

/// A task's state.
///
/// Only [`UpgradeProgress::apply`](crate::Fold::apply) changes the tasks of an upgrade, so its fields can be read freely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskProgress {
    /// Its id.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// Its type.
    pub task_type: TaskType,
    /// The task that it is part of.
    pub parent_task_id: Option<TaskId>,
    /// The status that it reported of itself. Where it has children, [`Rollup`](crate::Rollup) tells what is shown.
    pub status: Status,
    /// When it started, or was started again after a failure.
    pub started_at: Option<Timestamp>,
    /// When it was completed, failed or was cancelled.
    pub completed_at: Option<Timestamp>,
    /// From start to end, at an end.
    pub duration: Option<Span>,
    /// What it reported of itself. Where it has children, [`Rollup`](crate::Rollup) tells what is shown.
    pub percentage: Percent,
    /// The step that runs, in words.
    pub current_step: Option<Arc<str>>,
    /// Steps in all.
    pub total_steps: Option<u64>,
    /// Steps done.
    pub completed_steps: u64,
    /// Why it failed.
    pub error_message: Option<Arc<str>>,
    /// How often it was retried.
    pub retry_count: u32,
    /// Its last [`RECENT_EVENTS`] events, oldest first.
    pub events: VecDeque<ProgressEvent>,
    /// How many more the journal has.
    pub events_omitted: u64,
    /// Its share in its parent's percentage relative to its siblings.
    pub weight: f64,
    /// After how many seconds without a report it is shown as stalled.
    pub heartbeat_seconds: u32,
    /// When it last reported anything, heartbeats included.
    pub last_report_at: Option<Timestamp>,
    /// What it waits for.
    pub waiting_on: Option<Waiting>,
    /// Its parts, in the order in which they were added.
    pub children: Vec<TaskId>,
    /// Its level in the tree, from 1.
    pub depth: usize,
}

impl TaskProgress {
    pub(crate) fn new(added: &TaskAdded, depth: usize) -> Self {
        Self {
            task_id: added.task_id.clone(),
            task_name: Arc::clone(&added.task_name),
            task_type: added.task_type,
            parent_task_id: added.parent_task_id.clone(),
            status: Status::NotStarted,
            started_at: None,
            completed_at: None,
            duration: None,
            percentage: Percent::ZERO,
            current_step: None,
            total_steps: added.total_steps,
            completed_steps: 0,
            error_message: None,
            retry_count: 0,
            events: VecDeque::new(),
            events_omitted: 0,
            weight: added.weight.clamp(f64::MIN_POSITIVE, MAX_WEIGHT),
            heartbeat_seconds: added.heartbeat_seconds,
            last_report_at: None,
            waiting_on: None,
            children: Vec::new(),
            depth,
        }
    }

    /// A parent on which nobody reported itself: its children decide which status is shown.
    #[must_use]
    pub fn derives_status(&self) -> bool {
        self.status == Status::NotStarted && !self.children.is_empty()
    }

    /// Whether it runs and has not reported within its heartbeat interval at `now`. While it waits for something with
    /// a deadline, the deadline counts instead. A task with parts reports through them. A view: no state changes.
    #[must_use]
    pub fn is_stalled(&self, now: Timestamp) -> bool {
        if self.status != Status::InProgress || !self.children.is_empty() {
            return false;
        }
        if let Some(until) = self.waiting_on.as_ref().and_then(|waiting| waiting.until) {
            return now > until;
        }
        let limit = Span::from_secs(i64::from(self.heartbeat_seconds));
        self.last_report_at
            .or(self.started_at)
            .is_some_and(|last| now.since(last) > limit)
    }

    /// Adds one change. `percentage` in it is what the task shows; a parent's own report is never derived from it.
    /// What ended stays so: another writer on another machine may not have known of it.
    pub(crate) fn apply(&mut self, kind: TaskChangeKind, change: &TaskChange, meta: &RecordMeta) {
        if self.status.is_final() && change.status != self.status {
            return;
        }
        let begins = matches!(kind, TaskChangeKind::Started | TaskChangeKind::Retried)
            || (self.status == Status::NotStarted && change.status == Status::InProgress);
        if begins && self.status != Status::InProgress {
            self.started_at = Some(meta.at);
            self.completed_at = None;
            self.duration = None;
            self.error_message = None;
        }
        if matches!(
            kind,
            TaskChangeKind::Completed | TaskChangeKind::Failed | TaskChangeKind::Cancelled
        ) {
            self.completed_at = Some(meta.at);
            self.duration = change.duration;
        }
        self.waiting_on.clone_from(&change.waiting_on);
        self.status = change.status;
        self.percentage = change.percentage;
        self.retry_count = change.retry_count;
        if change.error_message.is_some() {
            self.error_message.clone_from(&change.error_message);
        }
        if change.current_step.is_some() {
            self.current_step.clone_from(&change.current_step);
        }
        if let Some(Steps { done, total }) = change.steps {
            self.completed_steps = done;
            self.total_steps = Some(total);
        } else if kind == TaskChangeKind::Retried {
            self.completed_steps = 0;
        }
        self.last_report_at = Some(meta.at);
        if self.events.len() == RECENT_EVENTS {
            self.events.pop_front();
            self.events_omitted += 1;
        }
        self.events
            .push_back(ProgressEvent::of(self.task_id.clone(), meta, change));
    }
}
