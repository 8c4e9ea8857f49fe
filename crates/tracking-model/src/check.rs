//! Which commands an upgrade allows in its state, and the events that they cause. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{
    CommandError, Details, Fold, Heartbeat, MAX_DEPTH, MAX_DETAILS_BYTES, MAX_WEIGHT, NewTask, Percent,
    RecordMeta, Status, Steps, Subject, TaskAction, TaskAdded, TaskChange, TaskChangeKind, TaskId,
    TaskProgress, Timestamp, TransitionError, UpgradeChange, UpgradeChangeKind, UpgradeCommand,
    UpgradeCreated, UpgradeEvent, UpgradeProgress, Waiting, check_name, check_text,
};

type Checked = Result<Vec<UpgradeEvent>, CommandError>;

pub(crate) fn check(state: &UpgradeProgress, command: UpgradeCommand, now: Timestamp) -> Checked {
    match command {
        UpgradeCommand::Create {
            plan_id,
            cluster_name,
            metadata,
        } => {
            refuse_existing(state)?;
            check_name("cluster name", &cluster_name)?;
            check_details(&metadata)?;
            let upgrade_id = state.upgrade_id.clone();
            Ok(vec![UpgradeEvent::Created(UpgradeCreated {
                upgrade_id,
                plan_id,
                cluster_name,
                metadata,
            })])
        }
        UpgradeCommand::Import(imported) => {
            refuse_existing(state)?;
            if imported.upgrade_id != state.upgrade_id {
                return Err(CommandError::OtherUpgrade {
                    upgrade_id: imported.upgrade_id,
                    expected: state.upgrade_id.clone(),
                });
            }
            Ok(vec![UpgradeEvent::Imported(imported)])
        }
        UpgradeCommand::All(commands) => check_all(state, commands, now),
        _ if !state.exists() => Err(CommandError::UnknownUpgrade),
        UpgradeCommand::AddTasks(tasks) => add_tasks(state, tasks),
        UpgradeCommand::Task { task_id, action } => task_action(state, &task_id, action, now),
        UpgradeCommand::Start { phase } => start(state, phase),
        UpgradeCommand::SetPhase { phase } => set_phase(state, phase),
        UpgradeCommand::Pause { reason } => pause(state, reason),
        UpgradeCommand::Resume => resume(state),
        UpgradeCommand::Cancel { reason } => cancel(state, reason, now),
        UpgradeCommand::Complete { allow_unfinished } => complete(state, allow_unfinished, now),
        UpgradeCommand::Fail { error } => fail(state, error, now),
    }
}

fn refuse_existing(state: &UpgradeProgress) -> Result<(), CommandError> {
    match &state.plan_id {
        Some(plan_id) => Err(CommandError::UpgradeExists {
            plan_id: plan_id.clone(),
            cluster_name: Arc::clone(&state.cluster_name),
        }),
        None => Ok(()),
    }
}

/// Checks each command against the state that the ones before it lead to.
fn check_all(state: &UpgradeProgress, commands: Vec<UpgradeCommand>, now: Timestamp) -> Checked {
    let mut ahead = state.clone();
    let meta = RecordMeta {
        seq: 0,
        id: uuid::Uuid::nil(),
        at: now,
        actor: Arc::from(""),
    };
    let mut events = Vec::new();
    for command in commands {
        for event in check(&ahead, command, now)? {
            ahead.apply(&meta, &event);
            events.push(event);
        }
    }
    Ok(events)
}

fn check_details(details: &Details) -> Result<(), CommandError> {
    let bytes = details.as_json().len();
    if bytes > MAX_DETAILS_BYTES {
        return Err(CommandError::DetailsTooLarge {
            bytes,
            limit: MAX_DETAILS_BYTES,
        });
    }
    details.read().map_err(|error| CommandError::InvalidDetails {
        reason: error.to_string(),
    })?;
    Ok(())
}

fn check_optional(field: &'static str, text: Option<&Arc<str>>) -> Result<(), CommandError> {
    text.map_or(Ok(()), |text| check_text(field, text).map_err(CommandError::from))
}

// --- the upgrade itself ---

fn start(state: &UpgradeProgress, phase: Arc<str>) -> Checked {
    check_name("phase", &phase)?;
    if let (Status::InProgress, Some(at)) = (state.status, state.started_at) {
        return Err(CommandError::AlreadyStarted { at });
    }
    if state.status == Status::Paused {
        return Err(refused(state, Status::InProgress).into());
    }
    let change = UpgradeChange {
        phase: Some(phase),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Started, Status::InProgress, change)
}

