//! What a hub has done so far, for whoever looks and for the `metrics` recorder of the program, if it has one.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a hub has done so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    viewers: AtomicU64,
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

impl Counters {
    pub(crate) fn joined(&self) {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("ekstrack_ws_viewers").increment(1.0);
    }

    pub(crate) fn left(&self) {
        self.viewers.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("ekstrack_ws_viewers").decrement(1.0);
    }

    pub(crate) fn sent(&self, messages: usize, bytes: usize) {
        if messages > 0 {
            self.sent.fetch_add(messages as u64, Ordering::Relaxed);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            metrics::counter!("ekstrack_ws_sent_total").increment(messages as u64);
            metrics::counter!("ekstrack_ws_sent_bytes_total").increment(bytes as u64);
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
            sent: read(&self.sent),
            bytes: read(&self.bytes),
            dropped: read(&self.dropped),
            resets: read(&self.resets),
            resumed: read(&self.resumed),
        }
    }
}
