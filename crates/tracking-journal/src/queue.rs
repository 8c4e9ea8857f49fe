//! Commands that wait for the next commit.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracking_model::Fold;

use crate::JournalError;
use crate::pending::Answer;

/// A command, who gave it, and who waits for the answer.
pub(crate) struct Submission<F: Fold> {
    pub(crate) command: F::Command,
    pub(crate) actor: Arc<str>,
    pub(crate) answer: Answer<F>,
}

/// Why the committer woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Commands wait.
    Work,
    /// Another process may have written, or time has passed.
    Look,
    /// The journal closes and no commands wait.
    Close,
}

/// Many submitters, one committer that takes everything at once.
pub(crate) struct Queue<F: Fold> {
    state: Mutex<State<F>>,
    changed: Condvar,
    /// A hint that something waits, to look at without the lock.
    ready: AtomicBool,
    limit: usize,
}

struct State<F: Fold> {
    waiting: VecDeque<Submission<F>>,
    closed: bool,
    nudged: bool,
    parked: bool,
}

/// How often the committer looks for work before it parks: some microseconds, about what waking a thread costs.
const SPINS: u32 = 200;

impl<F: Fold> Queue<F> {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            closed: false,
            nudged: false,
            parked: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            ready: AtomicBool::new(false),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a command and wakes the committer; answers with the error where it cannot be taken.
    pub(crate) fn push(&self, submission: Submission<F>) {
        if let Some(mut state) = self.add(submission)
            && std::mem::take(&mut state.parked)
        {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// As [`Self::push`], for one who then sees to the queue himself.
    pub(crate) fn push_quietly(&self, submission: Submission<F>) {
        drop(self.add(submission));
    }

    fn add(&self, submission: Submission<F>) -> Option<MutexGuard<'_, State<F>>> {
        let mut state = self.lock();
        let refused = if state.closed {
            JournalError::Closed
        } else if state.waiting.len() >= self.limit {
            JournalError::Overloaded {
                waiting: state.waiting.len(),
            }
        } else {
            state.waiting.push_back(submission);
            self.ready.store(true, Ordering::Release);
            return Some(state);
        };
        drop(state);
        submission.answer.send(Err(refused.into()));
        None
    }

    /// Makes the committer look whether another process has written.
    pub(crate) fn nudge(&self) {
        let mut state = self.lock();
        state.nudged = true;
        self.ready.store(true, Ordering::Release);
        if std::mem::take(&mut state.parked) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Takes no more commands; those that wait are still committed.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.ready.store(true, Ordering::Release);
        state.parked = false;
        drop(state);
        self.changed.notify_one();
    }

    /// Takes no more commands and answers those that wait that the journal is closed.
    pub(crate) fn abandon(&self) {
        self.close();
        let waiting = std::mem::take(&mut self.lock().waiting);
        drop(waiting);
    }

    /// Waits for something to do, at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Wake {
        for _ in 0..SPINS {
            if self.ready.load(Ordering::Acquire) {
                break;
            }
            std::hint::spin_loop();
        }
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.closed && !state.nudged {
            state.parked = true;
            let idle = |state: &mut State<F>| state.waiting.is_empty() && !state.closed && !state.nudged;
            let waited = self.changed.wait_timeout_while(state, patience, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.parked = false;
        }
        if !state.waiting.is_empty() {
            return Wake::Work;
        }
        self.ready.store(false, Ordering::Release);
        if state.closed {
            return Wake::Close;
        }
        state.nudged = false;
        Wake::Look
    }

    /// Moves all waiting commands to `batch`, which must be empty.
    pub(crate) fn drain(&self, batch: &mut VecDeque<Submission<F>>) {
        let mut state = self.lock();
        self.ready.store(false, Ordering::Release);
        std::mem::swap(&mut state.waiting, batch);
    }
}

impl<F: Fold> fmt::Debug for Submission<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("command", &self.command)
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl<F: Fold> fmt::Debug for Queue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