fn set_phase(state: &UpgradeProgress, phase: Arc<str>) -> Checked {
    check_name("phase", &phase)?;
    if state.status.is_final() {
        return Err(refused(state, state.status).into());
    }
    let change = UpgradeChange {
        phase: Some(phase),
        ..unchanged(state)
    };
    Ok(vec![UpgradeEvent::Upgrade(
        UpgradeChangeKind::PhaseChanged,
        change,
    )])
}

fn pause(state: &UpgradeProgress, reason: Option<Arc<str>>) -> Checked {
    check_optional("reason", reason.as_ref())?;
    let change = UpgradeChange {
        reason,
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Paused, Status::Paused, change)
}

fn resume(state: &UpgradeProgress) -> Checked {
    if state.status != Status::Paused {
        return Err(refused(state, Status::InProgress).into());
    }
    become_status(
        state,
        UpgradeChangeKind::Resumed,
        Status::InProgress,
        unchanged(state),
    )
}

fn cancel(state: &UpgradeProgress, reason: Option<Arc<str>>, now: Timestamp) -> Checked {
    check_optional("reason", reason.as_ref())?;
    let change = UpgradeChange {
        reason,
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Cancelled, Status::Cancelled, change)
}

fn fail(state: &UpgradeProgress, error: Arc<str>, now: Timestamp) -> Checked {
    check_text("error", &error)?;
    let change = UpgradeChange {
        error_message: Some(error),
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Failed, Status::Failed, change)
}

fn complete(state: &UpgradeProgress, allow_unfinished: bool, now: Timestamp) -> Checked {
    if !state.status.can_become(Status::Completed) {
        return Err(refused(state, Status::Completed).into());
    }
    let unfinished: Vec<_> = state
        .unfinished()
        .map(|task| (task.task_id.clone(), task.status))
        .collect();
    if !unfinished.is_empty() && !allow_unfinished {
        return Err(CommandError::Unfinished { unfinished });
    }
    let percentage = if unfinished.is_empty() {
        Percent::FULL
    } else {
        state.overall_percentage()
    };
    let unfinished = unfinished.into_iter().map(|(task_id, _)| task_id).collect();
    let change = UpgradeChange {
        unfinished,
        percentage,
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Completed, Status::Completed, change)
}

fn become_status(
    state: &UpgradeProgress,
    kind: UpgradeChangeKind,
    status: Status,
    change: UpgradeChange,
) -> Checked {
    if !state.status.can_become(status) {
        return Err(refused(state, status).into());
    }
    Ok(vec![UpgradeEvent::Upgrade(
        kind,
        UpgradeChange { status, ..change },
    )])
}

fn unchanged(state: &UpgradeProgress) -> UpgradeChange {
    UpgradeChange {
        status: state.status,
        percentage: state.overall_percentage(),
        phase: state.current_phase.clone(),
        duration: None,
        error_message: None,
        reason: None,
        unfinished: Vec::new(),
    }
}

const fn refused(state: &UpgradeProgress, to: Status) -> TransitionError {
    TransitionError {
        subject: Subject::Upgrade,
        from: state.status,
        to,
    }
}

fn elapsed(started_at: Option<Timestamp>, now: Timestamp) -> Option<crate::Span> {
    started_at.map(|started| now.since(started))
}

// --- new tasks ---

fn add_tasks(state: &UpgradeProgress, tasks: Vec<NewTask>) -> Checked {
    let ids: HashMap<TaskId, usize> = tasks
        .iter()
        .enumerate()
        .rev()
        .map(|(index, task)| (task.task_id.clone(), index))
        .collect();
    let mut depths: Vec<usize> = Vec::with_capacity(tasks.len());
    let mut events = Vec::with_capacity(tasks.len());
    for (index, task) in tasks.into_iter().enumerate() {
        if state.status.is_final() {
            return Err(CommandError::UpgradeFinal {
                status: state.status,
                task_id: task.task_id,
            });
        }
        if state.task(&task.task_id).is_some() || ids[&task.task_id] != index {
            return Err(CommandError::TaskExists(task.task_id));
        }
        let depth = 1 + match &task.parent_task_id {
            None => 0,
            Some(parent) => match (state.task(parent), ids.get(parent)) {
                (Some(parent), _) => parent.depth,
                (None, Some(earlier)) if *earlier < index => depths[*earlier],
                (None, Some(_)) => {
                    return Err(CommandError::CyclicParent {
                        parent: parent.clone(),
                        task_id: task.task_id,
                    });
                }
                (None, None) => {
                    return Err(CommandError::UnknownParent {
                        parent: parent.clone(),
                        task_id: task.task_id,
                    });
                }
            },
        };
        depths.push(depth);
        events.push(UpgradeEvent::TaskAdded(new_task(task, depth)?));
    }
    Ok(events)
}

