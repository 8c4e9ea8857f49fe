//! A limit for the bytes of bodies in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is counted, so that a count fits a semaphore's.
const UNIT: u64 = 1024;

/// Bytes that bodies may take in memory.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    units: Arc<Semaphore>,
    total: u32,
}

/// A share of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    _units: OwnedSemaphorePermit,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            units: Arc::new(Semaphore::new(total.try_into().unwrap_or(usize::MAX >> 3))),
            total,
        }
    }

    /// Waits until so many bytes are free, in the order of the calls. A body larger than the limit takes all of it.
    pub(crate) async fn permit(&self, bytes: u64) -> MemoryPermit {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.units).acquire_many_owned(units.min(self.total));
        MemoryPermit {
            _units: permit.await.expect("the semaphore is never closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_shared_and_a_giant_takes_all() {
        let memory = Memory::new(10 * UNIT);
        let half = memory.permit(5 * UNIT).await;
        assert_eq!(memory.units.available_permits(), 5);
        drop(half);
        let _all = memory.permit(1 << 40).await;
        assert_eq!(memory.units.available_permits(), 0);
    }
}
