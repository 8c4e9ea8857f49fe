//! The tasks that feed sinks: one for each sink and stream of the upgrade, and one that notices new sessions.

mod once;
mod set;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracking_journal::{
    Clock, DataDir, EventSink, JournalError, LeaseError, Relay, RelayError, RelayOptions, SinkStatus, load,
};
use tracking_model::{Session, StreamId, Timestamp, UpgradeId};

pub use set::{FollowedUpgrade, SinkSet};

/// How often new sessions are looked for, and whether a sink that another process feeds is free.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait before a relay that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Says only that a task is alive, which is nothing to tell a team.
pub(crate) const SKIPPED: &str = "task.heartbeat";

/// A sink that did not get everything before the shutdown. Nothing is lost: whoever opens the upgrade next with the
/// same sink goes on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undrained {
    /// The stream.
    pub stream: StreamId,
    /// The sink.
    pub sink: String,
    /// How many records it has not got, heartbeats among them; `None` if that is not known.
    pub records: Option<u64>,
    /// Why not, where that is known.
    pub reason: Option<String>,
    /// When it was refused so, if that was before this delivery began: since then there was no answer.
    pub earlier: Option<Timestamp>,
}

impl Undrained {
    /// So many records of a stream for a sink, for no known reason.
    #[must_use]
    pub fn new(stream: StreamId, sink: impl Into<String>, records: Option<u64>) -> Self {
        Self {
            stream,
            sink: sink.into(),
            records,
            reason: None,
            earlier: None,
        }
    }

    /// What `relay` is left with, `records` if that is known, of a delivery that began at `begun`.
    fn by(relay: &Relay, records: u64, begun: Timestamp) -> Self {
        let cursor = relay.cursor();
        let failure = cursor.last_error.as_ref();
        Self {
            stream: cursor.stream.clone(),
            sink: cursor.sink.to_string(),
            records: Some(records),
            reason: failure.map(|failure| failure.reason.clone()),
            earlier: failure.map(|failure| failure.at).filter(|at| *at < begun),
        }
    }

    /// Records that are left to another process, which feeds the sink.
    fn by_other(status: &SinkStatus) -> Self {
        let failure = status.cursor.last_error.as_ref();
        let why = status.problem.clone();
        let why = why.or_else(|| failure.map(|failure| failure.reason.clone()));
        let feeding = match status.holder.map(|holder| holder.pid) {
            Some(Some(pid)) => format!("process {pid} feeds it"),
            Some(None) | None => "another process feeds it".to_owned(),
        };
        Self {
            stream: status.stream.clone(),
            sink: status.sink.to_string(),
            records: Some(status.lag),
            reason: Some(match why {
                Some(why) => format!("{feeding}: {why}"),
                None => format!("{feeding}, and has not delivered them yet"),
            }),
            earlier: None,
        }
    }

    /// A sink that cannot be fed at all.
    fn of(stream: &StreamId, sink: &str, error: &RelayError) -> Self {
        Self {
            stream: stream.clone(),
            sink: sink.to_owned(),
            records: None,
            reason: Some(crate::error::chain(error)),
            earlier: None,
        }
    }
}

/// What became of delivering once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deliveries {
    /// Records that the sinks took now, each sink's counted by itself; without those for which a sink has no use.
    pub delivered: u64,
    /// Sinks that did not get everything, in the order of streams and names.
    pub undrained: Vec<Undrained>,
}

fn relay_options(clock: Arc<dyn Clock>) -> RelayOptions {
    RelayOptions::default()
        .with_clock(clock)
        .with_skip_kinds(vec![SKIPPED.into()])
}

/// What all relays of an upgrade share.
#[derive(Debug, Clone)]
struct Common {
    dir: DataDir,
    upgrade_id: UpgradeId,
    /// Whether the upgrade's own stream is of interest, and not only its sessions.
    reads_upgrades: bool,
    options: RelayOptions,
    stop: Stop,
}

/// Tells relays to stop, and by when.
#[derive(Debug, Clone, Default)]
struct Stop {
    token: CancellationToken,
    deadline: Arc<OnceLock<Instant>>,
}

