//! Callbacks: functions of the agent's that are told what happened, and that cannot harm the tracker.
//!
//! Each callback has a thread and a bounded queue of its own. One that blocks fills its queue and then misses what
//! does not fit; one that panics is called again with the next event; one that removes itself is not called again.
//! None of it delays a commit or another callback. What was missed and what panicked is counted in [`CallbackInfo`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracking_model::{ProgressEvent, RecordMeta, Status, TaskChange, TaskChangeKind};

use crate::{ProgressError, ProgressTracker};

/// How many calls may wait for one callback, unless the options say otherwise.
pub const DEFAULT_CALLBACK_QUEUE: usize = 1024;

/// One change of one task, for all callbacks that it concerns.
#[derive(Debug)]
pub(crate) struct TaskNotice {
    /// The event, as viewers see it.
    pub(crate) event: ProgressEvent,
    /// The task after the change.
    pub(crate) task: TaskChange,
    kind: TaskChangeKind,
}

impl TaskNotice {
    pub(crate) fn new(meta: &RecordMeta, kind: TaskChangeKind, change: &TaskChange) -> Self {
        Self {
            event: ProgressEvent::new(meta, change),
            task: change.clone(),
            kind,
        }
    }

    /// Whether the task's status was set, as opposed to a report within the same status.
    const fn sets_status(&self) -> bool {
        match self.kind {
            TaskChangeKind::Started
            | TaskChangeKind::Completed
            | TaskChangeKind::Failed
            | TaskChangeKind::Retried
            | TaskChangeKind::Paused
            | TaskChangeKind::Resumed
            | TaskChangeKind::Cancelled => true,
            TaskChangeKind::Progress | TaskChangeKind::Waiting => false,
        }
    }
}

/// How the callbacks fare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallbackInfo {
    /// Callbacks for every event.
    pub event_callbacks: usize,
    /// Callbacks for one status, by status.
    pub status_callbacks: BTreeMap<Status, usize>,
    /// Calls that returned.
    pub delivered: u64,
    /// Calls that were left out because the callback's queue was full.
    pub dropped: u64,
    /// Calls that panicked.
    pub panicked: u64,
    /// Events that no callback was told of, because the tracker itself could not keep up.
    pub missed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    dropped: AtomicU64,
    panicked: AtomicU64,
    missed: AtomicU64,
}

type Callback = Box<dyn Fn(&TaskNotice) + Send + 'static>;

struct Entry {
    /// `None` for every event.
    status: Option<Status>,
    queue: SyncSender<Arc<TaskNotice>>,
    removed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Registry {
    next_id: u64,
    entries: BTreeMap<u64, Entry>,
    closed: bool,
}

/// All callbacks of one tracker.
pub(crate) struct Callbacks {
    capacity: usize,
    registry: Mutex<Registry>,
    counters: Arc<Counters>,
    running: Arc<Running>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}

impl Callbacks {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            registry: Mutex::default(),
            counters: Arc::default(),
            running: Arc::default(),
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing panics while the registry is locked, and its entries are independent of each other.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a callback for every event, or for those that set `status`.
    pub(crate) fn add(
        self: &Arc<Self>,
        status: Option<Status>,
        callback: Callback,
    ) -> io::Result<CallbackGuard> {
        let (queue, calls) = sync_channel(self.capacity);
        let removed = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            calls,
            callback,
            removed: Arc::clone(&removed),
            counters: Arc::clone(&self.counters),
            _running: Running::enter(&self.running),
        };
        thread::Builder::new()
            .name("progress-callback".to_owned())
            .spawn(move || worker.run())?;
        let mut registry = self.registry();
        registry.next_id += 1;
        let id = registry.next_id;
        if !registry.closed {
            registry.entries.insert(
                id,
                Entry {
                    status,
                    queue,
                    removed,
                },
            );
        }
        Ok(CallbackGuard {
            id,
            callbacks: Arc::downgrade(self),
        })
    }

    fn remove(&self, id: u64) {
        let entry = self.registry().entries.remove(&id);
        if let Some(entry) = entry {
            entry.removed.store(true, Ordering::Release);
        }
    }

    /// Whether anyone wants to be told.
    pub(crate) fn is_empty(&self) -> bool {
        self.registry().entries.is_empty()
    }

