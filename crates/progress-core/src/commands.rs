//! What an agent or operator asks of an upgrade, one method a command. Each is a few words around
//! [`ProgressTracker::submit`]; the rules are in `tracking-model`.

use std::sync::Arc;

use tracking_model::{
    CommandError, Details, NewTask, ProgressEvent, Status, TaskAction, TaskId, Timestamp, TransitionError,
    UpgradeCommand,
};

use crate::tracker::last_event;
use crate::{CompleteOptions, ProgressError, ProgressTracker, Unfinished};

/// The upgrade itself. Each returns once its event is durable.
///
/// # Errors
/// [`ProgressError::Refused`] with the rule that the command breaks; [`ProgressError::Journal`] if it cannot be
/// written. Nothing has changed then.
impl ProgressTracker {
    /// Starts the upgrade in `phase`, or starts it again after a failure. Refused if it was started already: two agents
    /// may be at work, see [`Self::ensure_started`].
    ///
    /// # Errors
    /// [`CommandError::AlreadyStarted`], or a transition that the upgrade's status does not allow.
    pub async fn start_upgrade(&self, phase: impl Into<Arc<str>>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::Start { phase: phase.into() }).await
    }

    /// Starts the upgrade in `phase` unless it is in progress, paused or completed already: for an agent that was
    /// restarted after a crash and goes on where it stopped. Returns the status that the upgrade had before: what was
    /// `not_started` or `failed` is in progress now, anything else stays as it is.
    ///
    /// # Errors
    /// As [`Self::start_upgrade`], except for what was started or completed already.
    pub async fn ensure_started(&self, phase: impl Into<Arc<str>>) -> Result<Status, ProgressError> {
        let found = self.read(|state| state.status);
        if matches!(found, Status::InProgress | Status::Paused | Status::Completed) {
            return Ok(found);
        }
        match self.start_upgrade(phase).await {
            Ok(()) => Ok(found),
            // Another agent was faster.
            Err(ProgressError::Refused(CommandError::AlreadyStarted { .. })) => Ok(Status::InProgress),
            Err(ProgressError::Refused(CommandError::Transition(TransitionError {
                from: from @ (Status::Paused | Status::Completed),
                ..
            }))) => Ok(from),
            Err(error) => Err(error),
        }
    }

    /// Enters another phase.
    ///
    /// # Errors
    /// An invalid name, or the upgrade is final.
    pub async fn set_current_phase(&self, phase: impl Into<Arc<str>>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::SetPhase { phase: phase.into() })
            .await
    }

    /// Asks the upgrade to wait. Its agent stops where it calls [`Self::wait_while_paused`].
    ///
    /// # Errors
    /// It is not in progress.
    pub async fn pause(&self, reason: Option<&str>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::Pause {
            reason: reason.map(Arc::from),
        })
        .await
    }

    /// Lets a paused upgrade go on.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn resume(&self) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::Resume).await
    }

    /// Gives the upgrade up, for good.
    ///
    /// # Errors
    /// It is completed or cancelled already.
    pub async fn cancel(&self, reason: Option<&str>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::Cancel {
            reason: reason.map(Arc::from),
        })
        .await
    }

    /// Ends the upgrade well.
    ///
    /// # Errors
    /// [`CommandError::Unfinished`] lists the tasks that are not complete, unless `options` allow them; or its status
    /// does not allow it.
    pub async fn complete_upgrade(&self, options: CompleteOptions) -> Result<(), ProgressError> {
        let allow_unfinished = options.unfinished == Unfinished::Allow;
        self.upgrade(UpgradeCommand::Complete { allow_unfinished }).await
    }

    /// Ends the upgrade badly; it may be started again.
    ///
    /// # Errors
    /// Its status does not allow it, or `error` is over 64 KiB.
    pub async fn fail_upgrade(&self, error: impl Into<Arc<str>>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::Fail { error: error.into() }).await
    }

    async fn upgrade(&self, command: UpgradeCommand) -> Result<(), ProgressError> {
        self.submit(command).await.map(drop)
    }
}

