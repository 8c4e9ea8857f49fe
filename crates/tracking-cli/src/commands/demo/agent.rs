//! The agent of the simulated upgrade: it works through the plan and reports as a real one does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, try_join_all};
use tokio::sync::mpsc::UnboundedSender;
use tracking_facade::{
    Artifact, CollectionId, CompleteOptions, NewArtifact, NewCollection, NewSession, NewTask, ProgressError,
    SessionId, SessionOutcome, Span, TaskAction, TaskId, Tracking, TrackingError,
};

use super::plan::{CLUSTER, File, PHASES, Steps, Task, Trouble, Work, all};

/// How long a failed task rests before it is retried, at speed 1.
const REST: Duration = Duration::from_millis(700);
/// How many times as long as a wait takes it may take at the latest.
const DEADLINE: u32 = 4;

/// The agent.
#[derive(Debug)]
pub(super) struct Agent<'a> {
    pub(super) tracking: &'a Tracking,
    pub(super) session: SessionId,
    /// How many times as fast as the plan says.
    pub(super) speed: f64,
    /// Told of every artifact.
    pub(super) kept: UnboundedSender<Arc<Artifact>>,
}

impl Agent<'_> {
    /// Works through the whole plan.
    pub(super) async fn work(self) -> Result<(), TrackingError> {
        let progress = self.tracking.progress();
        progress.add_tasks(new_tasks()?).await?;
        self.open_session().await?;
        for phase in PHASES {
            if progress.read(|state| state.started_at.is_none()) {
                progress.start_upgrade(phase.name).await?;
            } else {
                progress.set_current_phase(phase.name).await?;
            }
            self.task(phase, phase).await?;
        }
        let artifacts = self.tracking.artifacts();
        artifacts
            .complete_session(&self.session, Some(SessionOutcome::Succeeded))
            .await?;
        progress.complete_upgrade(CompleteOptions::default()).await?;
        Ok(())
    }

    /// A session for the upgrade, with a collection for each phase.
    async fn open_session(&self) -> Result<(), TrackingError> {
        let artifacts = self.tracking.artifacts();
        let upgrade = self.tracking.progress().upgrade_id().clone();
        let session = NewSession::new(upgrade, CLUSTER).with_description("Evidence of a simulated upgrade");
        artifacts.create_session_as(self.session.clone(), session).await?;
        for phase in PHASES {
            let collection = NewCollection::new(phase.name)
                .with_id(collection_id(phase)?)
                .with_task(task_id(phase)?);
            artifacts.create_collection(&self.session, collection).await?;
        }
        Ok(())
    }

    /// Works on a task of `phase` and all that it consists of.
    fn task<'a>(
        &'a self,
        phase: &'static Task,
        task: &'static Task,
    ) -> BoxFuture<'a, Result<(), TrackingError>> {
        async move {
            let progress = self.tracking.progress();
            progress.wait_while_paused().await?;
            progress.start_task(task.id).await?;
            match task.work {
                Work::InOrder(parts) => {
                    for part in parts {
                        self.task(phase, part).await?;
                    }
                }
                Work::AtOnce(parts) => {
                    try_join_all(parts.iter().map(|part| self.task(phase, part))).await?;
                }
                Work::Steps(steps) => self.all_steps(task, steps).await?,
            }
            for file in task.leaves {
                self.keep(phase, task, file).await?;
            }
            progress.complete_task(task.id).await?;
            Ok(())
        }
        .boxed()
    }

    async fn all_steps(&self, task: &Task, steps: Steps) -> Result<(), TrackingError> {
        let progress = self.tracking.progress();
        let mut done = 0;
        match steps.trouble {
            Trouble::None => {}
            Trouble::Fails { after, error } => {
                self.some_steps(task, steps, 1..=after).await?;
                progress.fail_task(task.id, error).await?;
                self.rest(REST).await;
                progress.wait_while_paused().await?;
                progress.retry(task.id).await?;
            }
            Trouble::Waits { reason, millis } => {
                done = steps.count - 1;
                self.some_steps(task, steps, 1..=done).await?;
                let wait = Duration::from_millis(millis);
                let until = progress.now() + Span::from(wait.div_f64(self.speed) * DEADLINE);
                progress.waiting_on(task.id, reason, Some(until)).await?;
                self.rest(wait).await;
            }
        }
        self.some_steps(task, steps, done + 1..=steps.count).await
    }

    async fn some_steps(
        &self,
        task: &Task,
        steps: Steps,
        which: std::ops::RangeInclusive<u64>,
    ) -> Result<(), TrackingError> {
        let progress = self.tracking.progress();
        for step in which {
            progress.wait_while_paused().await?;
            self.rest(Duration::from_millis(steps.millis / steps.count)).await;
            let report = TaskAction::Steps {
                done: step,
                total: Some(steps.count),
                current_step: Some(format!("{} {step} of {}", steps.unit, steps.count).into()),
            };
            progress.task_action(task.id, report).await?;
        }
        Ok(())
    }

    /// What takes time in a real upgrade.
    async fn rest(&self, at_speed_1: Duration) {
        tokio::time::sleep(at_speed_1.div_f64(self.speed)).await;
    }

    async fn keep(&self, phase: &Task, task: &Task, file: &File) -> Result<(), TrackingError> {
        let new = NewArtifact::new()
            .with_name(file.name)
            .with_type(file.content.artifact_type())
            .with_task(task_id(task)?)
            .with_description(format!("{}, simulated", task.name))
            .with_tags(file.tags.iter().copied());
        let text = file.content.text(file.name, task);
        let artifact = self
            .tracking
            .artifacts()
            .add_stream(&self.session, &collection_id(phase)?, new, text.as_bytes(), None)
            .await?;
        // Nobody is left to tell if what shows them has ended; it is kept all the same.
        self.kept.send(artifact).ok();
        Ok(())
    }
}

fn new_tasks() -> Result<Vec<NewTask>, TrackingError> {
    let new = |(parent, task): (Option<&Task>, &Task)| {
        let mut new = NewTask::new(task_id(task)?, task.name, task.kind).with_weight(task.weight);
        if let Some(parent) = parent {
            new = new.with_parent(task_id(parent)?);
        }
        if let Work::Steps(steps) = task.work {
            new = new.with_total_steps(steps.count);
        }
        Ok(new)
    };
    all().into_iter().map(new).collect()
}

fn task_id(task: &Task) -> Result<TaskId, TrackingError> {
    Ok(TaskId::new(task.id).map_err(ProgressError::from)?)
}

fn collection_id(phase: &Task) -> Result<CollectionId, TrackingError> {
    Ok(CollectionId::new(phase.id).map_err(ProgressError::from)?)
}
