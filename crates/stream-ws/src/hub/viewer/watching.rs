//! What a viewer watches: streams that it joins, continues, catches up with, and loses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracking_journal::Head;
use tracking_model::{SessionId, StreamId, UpgradeId};
use uuid::Uuid;

use super::Viewer;
use crate::frame::Frame;
use crate::hub::HubError;
use crate::hub::catch_up::{CatchUp, Step};
use crate::hub::feed::{Answer, Ask, Beginning};
use crate::hub::followed::Names;
use crate::hub::registration::Registration;
use crate::protocol::{ErrorCode, Position, ResetReason};

/// Before the first record.
const FIRST: Position = Position {
    epoch: Uuid::nil(),
    seq: 0,
};

/// Where to continue.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) positions: BTreeMap<StreamId, Position>,
    pub(super) others: OtherSessions,
}

/// Where sessions begin that `positions` does not name.
#[derive(Debug, Clone, Copy)]
pub(super) enum OtherSessions {
    /// With what happens from now on.
    New,
    /// With their first record.
    All,
    /// With their first record if their upgrade is continued, for then they are new to the viewer; else with what happens
    /// from now on.
    LikeTheirUpgrade,
}

impl Viewer {
    /// Fails if the viewer does not watch the stream yet, and there is no room for another.
    pub(super) fn registration(&mut self, stream: &StreamId) -> Result<Registration, HubError> {
        if !self.watched.contains_key(stream) {
            self.share.resize(self.names() + 1)?;
        }
        let ticket = self.watched.entry(stream.clone()).or_default();
        Ok(Registration::new(&self.queue, ticket))
    }

    pub(super) fn stop(&mut self, stream: &StreamId) {
        self.catching_up
            .retain(|catch_up| catch_up.names.stream != *stream);
        self.queue.give_up(self.watched.remove(stream));
    }

    /// Watches an upgrade and its sessions, unless it is watched already.
    pub(super) async fn watch_upgrade(
        &mut self,
        upgrade_id: &UpgradeId,
        since: &Since,
    ) -> Result<(), HubError> {
        let stream = StreamId::Upgrade(upgrade_id.clone());
        if self.watched.contains_key(&stream) {
            return Ok(());
        }
        self.hub.must_exist(&stream).await?;
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
        let beginning = Beginning {
            sessions: Some(told),
            history: if self.queue.wants_snapshots() {
                self.hub.history(upgrade_id).await?
            } else {
                None
            },
        };
        let who = self.registration(&stream)?;
        let ask = match since.positions.get(&stream) {
            Some(&since) => Ask::Resume {
                who,
                since,
                beginning,
            },
            None => Ask::Join {
                who,
                reset: None,
                beginning,
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
    pub(super) async fn watch_session(
        &mut self,
        session_id: &SessionId,
        since: Option<Position>,
    ) -> Result<(), HubError> {
        let stream = StreamId::Session(session_id.clone());
        if self.watched.contains_key(&stream) || self.hub.must_exist(&stream).await.is_err() {
            return Ok(());
        }
        let since = since.unwrap_or(FIRST);
        let asked = match self.registration(&stream) {
            Ok(who) => {
                let ask = Ask::Resume {
                    who,
                    since,
                    beginning: Beginning::default(),
                };
                self.ask_for(&stream, ask, since.seq).await
            }
            Err(error) => Err(error),
        };
        match asked {
            Err(HubError::Refused { code, message }) => {
                // It does not take the upgrade with it.
                self.stop(&stream);
                self.not_watched(&stream, code, message);
                Ok(())
            }
            other => other,
        }
    }

    /// A stream that the viewer did not name itself is not watched. Where a limit is the reason, the viewer is told, once.
    fn not_watched(&mut self, stream: &StreamId, code: ErrorCode, message: String) {
        tracing::debug!(%stream, ?code, message, "a stream cannot be watched");
        if matches!(code, ErrorCode::Busy | ErrorCode::TooMany) && !self.told_of_limit {
            self.told_of_limit = true;
            self.error(code, message);
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

    pub(super) async fn catch_up(&mut self, out: &mut Vec<Frame>) -> Result<(), HubError> {
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
                    Ok(_) if catch_up.then_summarize => {
                        if let Err(error) = self.summarize_one(&stream).await {
                            self.give_up(&stream, error)?;
                        }
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
                    beginning: Beginning::default(),
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
    pub(super) async fn start_over(&mut self) -> Result<(), HubError> {
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
            // What estimates are learned from it has.
            let beginning = Beginning {
                sessions,
                history: None,
            };
            let joined = match self.registration(&stream) {
                Ok(who) => {
                    let ask = Ask::Join {
                        who,
                        reset: Some(ResetReason::Overflow),
                        beginning,
                    };
                    self.hub.ask(&stream, ask).await.map(drop)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = joined {
                self.give_up(&stream, error)?;
            }
        }
        Ok(())
    }

    /// There are streams that were not there before: those that the viewer wants are watched from their first record.
    pub(super) async fn watch_what_is_new(&mut self) -> Result<(), HubError> {
        for upgrade_id in self.hub.known_upgrades(&self.interest) {
            let since = Since {
                positions: BTreeMap::from([(StreamId::Upgrade(upgrade_id.clone()), FIRST)]),
                others: OtherSessions::All,
            };
            match self.watch_upgrade(&upgrade_id, &since).await {
                Err(HubError::Refused { code, message }) => {
                    self.not_watched(&StreamId::Upgrade(upgrade_id.clone()), code, message);
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
