//! An upgrade's state: the sum of its events.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    CommandError, Details, Fold, MAX_DEPTH, Percent, PlanId, RecordMeta, Rollup, Span, Status, StreamId,
    TaskAdded, TaskId, TaskProgress, Timestamp, UpgradeChange, UpgradeChangeKind, UpgradeCommand,
    UpgradeEvent, UpgradeId, UpgradeImported,
};

/// An upgrade's state.
///
/// The sum of the events of its stream; [`Fold::apply`] is the one way to change it. Serialised with serde it is the
/// state of a checkpoint; what people and the reference's tools read is a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UpgradeProgress {
    /// The upgrade.
    pub upgrade_id: UpgradeId,
    /// The plan that it follows; `None` until it is created.
    pub plan_id: Option<PlanId>,
    /// The cluster that it upgrades.
    pub cluster_name: Arc<str>,
    /// Where it stands.
    pub status: Status,
    /// When it was started first.
    pub started_at: Option<Timestamp>,
    /// When it was completed, failed or was cancelled.
    pub completed_at: Option<Timestamp>,
    /// From start to end, at an end.
    pub duration: Option<Span>,
    /// The phase that it is in.
    pub current_phase: Option<Arc<str>>,
    /// Why it failed.
    pub error_message: Option<Arc<str>>,
    /// Why it was paused or cancelled.
    pub reason: Option<Arc<str>>,
    /// Whether it was completed although tasks were unfinished or failed.
    pub completed_with_failures: bool,
    /// How often it was started again after a failure.
    pub retry_count: u32,
    /// Free-form metadata.
    pub metadata: Map<String, Value>,
    /// When anything was last recorded.
    pub last_report_at: Option<Timestamp>,
    tasks: IndexMap<TaskId, TaskProgress>,
}

impl UpgradeProgress {
    pub(crate) fn new(upgrade_id: UpgradeId) -> Self {
        Self {
            upgrade_id,
            plan_id: None,
            cluster_name: Arc::from(""),
            status: Status::NotStarted,
            started_at: None,
            completed_at: None,
            duration: None,
            current_phase: None,
            error_message: None,
            reason: None,
            completed_with_failures: false,
            retry_count: 0,
            metadata: Map::new(),
            last_report_at: None,
            tasks: IndexMap::new(),
        }
    }

