//! How the upgrade ended, noted in its sessions: when it ends, and once more at the shutdown for the sessions that came
//! after the end.

use artifact_core::{ArtifactError, TestArtifactsManager};
use progress_core::ProgressTracker;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracking_journal::SubscriptionError;
use tracking_model::{SessionOutcome, Status, UpgradeProgress};

/// Commits that may wait; only whether there were any counts.
const QUEUE: usize = 16;

/// How an upgrade ended, as its sessions note it; `None` while it goes on. One that was completed with failures counts as
/// failed: what it left behind is worth keeping longer.
#[must_use]
pub const fn session_outcome(upgrade: &UpgradeProgress) -> Option<SessionOutcome> {
    match upgrade.status {
        Status::Completed if upgrade.completed_with_failures => Some(SessionOutcome::Failed),
        Status::Completed => Some(SessionOutcome::Succeeded),
        Status::Failed => Some(SessionOutcome::Failed),
        Status::Cancelled => Some(SessionOutcome::Cancelled),
        Status::NotStarted | Status::InProgress | Status::Paused => None,
    }
}

/// Notes the outcome as soon as there is one. Dropped, it stops at once.
#[derive(Debug)]
pub(crate) struct Outcomes {
    progress: ProgressTracker,
    artifacts: TestArtifactsManager,
    stop: CancellationToken,
    watching: JoinSet<()>,
}

impl Outcomes {
    pub(crate) fn start(progress: ProgressTracker, artifacts: TestArtifactsManager) -> Self {
        let stop = CancellationToken::new();
        let mut watching = JoinSet::new();
        watching.spawn(watch(progress.clone(), artifacts.clone(), stop.clone()));
        Self {
            progress,
            artifacts,
            stop,
            watching,
        }
    }

    /// Notes it for the last time.
    pub(crate) async fn stop(mut self) -> Result<(), ArtifactError> {
        self.stop.cancel();
        while let Some(ended) = self.watching.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task that notes how the upgrade ends died");
            }
        }
        note(&self.progress, &self.artifacts).await.map(|_| ())
    }
}

async fn watch(progress: ProgressTracker, artifacts: TestArtifactsManager, stop: CancellationToken) {
    let mut commits = progress.journal().subscribe(QUEUE);
    let mut noted = None;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = commits.next() => next,
        };
        match next {
            Ok(_) | Err(SubscriptionError::Lagged { .. } | SubscriptionError::Reset) => {}
            Err(_) => return,
        }
        let outcome = progress.journal().read(|state, _| session_outcome(state));
        if outcome == noted {
            continue;
        }
        match note(&progress, &artifacts).await {
            Ok(outcome) => noted = outcome,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "cannot note how the upgrade ended; trying again at the shutdown"
                );
                noted = outcome;
            }
        }
    }
}

async fn note(
    progress: &ProgressTracker,
    artifacts: &TestArtifactsManager,
) -> Result<Option<SessionOutcome>, ArtifactError> {
    let outcome = progress.journal().read(|state, _| session_outcome(state));
    if let Some(outcome) = outcome {
        artifacts.record_outcome(progress.upgrade_id(), outcome).await?;
    }
    Ok(outcome)
}
