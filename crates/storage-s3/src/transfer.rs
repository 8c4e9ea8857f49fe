//! Progress of transfers: bytes done, rate and time left.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Progress of a transfer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TransferProgress {
    /// Bytes that are across, those of an earlier attempt included.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Bytes a second, over the last seconds.
    pub rate: f64,
    /// How long the rest takes at this rate; `None` while there is no rate.
    pub left: Option<Duration>,
}

/// Called while bytes get across, from the transfer's own tasks: it must return soon.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(TransferProgress) + Send + Sync>);

impl ProgressCallback {
    /// Calls `callback`.
    pub fn new(callback: impl Fn(TransferProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressCallback")
    }
}

/// Computes rate and time left from what gets across. The rate is an average that forgets: what was five seconds ago
/// counts a third.
#[derive(Debug)]
pub struct Meter {
    total: u64,
    done: u64,
    begun: Instant,
    last: Instant,
    pending: u64,
    rate: Option<f64>,
}

/// How fast the rate forgets, in seconds.
const MEMORY_SECONDS: f64 = 5.0;
/// Shorter spans than this say little about a rate.
const LEAST_SPAN: Duration = Duration::from_millis(100);

impl Meter {
    /// A transfer of `total` bytes, of which `done` were across before.
    #[must_use]
    pub fn new(total: u64, done: u64) -> Self {
        let now = Instant::now();
        Self {
            total,
            done,
            begun: now,
            last: now,
            pending: 0,
            rate: None,
        }
    }

    /// So many more bytes are across.
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        self.pending += bytes;
        let span = self.last.elapsed();
        if span >= LEAST_SPAN {
            #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
            let now = self.pending as f64 / span.as_secs_f64();
            let keep = (-span.as_secs_f64() / MEMORY_SECONDS).exp();
            self.rate = Some(self.rate.map_or(now, |rate| rate * keep + now * (1.0 - keep)));
            self.pending = 0;
            self.last = Instant::now();
        }
    }

    /// Where the transfer stands.
    #[must_use]
    pub fn progress(&self) -> TransferProgress {
        let left = self.total.saturating_sub(self.done);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a time left needs no more than 53 bits"
        )]
        let seconds = self
            .rate
            .filter(|rate| *rate > 0.0)
            .map(|rate| left as f64 / rate);
        TransferProgress {
            done: self.done,
            total: self.total,
            rate: self.rate.unwrap_or(0.0),
            left: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }

    /// How long it took so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// A meter that tells a callback.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    meter: Arc<Mutex<Meter>>,
    callback: Option<ProgressCallback>,
}

impl Reporter {
    pub(crate) fn new(total: u64, callback: Option<ProgressCallback>) -> Self {
        Self {
            meter: Arc::new(Mutex::new(Meter::new(total, 0))),
            callback,
        }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let Some(callback) = &self.callback else {
            return;
        };
        let progress = {
            let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
            meter.add(bytes);
            meter.progress()
        };
        (callback.0)(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_follows_and_tells_the_time_left() {
        let mut meter = Meter::new(1000, 100);
        assert_eq!(meter.progress().left, None);
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            meter.add(100);
        }
        let progress = meter.progress();
        assert_eq!(progress.done, 500);
        assert!((progress.rate - 100.0).abs() < 1e-6, "{}", progress.rate);
        assert_eq!(progress.left, Some(Duration::from_secs(5)));
        assert_eq!(meter.elapsed(), Duration::from_secs(4));
    }
}
