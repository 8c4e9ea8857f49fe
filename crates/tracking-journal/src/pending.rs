//! A command on its way to disk.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tracking_model::Fold;

use crate::{JournalError, Receipt, SubmitError};

/// What a command comes to.
pub(crate) type Outcome<F> = Result<Receipt<F>, SubmitError<<F as Fold>::Refusal>>;

/// A submitted command: a future of its receipt, which is ready once its records are on disk.
///
/// # Cancellation
/// Dropping it does not take the command back; it is committed or refused all the same.
pub struct Pending<F: Fold> {
    slot: Arc<Slot<F>>,
}

impl<F: Fold> Pending<F> {
    /// A command and the end by which it is answered.
    pub(crate) fn new() -> (Self, Answer<F>) {
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Waiting(Waiter::Nobody)),
            ready: Condvar::new(),
        });
        (
            Self {
                slot: Arc::clone(&slot),
            },
            Answer { slot: Some(slot) },
        )
    }

    /// Waits for the receipt, blocking the thread. For callers outside of async code.
    ///
    /// # Errors
    /// [`SubmitError`]: the refusal, or why nothing could be written.
    pub fn wait(self) -> Result<Receipt<F>, SubmitError<F::Refusal>> {
        let mut state = self.slot.lock();
        loop {
            if let Some(outcome) = state.take() {
                return outcome;
            }
            *state = State::Waiting(Waiter::Thread);
            state = self
                .slot
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<F: Fold> Future for Pending<F> {
    type Output = Outcome<F>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        if let Some(outcome) = state.take() {
            return Poll::Ready(outcome);
        }
        if let State::Waiting(waiter) = &mut *state {
            match waiter {
                Waiter::Task(waker) => waker.clone_from(context.waker()),
                Waiter::Nobody | Waiter::Thread => *waiter = Waiter::Task(context.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl<F: Fold> fmt::Debug for Pending<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

pub(crate) struct Slot<F: Fold> {
    state: Mutex<State<F>>,
    ready: Condvar,
}

impl<F: Fold> Slot<F> {
    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum State<F: Fold> {
    Waiting(Waiter),
    Done(Outcome<F>),
    Taken,
}

/// Who is to be woken; asking the system to wake nobody costs as much as encoding a record.
enum Waiter {
    Nobody,
    Task(Waker),
    Thread,
}

impl<F: Fold> State<F> {
    fn take(&mut self) -> Option<Outcome<F>> {
        if matches!(self, Self::Done(_)) {
            match std::mem::replace(self, Self::Taken) {
                Self::Done(outcome) => return Some(outcome),
                Self::Waiting(_) | Self::Taken => {}
            }
        }
        None
    }
}

/// Answers one [`Pending`]; dropped without an outcome, it answers that the journal is closed, so that nobody waits
/// for a committer that died.
pub(crate) struct Answer<F: Fold> {
    slot: Option<Arc<Slot<F>>>,
}

impl<F: Fold> Answer<F> {
    /// Answers and wakes whoever waits.
    pub(crate) fn send(self, outcome: Outcome<F>) {
        if let Some(wake) = self.send_quietly(outcome) {
            wake.wake();
        }
    }

    /// Answers; whoever waits is to be woken later. With many answers at once, none of the woken then finds that the
    /// next answer it wants is still being given.
    pub(crate) fn send_quietly(mut self, outcome: Outcome<F>) -> Option<Wake<F>> {
        self.complete(outcome)
    }

    fn complete(&mut self, outcome: Outcome<F>) -> Option<Wake<F>> {
        let slot = self.slot.take()?;
        let before = std::mem::replace(&mut *slot.lock(), State::Done(outcome));
        match before {
            State::Waiting(Waiter::Task(waker)) => Some(Wake::Task(waker)),
            State::Waiting(Waiter::Thread) => Some(Wake::Thread(slot)),
            State::Waiting(Waiter::Nobody) | State::Done(_) | State::Taken => None,
        }
    }
}

impl<F: Fold> Drop for Answer<F> {
    fn drop(&mut self) {
        if let Some(wake) = self.complete(Err(JournalError::Closed.into())) {
            wake.wake();
        }
    }
}

/// Somebody who waits for an answer that is there.
#[must_use]
pub(crate) enum Wake<F: Fold> {
    Task(Waker),
    Thread(Arc<Slot<F>>),
}

impl<F: Fold> Wake<F> {
    pub(crate) fn wake(self) {
        match self {
            Self::Task(waker) => waker.wake(),
            Self::Thread(slot) => slot.ready.notify_one(),
        }
    }
}
