//! A second, naive machine of upgrades: everything recomputed from scratch, no sharing with the real one.

use std::collections::BTreeMap;

use tracking_model::{NewTask, Status, TaskAction, UpgradeCommand};

#[derive(Debug, Clone)]
pub(crate) struct NaiveTask {
    pub(crate) place: usize,
    pub(crate) parent: Option<String>,
    pub(crate) status: Status,
    pub(crate) own: f64,
    pub(crate) weight: f64,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) reports: u64,
    pub(crate) waits: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Naive {
    pub(crate) exists: bool,
    pub(crate) status: Status,
    pub(crate) phase: Option<String>,
    pub(crate) retries: u32,
    pub(crate) with_failures: bool,
    pub(crate) tasks: BTreeMap<String, NaiveTask>,
}

/// What may follow what, as the contract has it.
fn allowed(from: Status, to: Status) -> bool {
    let table = [
        ("not_started", "in_progress completed failed cancelled"),
        ("in_progress", "in_progress completed failed paused cancelled"),
        ("paused", "in_progress failed cancelled"),
        ("failed", "in_progress cancelled"),
        ("completed", ""),
        ("cancelled", ""),
    ];
    table
        .iter()
        .any(|(name, next)| *name == from.as_str() && next.split(' ').any(|name| name == to.as_str()))
}

fn ended(status: Status) -> bool {
    status == Status::Completed || status == Status::Cancelled
}

impl Naive {
    pub(crate) fn new() -> Self {
        Self {
            exists: false,
            status: Status::NotStarted,
            phase: None,
            retries: 0,
            with_failures: false,
            tasks: BTreeMap::new(),
        }
    }

    /// Does `command`; `None` if it is refused, and then nothing may have changed.
    pub(crate) fn run(&self, command: &UpgradeCommand) -> Option<Self> {
        let mut next = self.clone();
        next.change(command)?;
        Some(next)
    }

    fn change(&mut self, command: &UpgradeCommand) -> Option<()> {
        match command {
            UpgradeCommand::Create { .. } => return self.create(),
            UpgradeCommand::All(commands) => {
                return commands.iter().try_for_each(|command| self.change(command));
            }
            _ if !self.exists => return None,
            _ => {}
        }
        match command {
            UpgradeCommand::Start { phase } => {
                if self.status == Status::InProgress || self.status == Status::Paused {
                    return None;
                }
                let failed = self.status == Status::Failed;
                self.turn(Status::InProgress)?;
                self.retries += u32::from(failed);
                self.phase = Some(phase.to_string());
            }
            UpgradeCommand::SetPhase { phase } => {
                if ended(self.status) {
                    return None;
                }
                self.phase = Some(phase.to_string());
            }
            UpgradeCommand::Pause { .. } => self.turn(Status::Paused)?,
            UpgradeCommand::Resume if self.status == Status::Paused => self.turn(Status::InProgress)?,
            UpgradeCommand::Resume => return None,
            UpgradeCommand::Cancel { .. } => self.turn(Status::Cancelled)?,
            UpgradeCommand::Fail { .. } => self.turn(Status::Failed)?,
            UpgradeCommand::Complete { allow_unfinished } => {
                let mut tasks = self.tasks.iter();
                let unfinished =
                    tasks.any(|(id, task)| !ended(task.status) && !self.is_silent_parent(task, id));
                if unfinished && !allow_unfinished {
                    return None;
                }
                self.turn(Status::Completed)?;
                self.with_failures = unfinished;
            }
            UpgradeCommand::AddTasks(tasks) => tasks.iter().try_for_each(|task| self.add(task))?,
            UpgradeCommand::Task { task_id, action } => self.act(task_id.as_str(), action)?,
            _ => panic!("commands of newer versions"),
        }
        Some(())
    }

    fn create(&mut self) -> Option<()> {
        (!self.exists).then(|| self.exists = true)
    }

    fn turn(&mut self, to: Status) -> Option<()> {
        allowed(self.status, to).then(|| self.status = to)
    }

    fn add(&mut self, task: &NewTask) -> Option<()> {
        let parent = task.parent_task_id.as_ref().map(ToString::to_string);
        let known = parent
            .as_ref()
            .is_none_or(|parent| self.tasks.contains_key(parent));
        let sound = task.weight.is_finite() && task.weight > 0.0 && task.total_steps != Some(0);
        if ended(self.status) || !known || !sound || self.tasks.contains_key(task.task_id.as_str()) {
            return None;
        }
        let place = self.tasks.len();
        let task_id = task.task_id.to_string();
        let (weight, total) = (task.weight, task.total_steps);
        self.tasks.insert(
            task_id,
            NaiveTask {
                place,
                parent,
                status: Status::NotStarted,
                own: 0.0,
                weight,
                done: 0,
                total,
                retries: 0,
                reports: 0,
                waits: false,
            },
        );
        Some(())
    }

