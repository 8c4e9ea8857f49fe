//! Who watches a stream, and how all of them get what happens in it.

use std::sync::{Arc, Weak};

use super::Counters;
use super::queue::{Added, Prepared, Ticket, ViewerQueue};
use crate::frame::Frame;

/// Wants events of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) queue: Arc<ViewerQueue>,
    pub(crate) ticket: Weak<()>,
}

impl Registration {
    pub(crate) fn new(queue: &Arc<ViewerQueue>, ticket: &Ticket) -> Self {
        Self {
            queue: Arc::clone(queue),
            ticket: Arc::downgrade(ticket),
        }
    }

    pub(super) fn push(&self, frames: &[Frame]) -> bool {
        self.queue.push(&self.ticket, frames)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.ticket.strong_count() > 0
    }

    fn prepare(&self) -> Option<Prepared<'_>> {
        self.queue.prepare(&self.ticket)
    }
}

/// Adds `frames` for some viewers, and tells for each whether it still wants them. The queues are looked up first, so that
/// the system calls follow each other closely: whoever reads at the other ends is then woken once for many of them.
pub(super) fn push_to_each(viewers: &[Registration], frames: &[Frame], counters: &Counters) -> Vec<bool> {
    // What tells it lies far apart: without a lock in between, the processor fetches it for many side by side.
    let wanting: Vec<bool> = viewers.iter().map(Registration::is_wanted).collect();
    let prepared: Vec<_> = viewers
        .iter()
        .zip(wanting)
        .map(|(who, wants)| if wants { who.prepare() } else { None })
        .collect();
    let added: Vec<Option<Added>> = prepared
        .into_iter()
        .map(|prepared| prepared.map(|prepared| prepared.push(frames)))
        .collect();
    let written = added
        .iter()
        .filter(|added| **added == Some(Added::Written))
        .count();
    for frame in frames {
        counters.written(frame, written);
    }
    // Only now, with none prepared any more: somebody may wait for one of them and hold what is waited for here.
    let all = viewers.iter().zip(added);
    all.map(|(who, added)| added.is_some() || who.push(frames))
        .collect()
}
