//! What may be done with a task in its state.

use std::sync::Arc;

use super::{Checked, check_details, check_optional, elapsed};
use crate::{
    CommandError, Details, Heartbeat, Percent, Status, Steps, Subject, TaskAction, TaskChange,
    TaskChangeKind, TaskId, TaskProgress, TextError, Timestamp, TransitionError, UpgradeEvent,
    UpgradeProgress, Waiting, check_text,
};

pub(super) fn task_action(
    state: &UpgradeProgress,
    task_id: &TaskId,
    action: TaskAction,
    now: Timestamp,
) -> Checked {
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
        if reason.trim().is_empty() {
            return Err(TextError::Empty { field: "reason" }.into());
        }
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
