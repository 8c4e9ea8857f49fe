//! What waits for one viewer: bounded, and thrown away rather than let grow.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::frame::Frame;
use crate::hub::Counters;
use crate::protocol::TypeFilter;

/// How much may wait for one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of messages. Viewers of one stream share them. One message alone may be larger.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            messages: 4_096,
            bytes: 4 << 20,
        }
    }
}

/// Proves that a viewer still wants a stream. Dropping it under the queue's lock is what ends that.
pub(crate) type Ticket = Arc<()>;

/// Writes to a viewer's socket past the viewer's task. The task lets that happen only while it has nothing to write.
pub(crate) trait Shortcut: Debug + Send + Sync {
    /// Writes a message as far as the socket takes it at once. Waits for nothing.
    fn try_write(&self, frame: &Frame) -> Written;

    /// Whether nothing of an earlier message stands in the way.
    fn is_free(&self) -> bool;
}

/// How much of a message was written past the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    /// The task has to see to the rest.
    Part,
    Nothing,
}

/// The one place at which a viewer waits: for messages, and for everything else that it has to see to.
#[derive(Debug)]
pub(crate) struct ViewerQueue {
    limits: QueueLimits,
    counters: Arc<Counters>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Frame>,
    bytes: usize,
    types: TypeFilter,
    /// Summaries that begin something are to hold the snapshot.
    snapshots: bool,
    overflowed: bool,
    /// The catalogue of streams has changed.
    poked: bool,
    /// Whoever waits should stop.
    closing: bool,
    waker: Option<Waker>,
    shortcut: Option<Arc<dyn Shortcut>>,
    /// The viewer waits, and has nothing in its hands that it took earlier.
    waits: bool,
    /// A message was written past the viewer, but for its end.
    half_written: bool,
}

/// A queue that nobody else is at, of a viewer that wants what is to be added.
pub(crate) struct Prepared<'q> {
    queue: &'q ViewerQueue,
    inner: MutexGuard<'q, Inner>,
}

impl Prepared<'_> {
    /// Adds those of `frames` that the viewer wants. Who adds for many viewers counts what was written for all of them.
    pub(crate) fn push(self, frames: &[Frame]) -> Added {
        self.queue.add_and_wake(self.inner, frames)
    }
}

/// What became of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// The only one was written past the viewer.
    Written,
    /// They wait for the viewer, but for those that it does not want.
    Queued,
}

/// What a viewer finds when it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    pub(crate) overflowed: bool,
    pub(crate) poked: bool,
    pub(crate) closing: bool,
    /// What is left of a message has to be flushed before anything else is written.
    pub(crate) half_written: bool,
}

