//! The hub: streams on one side, viewers on the other, and no transport.

mod catalogue;
mod catch_up;
mod counters;
mod feed;
mod followed;
mod keep;
mod queue;
mod registration;
mod viewer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracking_journal::{Clock, DataDir, DataDirError, SystemClock, storage};
use tracking_model::{SessionId, StreamId, UpgradeId};

use crate::protocol::{ErrorCode, Interest, Position, Query};
use crate::source::{JournalSummaries, SummarySource};
use catalogue::Catalogue;
use catch_up::Readers;
pub(crate) use counters::Counters;
pub use counters::HubStats;
use feed::{Answer, Ask, FeedHandle, FeedParts, feed};
pub use keep::KeepLimits;
use keep::{NamePool, NameShare};
pub use queue::QueueLimits;
use queue::ViewerQueue;
pub(crate) use queue::{Shortcut, Written};
pub use viewer::{Progress, Viewer, ViewerHandle};

/// How often a feed that has just ended is started again for one question.
const ASK_TRIES: usize = 5;

/// How a hub behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubOptions {
    /// How much may wait for one viewer.
    pub queue: QueueLimits,
    /// How much viewers may make the hub keep.
    pub keep: KeepLimits,
    /// How many viewers that lack something may read journals at a time.
    pub readers: usize,
    /// How often the data directory is looked at for new streams while anybody views.
    pub look_for_streams: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            queue: QueueLimits::default(),
            keep: KeepLimits::default(),
            readers: 4,
            look_for_streams: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
        }
    }
}

impl HubOptions {
    /// Sets how much may wait for one viewer.
    #[must_use]
    pub const fn with_queue(mut self, limits: QueueLimits) -> Self {
        self.queue = limits;
        self
    }

    /// Sets how much viewers may make the hub keep.
    #[must_use]
    pub const fn with_keep(mut self, limits: KeepLimits) -> Self {
        self.keep = limits;
        self
    }

    /// Sets how many may read journals at a time.
    #[must_use]
    pub const fn with_readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// Sets how often new streams are looked for.
    #[must_use]
    pub const fn with_look_for_streams(mut self, every: Duration) -> Self {
        self.look_for_streams = every;
        self
    }

    /// Sets where the time comes from.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

/// Why a viewer does not get what it asks for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// There is no such upgrade, or its journal cannot be read.
    #[error("{message}")]
    Refused {
        /// What kind of thing is wrong.
        code: ErrorCode,
        /// What is wrong, in words fit for viewers.
        message: String,
    },
    /// The data directory cannot be listed.
    #[error("the data directory cannot be listed")]
    DataDir(#[from] DataDirError),
    /// The hub was closed.
    #[error("the hub is closed")]
    Closed,
}

/// Streams of one data directory on one side, viewers on the other. Cheap to clone.
///
/// A stream is followed by one task while anybody watches it, each event is encoded once, and each viewer has a bounded
/// queue of its own: nothing that a viewer does is felt by whoever writes, or by other viewers.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: HubOptions,
    parts: FeedParts,
    readers: Readers,
    catalogue: Arc<Catalogue>,
    feeds: AsyncMutex<HashMap<StreamId, FeedHandle>>,
    names: Arc<NamePool>,
    queues: Mutex<Vec<Weak<ViewerQueue>>>,
    stop: CancellationToken,
}