fn new_task(task: NewTask, depth: usize) -> Result<TaskAdded, CommandError> {
    check_name("task name", &task.task_name)?;
    if depth > MAX_DEPTH {
        return Err(CommandError::TooDeep {
            task_id: task.task_id,
        });
    }
    if !(task.weight > 0.0 && task.weight <= MAX_WEIGHT) {
        return Err(CommandError::InvalidWeight {
            task_id: task.task_id,
            weight: task.weight,
        });
    }
    if task.heartbeat_seconds == 0 {
        return Err(CommandError::InvalidHeartbeat {
            task_id: task.task_id,
        });
    }
    if task.total_steps == Some(0) {
        return Err(CommandError::InvalidSteps {
            task_id: task.task_id,
            done: 0,
            total: 0,
        });
    }
    Ok(TaskAdded {
        task_id: task.task_id,
        task_name: task.task_name,
        task_type: task.task_type,
        parent_task_id: task.parent_task_id,
        weight: task.weight,
        total_steps: task.total_steps,
        heartbeat_seconds: task.heartbeat_seconds,
    })
}

// --- one task ---

fn task_action(state: &UpgradeProgress, task_id: &TaskId, action: TaskAction, now: Timestamp) -> Checked {
    let task = state
        .task(task_id)
        .ok_or_else(|| CommandError::UnknownTask(task_id.clone()))?;
    if state.status.is_final() {
        return Err(CommandError::UpgradeFinal {
            status: state.status,
            task_id: task_id.clone(),
        });
    }
    TaskCheck { state, task, now }.action(action)
}

struct TaskCheck<'a> {
    state: &'a UpgradeProgress,
    task: &'a TaskProgress,
    now: Timestamp,
}

