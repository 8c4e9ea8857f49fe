//! One viewer, without its transport: what it asks for, and what it is to be sent.

mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use tracking_model::{StreamId, Timestamp, UpgradeId};

use super::catch_up::CatchUp;
use super::feed::Ask;
use super::keep::NameShare;
use super::queue::{Shortcut, Ticket, ViewerQueue};
use super::{Hub, HubError};
use crate::frame::Frame;
use crate::protocol::{ErrorCode, Interest, Query, Subscribe, TypeFilter, error_frame, pong_frame};
use watching::{OtherSessions, Since};

/// So much is handed out at a time: enough for one write, and little enough that a socket that is full holds no more.
const PORTION_BYTES: usize = 16 << 10;

/// One viewer of a [`Hub`]: what it watches, and the messages for it.
///
/// Dropping it ends it; nothing that it does or fails to do is felt by others.
#[derive(Debug)]
pub struct Viewer {
    hub: Hub,
    queue: Arc<ViewerQueue>,
    interest: Interest,
    types: TypeFilter,
    /// Share of the hub's limit that this viewer's names take.
    share: NameShare,
    /// The viewer knows that it is not sent all that it wants.
    told_of_limit: bool,
    /// The streams that are watched, each until its ticket is dropped.
    watched: BTreeMap<StreamId, Ticket>,
    catching_up: Vec<CatchUp>,
}

/// Makes a viewer stop from elsewhere.
#[derive(Debug, Clone)]
pub struct ViewerHandle(Arc<ViewerQueue>);

impl ViewerHandle {
    /// Makes [`Viewer::ready`] return, and [`Viewer::advance`] say that it is over.
    pub fn close(&self) {
        self.0.close();
    }
}

/// Whether a viewer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There will be more.
    Goes,
    /// Its handle was closed.
    Closed,
}

impl Viewer {
    pub(super) fn new(hub: Hub, queue: Arc<ViewerQueue>) -> Self {
        hub.counters().joined();
        Self {
            share: hub.name_share(),
            told_of_limit: false,
            hub,
            queue,
            interest: Interest::default(),
            types: TypeFilter::default(),
            watched: BTreeMap::new(),
            catching_up: Vec::new(),
        }
    }

    /// The way to stop it from elsewhere.
    #[must_use]
    pub fn handle(&self) -> ViewerHandle {
        ViewerHandle(Arc::clone(&self.queue))
    }

    /// Begins as a URL asks.
    ///
    /// # Errors
    /// [`HubError`] if there is no such upgrade, or none at all.
    pub async fn begin(&mut self, query: &Query) -> Result<(), HubError> {
        self.queue.set_snapshots(query.snapshot);
        if query.nothing {
            return Ok(());
        }
        let upgrade_id = match &query.upgrade {
            Some(id) => id.clone(),
            None => self.hub.latest().await?,
        };
        self.interest = Interest::upgrade(upgrade_id.clone());
        let since = Since {
            positions: query.positions(),
            others: if query.sessions.is_some() {
                OtherSessions::All
            } else {
                OtherSessions::New
            },
        };
        self.watch_upgrade(&upgrade_id, &since).await
    }

