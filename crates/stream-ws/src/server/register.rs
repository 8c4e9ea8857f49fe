//! Who is connected: the caps, and the way to tell all of them to go.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use crate::hub::ViewerHandle;

/// So many connections over the caps are told that there are too many; more are dropped unheard.
const TURNED_AWAY_AT_A_TIME: usize = 64;

#[derive(Debug)]
pub(super) struct Register {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    viewers: HashMap<u64, ViewerHandle>,
    next: u64,
    closing: bool,
}

/// Why a connection cannot become a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are too many.
    Viewers,
    /// The server stops.
    Closing,
}

/// A connection's place in the register, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    register: Arc<Register>,
    address: IpAddr,
    over: bool,
    viewer: Option<u64>,
}

impl Register {
    pub(super) fn new(limits: Limits) -> Self {
        let inner = Mutex::default();
        Self { limits, inner }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection; `None` if there are far too many.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inner = self.lock();
        if inner.closing {
            return None;
        }
        let of_address = inner.by_address.get(&address).copied().unwrap_or(0);
        let over_by = (inner.total + 1)
            .saturating_sub(self.limits.connections)
            .max((of_address + 1).saturating_sub(self.limits.connections_per_address));
        if over_by > TURNED_AWAY_AT_A_TIME {
            return None;
        }
        inner.total += 1;
        *inner.by_address.entry(address).or_default() += 1;
        Some(Place {
            register: Arc::clone(self),
            address,
            over: over_by > 0,
            viewer: None,
        })
    }

    /// Tells all viewers to go, and whoever comes from now on. How many there are.
    pub(super) fn close(&self) -> usize {
        let mut inner = self.lock();
        inner.closing = true;
        inner.viewers.values().for_each(ViewerHandle::close);
        inner.viewers.len()
    }
}

impl Place {
    /// The connection has become a viewer.
    pub(super) fn settle(&mut self, handle: ViewerHandle) -> Result<(), Full> {
        let mut inner = self.register.lock();
        if inner.closing {
            return Err(Full::Closing);
        }
        if self.over {
            return Err(Full::Viewers);
        }
        inner.next += 1;
        let id = inner.next;
        inner.viewers.insert(id, handle);
        self.viewer = Some(id);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.register.lock();
        inner.total -= 1;
        if let Some(count) = inner.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inner.by_address.remove(&self.address);
            }
        }
        if let Some(viewer) = self.viewer {
            inner.viewers.remove(&viewer);
        }
    }
}