    fn act(&mut self, id: &str, action: &TaskAction) -> Option<()> {
        let shown = self.shown(self.tasks.get(id)?, id);
        let leaf = self.parts(Some(id)).next().is_none();
        if ended(self.status) {
            return None;
        }
        let task = self.tasks.get_mut(id)?;
        let from = task.status;
        let to = match action {
            TaskAction::Heartbeat => return (from == Status::InProgress).then_some(()),
            TaskAction::Start { .. } if from == Status::Paused => return None,
            TaskAction::Retry { .. } if from != Status::Failed => return None,
            TaskAction::Resume if from != Status::Paused => return None,
            TaskAction::Progress { .. } | TaskAction::Steps { .. }
                if from != Status::NotStarted && from != Status::InProgress =>
            {
                return None;
            }
            TaskAction::Start { .. }
            | TaskAction::Retry { .. }
            | TaskAction::Resume
            | TaskAction::Progress { .. }
            | TaskAction::Steps { .. } => Status::InProgress,
            TaskAction::Wait { reason, .. } if !ended(from) && !reason.trim().is_empty() => from,
            TaskAction::Wait { .. } => return None,
            TaskAction::Complete { .. } => Status::Completed,
            TaskAction::Fail { .. } => Status::Failed,
            TaskAction::Pause { .. } => Status::Paused,
            TaskAction::Cancel { .. } => Status::Cancelled,
            _ => panic!("actions of newer versions"),
        };
        let waits = matches!(action, TaskAction::Wait { .. });
        if !waits && !allowed(from, to) {
            return None;
        }
        let mut own = shown;
        let mut reports = 1;
        match action {
            TaskAction::Progress { percentage, .. } => {
                if !percentage.is_finite() {
                    return None;
                }
                own = if leaf { percentage.clamp(0.0, 100.0) } else { shown };
                reports += u64::from(from == Status::NotStarted);
            }
            TaskAction::Steps { done, total, .. } => {
                let total = (*total).or(task.total)?;
                if total == 0 || *done > total {
                    return None;
                }
                (task.done, task.total) = (*done, Some(total));
                own = if leaf {
                    *done as f64 / total as f64 * 100.0
                } else {
                    shown
                };
                reports += u64::from(from == Status::NotStarted);
            }
            TaskAction::Complete { .. } => own = 100.0,
            TaskAction::Start { .. } | TaskAction::Retry { .. } if from == Status::Failed => {
                own = if leaf { 0.0 } else { shown };
                task.retries += 1;
                task.done = 0;
            }
            _ => {}
        }
        task.own = own;
        task.status = to;
        task.waits = waits;
        task.reports += reports;
        Some(())
    }

    fn parts<'a>(&'a self, parent: Option<&'a str>) -> impl Iterator<Item = (&'a String, &'a NaiveTask)> {
        self.tasks
            .iter()
            .filter(move |(_, task)| task.parent.as_deref() == parent)
    }

    /// It has parts, and nobody reported on it itself.
    fn is_silent_parent(&self, task: &NaiveTask, id: &str) -> bool {
        task.status == Status::NotStarted && self.parts(Some(id)).next().is_some()
    }

    /// The contract's table for silent parents, read from top to bottom.
    pub(crate) fn shown_status(&self, task: &NaiveTask, id: &str) -> Status {
        if !self.is_silent_parent(task, id) {
            return task.status;
        }
        let parts = self.parts(Some(id));
        let parts: Vec<_> = parts.map(|(id, part)| self.shown_status(part, id)).collect();
        let count = |status| parts.iter().filter(|part| **part == status).count();
        let (completed, cancelled) = (count(Status::Completed), count(Status::Cancelled));
        if count(Status::InProgress) > 0 {
            Status::InProgress
        } else if count(Status::Failed) > 0 {
            Status::Failed
        } else if count(Status::Paused) > 0 {
            Status::Paused
        } else if cancelled == parts.len() {
            Status::Cancelled
        } else if completed + cancelled == parts.len() {
            Status::Completed
        } else if completed > 0 {
            Status::InProgress
        } else {
            Status::NotStarted
        }
    }

    pub(crate) fn shown(&self, task: &NaiveTask, id: &str) -> f64 {
        if self.shown_status(task, id) == Status::Completed {
            return 100.0;
        }
        self.mean(Some(id)).unwrap_or(task.own)
    }

    fn mean(&self, parent: Option<&str>) -> Option<f64> {
        let parts: Vec<_> = self
            .parts(parent)
            .filter(|(id, task)| self.shown_status(task, id) != Status::Cancelled)
            .collect();
        if parts.is_empty() {
            return None;
        }
        if parts
            .iter()
            .all(|(id, task)| self.shown_status(task, id) == Status::Completed)
        {
            return Some(100.0);
        }
        let weights: f64 = parts.iter().map(|(_, task)| task.weight).sum();
        let sum: f64 = parts
            .iter()
            .map(|(id, task)| self.shown(task, id) * task.weight)
            .sum();
        Some(if sum / weights >= 100.0 - 1e-9 {
            99.9
        } else {
            sum / weights
        })
    }

    pub(crate) fn overall(&self) -> f64 {
        if self.status == Status::Completed && !self.with_failures {
            return 100.0;
        }
        self.mean(None).unwrap_or(0.0)
    }
}