impl Hub {
    /// A hub over `dir`, with summaries from what is in it.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn new(dir: DataDir) -> Self {
        let options = HubOptions::default();
        let summaries = JournalSummaries::with_clock(dir.clone(), Arc::clone(&options.clock));
        Self::with_source(dir, Arc::new(summaries), options)
    }

    /// A hub over `dir`, with summaries from `source`.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn with_source(dir: DataDir, source: Arc<dyn SummarySource>, options: HubOptions) -> Self {
        let counters = Arc::new(Counters::new(Arc::clone(&options.clock)));
        let inner = Inner {
            parts: FeedParts {
                dir: dir.clone(),
                source,
                counters,
            },
            readers: Readers {
                dir: dir.clone(),
                tasks: TaskTracker::new(),
                permits: Arc::new(Semaphore::new(options.readers.max(1))),
            },
            catalogue: Arc::new(Catalogue::new(dir)),
            feeds: AsyncMutex::default(),
            names: NamePool::new(options.keep),
            queues: Mutex::default(),
            stop: CancellationToken::new(),
            options,
        };
        let inner = Arc::new(inner);
        let (weak, stop) = (Arc::downgrade(&inner), inner.stop.clone());
        let look = look_for_streams(weak, stop, inner.options.look_for_streams);
        inner.readers.tasks.spawn(look);
        Self { inner }
    }

    /// A viewer that watches nothing yet.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        let limits = self.inner.options.queue;
        let queue = Arc::new(ViewerQueue::new(limits, Arc::clone(&self.inner.parts.counters)));
        self.inner.add(&queue);
        Viewer::new(self.clone(), queue)
    }

    /// A viewer that watches what `query` asks for.
    ///
    /// # Errors
    /// [`HubError`] if there is no such upgrade, or none at all.
    pub async fn view(&self, query: &Query) -> Result<Viewer, HubError> {
        let mut viewer = self.viewer();
        viewer.begin(query).await?;
        Ok(viewer)
    }

    /// What the hub has done so far.
    #[must_use]
    pub fn stats(&self) -> HubStats {
        HubStats {
            names: self.inner.names.taken() as u64,
            ..self.inner.parts.counters.snapshot()
        }
    }

    fn name_share(&self) -> NameShare {
        self.inner.names.share()
    }

    /// Returns once viewers have been handed what is durable now, as far as it can be read: for whoever is about to send
    /// them away.
    pub async fn settle(&self) {
        let feeds: Vec<_> = self.inner.feeds.lock().await.values().cloned().collect();
        for feed in feeds {
            // One that has ended has nobody to hand anything to.
            feed.ask(Ask::Settle).await;
        }
    }

    /// Ends all tasks of the hub, and returns when the last has ended. Viewers that are left get nothing more.
    pub async fn close(&self) {
        self.inner.stop.cancel();
        self.inner.feeds.lock().await.clear();
        self.inner.readers.tasks.close();
        self.inner.readers.tasks.wait().await;
    }

    fn counters(&self) -> &Counters {
        &self.inner.parts.counters
    }

    fn readers(&self) -> &Readers {
        &self.inner.readers
    }

    /// Asks a stream's feed, which is started if it does not run.
    async fn ask(&self, stream: &StreamId, ask: Ask) -> Result<Answer, HubError> {
        for _ in 0..ASK_TRIES {
            let feed = self.feed(stream).await?;
            match feed.ask(ask.clone()).await {
                Some(Answer::Unavailable(code, message)) => return Err(HubError::Refused { code, message }),
                Some(answer) => return Ok(answer),
                // It has just ended because nobody watched.
                None => {}
            }
        }
        Err(HubError::Closed)
    }

    async fn feed(&self, stream: &StreamId) -> Result<FeedHandle, HubError> {
        let mut feeds = self.inner.feeds.lock().await;
        if self.inner.stop.is_cancelled() {
            return Err(HubError::Closed);
        }
        feeds.retain(|_, feed| !feed.has_ended());
        if let Some(feed) = feeds.get(stream) {
            return Ok(feed.clone());
        }
        // A feed that nobody watches ends by itself within seconds.
        if feeds.len() >= self.inner.options.keep.streams {
            return Err(HubError::Refused {
                code: ErrorCode::Busy,
                message: format!("{stream} is not shown: the server follows as many streams as it allows"),
            });
        }
        let (handle, run) = feed(stream.clone(), self.inner.parts.clone());
        let (stop, counters) = (self.inner.stop.clone(), Arc::clone(&self.inner.parts.counters));
        self.inner.readers.tasks.spawn(async move {
            let _counted = counters.feed();
            tokio::select! {
                () = run => {}
                () = stop.cancelled() => {}
            }
        });
        feeds.insert(stream.clone(), handle.clone());
        Ok(handle)
    }

    /// Looks at the directory, now.
    async fn refresh(&self) -> Result<(), HubError> {
        if self.inner.refresh().await? {
            self.inner.poke();
        }
        Ok(())
    }

    async fn latest(&self) -> Result<UpgradeId, HubError> {
        let catalogue = Arc::clone(&self.inner.catalogue);
        let latest = tokio::task::spawn_blocking(move || catalogue.latest()).await;
        let latest = latest.map_err(|_| HubError::Closed)??;
        latest.ok_or_else(|| HubError::Refused {
            code: ErrorCode::UnknownUpgrade,
            message: "there is no upgrade yet".to_owned(),
        })
    }

    /// What estimates of an upgrade's tasks are learned from.
    async fn history(&self, upgrade_id: &UpgradeId) -> Result<Option<Arc<RawValue>>, HubError> {
        let (source, upgrade_id) = (Arc::clone(&self.inner.parts.source), upgrade_id.clone());
        let learned = tokio::task::spawn_blocking(move || source.history(&upgrade_id)).await;
        Ok(learned.map_err(|_| HubError::Closed)?.map(Arc::from))
    }

    async fn must_exist(&self, stream: &StreamId) -> Result<(), HubError> {
        let path = self.inner.parts.dir.journal_path(stream);
        let exists = tokio::task::spawn_blocking(move || storage::exists(&path)).await;
        if exists.map_err(|_| HubError::Closed)? {
            return Ok(());
        }
        Err(HubError::Refused {
            code: ErrorCode::UnknownUpgrade,
            message: format!("there is no {stream}"),
        })
    }

    async fn upgrades(&self, interest: &Interest) -> Result<Vec<UpgradeId>, HubError> {
        if interest.is_open_ended() {
            self.refresh().await?;
        }
        Ok(self.known_upgrades(interest))
    }

    fn known_upgrades(&self, interest: &Interest) -> Vec<UpgradeId> {
        self.inner.catalogue.upgrades(interest)
    }

    async fn sessions(&self, upgrade_id: &UpgradeId) -> Result<Vec<SessionId>, HubError> {
        self.refresh().await?;
        Ok(self.known_sessions(upgrade_id))
    }

    fn known_sessions(&self, upgrade_id: &UpgradeId) -> Vec<SessionId> {
        self.inner.catalogue.sessions(upgrade_id)
    }

    /// Where the sessions of an upgrade stand.
    async fn positions(&self, upgrade_id: &UpgradeId) -> Result<BTreeMap<String, Position>, HubError> {
        let mut positions = BTreeMap::new();
        for id in self.known_sessions(upgrade_id) {
            let stream = StreamId::Session(id);
            if let Ok(Answer::Done(head)) = self.ask(&stream, Ask::Where).await {
                positions.insert(stream.to_string(), head.into());
            }
        }
        Ok(positions)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    fn add(&self, queue: &Arc<ViewerQueue>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are gone are cleared away whenever that pays.
        if queues.len() == queues.capacity() {
            queues.retain(|queue| queue.strong_count() > 0);
        }
        queues.push(Arc::downgrade(queue));
    }

    async fn refresh(&self) -> Result<bool, HubError> {
        let catalogue = Arc::clone(&self.catalogue);
        let refreshed = tokio::task::spawn_blocking(move || catalogue.refresh()).await;
        Ok(refreshed.map_err(|_| HubError::Closed)??)
    }

    /// Tells all viewers that there may be streams that they do not know.
    fn poke(&self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.poke();
                true
            }
            None => false,
        });
    }

    fn is_watched(&self) -> bool {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| queue.strong_count() > 0);
        !queues.is_empty()
    }
}

async fn look_for_streams(inner: Weak<Inner>, stop: CancellationToken, every: Duration) {
    let mut look = interval(every.max(Duration::from_millis(1)));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(inner) = inner.upgrade() else { return };
        if !inner.is_watched() {
            continue;
        }
        match inner.refresh().await {
            Ok(changed) => {
                failing = false;
                if changed {
                    inner.poke();
                }
            }
            // Once is enough to know.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "new upgrades and sessions are not noticed");
            }
            Err(_) => {}
        }
    }
}