    /// Whether its first record exists.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.plan_id.is_some()
    }

    /// Its tasks, in the order in which they were added.
    #[must_use]
    pub const fn tasks(&self) -> &IndexMap<TaskId, TaskProgress> {
        &self.tasks
    }

    /// One of its tasks.
    #[must_use]
    pub fn task(&self, task_id: &TaskId) -> Option<&TaskProgress> {
        self.tasks.get(task_id)
    }

    pub(crate) fn task_mut(&mut self, task_id: &TaskId) -> Option<&mut TaskProgress> {
        self.tasks.get_mut(task_id)
    }

    /// The tasks that are shown with this status, in the order in which they were added.
    pub fn tasks_by_status(&self, status: Status) -> impl Iterator<Item = &TaskProgress> {
        self.tasks
            .values()
            .filter(move |task| self.task_status(task) == status)
    }

    /// The task that is shown as the current one: of those that reported themselves, the first that runs, else the
    /// last that failed.
    #[must_use]
    pub fn current_task(&self) -> Option<&TaskProgress> {
        let reported = |status| self.tasks.values().filter(move |task| task.status == status);
        reported(Status::InProgress)
            .next()
            .or_else(|| reported(Status::Failed).next_back())
    }

    /// The overall percentage. Costs a visit of every task.
    #[must_use]
    pub fn overall_percentage(&self) -> Percent {
        Rollup::of(self).overall
    }

    /// The percentage that is shown for a task.
    #[must_use]
    pub fn task_percentage(&self, task: &TaskProgress) -> Percent {
        crate::rollup::shown(self, task).percentage
    }

    /// The status that is shown for a task: its own, or what follows from its parts if nobody reported on it itself.
    #[must_use]
    pub fn task_status(&self, task: &TaskProgress) -> Status {
        if task.derives_status() {
            crate::rollup::shown(self, task).status
        } else {
            task.status
        }
    }

    /// The tasks that keep the upgrade from completing, in the order in which they were added: those that are neither
    /// completed nor cancelled, without parents on which nobody reported itself, whose parts are listed instead.
    pub fn unfinished(&self) -> impl Iterator<Item = &TaskProgress> {
        self.tasks
            .values()
            .filter(|task| !task.status.is_final() && !task.derives_status())
    }

    /// Adds a task that is arranged already: its depth is set, and its parent names it.
    pub(crate) fn insert_arranged(&mut self, task: TaskProgress) {
        self.tasks.insert(task.task_id.clone(), task);
    }

    /// Adds a task. `check` lets in neither unknown parents nor trees too deep; where a journal has them all the same,
    /// the task becomes a top-level one, so that the tree stays one that can be walked.
    fn add_task(&mut self, added: &TaskAdded) {
        if self.tasks.contains_key(&added.task_id) {
            return;
        }
        let parent = added
            .parent_task_id
            .as_ref()
            .and_then(|parent| self.tasks.get_mut(parent));
        let parent = parent.filter(|parent| parent.depth < MAX_DEPTH);
        let depth = parent.as_ref().map_or(1, |parent| parent.depth + 1);
        let mut task = TaskProgress::new(added, depth);
        match parent {
            Some(parent) => parent.children.push(added.task_id.clone()),
            None => task.parent_task_id = None,
        }
        self.insert_arranged(task);
    }

    fn change(&mut self, kind: UpgradeChangeKind, change: &UpgradeChange, meta: &RecordMeta) {
        // `check` lets nothing leave a final status; another writer on another machine may not have known of it.
        if self.status.is_final() && change.status != self.status {
            return;
        }
        match kind {
            UpgradeChangeKind::Started => {
                if self.status == Status::Failed {
                    self.retry_count += 1;
                }
                self.started_at.get_or_insert(meta.at);
                self.completed_at = None;
                self.duration = None;
                self.error_message = None;
            }
            UpgradeChangeKind::Completed | UpgradeChangeKind::Failed | UpgradeChangeKind::Cancelled => {
                self.completed_at = Some(meta.at);
                self.duration = change.duration;
                self.error_message.clone_from(&change.error_message);
                self.completed_with_failures = !change.unfinished.is_empty();
            }
            UpgradeChangeKind::PhaseChanged | UpgradeChangeKind::Paused | UpgradeChangeKind::Resumed => {}
        }
        if kind != UpgradeChangeKind::PhaseChanged {
            self.reason.clone_from(&change.reason);
        }
        self.status = change.status;
        if change.phase.is_some() {
            self.current_phase.clone_from(&change.phase);
        }
    }

    fn import(&mut self, imported: &UpgradeImported, meta: &RecordMeta) {
        *self = imported.progress();
        self.last_report_at.get_or_insert(meta.at);
    }
}

impl Fold for UpgradeProgress {
    type Command = UpgradeCommand;
    type Event = UpgradeEvent;
    type Refusal = CommandError;

    const CHECKPOINT_VERSION: u32 = 1;

    /// # Panics
    /// If `stream` is not an upgrade's: opening a journal with the wrong fold is a mistake in the program.
    fn empty(stream: &StreamId) -> Self {
        match stream {
            StreamId::Upgrade(id) => Self::new(id.clone()),
            StreamId::Session(_) => panic!("{stream} is not the stream of an upgrade"),
        }
    }

    fn check(&self, command: UpgradeCommand, now: Timestamp) -> Result<Vec<UpgradeEvent>, CommandError> {
        crate::check::check(self, command, now)
    }

    fn apply(&mut self, meta: &RecordMeta, event: &UpgradeEvent) {
        self.last_report_at = Some(meta.at);
        match event {
            UpgradeEvent::Created(created) => {
                self.plan_id = Some(created.plan_id.clone());
                self.cluster_name = Arc::clone(&created.cluster_name);
                self.metadata = Details::to_map(&created.metadata);
            }
            UpgradeEvent::Imported(imported) => self.import(imported, meta),
            UpgradeEvent::Upgrade(kind, change) => self.change(*kind, change, meta),
            UpgradeEvent::TaskAdded(added) => self.add_task(added),
            UpgradeEvent::Task(kind, change) => {
                if let Some(task) = self.tasks.get_mut(&change.task_id) {
                    task.apply(*kind, change, meta);
                }
            }
            UpgradeEvent::Heartbeat(heartbeat) => {
                if let Some(task) = self.tasks.get_mut(&heartbeat.task_id) {
                    task.last_report_at = Some(meta.at);
                }
            }
            UpgradeEvent::Unknown { .. } => {}
        }
    }
}
