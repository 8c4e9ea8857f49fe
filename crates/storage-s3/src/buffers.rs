//! Buffers of parts and ranges, used again: fresh memory must be cleared by the system, page by page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller buffers are not worth keeping.
const LEAST_BYTES: usize = 1024 * 1024;
/// Larger ones would keep too much memory from others.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// So many buffers may wait for their next use. They are not counted as memory of bodies.
const WAITING: usize = 2;

/// Where buffers come from and go back to. When the last one in use comes back, all are freed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Vec<u8>>,
    in_use: usize,
}

/// A buffer in use; goes back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// A buffer for about `capacity` bytes, in which anything may be.
    pub(crate) fn take(&self, capacity: usize) -> Buffer {
        let mut state = self.state();
        state.in_use += 1;
        let fits = state
            .waiting
            .iter()
            .position(|bytes| bytes.capacity() >= capacity);
        let bytes = match fits {
            Some(position) if capacity >= LEAST_BYTES => state.waiting.swap_remove(position),
            _ => Vec::new(),
        };
        Buffer {
            bytes,
            home: self.clone(),
        }
    }

    /// A buffer for about `capacity` bytes, in which nothing is.
    pub(crate) fn take_empty(&self, capacity: usize) -> Buffer {
        let mut buffer = self.take(capacity);
        buffer.bytes.clear();
        buffer
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.in_use = state.in_use.saturating_sub(1);
        if state.in_use == 0 {
            state.waiting = Vec::new();
        } else if (LEAST_BYTES..=MOST_BYTES).contains(&bytes.capacity()) && state.waiting.len() < WAITING {
            state.waiting.push(bytes);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// Exactly `length` bytes, to be overwritten.
    pub(crate) fn of_length(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.capacity() == 0 {
            // Memory that the system has cleared is not cleared again.
            self.bytes = vec![0; length];
        } else {
            self.bytes.resize(length, 0);
        }
        &mut self.bytes
    }

    /// Its bytes, to be added to.
    pub(crate) const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// For whoever keeps the bytes: the buffer does not go back.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        // It may have been a larger one's.
        bytes.shrink_to_fit();
        bytes
    }

    /// For whoever lets go of them soon: then the buffer goes back.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(buffers: &Buffers) -> usize {
        buffers.state().waiting.len()
    }

    #[test]
    fn a_buffer_is_used_again_while_others_are_in_use() {
        let buffers = Buffers::default();
        let mut held: Vec<_> = (0..4).map(|_| buffers.take(LEAST_BYTES)).collect();
        for buffer in &mut held {
            buffer.of_length(LEAST_BYTES).fill(7);
        }
        let last = held.pop();
        for buffer in held {
            drop(buffer.into_bytes());
        }
        assert_eq!(waiting(&buffers), WAITING, "no more than that wait");
        let mut small = buffers.take(LEAST_BYTES - 1);
        assert_eq!(waiting(&buffers), WAITING, "a small one is not worth it");
        assert_eq!(small.of_length(3), [0; 3]);
        let mut again = buffers.take(LEAST_BYTES);
        assert_eq!(waiting(&buffers), WAITING - 1);
        assert_eq!(again.of_length(3), [7; 3]);
        drop((small, again, last));
        assert_eq!(waiting(&buffers), 0, "nobody is left to use one");
    }

    #[test]
    fn what_is_kept_or_too_large_does_not_come_back() {
        let buffers = Buffers::default();
        let _other = buffers.take(0);
        let mut kept = buffers.take(LEAST_BYTES);
        kept.of_length(LEAST_BYTES);
        kept.of_length(10);
        let kept = kept.into_vec();
        assert_eq!(kept.len(), 10);
        assert!(kept.capacity() < LEAST_BYTES, "{}", kept.capacity());
        let mut large = buffers.take(0);
        large.of_length(MOST_BYTES + 1);
        drop(large);
        assert_eq!(waiting(&buffers), 0);
        assert_eq!(buffers.state().in_use, 1);
    }
}