    /// Watches more, or other types of events, or continues somewhere.
    ///
    /// # Errors
    /// [`HubError`] if an upgrade that is named does not exist, or there is no room for it; the others are watched. If
    /// there is no room for the names alone, nothing changes.
    pub async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), HubError> {
        self.share.resize(self.names_with(&subscribe))?;
        let done = self.subscribe_to(subscribe).await;
        self.give_names_back();
        done
    }

    async fn subscribe_to(&mut self, subscribe: Subscribe) -> Result<(), HubError> {
        if let Some(types) = subscribe.types {
            self.queue.set_types(types.clone());
            self.types = types;
        }
        self.interest.add(subscribe.interest.clone());
        let mut named: BTreeSet<UpgradeId> = self
            .hub
            .upgrades(&subscribe.interest)
            .await?
            .into_iter()
            .collect();
        let since = Since {
            others: OtherSessions::LikeTheirUpgrade,
            positions: subscribe.since,
        };
        for stream in since.positions.keys() {
            self.stop(stream);
            if let StreamId::Upgrade(id) = stream {
                self.interest.upgrades.insert(id.clone());
                named.insert(id.clone());
            }
        }
        let mut first_error = None;
        for upgrade_id in named {
            if let Err(error) = self.watch_upgrade(&upgrade_id, &since).await {
                self.interest.upgrades.remove(&upgrade_id);
                first_error.get_or_insert(error);
            }
        }
        // Sessions can be continued by themselves where their upgrade is watched already.
        for (stream, position) in &since.positions {
            if let StreamId::Session(id) = stream {
                self.watch_session(id, Some(*position)).await?;
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Names that count against the limits.
    fn names(&self) -> usize {
        let interest = &self.interest;
        interest.clusters.len() + interest.upgrades.len() + self.types.types().len() + self.watched.len()
    }

    /// The same once the viewer has what it asks for, without the streams that it then watches.
    fn names_with(&self, subscribe: &Subscribe) -> usize {
        let new = &subscribe.interest;
        let clusters = new.clusters.difference(&self.interest.clusters).count();
        let upgrades = new.upgrades.difference(&self.interest.upgrades).count();
        let types = match &subscribe.types {
            Some(types) => types.types().len().saturating_sub(self.types.types().len()),
            None => 0,
        };
        self.names() + clusters + upgrades + types + subscribe.since.len()
    }

    /// The viewer names and watches less than there is room for.
    fn give_names_back(&mut self) {
        if let Err(error) = self.share.resize(self.names()) {
            tracing::debug!(%error, "a viewer has more names than it was given");
        }
    }

    /// Watches less.
    pub fn unsubscribe(&mut self, less: &Interest) {
        self.interest.remove(less);
        let keep: BTreeSet<_> = self.hub.known_upgrades(&self.interest).into_iter().collect();
        let sessions: BTreeSet<_> = keep.iter().flat_map(|id| self.hub.known_sessions(id)).collect();
        let streams: Vec<_> = self.watched.keys().cloned().collect();
        for stream in streams {
            let kept = match &stream {
                StreamId::Upgrade(id) => keep.contains(id),
                StreamId::Session(id) => sessions.contains(id),
            };
            if !kept {
                self.stop(&stream);
            }
        }
        self.told_of_limit = false;
        self.give_names_back();
    }

    /// Queues a summary of each upgrade that is watched; of one whose events the viewer still lacks, once it has them, so
    /// that nothing that comes later is older than a summary.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn summarize(&mut self) -> Result<(), HubError> {
        let upgrades: Vec<_> = self.watched.keys().cloned().collect();
        for stream in upgrades
            .into_iter()
            .filter(|stream| matches!(stream, StreamId::Upgrade(_)))
        {
            let mut catching_up = self.catching_up.iter_mut();
            match catching_up.find(|catch_up| catch_up.names.stream == stream) {
                Some(catch_up) => catch_up.then_summarize = true,
                None => self.summarize_one(&stream).await?,
            }
        }
        Ok(())
    }

    async fn summarize_one(&mut self, stream: &StreamId) -> Result<(), HubError> {
        let who = self.registration(stream)?;
        self.hub.ask(stream, Ask::Summarize { who }).await.map(drop)
    }

    /// Queues a `pong`.
    pub fn pong(&self) {
        self.queue.answer(pong_frame());
    }

    /// Queues an `error`.
    pub fn error(&self, code: ErrorCode, message: impl Into<String>) {
        self.queue.answer(error_frame(code, message));
    }

    /// Waits until the hub is closed.
    pub(crate) async fn closing(&self) {
        poll_fn(|cx| self.queue.poll_closing(cx)).await;
    }

    /// Waits until [`Self::advance`] has something to do.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn ready(&mut self) {
        let queue = &self.queue;
        match self.catching_up.first_mut() {
            None => poll_fn(|cx| queue.poll_ready(cx)).await,
            Some(catch_up) => tokio::select! {
                () = poll_fn(|cx| queue.poll_ready(cx)) => {}
                () = catch_up.ready() => {}
            },
        }
    }

    /// Adds to `out` what the viewer is to be sent next, some 16 KiB of what is queued and a portion of what it lacks.
    /// Call it again once that has been sent: what waits meanwhile is bounded, and thrown away for a `reset` if it is too
    /// much.
    ///
    /// # Errors
    /// [`HubError::Closed`] if the hub was closed.
    ///
    /// # Cancellation
    /// Must run to its end; it waits for nothing but the hub.
    pub async fn advance(&mut self, out: &mut Vec<Frame>) -> Result<Progress, HubError> {
        let before = out.len();
        let found = self.queue.take(PORTION_BYTES, out);
        if found.overflowed {
            self.start_over().await?;
        }
        if found.poked {
            self.watch_what_is_new().await?;
        }
        if !self.catching_up.is_empty() {
            self.catch_up(out).await?;
        }
        let bytes = out.iter().skip(before).map(Frame::len).sum();
        self.hub.counters().sent(out.len() - before, bytes);
        Ok(if found.closing {
            Progress::Closed
        } else {
            Progress::Goes
        })
    }

    /// What the viewer is to be sent next.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub async fn next(&mut self) -> Result<Vec<Frame>, HubError> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            self.ready().await;
            if self.advance(&mut frames).await? == Progress::Closed {
                return Err(HubError::Closed);
            }
        }
        Ok(frames)
    }

    /// An event that was recorded then is handed out now.
    pub(crate) fn late(&self, recorded_at: Timestamp) {
        self.hub.counters().late(recorded_at, 1);
    }

    /// Lets single messages be written past the viewer while it waits in [`Self::ready`]; `None` ends that at once.
    /// Whoever drives the viewer must wait there only when all that it was given has been written, and flush its socket
    /// after each [`Self::advance`], for the end of such a message may be left.
    pub(crate) fn set_shortcut(&self, shortcut: Option<Arc<dyn Shortcut>>) {
        self.queue.set_shortcut(shortcut);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // What is written from now on is its driver's.
        self.set_shortcut(None);
        self.hub.counters().left();
    }
}
