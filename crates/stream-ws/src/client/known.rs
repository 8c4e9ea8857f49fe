//! What a client knows of the streams that it watches, and what of it the server says again.

use std::collections::{BTreeMap, BTreeSet};

use tracking_model::{StreamId, UpgradeId};

use crate::protocol::{Placed, Position, Query, ServerMessage, SummaryMessage};

/// How far a client has seen each stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    positions: BTreeMap<StreamId, Position>,
    /// Streams of which a reset said that what is known is void, until their summary comes.
    void: BTreeSet<StreamId>,
    upgrade: Option<UpgradeId>,
}

impl Known {
    /// What a client knows that begins with `query`: what that says was seen.
    pub(super) fn begin(query: &Query) -> Self {
        let upgrade = query.upgrade.clone();
        let since = upgrade.clone().map(StreamId::Upgrade).zip(query.since);
        let sessions = query.sessions.iter().flatten();
        let sessions = sessions.map(|(id, position)| (StreamId::Session(id.clone()), *position));
        Self {
            positions: since.into_iter().chain(sessions).collect(),
            void: BTreeSet::new(),
            upgrade,
        }
    }

    /// Takes a message in. `false` if it is an event that was seen already.
    pub(super) fn take_in(&mut self, message: &ServerMessage) -> bool {
        match message {
            ServerMessage::Summary(summary) => {
                self.summary(summary);
                true
            }
            ServerMessage::Progress(event) => self.event(&event.stream, event.position),
            ServerMessage::Artifact(event) => self.event(&event.stream, event.position),
            ServerMessage::Reset(reset) => {
                if let Ok(stream) = reset.stream.parse::<StreamId>() {
                    let position = Position {
                        epoch: reset.epoch,
                        seq: reset.seq,
                    };
                    self.positions.insert(stream.clone(), position);
                    self.void.insert(stream);
                }
                true
            }
            ServerMessage::Pong | ServerMessage::Error(_) | ServerMessage::Unknown { .. } => true,
        }
    }

    /// The first summary, and one after a reset, say where events begin; any other only how things stand.
    fn summary(&mut self, summary: &Placed<SummaryMessage>) {
        if let StreamId::Upgrade(id) = &summary.stream {
            self.upgrade.get_or_insert_with(|| id.clone());
        }
        if self.void.remove(&summary.stream) || !self.positions.contains_key(&summary.stream) {
            self.positions.insert(summary.stream.clone(), summary.position);
            for (stream, position) in summary.data.sessions.iter().flatten() {
                if let Ok(stream) = stream.parse() {
                    self.positions.entry(stream).or_insert(*position);
                }
            }
        }
    }

    fn event(&mut self, stream: &StreamId, position: Position) -> bool {
        let known = self.positions.get(stream);
        if known.is_some_and(|known| known.epoch == position.epoch && known.seq >= position.seq) {
            return false;
        }
        self.positions.insert(stream.clone(), position);
        true
    }

    /// How far a stream was seen.
    pub(super) fn position(&self, stream: &StreamId) -> Option<Position> {
        self.positions.get(stream).copied()
    }

    /// What to ask for to continue; `first` is what was asked for at first.
    pub(super) fn query(&self, first: &Query) -> Query {
        let Some(upgrade) = &self.upgrade else {
            return first.clone();
        };
        let since = self.position(&StreamId::Upgrade(upgrade.clone()));
        let sessions = self
            .positions
            .iter()
            .filter_map(|(stream, position)| match stream {
                StreamId::Session(id) => Some((id.clone(), *position)),
                StreamId::Upgrade(_) => None,
            });
        Query {
            upgrade: Some(upgrade.clone()),
            nothing: false,
            since,
            sessions: Some(sessions.collect()),
            snapshot: first.snapshot,
        }
    }
}
