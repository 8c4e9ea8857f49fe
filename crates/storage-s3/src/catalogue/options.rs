//! Options of the catalogue and of the sink.

use std::sync::Arc;
use std::time::Duration;

use tracking_journal::{Clock, SystemClock};

/// A segment closes at so many bytes.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;

/// Options of a [`Catalogue`](super::Catalogue).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogueOptions {
    /// The most bytes of a segment that is read; a larger one is reported as unreadable. 64 MiB by default.
    pub max_segment_bytes: u64,
    /// Memory of segments that are read at once, about 64 MiB by default; a segment that needs more is read alone.
    pub memory_bytes: usize,
    /// Streams that are refreshed at once, 16 by default.
    pub streams_at_once: usize,
    /// Time to wait for another process that refreshes the same stream in the same cache, 30 s by default.
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

/// Options of a [`SegmentSink`](super::SegmentSink).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// Kinds of record that end a stream: its small segments are compacted then. By default
    /// `session.completed`, `upgrade.completed` and `upgrade.cancelled`.
    pub ends: Vec<Arc<str>>,
    /// Time that a segment waits for more records, from its first on; 5 s by default.
    pub linger: Duration,
    /// A segment closes at so many bytes, 1 MiB by default; a longer record is a segment alone.
    pub segment_bytes: usize,
    /// The most bytes of a compacted segment, 8 MiB by default.
    pub compact_bytes: usize,
    /// Time for the put of a batch, 5 minutes by default.
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
