//! The writer of one stream, as its users see it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use tracking_model::{Fold, StreamId};

use crate::committer::{self, Committer, Seat};
use crate::durable::DurableEnd;
use crate::liveness::AliveMarker;
use crate::log::{KnownFile, Log};
use crate::pending::Pending;
use crate::place::Place;
use crate::published::Published;
use crate::queue::{Queue, Submission};
use crate::reader::{open_journal, read_steadily};
use crate::recovery::State;
use crate::{
    CheckpointPolicy, DataDir, Head, JournalError, JournalOptions, Receipt, RecoveryReport, SubmitError,
    Subscription,
};

/// What callers and the committer share.
#[derive(Debug)]
pub(crate) struct Shared<F: Fold> {
    pub(crate) stream: StreamId,
    pub(crate) options: JournalOptions,
    pub(crate) queue: Queue<F>,
    pub(crate) published: RwLock<Published<F>>,
}

/// An open stream: its durable state, and the way to change it. Clones share it; dropping the last one commits what
/// waits and closes it.
pub struct Journal<F: Fold> {
    inner: Arc<Inner<F>>,
}

struct Inner<F: Fold> {
    shared: Arc<Shared<F>>,
    recovery: RecoveryReport,
    seat: Arc<Seat<F>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    marker: Mutex<Option<AliveMarker>>,
}

impl<F: Fold> Journal<F> {
    /// Opens a stream to write. Blocks while it reads what is there. A stream without a journal is empty; the file
    /// appears with the first commit.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be read, is damaged, or holds what the model cannot read.
    pub fn open(dir: &DataDir, stream: StreamId, options: JournalOptions) -> Result<Self, JournalError> {
        Self::start(Place::on_disk(dir, &stream), stream, options)
    }

    /// Opens an empty stream that exists in memory only and ends with the last clone.
    #[must_use]
    pub fn in_memory(stream: StreamId, options: JournalOptions) -> Self {
        let place = Place::in_memory(&stream);
        let options = JournalOptions {
            checkpoint: CheckpointPolicy::NEVER,
            ..options
        };
        Self::start(place, stream, options).expect("an empty stream in memory has nothing that could fail")
    }

    /// Opens a stream on a simulated disk; for tests.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(any(test, feature = "test-util"))]
    pub fn open_simulated(
        disk: &crate::SimulatedDisk,
        stream: StreamId,
        options: JournalOptions,
    ) -> Result<Self, JournalError> {
        Self::start(Place::simulated(Arc::new(disk.clone()), &stream), stream, options)
    }