impl TaskCheck<'_> {
    fn action(&self, action: TaskAction) -> Checked {
        use TaskChangeKind as Kind;
        match action {
            TaskAction::Start { message } => self.start(message),
            TaskAction::Progress {
                percentage,
                message,
                details,
            } => self.progress(percentage, message, details),
            TaskAction::Steps {
                done,
                total,
                current_step,
            } => self.steps(done, total, current_step),
            TaskAction::Heartbeat => self.heartbeat(),
            TaskAction::Wait { reason, until } => self.wait(reason, until),
            TaskAction::Complete { message } => {
                let change = TaskChange {
                    percentage: Percent::FULL,
                    duration: self.elapsed(),
                    ..self.unchanged()
                };
                self.become_status(
                    Kind::Completed,
                    Status::Completed,
                    message,
                    "Task completed",
                    change,
                )
            }
            TaskAction::Fail { error } => {
                check_text("error", &error)?;
                let message = Arc::from(format!("Task failed: {error}"));
                let change = TaskChange {
                    error_message: Some(error),
                    duration: self.elapsed(),
                    message,
                    ..self.unchanged()
                };
                self.transition(Kind::Failed, Status::Failed, change)
            }
            TaskAction::Retry { message } => {
                if self.task.status != Status::Failed {
                    return Err(self.refused(Status::InProgress).into());
                }
                self.retry(message, "Task retried")
            }
            TaskAction::Pause { reason } => self.become_status(
                Kind::Paused,
                Status::Paused,
                reason,
                "Task paused",
                self.unchanged(),
            ),
            TaskAction::Resume => {
                if self.task.status != Status::Paused {
                    return Err(self.refused(Status::InProgress).into());
                }
                self.become_status(
                    Kind::Resumed,
                    Status::InProgress,
                    None,
                    "Task resumed",
                    self.unchanged(),
                )
            }
            TaskAction::Cancel { reason } => {
                let change = TaskChange {
                    duration: self.elapsed(),
                    ..self.unchanged()
                };
                self.become_status(
                    Kind::Cancelled,
                    Status::Cancelled,
                    reason,
                    "Task cancelled",
                    change,
                )
            }
        }
    }

    fn start(&self, message: Option<Arc<str>>) -> Checked {
        match self.task.status {
            Status::Failed => self.retry(message, "Task started"),
            Status::Paused => Err(self.refused(Status::InProgress).into()),
            _ => self.become_status(
                TaskChangeKind::Started,
                Status::InProgress,
                message,
                "Task started",
                self.unchanged(),
            ),
        }
    }

    fn retry(&self, message: Option<Arc<str>>, default: &'static str) -> Checked {
        let change = TaskChange {
            retry_count: self.task.retry_count.saturating_add(1),
            percentage: self.shown(Percent::ZERO),
            ..self.unchanged()
        };
        self.become_status(
            TaskChangeKind::Retried,
            Status::InProgress,
            message,
            default,
            change,
        )
    }

    fn progress(&self, percentage: f64, message: Arc<str>, details: Details) -> Checked {
        check_text("message", &message)?;
        check_details(&details)?;
        let percentage = Percent::new(percentage).map_err(|source| CommandError::InvalidPercentage {
            task_id: self.task.task_id.clone(),
            source,
        })?;
        self.report(TaskChange {
            percentage: self.shown(percentage),
            message,
            details,
            ..self.unchanged()
        })
    }

    fn steps(&self, done: u64, total: Option<u64>, current_step: Option<Arc<str>>) -> Checked {
        check_optional("step", current_step.as_ref())?;
        let task_id = || self.task.task_id.clone();
        let total = total
            .or(self.task.total_steps)
            .ok_or_else(|| CommandError::UnknownTotal(task_id()))?;
        if total == 0 || done > total {
            return Err(CommandError::InvalidSteps {
                task_id: task_id(),
                done,
                total,
            });
        }
        let message = match &current_step {
            Some(step) => Arc::clone(step),
            None => Arc::from(format!("Step {done}/{total}")),
        };
        let percentage = self.shown(Percent::from_steps(done, total));
        self.report(TaskChange {
            steps: Some(Steps { done, total }),
            percentage,
            message,
            current_step,
            ..self.unchanged()
        })
    }

    /// A report of progress, after a start where there was none.
    fn report(&self, change: TaskChange) -> Checked {
        let mut events = match self.task.status {
            Status::NotStarted => self.start(None)?,
            Status::InProgress => Vec::with_capacity(1),
            _ => return Err(self.refused(Status::InProgress).into()),
        };
        let change = TaskChange {
            status: Status::InProgress,
            ..change
        };
        events.push(UpgradeEvent::Task(TaskChangeKind::Progress, change));
        Ok(events)
    }

    fn heartbeat(&self) -> Checked {
        if self.task.status != Status::InProgress {
            return Err(self.refused(Status::InProgress).into());
        }
        Ok(vec![UpgradeEvent::Heartbeat(Heartbeat {
            task_id: self.task.task_id.clone(),
        })])
    }

    fn wait(&self, reason: Arc<str>, until: Option<Timestamp>) -> Checked {
        check_text("reason", &reason)?;
        if self.task.status.is_final() {
            return Err(self.refused(self.task.status).into());
        }
        let message = Arc::from(format!("Waiting: {reason}"));
        let waiting_on = Some(Waiting {
            reason,
            since: self.now,
            until,
        });
        let change = TaskChange {
            waiting_on,
            message,
            ..self.unchanged()
        };
        Ok(vec![UpgradeEvent::Task(TaskChangeKind::Waiting, change)])
    }

    fn become_status(
        &self,
        kind: TaskChangeKind,
        status: Status,
        message: Option<Arc<str>>,
        default: &'static str,
        change: TaskChange,
    ) -> Checked {
        check_optional("message", message.as_ref())?;
        let message = message.unwrap_or_else(|| Arc::from(default));
        self.transition(kind, status, TaskChange { message, ..change })
    }

    fn transition(&self, kind: TaskChangeKind, status: Status, change: TaskChange) -> Checked {
        if !self.task.status.can_become(status) {
            return Err(self.refused(status).into());
        }
        Ok(vec![UpgradeEvent::Task(kind, TaskChange { status, ..change })])
    }

    /// What a task with children shows is theirs, whatever it reports of itself.
    fn shown(&self, reported: Percent) -> Percent {
        if self.task.children.is_empty() {
            reported
        } else {
            self.state.task_percentage(self.task)
        }
    }

    fn unchanged(&self) -> TaskChange {
        TaskChange {
            task_id: self.task.task_id.clone(),
            task_name: Arc::clone(&self.task.task_name),
            task_type: self.task.task_type,
            status: self.task.status,
            percentage: self.state.task_percentage(self.task),
            message: Arc::from(""),
            details: Details::NONE,
            current_step: None,
            steps: None,
            error_message: None,
            retry_count: self.task.retry_count,
            duration: None,
            waiting_on: None,
        }
    }

    fn elapsed(&self) -> Option<crate::Span> {
        elapsed(self.task.started_at, self.now)
    }

    fn refused(&self, to: Status) -> TransitionError {
        TransitionError {
            subject: Subject::Task(self.task.task_id.clone()),
            from: self.task.status,
            to,
        }
    }
}
