//! What `run` records of its task.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracking_facade::{
    CommandError, DataDirError, NewTask, ProgressError, ProgressTracker, Status, TaskAction, TaskId,
    TrackingError, UpgradeCommand, UpgradeProgress,
};

use tracking_model::Percent;

use crate::args::RunArgs;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::note;
use crate::process::Incoming;
use crate::settings::Settings;

/// What tracking may take beyond the lock timeout before the command goes on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records a task's life, as far as tracking works.
#[derive(Debug)]
pub(super) struct Recorder {
    tracker: Option<ProgressTracker>,
    task: TaskId,
    patience: Duration,
}

/// Outcome of beginning a task.
#[derive(Debug)]
pub(super) enum Begun {
    Run(Recorder),
    /// The task is completed already, and `--if-needed` was given.
    Completed(Ending),
}

/// What there is to say of the task at its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Its status now, if that is known.
    pub(super) status: Option<Status>,
    /// What the person at the terminal should know.
    pub(super) remarks: Vec<String>,
}

impl Recorder {
    /// Starts the task, created if it is absent.
    ///
    /// # Errors
    /// Only what forbids the command: no such upgrade, a task that is completed, paused, and so on. Where tracking
    /// itself fails, a warning is printed, and nothing is recorded.
    pub(super) async fn begin(args: &RunArgs, settings: &Settings) -> Result<Begun, Failure> {
        let patience = settings.lock_timeout + PATIENCE;
        let opened = within(patience, open_and_start(args, settings)).await;
        let tracker = match opened {
            Ok(Some(tracker)) => Some(tracker),
            Ok(None) => {
                let what = format!("task {} is completed already: the command is not run", args.task);
                return Ok(Begun::Completed(Ending {
                    status: Some(Status::Completed),
                    remarks: vec![what],
                }));
            }
            Err(Trouble::Forbidden(failure)) => return Err(failure),
            Err(Trouble::Tracking(reason)) => {
                let what = format!("the command runs without being tracked: {reason}");
                note("warning", &what);
                None
            }
        };
        Ok(Begun::Run(Self {
            tracker,
            task: args.task.clone(),
            patience,
        }))
    }

    /// Records nothing.
    pub(super) fn without_tracking(args: &RunArgs, settings: &Settings) -> Self {
        Self {
            tracker: None,
            task: args.task.clone(),
            patience: settings.lock_timeout + PATIENCE,
        }
    }

    /// Records nothing more: the task stays in progress.
    pub(super) async fn leave(self) {
        if let Some(tracker) = &self.tracker
            && let Err(error) = tracker.close().await
        {
            note("warning", &chain(&error).join(": "));
        }
    }

    /// The cluster of the upgrade; `None` if nothing is tracked.
    pub(super) fn cluster_name(&self) -> Option<Arc<str>> {
        let tracker = self.tracker.as_ref()?;
        Some(tracker.read(|state| Arc::clone(&state.cluster_name)))
    }

    /// Drives `work` for as long as tracking may take; the error says why it did not come to its end.
    pub(super) async fn within_patience<T>(
        &self,
        work: impl Future<Output = Result<T, TrackingError>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(done) => done.map_err(|error| chain(&error).join(": ")),
            Err(_) => Err(no_answer(self.patience)),
        }
    }

    /// How often to send heartbeats: four times within the interval after which the task is shown as stalled.
    pub(super) fn heartbeat_interval(&self) -> Duration {
        let seconds = self.tracker.as_ref().and_then(|tracker| {
            tracker.read(|state| state.task(&self.task).map(|task| task.heartbeat_seconds))
        });
        let seconds = seconds.unwrap_or(tracking_facade::DEFAULT_HEARTBEAT_SECONDS);
        Duration::from_secs(u64::from(seconds)).div_f64(4.0)
    }

    /// Reports that the command still runs. A failure is a matter of the next report.
    pub(super) async fn heartbeat(&self) {
        let Some(tracker) = &self.tracker else { return };
        let sent = tracker.submit(UpgradeCommand::Task {
            task_id: self.task.clone(),
            action: TaskAction::Heartbeat,
        });
        // Paused, cancelled and ended tasks take no heartbeats; the end says so.
        if let Err(error) = within(self.patience, async { sent.await.map_err(Trouble::from) }).await {
            tracing::info!(?error, "a heartbeat was not recorded");
        }
    }

    /// Records that a signal came to us. A failure is a matter of the end's record.
    pub(super) async fn signal(&self, signal: Incoming) {
        let Some(tracker) = &self.tracker else { return };
        let percentage = tracker.read(|state| state.task(&self.task).map(|task| task.percentage));
        let details = serde_json::Map::from_iter([
            ("signal".to_owned(), signal.name().into()),
            ("sent_by_pid".to_owned(), signal.sender.into()),
        ]);
        let sent = tracker.submit(UpgradeCommand::Task {
            task_id: self.task.clone(),
            action: TaskAction::Progress {
                percentage: percentage.map_or(0.0, Percent::value),
                message: format!("{} was sent to ekstrack run", signal.name()).into(),
                details: details.into(),
            },
        });
        if let Err(error) = within(self.patience, async { sent.await.map_err(Trouble::from) }).await {
            tracing::info!(?error, "a signal was not recorded");
        }
    }

    /// Records that the command could not be started.
    pub(super) async fn fail(self, error: String) -> Ending {
        self.end(Some(error)).await
    }

    /// Records the end: completed, or failed for the reason given.
    pub(super) async fn end(self, failure: Option<String>) -> Ending {
        let Some(tracker) = &self.tracker else {
            return Ending::default();
        };
        let mut remarks = Vec::new();
        let recorded = within(self.patience, self.submit_end(tracker, failure)).await;
        match recorded {
            Ok(remark) => remarks.extend(remark),
            Err(Trouble::Forbidden(_)) => {}
            Err(Trouble::Tracking(reason)) => {
                note(
                    "warning",
                    &format!("the end of task {} is not recorded: {reason}", self.task),
                );
                return Ending::default();
            }
        }
        let status = tracker.read(|state| state.task(&self.task).map(|task| task.status));
        let closing = within(self.patience, async {
            tracker.close().await.map_err(Trouble::from)
        });
        if let Err(Trouble::Tracking(reason)) = closing.await {
            note("warning", &reason);
        }
        Ending { status, remarks }
    }

    async fn submit_end(
        &self,
        tracker: &ProgressTracker,
        failure: Option<String>,
    ) -> Result<Option<String>, Trouble> {
        let task_id = self.task.clone();
        let act = |action| UpgradeCommand::Task {
            task_id: task_id.clone(),
            action,
        };
        let end = match &failure {
            None => TaskAction::Complete { message: None },
            Some(error) => TaskAction::Fail {
                error: Arc::from(error.as_str()),
            },
        };
        let refused = match tracker.submit(act(end.clone())).await {
            Ok(_) => return Ok(tracker.read(remark_on_upgrade)),
            Err(ProgressError::Refused(refused)) => refused,
            Err(error) => return Err(error.into()),
        };
        // Whoever paused the task meanwhile did not stop the command; that it has ended is what counts now.
        let paused = tracker.read(|state| {
            state
                .task(&task_id)
                .is_some_and(|task| task.status == Status::Paused)
        });
        if paused {
            let commands = vec![act(TaskAction::Resume), act(end)];
            tracker.submit(UpgradeCommand::All(commands)).await?;
            return Ok(Some(format!(
                "task {task_id} was paused meanwhile; the command went on, and has ended"
            )));
        }
        let how = failure.unwrap_or_else(|| "exit status 0".to_owned());
        Ok(Some(format!(
            "the command went on and ended with {how}, which is not recorded: {refused}"
        )))
    }
}

