//! How a sink likes its records: at once and one by one, or gathered for a while.

use std::time::Duration;

/// What a sink asks of the relay that feeds it. Where it says nothing (`None`) the relay's own options hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SinkPace {
    /// How long to wait, from the oldest record that it has not got, for more to come before a batch that is not full
    /// is handed over; zero is at once. [`Relay::drain`](crate::Relay::drain) does not wait.
    pub linger: Option<Duration>,
    /// Most records in a batch; at least one. So many are held in memory.
    pub max_records: Option<usize>,
    /// Most bytes in a batch, counted as the data of its records and 256 for each; a record that is larger alone makes
    /// a batch alone. So many are held in memory.
    pub max_bytes: Option<usize>,
    /// After which time one call is dropped and its records are sent again later.
    pub timeout: Option<Duration>,
}

impl SinkPace {
    /// Sets [`Self::linger`].
    #[must_use]
    pub const fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = Some(linger);
        self
    }

    /// Sets [`Self::max_records`].
    #[must_use]
    pub const fn with_max_records(mut self, records: usize) -> Self {
        self.max_records = Some(records);
        self
    }

    /// Sets [`Self::max_bytes`].
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets [`Self::timeout`].
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}
