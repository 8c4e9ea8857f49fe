//! What can be chosen.

use std::sync::Arc;
use std::time::Duration;

use tracking_journal::{Clock, SystemClock};

/// A segment closes at so many bytes.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;

/// How a [`Catalogue`](super::Catalogue) reads.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogueOptions {
    /// Larger segments are not read, and told as unreadable; 64 MiB by default.
    pub max_segment_bytes: u64,
    /// About how much memory segments take while they are read, 64 MiB by default; one that needs more is read alone.
    pub memory_bytes: usize,
    /// How many streams are worked on at once, 16 by default.
    pub streams_at_once: usize,
    /// How long to wait for another program that takes the same stream into the same cache, 30 s by default.
    pub lock_timeout: Duration,
    /// Tells the times of what is appended.
    pub clock: Arc<dyn Clock>,
}

impl Default for CatalogueOptions {
    fn default() -> Self {
        Self {
            max_segment_bytes: 64 << 20,
            memory_bytes: 64 << 20,
            streams_at_once: 16,
            lock_timeout: Duration::from_secs(30),
            clock: Arc::new(SystemClock),
        }
    }
}

impl CatalogueOptions {
    /// Sets [`Self::clock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets [`Self::memory_bytes`].
    #[must_use]
    pub const fn with_memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Sets [`Self::lock_timeout`].
    #[must_use]
    pub const fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// The memory in KiB.
    pub(super) fn memory_permits(&self) -> usize {
        (self.memory_bytes >> 10).clamp(1024, 1 << 24)
    }
}

/// How a [`SegmentSink`](super::SegmentSink) writes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// Kinds of record with which a stream is over: its small segments are then put together. By default
    /// `session.completed`, `upgrade.completed` and `upgrade.cancelled`.
    pub ends: Vec<Arc<str>>,
    /// How long a segment waits for more records, from its first on; 5 s by default.
    pub linger: Duration,
    /// A segment closes at so many bytes, 1 MiB by default; a longer record is a segment alone.
    pub segment_bytes: usize,
    /// Segments are put together up to so many bytes, 8 MiB by default.
    pub compact_bytes: usize,
    /// How long the put of a batch may take, 5 minutes by default.
    pub timeout: Duration,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            ends: ["session.completed", "upgrade.completed", "upgrade.cancelled"]
                .map(Arc::from)
                .into(),
            linger: Duration::from_secs(5),
            segment_bytes: SEGMENT_BYTES,
            compact_bytes: 8 << 20,
            timeout: Duration::from_secs(300),
        }
    }
}

impl SegmentOptions {
    /// Sets [`Self::ends`].
    #[must_use]
    pub fn with_ends(mut self, ends: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        self.ends = ends.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`Self::linger`].
    #[must_use]
    pub const fn with_linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets [`Self::segment_bytes`].
    #[must_use]
    pub const fn with_segment_bytes(mut self, bytes: usize) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets [`Self::compact_bytes`].
    #[must_use]
    pub const fn with_compact_bytes(mut self, bytes: usize) -> Self {
        self.compact_bytes = bytes;
        self
    }
}