impl ViewerQueue {
    pub(crate) fn new(limits: QueueLimits, counters: Arc<Counters>) -> Self {
        let inner = Mutex::default();
        Self {
            limits,
            counters,
            inner,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds those of `frames` that the viewer wants. `false` if it no longer wants the stream that `ticket` is for.
    pub(crate) fn push(&self, ticket: &Weak<()>, frames: &[Frame]) -> bool {
        let inner = self.lock();
        if ticket.strong_count() == 0 {
            return false;
        }
        self.add_and_count(inner, frames);
        true
    }

    /// Begins to add something, unless somebody else is at the queue at this moment: what follows finds all that it looks
    /// at close by. `None` if the viewer does not want the stream that `ticket` is for, too. Whoever has several of these
    /// waits for no other queue.
    pub(crate) fn prepare(&self, ticket: &Weak<()>) -> Option<Prepared<'_>> {
        let inner = self.inner.try_lock().ok()?;
        // What lies furthest away is what is written to.
        let is_free = inner.shortcut.as_ref().is_some_and(|shortcut| shortcut.is_free());
        (is_free && ticket.strong_count() > 0).then_some(Prepared { queue: self, inner })
    }

    /// Adds a message that answers the viewer itself.
    pub(crate) fn answer(&self, frame: Frame) {
        self.add_and_count(self.lock(), &[frame]);
    }

    fn add_and_count(&self, inner: MutexGuard<'_, Inner>, frames: &[Frame]) {
        if self.add_and_wake(inner, frames) == Added::Written {
            frames.iter().for_each(|frame| self.counters.written(frame, 1));
        }
    }

    fn add_and_wake(&self, mut inner: MutexGuard<'_, Inner>, frames: &[Frame]) -> Added {
        let added = if inner.pass(frames) {
            Added::Written
        } else {
            self.counters.dropped(inner.add(frames, self.limits));
            Added::Queued
        };
        let waker = if inner.has_news() {
            inner.waker.take()
        } else {
            None
        };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        added
    }

    /// Tells the viewer that there may be streams that it does not know.
    pub(crate) fn poke(&self) {
        self.signal(|inner| inner.poked = true);
    }

    /// Tells whoever waits to stop.
    pub(crate) fn close(&self) {
        self.signal(|inner| inner.closing = true);
    }

    fn signal(&self, set: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.lock();
            set(&mut inner);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when there is something to see to.
    pub(crate) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.has_news() || inner.poked || inner.closing {
            return Poll::Ready(());
        }
        inner.waits = true;
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ready when the hub is closed, whatever else there is to see to.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.closing {
            return Poll::Ready(());
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes messages of at most `bytes`, but one at least, and what else there is to see to. `closing` stays.
    pub(crate) fn take(&self, bytes: usize, out: &mut Vec<Frame>) -> Found {
        let mut inner = self.lock();
        inner.waits = false;
        let mut taken = 0;
        while let Some(frame) = inner.frames.front() {
            let length = frame.len();
            if taken > 0 && taken + length > bytes {
                break;
            }
            taken += length;
            out.extend(inner.frames.pop_front());
        }
        inner.bytes -= taken;
        // What a burst made it grow to is not kept for good.
        if inner.frames.is_empty() && inner.frames.capacity() > 64 {
            inner.frames = VecDeque::new();
        }
        Found {
            overflowed: inner.overflowed,
            poked: std::mem::take(&mut inner.poked),
            closing: inner.closing,
            half_written: std::mem::take(&mut inner.half_written),
        }
    }

    /// Lets messages be written past the viewer while it waits; with `None`, from now on not any more.
    pub(crate) fn set_shortcut(&self, shortcut: Option<Arc<dyn Shortcut>>) {
        self.lock().shortcut = shortcut;
    }

    /// Gives up the streams of `tickets`: nothing of them is added from now on.
    pub(crate) fn give_up(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let _held = self.lock();
        tickets.into_iter().for_each(drop);
    }

    /// Gives up the streams of `tickets` and begins anew after an overflow.
    pub(crate) fn start_over(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut inner = self.lock();
        tickets.into_iter().for_each(drop);
        let lost = inner.clear();
        self.counters.dropped(lost);
        inner.overflowed = false;
    }

    /// Has summaries that begin something hold the snapshot.
    pub(crate) fn set_snapshots(&self, snapshots: bool) {
        self.lock().snapshots = snapshots;
    }

    /// Whether summaries that begin something are to hold the snapshot.
    pub(crate) fn wants_snapshots(&self) -> bool {
        self.lock().snapshots
    }

    /// Sets which events are added from now on.
    pub(crate) fn set_types(&self, types: TypeFilter) {
        self.lock().types = types;
    }
}

impl Inner {
    /// Whether the viewer has to be woken for what is there.
    fn has_news(&self) -> bool {
        !self.frames.is_empty() || self.overflowed || self.half_written
    }

    /// Writes the message past the viewer, if it is one alone, and all that came before it has been written. Several are
    /// better written by the viewer, in one go. Whether it was taken.
    fn pass(&mut self, frames: &[Frame]) -> bool {
        let ([frame], Some(shortcut)) = (frames, &self.shortcut) else {
            return false;
        };
        if !self.waits || self.has_news() || frame.kind().is_some_and(|kind| !self.types.admits(kind)) {
            return false;
        }
        let written = shortcut.try_write(frame);
        self.half_written = written == Written::Part;
        written != Written::Nothing
    }

    /// How many messages were thrown away for it.
    fn add(&mut self, frames: &[Frame], limits: QueueLimits) -> u64 {
        if self.overflowed {
            return frames.len() as u64;
        }
        for (index, frame) in frames.iter().enumerate() {
            if frame.kind().is_some_and(|kind| !self.types.admits(kind)) {
                continue;
            }
            // A summary of any size has room after the reset that it explains.
            let most = match frame.kind() {
                Some(_) => limits.bytes,
                None => (limits.bytes / 2).saturating_add(frame.len()).max(limits.bytes),
            };
            let fits = self.frames.len() < limits.messages && self.bytes + frame.len() <= most;
            if !fits && !self.frames.is_empty() {
                self.overflowed = true;
                return self.clear() + (frames.len() - index) as u64;
            }
            self.bytes += frame.len();
            self.frames.push_back(frame.clone());
        }
        0
    }

    fn clear(&mut self) -> u64 {
        let lost = self.frames.len() as u64;
        self.frames = VecDeque::new();
        self.bytes = 0;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: usize, bytes: usize) -> ViewerQueue {
        ViewerQueue::new(QueueLimits { messages, bytes }, Arc::default())
    }

    fn frames(count: usize) -> Vec<Frame> {
        (0..count)
            .map(|index| Frame::control(&format!("{index:04}")))
            .collect()
    }

    fn texts(frames: &[Frame]) -> Vec<&str> {
        frames.iter().map(Frame::text).collect()
    }

    #[test]
    fn messages_come_out_in_order_and_in_portions() {
        let (queue, ticket) = (queue(10, 1_000), Ticket::default());
        assert!(queue.push(&Arc::downgrade(&ticket), &frames(5)));
        let mut out = Vec::new();
        assert_eq!(queue.take(9, &mut out), Found::default());
        assert_eq!(texts(&out), ["0000", "0001"]);
        out.clear();
        queue.take(1, &mut out);
        assert_eq!(texts(&out), ["0002"], "one at least");
        out.clear();
        queue.take(1_000, &mut out);
        assert_eq!(texts(&out), ["0003", "0004"]);
    }

    #[test]
    fn a_viewer_that_is_poked_is_not_taken_for_one_whose_hub_is_closed() {
        let queue = queue(10, 1_000);
        let cx = Context::from_waker(Waker::noop());
        queue.poke();
        assert_eq!(queue.poll_ready(&cx), Poll::Ready(()));
        assert_eq!(queue.poll_closing(&cx), Poll::Pending);
        queue.close();
        assert_eq!(queue.poll_closing(&cx), Poll::Ready(()));
    }

    #[test]
    fn too_many_messages_or_bytes_empty_it() {
        for (messages, bytes) in [(4, 1_000), (100, 19)] {
            let (queue, ticket) = (queue(messages, bytes), Ticket::default());
            let weak = Arc::downgrade(&ticket);
            queue.push(&weak, &frames(4));
            queue.push(&weak, &frames(2));
            let mut out = Vec::new();
            assert!(queue.take(1_000, &mut out).overflowed);
            assert!(out.is_empty());
            queue.push(&weak, &frames(1));
            assert_eq!(
                queue.counters.snapshot().dropped,
                7,
                "all that was and would have been"
            );
            queue.start_over([ticket]);
            assert!(!queue.push(&weak, &frames(1)), "the stream was given up");
            assert_eq!(queue.take(1_000, &mut out), Found::default());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn one_message_may_be_larger_than_the_limit() {
        let (queue, ticket) = (queue(4, 3), Ticket::default());
        queue.push(&Arc::downgrade(&ticket), &frames(1));
        let mut out = Vec::new();
        assert!(!queue.take(1, &mut out).overflowed);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn unwanted_types_are_not_added_and_answers_always_are() {
        let (queue, ticket) = (queue(4, 1_000), Ticket::default());
        queue.set_types(TypeFilter::new(["task.failed"]));
        let event = |kind: &str| Frame::event(kind, kind.into(), tracking_model::Timestamp::EPOCH);
        queue.push(
            &Arc::downgrade(&ticket),
            &[event("task.progress"), event("task.failed")],
        );
        queue.answer(Frame::control("pong"));
        let mut out = Vec::new();
        queue.take(1_000, &mut out);
        assert_eq!(texts(&out), ["task.failed", "pong"]);
    }
}
