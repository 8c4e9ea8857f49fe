//! The tracker: submitting commands, reading the state, following it and closing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tracking_journal::{
    Clock, Commit, DataDir, Head, Journal, JournalError, JournalReader, Receipt, Subscription, load,
};
use tracking_model::{
    ProgressEvent, Snapshot, Timestamp, UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::ProgressError;
use crate::callbacks::Callbacks;
use crate::control::Control;
use crate::history::LearnedHistory;
use crate::snapshot::SnapshotWriter;

/// Tracks one upgrade: takes commands, keeps its state, and tells those who follow it.
///
/// Clones are cheap and share everything; any number of tasks, threads and processes may track one upgrade at once.
/// A command's future is ready once its event is durable. [`Self::close`] it when done; dropping the last clone closes
/// it too, blocking that thread meanwhile.
///
/// # Cancellation
/// Dropping the future of a command does not take the command back: it is committed or refused all the same.
#[derive(Clone)]
pub struct ProgressTracker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) upgrade_id: UpgradeId,
    /// `None` in memory.
    pub(crate) data_dir: Option<DataDir>,
    pub(crate) journal: Journal<UpgradeProgress>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) actor: Arc<str>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) control: Arc<Control>,
    pub(crate) snapshots: Option<Arc<SnapshotWriter>>,
    pub(crate) history: LearnedHistory,
    pub(crate) observer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) callback_patience: Duration,
}

impl fmt::Debug for ProgressTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressTracker")
            .field("upgrade_id", &self.inner.upgrade_id)
            .field("data_dir", &self.inner.data_dir.as_ref().map(DataDir::path))
            .finish_non_exhaustive()
    }
}

/// Submitting.
impl ProgressTracker {
    /// Queues a command. Never blocks; the answer comes through [`PendingCommand`], to be awaited or waited for.
    ///
    /// For what has no method of its own; [`UpgradeCommand::All`] commits several commands or none.
    pub fn submit(&self, command: UpgradeCommand) -> PendingCommand {
        self.submit_as(Arc::clone(&self.inner.actor), command)
    }

    /// Queues a command in the name of `actor`.
    pub fn submit_as(&self, actor: Arc<str>, command: UpgradeCommand) -> PendingCommand {
        PendingCommand {
            pending: self.inner.journal.submit_as(actor, command),
        }
    }
}

/// A command on its way to disk: a future of its receipt, which is ready once its events are durable.
///
/// # Cancellation
/// Dropping it does not take the command back; it is committed or refused all the same.
#[derive(Debug)]
#[must_use = "the command's outcome is known only to who awaits it"]
pub struct PendingCommand {
    pending: tracking_journal::Pending<UpgradeProgress>,
}

impl PendingCommand {
    /// Waits for the receipt, blocking the thread; for callers outside of async code.
    ///
    /// # Errors
    /// The refusal, or why nothing could be written.
    pub fn wait(self) -> Result<Receipt<UpgradeProgress>, ProgressError> {
        self.pending.wait().map_err(ProgressError::from)
    }
}

impl Future for PendingCommand {
    type Output = Result<Receipt<UpgradeProgress>, ProgressError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.pending)
            .poll(context)
            .map_err(ProgressError::from)
    }
}

/// Reading.
impl ProgressTracker {
    /// The upgrade.
    #[must_use]
    pub fn upgrade_id(&self) -> &UpgradeId {
        &self.inner.upgrade_id
    }

    /// The data directory; `None` in memory.
    #[must_use]
    pub fn data_dir(&self) -> Option<&DataDir> {
        self.inner.data_dir.as_ref()
    }

    /// Looks at the durable state. Keep it short: commits wait meanwhile.
    pub fn read<R>(&self, look: impl FnOnce(&UpgradeProgress) -> R) -> R {
        self.inner.journal.read(|state, _| look(state))
    }

    /// A copy of the durable state.
    #[must_use]
    pub fn state(&self) -> UpgradeProgress {
        self.read(Clone::clone)
    }

    /// Where the upgrade's journal stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.journal.head()
    }

    /// The upgrade's journal, for relays and other readers of records.
    #[must_use]
    pub fn journal(&self) -> &Journal<UpgradeProgress> {
        &self.inner.journal
    }

    /// The time by the tracker's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