impl Stop {
    fn left(&self) -> Duration {
        self.deadline.get().map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }
}

/// Feeds sinks until it is stopped. Dropped, it stops at once; the cursors say how far each sink got.
#[derive(Debug)]
pub(crate) struct Relays {
    uploads: Supervisor,
    others: Supervisor,
}

impl Relays {
    pub(crate) fn start(dir: DataDir, upgrade_id: UpgradeId, clock: Arc<dyn Clock>, sinks: SinkSet) -> Self {
        let start = |sinks: Vec<Arc<dyn EventSink>>, reads_upgrades| {
            let common = Common {
                dir: dir.clone(),
                upgrade_id: upgrade_id.clone(),
                reads_upgrades,
                options: relay_options(Arc::clone(&clock)),
                stop: Stop::default(),
            };
            Supervisor::start(common, sinks)
        };
        let SinkSet { uploads, others } = sinks;
        Self {
            uploads: start(uploads.into_iter().collect(), false),
            others: start(others, true),
        }
    }

    /// Lets artifacts be uploaded that are not yet, until `deadline`, and tells what was not.
    pub(crate) async fn stop_uploads(&mut self, deadline: Instant) -> Vec<Undrained> {
        self.uploads.stop(deadline).await
    }

    /// Lets the other sinks have what is left, until `deadline`, and tells what they did not get.
    pub(crate) async fn stop(mut self, deadline: Instant) -> Vec<Undrained> {
        let mut undrained = self.stop_uploads(deadline).await;
        undrained.extend(self.others.stop(deadline).await);
        undrained
    }
}

/// SinkSet that are stopped together.
#[derive(Debug)]
struct Supervisor {
    stop: Stop,
    task: JoinSet<Vec<Undrained>>,
}

impl Supervisor {
    fn start(common: Common, sinks: Vec<Arc<dyn EventSink>>) -> Self {
        let stop = common.stop.clone();
        let mut task = JoinSet::new();
        if !sinks.is_empty() {
            task.spawn(supervise(common, sinks));
        }
        Self { stop, task }
    }

    async fn stop(&mut self, deadline: Instant) -> Vec<Undrained> {
        self.stop.deadline.get_or_init(|| deadline);
        self.stop.token.cancel();
        let mut undrained = Vec::new();
        while let Some(ended) = self.task.join_next().await {
            match ended {
                Ok(left) => undrained.extend(left),
                Err(error) => tracing::error!(%error, "the task that watches over relays died"),
            }
        }
        undrained
    }
}

async fn supervise(common: Common, sinks: Vec<Arc<dyn EventSink>>) -> Vec<Undrained> {
    let mut relays = JoinSet::new();
    let mut known = HashSet::new();
    let mut undrained = Vec::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            biased;
            () = common.stop.token.cancelled() => true,
            _ = look.tick() => false,
        };
        // Also after the last tick: what was created just now has a right to be delivered.
        for stream in new_streams(&common, &mut known).await {
            for sink in &sinks {
                relays.spawn(feed(common.clone(), stream.clone(), Arc::clone(sink)));
            }
        }
        while let Some(ended) = relays.try_join_next() {
            note_end(ended, &mut undrained);
        }
        if stopped {
            break;
        }
    }
    while let Some(ended) = relays.join_next().await {
        note_end(ended, &mut undrained);
    }
    for sink in &sinks {
        // What it does not come to the end of now, it does the next time.
        match tokio::time::timeout(common.stop.left(), sink.settle()).await {
            Ok(()) | Err(_) => {}
        }
    }
    undrained
}

fn note_end(ended: Result<Option<Undrained>, JoinError>, undrained: &mut Vec<Undrained>) {
    match ended {
        Ok(left) => undrained.extend(left),
        Err(error) => note_death(&error),
    }
}

fn note_death(error: &JoinError) {
    tracing::error!(%error, "a relay died; its sink goes on with the next start");
}

