//! One viewer, without its transport: what it watches, and what it is to be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use tracking_journal::{Clock, Head};
use tracking_model::{SessionId, StreamId, UpgradeId};
use uuid::Uuid;

use super::catch_up::{CatchUp, Step};
use super::feed::{Answer, Ask, Registration};
use super::followed::Names;
use super::queue::{Shortcut, Ticket, ViewerQueue};
use super::{Hub, HubError};
use crate::frame::Frame;
use crate::protocol::{
    ErrorCode, Interest, Position, Query, ResetReason, Subscribe, TypeFilter, error_frame, pong_frame,
};

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
    /// [`HubError`] if an upgrade that is named does not exist; the others are watched.
    pub async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), HubError> {
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
    }

    /// Queues a summary of each upgrade that is watched.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn summarize(&mut self) -> Result<(), HubError> {
        let upgrades: Vec<_> = self.watched.keys().cloned().collect();
        for stream in upgrades
            .into_iter()
            .filter(|stream| matches!(stream, StreamId::Upgrade(_)))
        {
            let who = self.registration(&stream);
            self.hub.ask(&stream, Ask::Summarize { who }).await?;
        }
        Ok(())
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

    /// The hub's clock.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.hub.clock()
    }

    /// Lets single messages be written past the viewer while it waits in [`Self::ready`]; `None` ends that at once.
    /// Whoever drives the viewer must wait there only when all that it was given has been written, and flush its socket
    /// after each [`Self::advance`], for the end of such a message may be left.
    pub(crate) fn set_shortcut(&self, shortcut: Option<Arc<dyn Shortcut>>) {
        self.queue.set_shortcut(shortcut);
    }

    fn registration(&mut self, stream: &StreamId) -> Registration {
        let ticket = self.watched.entry(stream.clone()).or_default();
        Registration::new(&self.queue, ticket)
    }

    fn stop(&mut self, stream: &StreamId) {
        self.catching_up
            .retain(|catch_up| catch_up.names.stream != *stream);
        self.queue.give_up(self.watched.remove(stream));
    }

    /// Watches an upgrade and its sessions, unless it is watched already.
    async fn watch_upgrade(&mut self, upgrade_id: &UpgradeId, since: &Since) -> Result<(), HubError> {
        let stream = StreamId::Upgrade(upgrade_id.clone());
        if self.watched.contains_key(&stream) {
            return Ok(());
        }
        self.hub.must_exist(&stream)?;
        let sessions = self.hub.sessions(upgrade_id).await?;
        let mut positions = BTreeMap::new();
        for id in &sessions {
            let head = self.hub.ask(&StreamId::Session(id.clone()), Ask::Where).await;
            if let Ok(Answer::Done(head)) = head {
                positions.insert(id.clone(), Position::from(head));
            }
        }
        let told = positions.iter();
        let told = told
            .map(|(id, at)| (StreamId::Session(id.clone()).to_string(), *at))
            .collect();
        let who = self.registration(&stream);
        let ask = match since.positions.get(&stream) {
            Some(&since) => Ask::Resume {
                who,
                since,
                sessions: Some(told),
            },
            None => Ask::Join {
                who,
                reset: None,
                sessions: Some(told),
            },
        };
        let from = since.positions.get(&stream).map_or(0, |position| position.seq);
        if let Err(error) = self.ask_for(&stream, ask, from).await {
            self.stop(&stream);
            return Err(error);
        }
        let others_from_first = match since.others {
            OtherSessions::All => true,
            OtherSessions::New => false,
            OtherSessions::LikeTheirUpgrade => since.positions.contains_key(&stream),
        };
        for (id, at) in positions {
            let stream = StreamId::Session(id.clone());
            let from = match since.positions.get(&stream) {
                Some(position) => *position,
                None if others_from_first => FIRST,
                None => at,
            };
            self.watch_session(&id, Some(from)).await?;
        }
        Ok(())
    }

    /// Watches a session from `since` on, else from its first record, unless it is watched already.
    async fn watch_session(
        &mut self,
        session_id: &SessionId,
        since: Option<Position>,
    ) -> Result<(), HubError> {
        let stream = StreamId::Session(session_id.clone());
        if self.watched.contains_key(&stream) || self.hub.must_exist(&stream).is_err() {
            return Ok(());
        }
        let since = since.unwrap_or(FIRST);
        let who = self.registration(&stream);
        let ask = Ask::Resume {
            who,
            since,
            sessions: None,
        };
        let asked = self.ask_for(&stream, ask, since.seq).await;
        match asked {
            Err(HubError::Refused { code, message }) => {
                // It does not take the upgrade with it.
                tracing::debug!(%stream, ?code, message, "a session cannot be watched");
                self.stop(&stream);
                Ok(())
            }
            other => other,
        }
    }

    /// Asks to be sent events of a stream, and remembers to read first what lies between.
    async fn ask_for(&mut self, stream: &StreamId, ask: Ask, from: u64) -> Result<(), HubError> {
        if let Answer::Behind { until, summary } = self.hub.ask(stream, ask).await? {
            self.read_first(stream, from, until, summary);
        }
        Ok(())
    }

    fn read_first(&mut self, stream: &StreamId, from: u64, until: Head, summary: Option<Frame>) {
        let ticket = self.watched.entry(stream.clone()).or_default();
        let names = Names::new(stream.clone());
        let catch_up = CatchUp::new(names, Arc::clone(ticket), from, until, summary);
        self.catching_up.push(catch_up);
    }

    async fn catch_up(&mut self, out: &mut Vec<Frame>) -> Result<(), HubError> {
        let mut catch_up = self.catching_up.remove(0);
        let before = out.len();
        let step = catch_up.advance(self.hub.readers(), &self.types, out);
        let events = out.iter().skip(before).filter(|frame| frame.kind().is_some());
        self.hub.counters().resumed(events.count());
        let stream = catch_up.names.stream.clone();
        match step {
            Step::More => self.catching_up.insert(0, catch_up),
            Step::Meet(at) => {
                let who = Registration::new(&self.queue, &catch_up.ticket);
                match self.hub.ask(&stream, Ask::Meet { who, at }).await {
                    Ok(Answer::Behind { until, .. }) => {
                        catch_up.extend(until);
                        self.catching_up.insert(0, catch_up);
                    }
                    Ok(_) => {}
                    Err(error) => self.give_up(&stream, error)?,
                }
            }
            Step::Lost(error) => {
                tracing::warn!(%error, %stream, "a viewer begins anew: what it lacks cannot be read");
                let who = Registration::new(&self.queue, &catch_up.ticket);
                let ask = Ask::Join {
                    who,
                    reset: Some(ResetReason::Replaced),
                    sessions: None,
                };
                if let Err(error) = self.hub.ask(&stream, ask).await {
                    self.give_up(&stream, error)?;
                }
            }
        }
        Ok(())
    }

    /// A stream that was watched cannot be any more: says so.
    fn give_up(&mut self, stream: &StreamId, error: HubError) -> Result<(), HubError> {
        match error {
            HubError::Refused { code, message } => {
                self.stop(stream);
                self.error(code, message);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Too much was queued, and has been thrown away: what the viewer knows is void.
    async fn start_over(&mut self) -> Result<(), HubError> {
        let catching_up: BTreeSet<_> = self
            .catching_up
            .iter()
            .map(|one| one.names.stream.clone())
            .collect();
        let streams: Vec<_> = self.watched.keys().cloned().collect();
        let streams: Vec<_> = streams
            .into_iter()
            .filter(|stream| !catching_up.contains(stream))
            .collect();
        let tickets: Vec<_> = streams
            .iter()
            .filter_map(|stream| self.watched.remove(stream))
            .collect();
        self.queue.start_over(tickets);
        for stream in streams {
            let sessions = match &stream {
                StreamId::Upgrade(id) => Some(self.hub.positions(id).await?),
                StreamId::Session(_) => None,
            };
            let who = self.registration(&stream);
            let ask = Ask::Join {
                who,
                reset: Some(ResetReason::Overflow),
                sessions,
            };
            if let Err(error) = self.hub.ask(&stream, ask).await {
                self.give_up(&stream, error)?;
            }
        }
        Ok(())
    }

    /// There are streams that were not there before: those that the viewer wants are watched from their first record.
    async fn watch_what_is_new(&mut self) -> Result<(), HubError> {
        let since = Since {
            positions: BTreeMap::new(),
            others: OtherSessions::All,
        };
        for upgrade_id in self.hub.known_upgrades(&self.interest) {
            match self.watch_upgrade(&upgrade_id, &since).await {
                Err(HubError::Refused { code, message }) => {
                    tracing::debug!(%upgrade_id, ?code, message, "an upgrade cannot be watched");
                }
                other => other?,
            }
            for session_id in self.hub.known_sessions(&upgrade_id) {
                self.watch_session(&session_id, None).await?;
            }
        }
        Ok(())
    }
}

/// Before the first record.
const FIRST: Position = Position {
    epoch: Uuid::nil(),
    seq: 0,
};

/// Where to continue.
#[derive(Debug)]
struct Since {
    positions: BTreeMap<StreamId, Position>,
    others: OtherSessions,
}

/// Where sessions begin that `positions` does not name.
#[derive(Debug, Clone, Copy)]
enum OtherSessions {
    /// With what happens from now on.
    New,
    /// With their first record.
    All,
    /// With their first record if their upgrade is continued, for then they are new to the viewer; else with what happens
    /// from now on.
    LikeTheirUpgrade,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // What is written from now on is its driver's.
        self.set_shortcut(None);
        self.hub.counters().left();
    }
}
