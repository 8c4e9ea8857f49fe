//! Commits as they become durable, for listeners in this process.

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast::{self, error};

use crate::Commit;

pub(crate) enum Message<E> {
    Commit(Arc<Commit<E>>),
    Reset,
}

impl<E> Clone for Message<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Commit(commit) => Self::Commit(Arc::clone(commit)),
            Self::Reset => Self::Reset,
        }
    }
}

/// Why there is no next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// The subscriber was too slow: it missed so many commits. Read the state anew and go on.
    #[error("{missed} commits were missed; read the state anew")]
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The journal was replaced by a repaired one: what was known is void. Read the state anew and go on.
    #[error("the journal was replaced; read the state anew")]
    Reset,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// All commits of a stream from the moment of subscribing on, own and of other processes, in order. A slow
/// subscriber misses commits and is told; it never delays the writer.
pub struct Subscription<E> {
    receiver: broadcast::Receiver<Message<E>>,
}

impl<E> Subscription<E> {
    pub(crate) const fn new(receiver: broadcast::Receiver<Message<E>>) -> Self {
        Self { receiver }
    }

    /// The next commit.
    ///
    /// # Errors
    /// [`SubscriptionError`]; after `Lagged` and `Reset` it goes on.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Arc<Commit<E>>, SubscriptionError> {
        match self.receiver.recv().await {
            Ok(message) => open(message),
            Err(error::RecvError::Lagged(missed)) => Err(SubscriptionError::Lagged { missed }),
            Err(error::RecvError::Closed) => Err(SubscriptionError::Closed),
        }
    }

    /// The next commit, blocking the thread. For callers outside of async code.
    ///
    /// # Errors
    /// As [`Self::next`].
    ///
    /// # Panics
    /// In an async context.
    pub fn next_blocking(&mut self) -> Result<Arc<Commit<E>>, SubscriptionError> {
        match self.receiver.blocking_recv() {
            Ok(message) => open(message),
            Err(error::RecvError::Lagged(missed)) => Err(SubscriptionError::Lagged { missed }),
            Err(error::RecvError::Closed) => Err(SubscriptionError::Closed),
        }
    }

    /// The next commit if there is one already.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Commit<E>>>, SubscriptionError> {
        match self.receiver.try_recv() {
            Ok(message) => open(message).map(Some),
            Err(error::TryRecvError::Empty) => Ok(None),
            Err(error::TryRecvError::Lagged(missed)) => Err(SubscriptionError::Lagged { missed }),
            Err(error::TryRecvError::Closed) => Err(SubscriptionError::Closed),
        }
    }
}

fn open<E>(message: Message<E>) -> Result<Arc<Commit<E>>, SubscriptionError> {
    match message {
        Message::Commit(commit) => Ok(commit),
        Message::Reset => Err(SubscriptionError::Reset),
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
