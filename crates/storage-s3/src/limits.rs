//! How much goes on at once: requests, adapted to what the server bears, and bytes in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Refusals within this time of the last reduction are of the same burst.
const BURST: Duration = Duration::from_secs(1);
/// The unit in which memory is counted, so that a count fits a semaphore's.
const MEMORY_UNIT: u64 = 1024;

/// Lets requests through, between a least and a most at once: one more for each that went well until the server first
/// throttles, one more a round afterwards, half as many whenever it throttles.
#[derive(Debug)]
pub(crate) struct Concurrency {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
    min: usize,
    max: usize,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Slots that are to vanish as soon as their holders let go.
    surplus: usize,
    /// Requests that went well since the limit was changed.
    successes: usize,
    throttled_at: Option<Instant>,
}

/// Leave to make one request; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    concurrency: Arc<Concurrency>,
}

impl Concurrency {
    pub(crate) fn new(min: usize, max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(min)),
            state: Mutex::new(State {
                limit: min,
                surplus: 0,
                successes: 0,
                throttled_at: None,
            }),
            min,
            max,
        })
    }

    /// Waits for leave.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        Slot {
            // The semaphore is never closed, and a permit more than meant would do no harm.
            permit: permit.ok(),
            concurrency: Arc::clone(self),
        }
    }

    /// How many requests may go on at once now.
    pub(crate) fn limit(&self) -> usize {
        self.state().limit
    }

    /// The server answered well: maybe it bears more.
    pub(crate) fn succeeded(&self) {
        // Only who makes use of the limit learns anything about it.
        if self.slots.available_permits() > 0 {
            return;
        }
        let mut state = self.state();
        state.successes += 1;
        let enough = state.throttled_at.is_none() || state.successes >= state.limit;
        if state.limit < self.max && enough {
            state.limit += 1;
            state.successes = 0;
            if state.surplus > 0 {
                state.surplus -= 1;
            } else {
                self.slots.add_permits(1);
            }
        }
    }

    /// The server asked for fewer requests.
    pub(crate) fn throttled(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if state
            .throttled_at
            .is_some_and(|at| now.duration_since(at) < BURST)
        {
            return;
        }
        state.throttled_at = Some(now);
        state.successes = 0;
        let limit = (state.limit / 2).max(self.min);
        let fewer = state.limit - limit;
        state.limit = limit;
        state.surplus += fewer - self.slots.forget_permits(fewer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.concurrency.state();
        if state.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

/// Bytes that bodies may take in memory.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    total: u32,
}

/// A share of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / MEMORY_UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            units: Arc::new(Semaphore::new(total.try_into().unwrap_or(usize::MAX >> 3))),
            total,
        }
    }

    /// Waits until so many bytes are free. What exceeds all the memory there is takes all of it.
    pub(crate) async fn share(&self, bytes: u64) -> Share {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.units)
            .acquire_many_owned(units.min(self.total))
            .await;
        Share { _permit: permit.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn saturated(concurrency: &Arc<Concurrency>) -> Vec<Slot> {
        let mut slots = Vec::new();
        while concurrency.slots.available_permits() > 0 {
            slots.push(concurrency.slot().await);
        }
        slots
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_while_all_goes_well_and_halves_when_throttled() {
        let concurrency = Concurrency::new(16, 64);
        let mut held = Vec::new();
        for _ in 0..100 {
            held.extend(saturated(&concurrency).await);
            concurrency.succeeded();
        }
        held.extend(saturated(&concurrency).await);
        assert_eq!((concurrency.limit(), held.len()), (64, 64));
        concurrency.throttled();
        concurrency.throttled();
        assert_eq!(concurrency.limit(), 32, "a burst counts once");
        drop(held);
        assert_eq!(saturated(&concurrency).await.len(), 32);
        for _ in 0..4 {
            tokio::time::advance(BURST).await;
            concurrency.throttled();
        }
        assert_eq!(concurrency.limit(), 16, "never below the least");
    }

    #[tokio::test]
    async fn idle_slots_are_no_reason_to_grow() {
        let concurrency = Concurrency::new(2, 8);
        let _one = concurrency.slot().await;
        concurrency.succeeded();
        assert_eq!(concurrency.limit(), 2);
    }

    #[tokio::test]
    async fn memory_is_shared_and_a_giant_takes_all() {
        let memory = Memory::new(10 * MEMORY_UNIT);
        let half = memory.share(5 * MEMORY_UNIT).await;
        assert_eq!(memory.units.available_permits(), 5);
        drop(half);
        let _all = memory.share(1 << 40).await;
        assert_eq!(memory.units.available_permits(), 0);
    }
}