    /// Queues a call of every callback that `notice` concerns; never waits.
    pub(crate) fn notify(&self, notice: TaskNotice) {
        let sets_status = notice.sets_status();
        let status = notice.task.status;
        let notice = Arc::new(notice);
        for entry in self.registry().entries.values() {
            if entry
                .status
                .is_some_and(|wanted| !sets_status || wanted != status)
            {
                continue;
            }
            match entry.queue.try_send(Arc::clone(&notice)) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Counts events that no callback could be told of.
    pub(crate) fn missed(&self, events: u64) {
        self.counters.missed.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn info(&self) -> CallbackInfo {
        let registry = self.registry();
        let mut status_callbacks = BTreeMap::new();
        for status in registry.entries.values().filter_map(|entry| entry.status) {
            *status_callbacks.entry(status).or_default() += 1;
        }
        CallbackInfo {
            event_callbacks: registry
                .entries
                .values()
                .filter(|entry| entry.status.is_none())
                .count(),
            status_callbacks,
            delivered: self.counters.delivered.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
            panicked: self.counters.panicked.load(Ordering::Relaxed),
            missed: self.counters.missed.load(Ordering::Relaxed),
        }
    }

    /// Takes no more calls and waits until the queued ones are done, for at most `patience`. Returns how many
    /// callbacks were still at it then.
    pub(crate) fn close(&self, patience: Duration) -> usize {
        let entries = {
            let mut registry = self.registry();
            registry.closed = true;
            std::mem::take(&mut registry.entries)
        };
        // Their queues end with them; what is in a queue is still delivered.
        drop(entries);
        self.running.wait_for_none(patience)
    }
}

/// One callback and its queue, on its thread.
struct Worker {
    calls: Receiver<Arc<TaskNotice>>,
    callback: Callback,
    removed: Arc<AtomicBool>,
    counters: Arc<Counters>,
    _running: RunningGuard,
}

impl Worker {
    fn run(self) {
        while let Ok(notice) = self.calls.recv() {
            if self.removed.load(Ordering::Acquire) {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| (self.callback)(&notice))) {
                Ok(()) => {
                    self.counters.delivered.fetch_add(1, Ordering::Relaxed);
                }
                Err(panic) => {
                    self.counters.panicked.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        task_id = %notice.task.task_id,
                        reason = panic_message(&*panic),
                        "a callback panicked; it is called again with the next event"
                    );
                }
            }
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Keeps a callback. Dropping it removes the callback; [`Self::detach`] leaves it for the life of the tracker.
///
/// A callback may drop its own guard while it runs. A call that has begun is not interrupted; no other begins after
/// the guard is gone.
#[must_use = "dropping the guard removes the callback; call `detach` to keep it"]
pub struct CallbackGuard {
    id: u64,
    callbacks: Weak<Callbacks>,
}

impl fmt::Debug for CallbackGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackGuard")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl CallbackGuard {
    /// Removes the callback, as dropping the guard does.
    pub fn remove(self) {
        drop(self);
    }

    /// Keeps the callback until the tracker is closed.
    pub fn detach(mut self) {
        self.callbacks = Weak::new();
    }
}

impl Drop for CallbackGuard {
    fn drop(&mut self) {
        if let Some(callbacks) = self.callbacks.upgrade() {
            callbacks.remove(self.id);
        }
    }
}

/// Counts the callback threads that have not ended.
#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    ended: Condvar,
}

struct RunningGuard(Arc<Running>);

impl Running {
    fn enter(running: &Arc<Self>) -> RunningGuard {
        *running.lock() += 1;
        RunningGuard(Arc::clone(running))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_none(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        let mut count = self.lock();
        while *count > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            count = self
                .ended
                .wait_timeout(count, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *count
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.ended.notify_all();
    }
}

/// Callbacks.
impl ProgressTracker {
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
        callback: Callback,
    ) -> Result<CallbackGuard, ProgressError> {
        self.inner
            .callbacks
            .add(status, callback)
            .map_err(|source| ProgressError::io("start a callback's thread", None, source))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tracking_model::{Details, Percent, TaskId, TaskType, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn notice(kind: TaskChangeKind, status: Status) -> TaskNotice {
        let meta = RecordMeta {
            seq: 1,
            id: Uuid::nil(),
            at: Timestamp::EPOCH,
            actor: "test".into(),
        };
        let change = TaskChange {
            task_id: TaskId::new("a").unwrap(),
            task_name: "A".into(),
            task_type: TaskType::UpgradeStep,
            status,
            percentage: Percent::ZERO,
            message: "".into(),
            details: Details::NONE,
            current_step: None,
            steps: None,
            error_message: None,
            retry_count: 0,
            duration: None,
            waiting_on: None,
        };
        TaskNotice::new(&meta, kind, &change)
    }

    #[test]
    fn a_status_callback_is_called_for_its_status_alone() {
        let callbacks = Callbacks::new(8);
        let (sender, calls) = channel();
        let guard = callbacks
            .add(
                Some(Status::InProgress),
                Box::new(move |notice| sender.send(notice.kind).unwrap()),
            )
            .unwrap();
        callbacks.notify(notice(TaskChangeKind::Started, Status::InProgress));
        callbacks.notify(notice(TaskChangeKind::Progress, Status::InProgress));
        callbacks.notify(notice(TaskChangeKind::Failed, Status::Failed));
        callbacks.notify(notice(TaskChangeKind::Retried, Status::InProgress));
        assert_eq!(callbacks.info().status_callbacks[&Status::InProgress], 1);
        assert_eq!(callbacks.close(Duration::from_secs(10)), 0);
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [TaskChangeKind::Started, TaskChangeKind::Retried]
        );
        guard.remove();
    }

    #[test]
    fn a_guard_removes_and_a_detached_one_does_not() {
        let callbacks = Callbacks::new(8);
        let (sender, calls) = channel();
        let kept = sender.clone();
        callbacks
            .add(None, Box::new(move |_| kept.send("kept").unwrap()))
            .unwrap()
            .detach();
        let guard = callbacks
            .add(None, Box::new(move |_| sender.send("dropped").unwrap()))
            .unwrap();
        assert_eq!(callbacks.info().event_callbacks, 2);
        drop(guard);
        callbacks.notify(notice(TaskChangeKind::Started, Status::InProgress));
        assert_eq!(callbacks.close(Duration::from_secs(10)), 0);
        assert_eq!(calls.iter().collect::<Vec<_>>(), ["kept"]);
    }

    #[test]
    fn a_closed_registry_starts_nothing() {
        let callbacks = Callbacks::new(8);
        assert_eq!(callbacks.close(Duration::ZERO), 0);
        let guard = callbacks.add(None, Box::new(|_| panic!("never called"))).unwrap();
        callbacks.notify(notice(TaskChangeKind::Started, Status::InProgress));
        assert_eq!(callbacks.close(Duration::from_secs(10)), 0);
        assert_eq!(callbacks.info().panicked, 0);
        guard.detach();
    }
}
