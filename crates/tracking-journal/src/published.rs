//! What readers in this process see: the durable state, and who is told of changes.

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;
use tracking_model::Fold;

use crate::subscription::{Message, Subscription};
use crate::{Commit, Head};

/// The durable state, behind a lock that is held only to look or to apply one commit.
pub(crate) struct Published<F: Fold> {
    pub(crate) state: F,
    pub(crate) head: Head,
    subscribers: Vec<broadcast::Sender<Message<F::Event>>>,
}

impl<F: Fold> Published<F> {
    pub(crate) const fn new(state: F, head: Head) -> Self {
        Self {
            state,
            head,
            subscribers: Vec::new(),
        }
    }

    pub(crate) fn subscribe(&mut self, capacity: usize) -> Subscription<F::Event> {
        self.subscribers
            .retain(|subscriber| subscriber.receiver_count() > 0);
        let (sender, receiver) = broadcast::channel(capacity.clamp(1, 1 << 20));
        self.subscribers.push(sender);
        Subscription::new(receiver)
    }

    /// Whether anybody follows.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.subscribers
            .iter()
            .any(|subscriber| subscriber.receiver_count() > 0)
    }

    /// Applies a durable commit and hands it to subscribers.
    pub(crate) fn apply(&mut self, commit: &Arc<Commit<F::Event>>) {
        for record in &commit.records {
            self.state.apply(&record.meta, &record.event);
        }
        self.head = commit.head;
        self.tell(&Message::Commit(Arc::clone(commit)));
    }

    /// Takes another state, because the journal was replaced.
    pub(crate) fn reset(&mut self, state: F, head: Head) {
        self.state = state;
        self.head = head;
        self.tell(&Message::Reset);
    }

    fn tell(&mut self, message: &Message<F::Event>) {
        self.subscribers
            .retain(|subscriber| subscriber.send(message.clone()).is_ok());
    }

    /// Ends all subscriptions.
    pub(crate) fn close(&mut self) {
        self.subscribers.clear();
    }
}

impl<F: Fold> fmt::Debug for Published<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
