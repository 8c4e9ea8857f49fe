//! What a viewer is told of an upgrade beside its events.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;
use tracking_journal::{Clock, DataDir, Liveness, SystemClock};
use tracking_model::{Status, StreamId, Summary, Timestamp, UpgradeId, UpgradeProgress};

/// How an upgrade stands: the summary, and whether anybody is at work on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpgradeView {
    /// The summary.
    #[serde(flatten)]
    pub summary: Summary,
    /// Whether somebody is at work on it, in a word: `live`, `gone` and so on. `None` where that is not known.
    pub agent: Option<Arc<str>>,
    /// When this was said, by the clock here: viewers' machines may be set otherwise. `None` where there is no clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
}

impl UpgradeView {
    /// A summary, and a word on who is at work.
    #[must_use]
    pub const fn new(summary: Summary, agent: Option<Arc<str>>) -> Self {
        Self {
            summary,
            agent,
            made_at: None,
        }
    }

    /// Says when it was made.
    #[must_use]
    pub const fn with_made_at(mut self, now: Timestamp) -> Self {
        self.made_at = Some(now);
        self
    }
}

/// Sums an upgrade up for viewers, and adds what is known beside its journal: estimates, and whether its agent lives.
#[cfg_attr(any(test, feature = "test-util"), mockall::automock)]
pub trait SummarySource: Debug + Send + Sync + 'static {
    /// Looks at the marker of the upgrade's writers; `None` where that is not known or not needed. Called before
    /// [`Self::view`], at most every second, on a thread that may be blocked; it may read files.
    fn liveness(&self, upgrade_id: &UpgradeId) -> Option<Liveness>;

    /// Sums up an upgrade as it stands now; `liveness` is what [`Self::liveness`] said a moment ago. Called whenever a
    /// viewer needs a summary and every few seconds for each upgrade that is watched, so that viewers learn of what
    /// changes with time alone. Called on a worker of the runtime: it must not read files, nor wait for anything.
    ///
    /// The summary's counts and states are those of `progress`, whatever else is known.
    fn view(&self, progress: &UpgradeProgress, liveness: Option<Liveness>) -> UpgradeView;

    /// What estimates of the upgrade's tasks are learned from, as JSON for viewers that ask for the snapshot; `None` where
    /// nothing is known. Called for each of them, on a thread that may be blocked; it may read files.
    fn history(&self, upgrade_id: &UpgradeId) -> Option<Box<RawValue>>;
}

/// Sums upgrades up from what their data directory says.
#[derive(Debug, Clone)]
pub struct JournalSummaries {
    dir: DataDir,
    clock: Arc<dyn Clock>,
}

impl JournalSummaries {
    /// Reads the markers of writers in `dir`, and tells stalled tasks by the machine's clock.
    #[must_use]
    pub fn new(dir: DataDir) -> Self {
        Self::with_clock(dir, Arc::new(SystemClock))
    }

    /// As [`Self::new`], by another clock.
    #[must_use]
    pub fn with_clock(dir: DataDir, clock: Arc<dyn Clock>) -> Self {
        Self { dir, clock }
    }
}

impl SummarySource for JournalSummaries {
    fn liveness(&self, upgrade_id: &UpgradeId) -> Option<Liveness> {
        let stream = StreamId::Upgrade(upgrade_id.clone());
        Liveness::of(&self.dir, &stream)
            .inspect_err(|error| tracing::debug!(%error, %stream, "cannot tell whether somebody is at work"))
            .ok()
    }

    fn view(&self, progress: &UpgradeProgress, liveness: Option<Liveness>) -> UpgradeView {
        let now = self.clock.now();
        let summary = Summary::of(progress, now);
        let agent = match progress.status {
            Status::InProgress => match liveness {
                Some(Liveness::Live) => Some("live"),
                Some(Liveness::Gone) => Some("gone"),
                Some(Liveness::Unknown) => Some("elsewhere"),
                Some(Liveness::Unmarked) | None => None,
            },
            Status::NotStarted | Status::Completed | Status::Failed | Status::Paused | Status::Cancelled => {
                Some("not_needed")
            }
        };
        UpgradeView::new(summary, agent.map(Arc::from)).with_made_at(now)
    }

    fn history(&self, _: &UpgradeId) -> Option<Box<RawValue>> {
        None
    }
}

/// Sums upgrades up by their state and by what it was told of their agents; for tests and for what lives in memory.
#[derive(Debug, Default)]
pub struct MemorySummaries {
    clock: Option<Arc<dyn Clock>>,
    agents: Mutex<HashMap<UpgradeId, Arc<str>>>,
}

impl MemorySummaries {
    /// Tells stalled tasks by `clock`; without one none is stalled.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..Self::default()
        }
    }

    /// Says who is at work on an upgrade.
    pub fn set_agent(&self, upgrade_id: UpgradeId, agent: impl Into<Arc<str>>) {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.insert(upgrade_id, agent.into());
    }
}

impl SummarySource for MemorySummaries {
    fn liveness(&self, _: &UpgradeId) -> Option<Liveness> {
        None
    }

    fn view(&self, progress: &UpgradeProgress, _: Option<Liveness>) -> UpgradeView {
        let now = self.clock.as_ref().map(|clock| clock.now());
        let stalled_by = now.or(progress.last_report_at).unwrap_or(Timestamp::EPOCH);
        let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = agents.get(&progress.upgrade_id).cloned();
        UpgradeView {
            made_at: now,
            ..UpgradeView::new(Summary::of(progress, stalled_by), agent)
        }
    }

    fn history(&self, _: &UpgradeId) -> Option<Box<RawValue>> {
        None
    }
}
