//! How a tracker is opened.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tracking_journal::{Clock, JournalOptions, SystemClock};
use tracking_model::{Details, PlanId, UpgradeId};

use crate::callbacks::DEFAULT_CALLBACK_QUEUE;

/// What identifies an upgrade: written into the first record of its journal, never changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewUpgrade {
    /// Its id.
    pub upgrade_id: UpgradeId,
    /// The plan that it follows.
    pub plan_id: PlanId,
    /// The cluster that it upgrades: UTF-8 of 1 to 256 bytes without control characters.
    pub cluster_name: Arc<str>,
    /// Free-form metadata, at most 64 KiB as JSON.
    pub metadata: Details,
}

impl NewUpgrade {
    /// An upgrade of `cluster_name` by a plan, without metadata.
    #[must_use]
    pub fn new(upgrade_id: UpgradeId, plan_id: PlanId, cluster_name: impl Into<Arc<str>>) -> Self {
        Self {
            upgrade_id,
            plan_id,
            cluster_name: cluster_name.into(),
            metadata: Details::NONE,
        }
    }

    /// Sets its metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// How a tracker is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProgressTrackerOptions {
    /// Who is named in each record: a person, or an agent and its machine.
    pub actor: Arc<str>,
    /// How long a commit waits for other processes that write the same upgrade before it fails as locked.
    pub lock_timeout: Duration,
    /// Where times come from.
    pub clock: Arc<dyn Clock>,
    /// Whether this tracker means to stay, as an agent does. It then marks the upgrade as alive until it is closed,
    /// and follows what other processes write, so that an operator's pause or cancel reaches it.
    pub long_lived: bool,
    /// How many calls may wait for one callback before further ones are left out.
    pub callback_queue: usize,
    /// How long closing waits for callbacks that are still at work.
    pub callback_patience: Duration,
}

impl Default for ProgressTrackerOptions {
    /// A long-lived tracker of actor `agent`, by the machine's clock, that waits up to 5 s for other writers.
    fn default() -> Self {
        Self {
            actor: "agent".into(),
            lock_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            long_lived: true,
            callback_queue: DEFAULT_CALLBACK_QUEUE,
            callback_patience: Duration::from_secs(2),
        }
    }
}

impl ProgressTrackerOptions {
    /// Sets who is named in each record.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Sets how long to wait for other writers.
    #[must_use]
    pub const fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets where times come from.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets whether this tracker means to stay.
    #[must_use]
    pub const fn with_long_lived(mut self, long_lived: bool) -> Self {
        self.long_lived = long_lived;
        self
    }

    /// Sets how many calls may wait for one callback.
    #[must_use]
    pub const fn with_callback_queue(mut self, calls: usize) -> Self {
        self.callback_queue = calls;
        self
    }

    /// Sets how long closing waits for callbacks that are still at work.
    #[must_use]
    pub const fn with_callback_patience(mut self, patience: Duration) -> Self {
        self.callback_patience = patience;
        self
    }

    pub(crate) fn journal(&self) -> JournalOptions {
        JournalOptions::default()
            .with_actor(Arc::clone(&self.actor))
            .with_lock_timeout(self.lock_timeout)
            .with_clock(Arc::clone(&self.clock))
            .with_long_lived(self.long_lived)
    }
}

/// How an upgrade is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CompleteOptions {
    /// What to do about tasks that are unfinished or failed.
    pub unfinished: Unfinished,
}

/// What completing an upgrade does about tasks that are unfinished or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// It is refused, with a list of them.
    #[default]
    Refuse,
    /// It is done; the upgrade is marked as completed with failures and keeps its real percentage.
    Allow,
}

impl CompleteOptions {
    /// Completes the upgrade even if tasks are unfinished or failed.
    #[must_use]
    pub const fn allow_unfinished(mut self) -> Self {
        self.unfinished = Unfinished::Allow;
        self
    }
}
