//! The tracker: opening, submitting, reading, following and closing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracking_journal::{Clock, Commit, DataDir, Head, Journal, Receipt, Subscription};
use tracking_model::{
    CommandError, ProgressEvent, Snapshot, Status, StreamId, TaskChange, Timestamp, UpgradeCommand,
    UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::callbacks::{CallbackGuard, Callbacks, TaskNotice};
use crate::control::{Control, Life};
use crate::history::LearnedHistory;
use crate::observer::Observer;
use crate::options::{NewUpgrade, ProgressTrackerOptions};
use crate::snapshot::{self, FileSystem, ReplaceFile, SnapshotWriter};
use crate::{ProgressError, import};

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
    control: Arc<Control>,
    pub(crate) snapshots: Option<Arc<SnapshotWriter>>,
    pub(crate) history: LearnedHistory,
    observer: Mutex<Option<JoinHandle<()>>>,
    callback_patience: Duration,
}

impl fmt::Debug for ProgressTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressTracker")
            .field("upgrade_id", &self.inner.upgrade_id)
            .field("data_dir", &self.inner.data_dir.as_ref().map(DataDir::path))
            .finish_non_exhaustive()
    }
}

/// Opening.
impl ProgressTracker {
    /// Opens an upgrade, creating it if it does not exist. Blocks while it reads what is there; in async code call it
    /// on a blocking thread.
    ///
    /// A file that the reference left for this upgrade is taken over, see [`import_reference`](crate::import_reference).
    ///
    /// # Errors
    /// [`ProgressError::OtherUpgrade`] if it exists for another plan or cluster; [`ProgressError::Refused`] for an
    /// invalid cluster name or metadata; [`ProgressError::Journal`] if the journal cannot be opened or written.
    pub fn open_or_create(
        dir: &DataDir,
        upgrade: NewUpgrade,
        options: ProgressTrackerOptions,
    ) -> Result<Self, ProgressError> {
        Self::start(
            Some(dir),
            &upgrade.upgrade_id.clone(),
            &options,
            Box::new(FileSystem),
            |journal| {
                import::take_over(dir, journal, &upgrade.upgrade_id)?;
                create(journal, upgrade)
            },
        )
    }

    /// Opens an upgrade that exists. Blocks while it reads what is there; in async code call it on a blocking thread.
    ///
    /// A file that the reference left for this upgrade is taken over, see [`import_reference`](crate::import_reference).
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if it does not exist, and then nothing is created; [`ProgressError::Journal`]
    /// if its journal cannot be opened.
    pub fn open(
        dir: &DataDir,
        upgrade_id: &UpgradeId,
        options: ProgressTrackerOptions,
    ) -> Result<Self, ProgressError> {
        let unknown = || ProgressError::UnknownUpgrade {
            upgrade_id: upgrade_id.clone(),
            data_dir: dir.path().to_owned(),
        };
        if !import::is_known(dir, upgrade_id) {
            return Err(unknown());
        }
        Self::start(Some(dir), upgrade_id, &options, Box::new(FileSystem), |journal| {
            import::take_over(dir, journal, upgrade_id)?;
            if journal.read(|state, _| state.exists()) {
                Ok(())
            } else {
                Err(unknown())
            }
        })
    }

    /// Creates an upgrade that exists in memory alone and ends with the last clone; for tests and trials.
    ///
    /// # Errors
    /// [`ProgressError::Refused`] for an invalid cluster name or metadata.
    pub fn in_memory(upgrade: NewUpgrade, options: ProgressTrackerOptions) -> Result<Self, ProgressError> {
        Self::start(
            None,
            &upgrade.upgrade_id.clone(),
            &options,
            Box::new(FileSystem),
            |journal| create(journal, upgrade),
        )
    }

