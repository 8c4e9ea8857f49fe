//! What a hub has done so far, for whoever looks and for the `metrics` recorder of the program, if it has one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracking_journal::{Clock, SystemClock};
use tracking_model::Timestamp;

use crate::frame::Frame;

/// What a hub has done so far.
#[derive(Debug)]
pub(crate) struct Counters {
    clock: Arc<dyn Clock>,
    viewers: AtomicU64,
    feeds: AtomicU64,
    sent: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    resets: AtomicU64,
    resumed: AtomicU64,
}

/// What a hub has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubStats {
    /// Viewers that there are now.
    pub viewers: u64,
    /// Streams that are followed now.
    pub streams: u64,
    /// Clusters, upgrades, types and streams that viewers name or watch now, beyond the first 16 of each viewer.
    pub names: u64,
    /// Messages handed to viewers.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages thrown away because a viewer did not keep up; its reset says so.
    pub dropped: u64,
    /// How often a viewer was told that what it knows is void.
    pub resets: u64,
    /// Events read from journals for viewers that continued.
    pub resumed: u64,
}

/// Counts a feed for as long as it runs.
#[derive(Debug)]
pub(crate) struct CountedFeed(Arc<Counters>);

impl Drop for CountedFeed {
    fn drop(&mut self) {
        self.0.feeds.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Counters {
    /// With a clock that tells how late events are.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            viewers: AtomicU64::default(),
            feeds: AtomicU64::default(),
            sent: AtomicU64::default(),
            bytes: AtomicU64::default(),
            dropped: AtomicU64::default(),
            resets: AtomicU64::default(),
            resumed: AtomicU64::default(),
        }
    }

    pub(crate) fn joined(&self) {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("ekstrack_ws_viewers").increment(1.0);
    }

    pub(crate) fn left(&self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("ekstrack_ws_viewers").decrement(1.0);
    }

    /// A stream is followed until the result is dropped.
    pub(crate) fn feed(self: &Arc<Self>) -> CountedFeed {
        self.feeds.fetch_add(1, Ordering::Relaxed);
        CountedFeed(Arc::clone(self))
    }

    pub(crate) fn sent(&self, messages: usize, bytes: usize) {
        if messages > 0 {
            self.sent.fetch_add(messages as u64, Ordering::Relaxed);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            metrics::counter!("ekstrack_ws_sent_total").increment(messages as u64);
            metrics::counter!("ekstrack_ws_sent_bytes_total").increment(bytes as u64);
        }
    }

    /// A message was written for so many viewers just now.
    pub(crate) fn written(&self, frame: &Frame, viewers: usize) {
        self.sent(viewers, viewers * frame.len());
        if let Some(recorded_at) = frame.recorded_at() {
            self.late(recorded_at, viewers);
        }
    }

    /// An event was handed out for so many viewers just now.
    pub(crate) fn late(&self, recorded_at: Timestamp, viewers: usize) {
        if viewers > 0 {
            let lag = self.clock.now().since(recorded_at).to_duration();
            metrics::histogram!("ekstrack_ws_lag_seconds").record_many(lag, viewers);
        }
    }

    pub(crate) fn dropped(&self, messages: u64) {
        if messages > 0 {
            self.dropped.fetch_add(messages, Ordering::Relaxed);
            metrics::counter!("ekstrack_ws_dropped_total").increment(messages);
        }
    }

    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("ekstrack_ws_resets_total").increment(1);
    }

    pub(crate) fn resumed(&self, events: usize) {
        self.resumed.fetch_add(events as u64, Ordering::Relaxed);
        metrics::counter!("ekstrack_ws_resumed_total").increment(events as u64);
    }

    pub(crate) fn snapshot(&self) -> HubStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HubStats {
            viewers: read(&self.viewers),
            streams: read(&self.feeds),
            names: 0,
            sent: read(&self.sent),
            bytes: read(&self.bytes),
            dropped: read(&self.dropped),
            resets: read(&self.resets),
            resumed: read(&self.resumed),
        }
    }
}
