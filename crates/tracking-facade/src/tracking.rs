//! What an agent holds while it works.

use std::net::SocketAddr;
use std::time::Duration;

use artifact_core::TestArtifactsManager;
use progress_core::ProgressTracker;
use stream_ws::ServeReport;
use tempfile::TempDir;
use tokio::time::Instant;
use tracking_journal::RecoveryReport;

use crate::outcomes::Outcomes;
use crate::relays::Relays;
use crate::viewers::Viewers;
use crate::{Archive, TrackingBuilder, TrackingError, Undrained};

/// Progress and artifacts of one upgrade, over one data directory.
///
/// Any number of tasks may use it, and any number of processes the same data directory. [`Self::shutdown`] ends it
/// properly; when it is dropped instead, what was acknowledged is kept all the same.
#[derive(Debug)]
pub struct Tracking {
    parts: Parts,
    relays: Relays,
    outcomes: Outcomes,
    viewers: Option<Viewers>,
    shutdown_deadline: Duration,
}

/// What tracking consists of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) progress: ProgressTracker,
    pub(crate) artifacts: TestArtifactsManager,
    pub(crate) archive: Archive,
    /// Removed when the parts above are gone.
    pub(crate) _temporary: Option<TempDir>,
}

/// How shutting down went. Nothing that was acknowledged is lost, whatever it says.
#[derive(Debug, Default)]
#[non_exhaustive]
#[must_use = "it says what is left undone"]
pub struct ShutdownReport {
    /// What did not work; at worst a snapshot that is behind its journal, and that opening the upgrade again brings up
    /// to date.
    pub problems: Vec<TrackingError>,
    /// The sinks that did not get everything in time.
    pub undrained: Vec<Undrained>,
    /// Viewers that did not go when they were told to, and were cut off; they lose nothing, for they can continue
    /// elsewhere, so this is no problem.
    pub viewers_cut_off: usize,
}

impl ShutdownReport {
    /// Whether everything is done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.undrained.is_empty()
    }
}

impl Tracking {
    /// Begins to configure it.
    pub fn builder() -> TrackingBuilder {
        TrackingBuilder::default()
    }

    /// Begins to configure tracking in a temporary directory, which is removed when the value is dropped: for tests of
    /// agents. A data directory that is given all the same is used instead, and kept.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// use tracking_facade::Tracking;
    /// let tracking = Tracking::temporary().upgrade("prod-1.33", "plan-7", "prod-eu-1").build().await?;
    /// let directory = tracking.archive().data_dir().path().to_owned();
    /// tracking.progress().ensure_started("Provisioning").await?;
    /// assert!(directory.exists());
    /// assert!(tracking.shutdown().await.is_clean());
    /// assert!(!directory.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn temporary() -> TrackingBuilder {
        TrackingBuilder::default().temporary()
    }

    pub(crate) fn start(
        parts: Parts,
        relays: Relays,
        viewers: Option<Viewers>,
        shutdown_deadline: Duration,
    ) -> Self {
        let outcomes = Outcomes::start(parts.progress.clone(), parts.artifacts.clone());
        Self {
            parts,
            relays,
            outcomes,
            viewers,
            shutdown_deadline,
        }
    }

    /// The upgrade's progress.
    #[must_use]
    pub const fn progress(&self) -> &ProgressTracker {
        &self.parts.progress
    }

    /// The artifacts, of this upgrade and of all others in the data directory.
    #[must_use]
    pub const fn artifacts(&self) -> &TestArtifactsManager {
        &self.parts.artifacts
    }

    /// Everything in the data directory, to look at it or look after it. Its calls block.
    #[must_use]
    pub const fn archive(&self) -> &Archive {
        &self.parts.archive
    }

    /// What opening the upgrade's journal found: how much was read, and what a crash had left unfinished.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.parts.progress.journal().recovery()
    }

    /// Where live viewers are served; none unless [`TrackingBuilder::websocket`] was called.
    #[must_use]
    pub fn websocket_addresses(&self) -> &[SocketAddr] {
        self.viewers.as_ref().map_or(&[], Viewers::addresses)
    }

    /// Ends it, within the deadline that was configured: commits what waits, notes in the upgrade's sessions how it ended
    /// if it has, writes an exact snapshot, lets the sinks and
    /// viewers have what is left, ends all tasks.
    /// Calls on clones of the tracker and the manager that come later are refused.
    ///
    /// # Cancellation
    /// When the future is dropped, closing the tracker goes on.
    pub async fn shutdown(mut self) -> ShutdownReport {
        let deadline = Instant::now() + self.shutdown_deadline;
        let mut report = ShutdownReport::default();
        let late = |what| TrackingError::Late {
            what,
            deadline: self.shutdown_deadline,
        };
        // Before the tracker is closed, so that sinks hear of it too.
        match tokio::time::timeout_at(deadline, self.outcomes.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.problems.push(error.into()),
            Err(_) => report.problems.push(late("noting how the upgrade ended")),
        }
        match tokio::time::timeout_at(deadline, self.parts.progress.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.problems.push(error.into()),
            Err(_) => report.problems.push(late("closing the tracker")),
        }
        // A call of a sink that is under way when the deadline comes is dropped, and repeated by the next start. Uploads are
        // recorded in the sessions, so they come before these are closed.
        report.undrained = self.relays.stop_uploads(deadline).await;
        match tokio::time::timeout_at(deadline, self.parts.artifacts.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.problems.push(error.into()),
            Err(_) => report.problems.push(late("closing the sessions")),
        }
        let (relays, viewers) = (self.relays, self.viewers);
        let served = async {
            match viewers {
                Some(viewers) => viewers.stop(deadline, late("sending viewers away")).await,
                None => Ok(ServeReport::default()),
            }
        };
        let (undrained, served) = tokio::join!(relays.stop(deadline), served);
        report.undrained.extend(undrained);
        match served {
            Ok(served) => report.viewers_cut_off = served.cut_off,
            Err(error) => report.problems.push(error),
        }
        report
    }
}
