//! How a journal is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, SystemClock};

/// When a checkpoint is due. Checkpoints are derived: they only shorten opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// After so many records since the last one.
    pub records: u64,
    /// After so many bytes of records since the last one.
    pub bytes: u64,
    /// When closing, after so many records since the last one.
    pub records_at_close: u64,
}

impl Default for CheckpointPolicy {
    /// Replaying what is left takes some 20 ms.
    fn default() -> Self {
        Self {
            records: 16_384,
            bytes: 8 << 20,
            records_at_close: 2_048,
        }
    }
}

impl CheckpointPolicy {
    /// Never writes a checkpoint.
    pub const NEVER: Self = Self {
        records: u64::MAX,
        bytes: u64::MAX,
        records_at_close: u64::MAX,
    };
}

/// How a journal is opened to write.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalOptions {
    /// Written into each record: who did it.
    pub actor: Arc<str>,
    /// How long to wait for other writers before a commit fails with `Locked`.
    pub lock_timeout: Duration,
    /// Where times of records come from.
    pub clock: Arc<dyn Clock>,
    /// When checkpoints are written.
    pub checkpoint: CheckpointPolicy,
    /// Whether this writer means to stay, as an agent does: it then marks the stream as alive until it is closed, and
    /// follows what other processes write while it is idle.
    pub long_lived: bool,
    /// How many commands may wait to be committed before more are turned away with `Overloaded`.
    pub max_waiting: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            actor: "unknown".into(),
            lock_timeout: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            checkpoint: CheckpointPolicy::default(),
            long_lived: false,
            max_waiting: 1 << 17,
        }
    }
}

impl JournalOptions {
    /// Sets who is named in each record.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Sets how long to wait for other writers.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Sets where times come from.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets when checkpoints are written.
    #[must_use]
    pub const fn with_checkpoint(mut self, policy: CheckpointPolicy) -> Self {
        self.checkpoint = policy;
        self
    }

    /// Sets whether this writer marks the stream as alive and follows other writers.
    #[must_use]
    pub const fn with_long_lived(mut self, long_lived: bool) -> Self {
        self.long_lived = long_lived;
        self
    }

    /// Sets how many commands may wait.
    #[must_use]
    pub const fn with_max_waiting(mut self, commands: usize) -> Self {
        self.max_waiting = commands;
        self
    }
}