/// Its tasks. Each returns once its event is durable.
///
/// A task is named by its id, as a [`TaskId`] or as text.
///
/// # Errors
/// [`ProgressError::Refused`] with the rule that the command breaks, unknown tasks and invalid ids included;
/// [`ProgressError::Journal`] if it cannot be written. Nothing has changed then.
impl ProgressTracker {
    /// Adds a task.
    ///
    /// # Errors
    /// Its id is taken, its parent does not exist, its name, weight or interval is invalid, or the tree is too deep.
    pub async fn add_task(&self, task: NewTask) -> Result<(), ProgressError> {
        self.add_tasks(vec![task]).await
    }

    /// Adds a task unless it is there already, with the same name, type and parent: for an agent that was restarted
    /// after a crash and goes on where it stopped. Returns the status that the task itself reported, which stays as it is: what is
    /// `completed` need not be done again, and what `failed` takes a [`retry`](Self::retry).
    ///
    /// # Errors
    /// As [`Self::add_task`], and [`CommandError::TaskExists`] if the id belongs to another task.
    pub async fn ensure_task(&self, task: NewTask) -> Result<Status, ProgressError> {
        let wanted = task.clone();
        let refused = match self.add_task(task).await {
            Ok(()) => return Ok(Status::NotStarted),
            Err(refused @ ProgressError::Refused(CommandError::TaskExists(_))) => refused,
            Err(error) => return Err(error),
        };
        let same = self.read(|state| {
            let task = state.task(&wanted.task_id).filter(|task| {
                task.task_name == wanted.task_name
                    && task.task_type == wanted.task_type
                    && task.parent_task_id == wanted.parent_task_id
            });
            task.map(|task| task.status)
        });
        same.ok_or(refused)
    }

    /// Adds tasks, all or none. A parent stands before its children.
    ///
    /// # Errors
    /// As [`Self::add_task`], for the first task that is refused.
    pub async fn add_tasks(&self, tasks: Vec<NewTask>) -> Result<(), ProgressError> {
        self.upgrade(UpgradeCommand::AddTasks(tasks)).await
    }

    /// Starts a task, or starts it again after a failure.
    ///
    /// # Errors
    /// It is unknown, or its status does not allow it.
    pub async fn start_task(&self, task_id: impl AsRef<str>) -> Result<ProgressEvent, ProgressError> {
        self.task(task_id, TaskAction::Start { message: None }).await
    }

    /// Reports how far a task is, starting it if it has not started. `percentage` is clamped to 0–100.
    ///
    /// # Errors
    /// It is unknown, failed, paused or final; `percentage` is not finite; `message` is over 64 KiB.
    pub async fn update_task_progress(
        &self,
        task_id: impl AsRef<str>,
        percentage: f64,
        message: impl Into<Arc<str>>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.update_task_progress_with(task_id, percentage, message, Details::NONE)
            .await
    }

    /// As [`Self::update_task_progress`], with free-form details.
    ///
    /// # Errors
    /// As [`Self::update_task_progress`]; or the details have more than 64 KiB as JSON.
    pub async fn update_task_progress_with(
        &self,
        task_id: impl AsRef<str>,
        percentage: f64,
        message: impl Into<Arc<str>>,
        details: impl Into<Details>,
    ) -> Result<ProgressEvent, ProgressError> {
        let (message, details) = (message.into(), details.into());
        self.task(
            task_id,
            TaskAction::Progress {
                percentage,
                message,
                details,
            },
        )
        .await
    }

    /// Reports that `done` steps of a task are done, of `total` or, where that is `None`, of the total given before.
    /// Starts it if it has not started. The percentage follows from the steps.
    ///
    /// # Errors
    /// It is unknown, failed, paused or final; no total was ever given; more is done than there is.
    pub async fn update_task_steps(
        &self,
        task_id: impl AsRef<str>,
        done: u64,
        total: Option<u64>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.task(
            task_id,
            TaskAction::Steps {
                done,
                total,
                current_step: None,
            },
        )
        .await
    }