fn remark_on_upgrade(state: &UpgradeProgress) -> Option<String> {
    let id = &state.upgrade_id;
    (state.status == Status::Paused)
        .then(|| format!("upgrade {id} was paused meanwhile; the command went on, and has ended"))
}

/// Why something was not recorded.
#[derive(Debug)]
enum Trouble {
    /// A rule says no.
    Forbidden(Failure),
    /// Tracking does not work.
    Tracking(String),
}

impl From<ProgressError> for Trouble {
    fn from(error: ProgressError) -> Self {
        Self::Tracking(chain(&error).join(": "))
    }
}

async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(Trouble::Tracking(no_answer(patience))),
    }
}

fn no_answer(patience: Duration) -> String {
    format!("no answer from the disk within {patience:?}")
}

/// Starts the task; `None` if that is not needed.
async fn open_and_start(args: &RunArgs, settings: &Settings) -> Result<Option<ProgressTracker>, Trouble> {
    let trouble = |error: ProgressError| trouble(args, error);
    let opening = {
        let (settings, upgrade) = (settings.clone(), args.upgrade.clone());
        tokio::task::spawn_blocking(move || settings.long_lived_tracker(&upgrade))
    };
    let tracker = match opening.await {
        Ok(opened) => opened.map_err(trouble)?,
        Err(error) => return Err(Trouble::Tracking(error.to_string())),
    };
    let start = UpgradeCommand::Task {
        task_id: args.task.clone(),
        action: TaskAction::Start { message: None },
    };
    let (paused, status) = tracker.read(|state| {
        let task = state.task(&args.task);
        (state.status == Status::Paused, task.map(|task| task.status))
    });
    if args.if_needed && status == Some(Status::Completed) {
        tracker.close().await?;
        return Ok(None);
    }
    if paused {
        let failure = Failure::new(Kind::Refused, attempted(args), "the upgrade is paused").hint(format!(
            "`ekstrack upgrade resume {}` lets it go on; then run this again",
            args.upgrade
        ));
        return Err(Trouble::Forbidden(failure));
    }
    if status.is_some() {
        tracker.submit(start).await.map_err(trouble)?;
        return Ok(Some(tracker));
    }
    let add = UpgradeCommand::AddTasks(vec![new_task(args)]);
    match tracker
        .submit(UpgradeCommand::All(vec![add, start.clone()]))
        .await
    {
        // Another process was faster.
        Err(ProgressError::Refused(CommandError::TaskExists(_))) => {
            tracker.submit(start).await.map_err(trouble)?
        }
        added => added.map_err(trouble)?,
    };
    Ok(Some(tracker))
}

fn new_task(args: &RunArgs) -> NewTask {
    let name = args.name.clone().unwrap_or_else(|| args.task.to_string());
    let mut task = NewTask::new(args.task.clone(), name, args.task_type);
    task.parent_task_id.clone_from(&args.parent);
    task
}

fn attempted(args: &RunArgs) -> String {
    format!("start task {} of upgrade {}", args.task, args.upgrade)
}

/// A rule's refusal forbids the command; anything else is tracking's own trouble.
fn trouble(args: &RunArgs, error: ProgressError) -> Trouble {
    let forbids = match &error {
        ProgressError::Refused(_) | ProgressError::UnknownUpgrade { .. } => true,
        ProgressError::DataDir(error) => matches!(**error, DataDirError::Missing { .. }),
        _ => false,
    };
    if forbids {
        Trouble::Forbidden(cannot::<TrackingError>(|| attempted(args))(error.into()))
    } else {
        error.into()
    }
}