    fn start(place: Place, stream: StreamId, options: JournalOptions) -> Result<Self, JournalError> {
        let (state, file) = load::<F>(&place)?;
        let recovery = state.report;
        let marker = match options.long_lived {
            true => Some(AliveMarker::hold(&place, options.lock_timeout)?),
            false => None,
        };
        let published = Published::new(state.fold.clone(), state.chain.head);
        let log = Log::new(place, options.lock_timeout, file);
        let queue = Queue::new(options.max_waiting);
        let shared = Arc::new(Shared {
            stream,
            options,
            queue,
            published: RwLock::new(published),
        });
        let committer = Committer::new(Arc::clone(&shared), log, state);
        let seat = Arc::new(Mutex::new(Some(committer)));
        let of_thread = (Arc::clone(&shared), Arc::clone(&seat));
        let thread = thread::Builder::new()
            .name("journal-committer".to_owned())
            .spawn(move || committer::run(&of_thread.0, &of_thread.1));
        let thread = thread.map_err(|error| JournalError::Io {
            operation: "start the committer of",
            path: shared.stream.file_stem().into(),
            source: Arc::new(error),
        })?;
        let (committer, marker) = (Mutex::new(Some(thread)), Mutex::new(marker));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                recovery,
                seat,
                committer,
                marker,
            }),
        })
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.inner.shared.stream
    }

    /// Queues a command in the name of the options' actor. Never blocks; the answer comes through [`Pending`].
    pub fn submit(&self, command: F::Command) -> Pending<F> {
        self.submit_as(Arc::clone(&self.inner.shared.options.actor), command)
    }

    /// Queues a command in the name of `actor`.
    pub fn submit_as(&self, actor: Arc<str>, command: F::Command) -> Pending<F> {
        let (pending, answer) = Pending::new();
        self.inner.shared.queue.push(Submission {
            command,
            actor,
            answer,
        });
        pending
    }

    /// Has a command committed and waits for its receipt, blocking the thread. As `submit(command).wait()`, but where
    /// nobody is committing, this thread does it, with all else that waits, which saves waking the committer's thread.
    ///
    /// # Errors
    /// [`SubmitError`]: the refusal, or why nothing could be written.
    pub fn submit_blocking(&self, command: F::Command) -> Result<Receipt<F>, SubmitError<F::Refusal>> {
        let (pending, answer) = Pending::new();
        let submission = Submission {
            command,
            actor: Arc::clone(&self.inner.shared.options.actor),
            answer,
        };
        let queue = &self.inner.shared.queue;
        match self.inner.seat.try_lock() {
            Ok(mut seat) => {
                queue.push_quietly(submission);
                if let Some(committer) = &mut *seat {
                    committer.serve();
                }
            }
            Err(_) => queue.push(submission),
        }
        pending.wait()
    }

    /// Looks at the durable state. Keep it short: commits wait meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&F, &Head) -> R) -> R {
        let published = self
            .inner
            .shared
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        look(&published.state, &published.head)
    }

    /// Where the durable state stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.read(|_, head| *head)
    }

    /// What opening found.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// Follows the stream from now on; up to `capacity` commits wait for a slow subscriber before it misses some.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Subscription<F::Event> {
        self.read_and_subscribe(capacity, |_, _| ()).1
    }

    /// Looks at the durable state and follows from exactly there.
    pub fn read_and_subscribe<R>(
        &self,
        capacity: usize,
        look: impl FnOnce(&F, &Head) -> R,
    ) -> (R, Subscription<F::Event>) {
        let mut published = self
            .inner
            .shared
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let seen = look(&published.state, &published.head);
        (seen, published.subscribe(capacity))
    }

    /// Commits what waits, then closes the stream for all clones. What is submitted afterwards is answered `Closed`.
    ///
    /// # Cancellation
    /// When the future is dropped, closing goes on.
    pub async fn close(self) {
        let inner = Arc::clone(&self.inner);
        drop(self);
        let joined = tokio::task::spawn_blocking(move || inner.close()).await;
        if let Err(error) = joined {
            tracing::warn!(%error, "closing a journal was interrupted");
        }
    }

    /// As [`Self::close`], blocking the thread.
    pub fn close_blocking(&self) {
        self.inner.close();
    }
}

impl<F: Fold> Inner<F> {
    fn close(&self) {
        self.shared.queue.close();
        // The lock is held while the thread ends: whoever closes at the same time waits for it too.
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = committer.take()
            && thread.join().is_err()
        {
            tracing::error!(stream = %self.shared.stream, "the committer panicked; what waited was answered `Closed`");
        }
        let marker = self.marker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(marker) = marker {
            marker.release();
        }
    }
}

impl<F: Fold> Drop for Inner<F> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<F: Fold> Clone for Journal<F> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<F: Fold> fmt::Debug for Journal<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = self.stream();
        f.debug_struct("Journal")
            .field("stream", stream)
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

/// Reads the stream's present state, empty where there is no journal, and tells from which file.
fn load<F: Fold>(place: &Place) -> Result<(State<F>, Option<KnownFile>), JournalError> {
    match open_journal(place) {
        Ok(file) => {
            let mut durable = DurableEnd::new(place, Arc::clone(&file));
            let id = file
                .identity()
                .map_err(|error| JournalError::io("look at", &place.journal, error))?;
            let state = read_steadily(|| State::load(place, &file, durable.end(0)?))?;
            Ok((state, Some(KnownFile { id, file })))
        }
        Err(JournalError::NoSuchStream { .. }) => Ok((State::empty(place), None)),
        Err(error) => Err(error),
    }
}