    /// Ends a task well.
    ///
    /// # Errors
    /// It is unknown, or its status does not allow it.
    pub async fn complete_task(&self, task_id: impl AsRef<str>) -> Result<ProgressEvent, ProgressError> {
        self.task(task_id, TaskAction::Complete { message: None }).await
    }

    /// Ends a task badly; it may be retried.
    ///
    /// # Errors
    /// It is unknown, its status does not allow it, or `error` is over 64 KiB.
    pub async fn fail_task(
        &self,
        task_id: impl AsRef<str>,
        error: impl Into<Arc<str>>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.task(task_id, TaskAction::Fail { error: error.into() }).await
    }

    /// Starts a failed task again.
    ///
    /// # Errors
    /// It is unknown or has not failed.
    pub async fn retry(&self, task_id: impl AsRef<str>) -> Result<ProgressEvent, ProgressError> {
        self.task(task_id, TaskAction::Retry { message: None }).await
    }

    /// Asks a task to wait.
    ///
    /// # Errors
    /// It is unknown or not in progress.
    pub async fn pause_task(
        &self,
        task_id: impl AsRef<str>,
        reason: Option<&str>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.task(
            task_id,
            TaskAction::Pause {
                reason: reason.map(Arc::from),
            },
        )
        .await
    }

    /// Lets a paused task go on.
    ///
    /// # Errors
    /// It is unknown or not paused.
    pub async fn resume_task(&self, task_id: impl AsRef<str>) -> Result<ProgressEvent, ProgressError> {
        self.task(task_id, TaskAction::Resume).await
    }

    /// Gives a task up, for good; its parent goes on without it.
    ///
    /// # Errors
    /// It is unknown or final already.
    pub async fn cancel_task(
        &self,
        task_id: impl AsRef<str>,
        reason: Option<&str>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.task(
            task_id,
            TaskAction::Cancel {
                reason: reason.map(Arc::from),
            },
        )
        .await
    }

    /// Reports what a task waits for, and until when at the latest, so that nobody has to ask. Its status stays; the
    /// next report ends the wait.
    ///
    /// # Errors
    /// It is unknown or final, or `reason` is over 64 KiB.
    pub async fn waiting_on(
        &self,
        task_id: impl AsRef<str>,
        reason: impl Into<Arc<str>>,
        until: Option<Timestamp>,
    ) -> Result<ProgressEvent, ProgressError> {
        self.task(
            task_id,
            TaskAction::Wait {
                reason: reason.into(),
                until,
            },
        )
        .await
    }

    /// Reports that a task is alive and has nothing else to report, so that it is not shown as stalled.
    ///
    /// # Errors
    /// It is unknown or not in progress.
    pub async fn heartbeat(&self, task_id: impl AsRef<str>) -> Result<(), ProgressError> {
        let task_id = TaskId::new(task_id)?;
        self.upgrade(UpgradeCommand::Task {
            task_id,
            action: TaskAction::Heartbeat,
        })
        .await
    }

    /// Does something with one task; for messages and other choices that the methods above leave out.
    ///
    /// # Errors
    /// As the method of the same action.
    pub async fn task_action(
        &self,
        task_id: impl AsRef<str>,
        action: TaskAction,
    ) -> Result<Option<ProgressEvent>, ProgressError> {
        let task_id = TaskId::new(task_id)?;
        let receipt = self.submit(UpgradeCommand::Task { task_id, action }).await?;
        Ok(last_event(&receipt))
    }

    /// An action that always is an event of the task.
    async fn task(
        &self,
        task_id: impl AsRef<str>,
        action: TaskAction,
    ) -> Result<ProgressEvent, ProgressError> {
        let event = self.task_action(task_id, action).await?;
        Ok(event.expect("every action but a heartbeat records a change of its task"))
    }
}