    pub(crate) fn start(
        dir: Option<&DataDir>,
        upgrade_id: &UpgradeId,
        options: &ProgressTrackerOptions,
        files: Box<dyn ReplaceFile>,
        prepare: impl FnOnce(&Journal<UpgradeProgress>) -> Result<(), ProgressError>,
    ) -> Result<Self, ProgressError> {
        let stream = StreamId::Upgrade(upgrade_id.clone());
        let journal = match dir {
            Some(dir) => Journal::open(dir, stream.clone(), options.journal())?,
            None => Journal::in_memory(stream.clone(), options.journal()),
        };
        prepare(&journal)?;
        let snapshots = dir
            .map(|dir| snapshots(dir, &stream, journal.clone(), files))
            .transpose()?
            .map(Arc::new);
        let control = Arc::new(Control::new(journal.read(|state, _| state.status)));
        let callbacks = Callbacks::new(options.callback_queue);
        let observer = Observer {
            journal: journal.clone(),
            control: Arc::clone(&control),
            callbacks: Arc::clone(&callbacks),
            snapshots: snapshots.clone(),
        };
        let observer = observer
            .start()
            .map_err(|source| ProgressError::io("start the tracker's thread", None, source))?;
        // What happened between the first look at the status and the observer's subscription.
        control.status_is(journal.read(|state, _| state.status));
        let inner = Inner {
            upgrade_id: upgrade_id.clone(),
            data_dir: dir.cloned(),
            journal,
            clock: Arc::clone(&options.clock),
            actor: Arc::clone(&options.actor),
            callbacks,
            control,
            snapshots,
            history: LearnedHistory::default(),
            observer: Mutex::new(Some(observer)),
            callback_patience: options.callback_patience,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

/// Writes the first record, unless the upgrade exists for the same plan and cluster.
fn create(journal: &Journal<UpgradeProgress>, upgrade: NewUpgrade) -> Result<(), ProgressError> {
    let NewUpgrade {
        upgrade_id,
        plan_id,
        cluster_name,
        metadata,
    } = upgrade;
    let existing = journal.read(|state, _| {
        state
            .plan_id
            .clone()
            .map(|plan| (plan, Arc::clone(&state.cluster_name)))
    });
    let existing = match existing {
        Some(existing) => existing,
        None => {
            let command = UpgradeCommand::Create {
                plan_id: plan_id.clone(),
                cluster_name: Arc::clone(&cluster_name),
                metadata,
            };
            match journal.submit(command).wait().map_err(ProgressError::from) {
                Ok(_) => return Ok(()),
                // Another process was faster.
                Err(ProgressError::Refused(CommandError::UpgradeExists {
                    plan_id,
                    cluster_name,
                })) => (plan_id, cluster_name),
                Err(error) => return Err(error),
            }
        }
    };
    if existing == (plan_id, cluster_name) {
        Ok(())
    } else {
        let (plan_id, cluster_name) = existing;
        Err(ProgressError::OtherUpgrade {
            upgrade_id,
            plan_id,
            cluster_name,
        })
    }
}

fn snapshots(
    dir: &DataDir,
    stream: &StreamId,
    journal: Journal<UpgradeProgress>,
    files: Box<dyn ReplaceFile>,
) -> Result<SnapshotWriter, ProgressError> {
    let path = dir.snapshot_path(stream);
    snapshot::remove_leftovers(&path)
        .map_err(|source| ProgressError::io("remove old temporary files of", path.clone(), source))?;
    let journal_path = dir.journal_path(stream);
    let render = Box::new(move || {
        // A snapshot without its journal would look like a file of the reference, to be taken over.
        if !journal_path.exists() {
            return None;
        }
        // Cloned under the lock and rendered outside of it, so that commits wait for the copy alone.
        let state = journal.read(|state, _| state.clone());
        state
            .exists()
            .then(|| Snapshot::of(&state).to_json().into_bytes())
    });
    let writer = SnapshotWriter::start(path, files, render)
        .map_err(|source| ProgressError::io("start the thread that writes snapshots", None, source))?;
    // The file may be missing, older than the journal, or the reference's.
    writer.mark_dirty();
    Ok(writer)
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

    /// Calls `callback` with every event of a task, on a thread of its own, until the guard is dropped.
    ///
    /// Calls that do not fit the queue, since the callback is slow, are left out and counted; a panic is counted and
    /// logged. See [`CallbackInfo`](crate::CallbackInfo).
    ///
    /// # Errors
    /// [`ProgressError::Io`] if the thread cannot be started.
    pub fn add_event_callback(
        &self,
        callback: impl Fn(&ProgressEvent) + Send + 'static,
    ) -> Result<CallbackGuard, ProgressError> {
        self.add_callback(None, Box::new(move |notice: &TaskNotice| callback(&notice.event)))
    }

    /// Calls `callback` with every task whose status is set to `status`, on a thread of its own, until the guard is
    /// dropped. Reports within a status do not count.
    ///
    /// # Errors
    /// [`ProgressError::Io`] if the thread cannot be started.
    pub fn add_status_callback(
        &self,
        status: Status,
        callback: impl Fn(&TaskChange) + Send + 'static,
    ) -> Result<CallbackGuard, ProgressError> {
        self.add_callback(
            Some(status),
            Box::new(move |notice: &TaskNotice| callback(&notice.task)),
        )
    }

    fn add_callback(
        &self,
        status: Option<Status>,
        callback: Box<dyn Fn(&TaskNotice) + Send>,
    ) -> Result<CallbackGuard, ProgressError> {
        self.inner
            .callbacks
            .add(status, callback)
            .map_err(|source| ProgressError::io("start a callback's thread", None, source))
    }

    /// A token that is cancelled when the upgrade is, by this process or another.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.inner.control.cancellation_token()
    }

    /// Returns when the upgrade is not paused: at once if it is not. For an agent to call between two steps.
    ///
    /// # Errors
    /// [`ProgressError::Cancelled`] or [`ProgressError::Failed`] if there is nothing to go on with,
    /// [`ProgressError::Closed`] if the tracker is closed while it is paused.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn wait_while_paused(&self) -> Result<(), ProgressError> {
        let mut changes = self.inner.control.watch();
        loop {
            let life = *changes.borrow_and_update();
            if let Some(outcome) = self.read(may_go_on) {
                return outcome;
            }
            if life == Life::Closed || changes.changed().await.is_err() {
                return Err(ProgressError::Closed {
                    upgrade_id: self.inner.upgrade_id.clone(),
                });
            }
        }
    }
}

/// Whether work may go on; `None` while it is paused.
fn may_go_on(state: &UpgradeProgress) -> Option<Result<(), ProgressError>> {
    let upgrade_id = state.upgrade_id.clone();
    match state.status {
        Status::Paused => None,
        Status::NotStarted | Status::InProgress | Status::Completed => Some(Ok(())),
        Status::Cancelled => Some(Err(ProgressError::Cancelled {
            upgrade_id,
            reason: state.reason.clone(),
        })),
        Status::Failed => Some(Err(ProgressError::Failed {
            upgrade_id,
            reason: state.error_message.clone(),
        })),
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
        self.journal.close_blocking();
        let observer = self
            .observer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(observer) = observer
            && observer.join().is_err()
        {
            tracing::error!(upgrade_id = %self.upgrade_id, "the tracker's thread panicked");
        }
        match &self.snapshots {
            None => Ok(()),
            Some(snapshots) => snapshots.close().map_err(|source| ProgressError::Snapshot {
                path: snapshots.path().to_owned(),
                source: Arc::new(source),
            }),
        }
    }
}

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
