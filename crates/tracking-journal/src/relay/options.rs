//! What can be chosen about a relay.

use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, SinkPace, SystemClock};

use super::backoff::Backoff;

/// How a [`Relay`](super::Relay) batches, waits, and gives up. What the sink asks for in its
/// [pace](crate::EventSink::pace) goes before what is said here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Tells the times that cursors show.
    pub clock: Arc<dyn Clock>,
    /// Kinds of record that are never given to the sink, such as `task.heartbeat`. None by default.
    pub skip_kinds: Vec<Arc<str>>,
    /// Most records in a batch, 100 by default. At least one.
    pub batch_records: usize,
    /// Most bytes of record data in a batch, 256 KiB by default; a record that is larger alone makes a batch alone.
    pub batch_bytes: usize,
    /// How long to wait for a batch to fill before a smaller one is sent. No time by default.
    pub linger: Duration,
    /// Most records held in memory, 1,000 by default, and the most by which the sink may run ahead of a record that it
    /// refuses. At least one.
    pub window_records: usize,
    /// Most bytes of record data held in memory, 8 MiB by default, or one record that is larger.
    pub window_bytes: usize,
    /// The pauses after refusals.
    pub backoff: Backoff,
    /// After which time a call is dropped and its records are sent again later, a minute by default.
    pub publish_timeout: Duration,
    /// How long a call in flight may go on when the relay is asked to stop, 5 s by default.
    pub stop_grace: Duration,
    /// The least time between two savings of the cursor, 200 ms by default: what a crash can cause to be sent again is
    /// what was sent within it.
    pub save_every: Duration,
    /// Most parked records, 1,000 by default. Beyond it nothing more is parked and the sink waits, for the list is kept
    /// in memory and in the cursor.
    pub max_parked: usize,
    /// How often a record is refused, while others are accepted, before it is parked; 50 by default.
    pub max_overtaken: u32,
    /// How often the sink may panic, or miscount, over one record alone, while others get through, before the record is
    /// parked; 5 by default.
    pub max_faults: u32,
    /// Seed of the jitter, for runs that can be repeated. Random by default.
    pub seed: Option<u64>,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            skip_kinds: Vec::new(),
            batch_records: 100,
            batch_bytes: 256 << 10,
            linger: Duration::ZERO,
            window_records: 1_000,
            window_bytes: 8 << 20,
            backoff: Backoff::default(),
            publish_timeout: Duration::from_secs(60),
            stop_grace: Duration::from_secs(5),
            save_every: Duration::from_millis(200),
            max_parked: 1_000,
            max_overtaken: 50,
            max_faults: 5,
            seed: None,
        }
    }
}

impl RelayOptions {
    /// These options as the sink asks for them. The window holds at least one batch.
    pub(super) fn paced(mut self, pace: SinkPace) -> Self {
        self.linger = pace.linger.unwrap_or(self.linger);
        self.publish_timeout = pace.timeout.unwrap_or(self.publish_timeout);
        if let Some(records) = pace.max_records {
            self.batch_records = records;
            self.window_records = self.window_records.max(records);
        }
        if let Some(bytes) = pace.max_bytes {
            self.batch_bytes = bytes;
            self.window_bytes = self.window_bytes.max(bytes);
        }
        self
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident, $field:ident: $type:ty;)*) => {
        impl RelayOptions {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })*
        }
    };
}

setters! {
    /// Sets [`Self::clock`].
    with_clock, clock: Arc<dyn Clock>;
    /// Sets [`Self::skip_kinds`].
    with_skip_kinds, skip_kinds: Vec<Arc<str>>;
    /// Sets [`Self::batch_records`].
    with_batch_records, batch_records: usize;
    /// Sets [`Self::batch_bytes`].
    with_batch_bytes, batch_bytes: usize;
    /// Sets [`Self::linger`].
    with_linger, linger: Duration;
    /// Sets [`Self::window_records`].
    with_window_records, window_records: usize;
    /// Sets [`Self::window_bytes`].
    with_window_bytes, window_bytes: usize;
    /// Sets [`Self::backoff`].
    with_backoff, backoff: Backoff;
    /// Sets [`Self::publish_timeout`].
    with_publish_timeout, publish_timeout: Duration;
    /// Sets [`Self::stop_grace`].
    with_stop_grace, stop_grace: Duration;
    /// Sets [`Self::save_every`].
    with_save_every, save_every: Duration;
    /// Sets [`Self::max_parked`].
    with_max_parked, max_parked: usize;
    /// Sets [`Self::max_overtaken`].
    with_max_overtaken, max_overtaken: u32;
    /// Sets [`Self::max_faults`].
    with_max_faults, max_faults: u32;
    /// Sets [`Self::seed`].
    with_seed, seed: Option<u64>;
}