/// Following.
impl ProgressTracker {
    /// All commits from now on, of this tracker and of other processes, in order. Up to `capacity` wait for a slow
    /// subscriber before it misses some, which it is told. A tracker that is not long-lived sees what others write only
    /// when it writes itself.
    #[must_use]
    pub fn subscribe(&self, capacity: usize) -> Subscription<UpgradeEvent> {
        self.inner.journal.subscribe(capacity)
    }
}

/// Closing.
impl ProgressTracker {
    /// Commits what waits, writes an exact snapshot, lets callbacks finish what is queued for them, and ends all
    /// threads, for all clones. Commands submitted afterwards are refused as closed; the state can still be read.
    ///
    /// # Errors
    /// [`ProgressError::Snapshot`] if the last snapshot could not be written; the tracker is closed all the same.
    ///
    /// # Cancellation
    /// When the future is dropped, closing goes on.
    pub async fn close(&self) -> Result<(), ProgressError> {
        let (done, outcome) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        // A thread of its own, so that any runtime will do, or none.
        let closing = thread::Builder::new()
            .name("progress-close".to_owned())
            .spawn(move || {
                // Nobody listens if the future was dropped; the failure of a snapshot is logged and counted anyway.
                drop(done.send(inner.close()));
            });
        match closing {
            Ok(_) => outcome.await.unwrap_or_else(|_| {
                Err(ProgressError::Closed {
                    upgrade_id: self.inner.upgrade_id.clone(),
                })
            }),
            Err(source) => Err(ProgressError::io(
                "start a thread to close the tracker",
                None,
                source,
            )),
        }
    }

    /// As [`Self::close`], blocking the thread.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub fn close_blocking(&self) -> Result<(), ProgressError> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<(), ProgressError> {
        let closed = self.close_journal();
        let left = self.callbacks.close(self.callback_patience);
        if left > 0 {
            tracing::warn!(left, "callbacks are still at work; they are left to themselves");
        }
        closed
    }

    fn close_journal(&self) -> Result<(), ProgressError> {
        // Held to the end, so that a second closer returns when the first is done.
        let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = observer.take() else {
            return Ok(());
        };
        self.journal.close_blocking();
        if thread.join().is_err() {
            tracing::error!(upgrade_id = %self.upgrade_id, "the tracker's thread panicked");
        }
        match (&self.data_dir, &self.snapshots) {
            (Some(dir), Some(snapshots)) => self.last_snapshot(dir, snapshots),
            _ => Ok(()),
        }
    }

    /// Leaves an exact snapshot. Other processes may have written the journal, and their snapshots, after this one
    /// looked; so whoever replaces the file looks again afterwards whether it shows the last record.
    fn last_snapshot(&self, dir: &DataDir, snapshots: &SnapshotWriter) -> Result<(), ProgressError> {
        let failed = |source| ProgressError::Snapshot {
            path: snapshots.path().to_owned(),
            source: Arc::new(source),
        };
        snapshots.close().map_err(failed)?;
        let mut shown = self.journal.head();
        for _ in 0..SNAPSHOT_ROUNDS {
            let last = match JournalReader::open(dir, self.journal.stream()) {
                Ok(mut reader) => reader.last_position()?,
                Err(JournalError::NoSuchStream { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            if last.is_none_or(|last| last.head == shown) {
                break;
            }
            let loaded = load::<UpgradeProgress>(dir, self.journal.stream())?;
            let snapshot = Snapshot::of(&loaded.state).to_json();
            snapshots.replace(snapshot.as_bytes()).map_err(failed)?;
            shown = loaded.head;
        }
        Ok(())
    }
}

/// How often the last snapshot is written anew because others write at the same moment. They write theirs later.
const SNAPSHOT_ROUNDS: usize = 3;

impl Drop for Inner {
    fn drop(&mut self) {
        // Callbacks are not waited for: the last clone may be dropped by one of them.
        if let Err(error) = self.close_journal() {
            tracing::warn!(upgrade_id = %self.upgrade_id, %error, "closing a tracker that was dropped");
        }
        self.callbacks.close(Duration::ZERO);
    }
}

/// The last change of a task in a receipt, as viewers see it.
pub(crate) fn last_event(receipt: &Receipt<UpgradeProgress>) -> Option<ProgressEvent> {
    receipt
        .records()
        .iter()
        .rev()
        .find_map(|record| match &record.event {
            UpgradeEvent::Task(_, change) => Some(ProgressEvent::new(&record.meta, change)),
            _ => None,
        })
}

/// All commits of an upgrade, as subscribers get them.
pub type UpgradeCommit = Commit<UpgradeEvent>;