/// The upgrade's own stream and the sessions of the upgrade, those that were not `known`.
async fn new_streams(common: &Common, known: &mut HashSet<StreamId>) -> Vec<StreamId> {
    let (dir, upgrade_id) = (common.dir.clone(), common.upgrade_id.clone());
    let reads_upgrades = common.reads_upgrades;
    let seen = known.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let streams = dir.streams().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for new sessions");
            Vec::new()
        });
        let unseen = streams.into_iter().filter(|stream| !seen.contains(stream));
        let ours = |stream: &StreamId| match stream {
            StreamId::Upgrade(id) => Some(reads_upgrades && *id == upgrade_id),
            StreamId::Session(_) => belongs(&dir, stream, &upgrade_id),
        };
        unseen
            .filter_map(|stream| Some((ours(&stream)?, stream)))
            .collect::<Vec<_>>()
    });
    // A panic there has been printed; the next look tries again.
    let found = looked.await.unwrap_or_default();
    let mut new = Vec::new();
    for (ours, stream) in found {
        known.insert(stream.clone());
        if ours {
            new.push(stream);
        }
    }
    new
}

/// Whether a session is one of the upgrade; `None` while it has no record that says so.
fn belongs(dir: &DataDir, stream: &StreamId, upgrade_id: &UpgradeId) -> Option<bool> {
    match load::<Session>(dir, stream) {
        Ok(loaded) => loaded.state.upgrade_id.map(|id| id == *upgrade_id),
        Err(JournalError::NoSuchStream { .. }) => None,
        Err(error) => {
            tracing::warn!(%error, %stream, "cannot tell which upgrade a session belongs to; it is not relayed");
            Some(false)
        }
    }
}

/// Feeds one sink from one stream until it is told to stop, then for as long as the deadline allows.
async fn feed(common: Common, stream: StreamId, sink: Arc<dyn EventSink>) -> Option<Undrained> {
    let name = sink.name().to_owned();
    let begun = common.options.clock.now();
    let mut relay = match open(&common, &stream, sink).await {
        Ok(Some(relay)) => relay,
        // Another process feeds it, and sees to the rest.
        Ok(None) => return None,
        Err(error) => return Some(Undrained::of(&stream, &name, &error)),
    };
    let deadline = async {
        common.stop.token.cancelled().await;
        tokio::time::sleep(common.stop.left()).await;
    };
    let ran = tokio::select! {
        ran = relay.run(&common.stop.token) => ran,
        // A call that is in flight then is made again by the next relay.
        () = deadline => Ok(()),
    };
    if let Err(error) = ran {
        tracing::warn!(%error, %stream, sink = name, "a cursor was not saved; some records will be delivered again");
    }
    match relay.drain(common.stop.left()).await {
        Ok(report) if report.remaining == 0 => None,
        Ok(report) => Some(Undrained::by(&relay, report.remaining, begun)),
        Err(error) => Some(Undrained::of(&stream, &name, &error)),
    }
}

/// Opens a relay as soon as nobody else feeds the sink; `None` if that does not come to pass before the stop.
async fn open(
    common: &Common,
    stream: &StreamId,
    sink: Arc<dyn EventSink>,
) -> Result<Option<Relay>, RelayError> {
    loop {
        let opened = Relay::open(
            &common.dir,
            stream.clone(),
            Arc::clone(&sink),
            common.options.clone(),
        )
        .await;
        let (pause, held) = match &opened {
            Ok(_) => return opened.map(Some),
            Err(RelayError::Lease(LeaseError::Held(_))) => (LOOK, true),
            Err(error) => {
                tracing::warn!(%error, %stream, sink = sink.name(), "a sink cannot be fed; trying again");
                (AGAIN, false)
            }
        };
        tokio::select! {
            () = common.stop.token.cancelled() => return if held { Ok(None) } else { opened.map(Some) },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_just_being_created_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let upgrade = UpgradeId::new("u").unwrap();
        let stream = StreamId::Session(tracking_model::SessionId::new("s").unwrap());
        assert_eq!(belongs(&dir, &stream, &upgrade), None);
        std::fs::write(dir.journal_path(&stream), "").unwrap();
        assert_eq!(belongs(&dir, &stream, &upgrade), None);
    }
}
