//! Limits on what viewers make a hub keep in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::HubError;
use crate::protocol::ErrorCode;

/// Names that each viewer may have whatever the others have, so that nobody shuts others out.
const GRANTED: usize = 16;

/// How much viewers may make a hub keep. A name is a cluster, an upgrade or a type that a viewer names, or a stream that it
/// watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepLimits {
    /// Names of one viewer.
    pub names_per_viewer: usize,
    /// Names of all viewers together, beyond the first 16 of each.
    pub names: usize,
    /// Streams that are followed at a time. Each costs its state in memory and two open files.
    pub streams: usize,
}

impl Default for KeepLimits {
    fn default() -> Self {
        Self {
            names_per_viewer: 4_096,
            names: 131_072,
            streams: 1_024,
        }
    }
}

/// Counts the names of all viewers.
#[derive(Debug)]
pub(crate) struct NamePool {
    limits: KeepLimits,
    taken: AtomicUsize,
}

impl NamePool {
    pub(crate) fn new(limits: KeepLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: AtomicUsize::new(0),
        })
    }

    pub(crate) fn share(self: &Arc<Self>) -> NameShare {
        NameShare {
            pool: Arc::clone(self),
            taken: 0,
        }
    }

    /// Names beyond those that are granted to each viewer.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, more: usize) -> bool {
        let most = self.limits.names;
        let taken = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= most);
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        took.is_ok()
    }
}

/// One viewer's part of the pool. Dropping it gives the names back.
#[derive(Debug)]
pub(crate) struct NameShare {
    pool: Arc<NamePool>,
    taken: usize,
}

impl NameShare {
    /// Makes room for `names` in all.
    pub(crate) fn resize(&mut self, names: usize) -> Result<(), HubError> {
        let wanted = names.saturating_sub(GRANTED);
        if wanted <= self.taken {
            self.pool.taken.fetch_sub(self.taken - wanted, Ordering::Relaxed);
        } else if names > self.pool.limits.names_per_viewer {
            let most = self.pool.limits.names_per_viewer;
            return Err(HubError::Refused {
                code: ErrorCode::TooMany,
                message: format!(
                    "a viewer may name and watch {most} clusters, upgrades, types and streams; unsubscribe from some first"
                ),
            });
        } else if !self.pool.take(wanted - self.taken) {
            return Err(HubError::Refused {
                code: ErrorCode::Busy,
                message: "the viewers of this server together watch as much as it allows; try again later"
                    .to_owned(),
            });
        }
        self.taken = wanted;
        Ok(())
    }
}

impl Drop for NameShare {
    fn drop(&mut self) {
        self.pool.taken.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), HubError>) -> Option<ErrorCode> {
        match result {
            Ok(()) => None,
            Err(HubError::Refused { code, .. }) => Some(code),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn each_viewer_has_a_limit_and_all_have_one_and_some_names_are_granted() {
        let pool = NamePool::new(KeepLimits {
            names_per_viewer: 100,
            names: 120,
            streams: 1,
        });
        let (mut a, mut b) = (pool.share(), pool.share());
        assert_eq!(code(a.resize(101)), Some(ErrorCode::TooMany));
        assert_eq!(code(a.resize(100)), None);
        assert_eq!(code(b.resize(100)), Some(ErrorCode::Busy));
        assert_eq!(code(b.resize(GRANTED)), None);
        assert_eq!(pool.taken(), 100 - GRANTED);
        assert_eq!(code(a.resize(50)), None);
        assert_eq!(code(b.resize(90)), None);
        drop((a, b));
        assert_eq!(pool.taken(), 0);
    }
}
