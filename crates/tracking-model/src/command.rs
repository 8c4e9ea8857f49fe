//! What callers ask of an upgrade, and why it may be refused.

use std::sync::Arc;

use crate::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Details, IdError, MAX_WEIGHT, PercentError, PlanId, Status,
    TaskId, TaskType, TextError, Timestamp, TransitionError, UpgradeId, UpgradeImported,
};

/// Deepest level of the task tree; top-level tasks are on level 1.
pub const MAX_DEPTH: usize = 64;

/// Something that a caller asks of an upgrade.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum UpgradeCommand {
    /// Create it: the stream's first record.
    Create {
        /// The plan that it follows.
        plan_id: PlanId,
        /// The cluster that it upgrades.
        cluster_name: Arc<str>,
        /// Free-form metadata.
        metadata: Details,
    },
    /// Take it over from the reference's file: the stream's first record.
    Import(UpgradeImported),
    /// Start it, or start it again after a failure.
    Start {
        /// The phase it begins with.
        phase: Arc<str>,
    },
    /// Enter another phase.
    SetPhase {
        /// The phase.
        phase: Arc<str>,
    },
    /// Ask it to wait.
    Pause {
        /// Why.
        reason: Option<Arc<str>>,
    },
    /// Let it go on.
    Resume,
    /// Give it up.
    Cancel {
        /// Why.
        reason: Option<Arc<str>>,
    },
    /// End it well.
    Complete {
        /// Complete it even if tasks are unfinished or failed; it is then marked as completed with failures.
        allow_unfinished: bool,
    },
    /// End it badly.
    Fail {
        /// Why.
        error: Arc<str>,
    },
    /// Add tasks, all or none.
    AddTasks(Vec<NewTask>),
    /// Do something with one task.
    Task {
        /// The task.
        task_id: TaskId,
        /// What to do.
        action: TaskAction,
    },
    /// Several commands, all or none, in one commit.
    All(Vec<Self>),
}

/// A task to be added.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewTask {
    /// Its id, new in this upgrade.
    pub task_id: TaskId,
    /// Its display name.
    pub task_name: Arc<str>,
    /// Its type.
    pub task_type: TaskType,
    /// The task that it is part of: one that exists, or that stands earlier in the same command.
    pub parent_task_id: Option<TaskId>,
    /// Its share in its parent's percentage relative to its siblings: finite and above 0.
    pub weight: f64,
    /// How many steps it has, where known: at least 1.
    pub total_steps: Option<u64>,
    /// After how many seconds without a report it is shown as stalled: at least 1.
    pub heartbeat_seconds: u32,
}

impl NewTask {
    /// A top-level task of weight 1 with the default heartbeat interval of 300 s.
    #[must_use]
    pub fn new(task_id: TaskId, task_name: impl Into<Arc<str>>, task_type: TaskType) -> Self {
        Self {
            task_id,
            task_name: task_name.into(),
            task_type,
            parent_task_id: None,
            weight: DEFAULT_WEIGHT,
            total_steps: None,
            heartbeat_seconds: DEFAULT_HEARTBEAT_SECONDS,
        }
    }

    /// Makes it part of `parent`.
    #[must_use]
    pub fn with_parent(mut self, parent: TaskId) -> Self {
        self.parent_task_id = Some(parent);
        self
    }

    /// Sets its weight among its siblings.
    #[must_use]
    pub const fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// Sets how many steps it has.
    #[must_use]
    pub const fn with_total_steps(mut self, steps: u64) -> Self {
        self.total_steps = Some(steps);
        self
    }

    /// Sets after how many seconds without a report it is shown as stalled.
    #[must_use]
    pub const fn with_heartbeat_seconds(mut self, seconds: u32) -> Self {
        self.heartbeat_seconds = seconds;
        self
    }
}

/// Something that a caller asks of one task.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TaskAction {
    /// Start it, or start it again after a failure.
    Start {
        /// In words; `Task started` if none is given.
        message: Option<Arc<str>>,
    },
    /// Report how far it is; starts it if it has not started.
    Progress {
        /// Finite; clamped to 0–100.
        percentage: f64,
        /// In words.
        message: Arc<str>,
        /// At most 64 KiB as JSON.
        details: Details,
    },
    /// Report how many steps are done; starts it if it has not started.
    Steps {
        /// Steps done, at most the total.
        done: u64,
        /// Steps in all; the number given earlier if none is given here.
        total: Option<u64>,
        /// The step that runs, in words.
        current_step: Option<Arc<str>>,
    },
    /// Report that it is alive.
    Heartbeat,
    /// Report what it waits for; its status stays.
    Wait {
        /// What for, in words.
        reason: Arc<str>,
        /// When it should be over at the latest.
        until: Option<Timestamp>,
    },
    /// End it well.
    Complete {
        /// In words; `Task completed` if none is given.
        message: Option<Arc<str>>,
    },
    /// End it badly.
    Fail {
        /// Why.
        error: Arc<str>,
    },
    /// Start it again after a failure; refused if it has not failed.
    Retry {
        /// In words; `Task retried` if none is given.
        message: Option<Arc<str>>,
    },
    /// Ask it to wait.
    Pause {
        /// Why.
        reason: Option<Arc<str>>,
    },
    /// Let it go on.
    Resume,
    /// Give it up.
    Cancel {
        /// Why.
        reason: Option<Arc<str>>,
    },
}

/// Why a command is refused. Nothing is written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The upgrade does not exist yet.
    #[error("there is no such upgrade: create it first")]
    UnknownUpgrade,
    /// The upgrade exists already.
    #[error("the upgrade exists already, for plan {plan_id} and cluster {cluster_name:?}")]
    UpgradeExists {
        /// Its plan.
        plan_id: PlanId,
        /// Its cluster.
        cluster_name: Arc<str>,
    },
    /// The upgrade was started already, by this agent or another.
    #[error("the upgrade was started already, at {at}: two agents may be at work, or this one was restarted")]
    AlreadyStarted {
        /// When.
        at: Timestamp,
    },
    /// The table of transitions does not allow it.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// The file that is imported is about another upgrade.
    #[error("the file is about upgrade {upgrade_id}, not {expected}: import it under its own id")]
    OtherUpgrade {
        /// The upgrade that the file is about.
        upgrade_id: UpgradeId,
        /// The upgrade that it was imported into.
        expected: UpgradeId,
    },
    /// A task command after the upgrade ended for good.
    #[error("the upgrade is {status}, which is final: task {task_id} cannot change any more")]
    UpgradeFinal {
        /// The upgrade's status.
        status: Status,
        /// The task.
        task_id: TaskId,
    },
    /// The task does not exist.
    #[error("there is no task {0}: add it first")]
    UnknownTask(TaskId),
    /// A task of this id exists.
    #[error("task {0} exists already: give the new one another id")]
    TaskExists(TaskId),
    /// The parent does not exist.
    #[error("the parent {parent} of task {task_id} does not exist: add it first")]
    UnknownParent {
        /// The task.
        task_id: TaskId,
        /// Its parent.
        parent: TaskId,
    },
    /// The parent is the task itself or comes after it in the same command.
    #[error(
        "task {task_id} cannot be part of {parent}: a parent is another task that exists or comes before it"
    )]
    CyclicParent {
        /// The task.
        task_id: TaskId,
        /// Its parent.
        parent: TaskId,
    },
    /// The tree would be too deep.
    #[error("task {task_id} would be on level {}, the tree has at most {MAX_DEPTH}", MAX_DEPTH + 1)]
    TooDeep {
        /// The task.
        task_id: TaskId,
    },
    /// The weight is not above zero, or absurdly large.
    #[error("weight {weight:?} of task {task_id} is not a finite number above 0 and up to {MAX_WEIGHT:e}")]
    InvalidWeight {
        /// The task.
        task_id: TaskId,
        /// Its weight.
        weight: f64,
    },
    /// The heartbeat interval is zero.
    #[error("the heartbeat interval of task {task_id} is zero: give at least one second")]
    InvalidHeartbeat {
        /// The task.
        task_id: TaskId,
    },
    /// The percentage is no number.
    #[error("progress of task {task_id}: {source}")]
    InvalidPercentage {
        /// The task.
        task_id: TaskId,
        /// What is wrong with it.
        source: PercentError,
    },
    /// More steps are done than there are, or there are none.
    #[error("steps {done}/{total} of task {task_id}: the total is at least 1 and at least what is done")]
    InvalidSteps {
        /// The task.
        task_id: TaskId,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// No total was ever given.
    #[error("task {0} has no total of steps: give it with the first report")]
    UnknownTotal(TaskId),
    /// The details are too large.
    #[error(
        "details have {bytes} bytes of JSON, at most {limit} are allowed: keep them as an artifact and name it here"
    )]
    DetailsTooLarge {
        /// Their bytes as compact JSON.
        bytes: usize,
        /// The most they may have.
        limit: usize,
    },
    /// The details cannot be read back: nested more than 127 levels deep, or with a number out of range.
    #[error("details are not JSON that can be read back: {reason}")]
    InvalidDetails {
        /// What is wrong with them.
        reason: String,
    },
    /// A text is too long or a name is invalid.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An id is invalid.
    #[error(transparent)]
    Id(#[from] IdError),
    /// Tasks are unfinished or failed.
    #[error("{} of the upgrade's tasks are not complete: {}", .unfinished.len(), list(.unfinished))]
    Unfinished {
        /// The tasks and where they stand.
        unfinished: Vec<(TaskId, Status)>,
    },
}

fn list(unfinished: &[(TaskId, Status)]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<String> = unfinished
        .iter()
        .take(SHOWN)
        .map(|(task, status)| format!("{task} ({status})"))
        .collect();
    if unfinished.len() > SHOWN {
        text.push(format!("and {} more", unfinished.len() - SHOWN));
    }
    text.join(", ")
}
