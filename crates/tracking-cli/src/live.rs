//! Following an upgrade by its journal, whoever writes it, and showing what comes: as a tree that is drawn again and
//! again on a terminal, as lines elsewhere, as messages for scripts.

mod charset;
mod fit;
mod lines;
mod local;
mod mirrored;
mod remote;
mod scene;
mod screen;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tracking_facade::{
    Archive, Artifact, Clock, Commit, Follower, JournalError, JournalReader, Status, StreamId, Summary,
    SystemClock, UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::exit::{Exit, Failure, Kind};
use crate::failure::cannot;
use crate::output::Output;
use crate::process::{Incoming, Signals};
use lines::Lines;
use local::LocalTree;
use wire::Wire;

pub(crate) use remote::{RemoteFollow, shown};
pub(crate) use scene::brief;

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The upgrade is completed, failed or cancelled.
    Upgrade(Status),
    /// Somebody wants us to stop.
    Signal(Incoming),
}

impl End {
    /// How the command ends then: by the signal, if one came.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::Upgrade(_) => Exit::Code(0),
            Self::Signal(incoming) => Exit::Signal(incoming.number()),
        }
    }
}

/// When following ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// When the upgrade has ended.
    UpgradeEnds,
    /// Never.
    Interrupted,
}

/// How an upgrade is followed.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) upgrade: UpgradeId,
    pub(crate) output: Output,
    /// Shows the events after this sequence first; then, and only then, a terminal gets lines.
    pub(crate) since: Option<u64>,
    pub(crate) until: Until,
}

/// Whether following ends here. What has failed can be started again, and ends it all the same: nobody knows whether that
/// will be.
pub(crate) const fn has_ended(status: Status) -> bool {
    matches!(status, Status::Completed | Status::Failed | Status::Cancelled)
}

impl Follow {
    /// Shows the upgrade until it ends, or a signal comes. `kept` brings artifacts to be shown beside it.
    ///
    /// # Errors
    /// The upgrade does not exist, its journal cannot be read (any more), or the output is gone.
    ///
    /// # Cancellation
    /// The terminal is left in order.
    pub(crate) async fn run(
        self,
        archive: &Archive,
        mut kept: UnboundedReceiver<Arc<Artifact>>,
    ) -> Result<End, Failure> {
        let attempted = || format!("watch upgrade {}", self.upgrade);
        let signals = |error: &dyn std::error::Error| Failure::of(Kind::Failed, attempted(), error);
        let mut interrupts = Signals::that_end().map_err(|error| signals(&error))?;
        let mut resized = signal(SignalKind::window_change()).map_err(|error| signals(&error))?;
        let mut follower = archive.follow(&self.upgrade).map_err(cannot(attempted))?;
        if let Some(since) = self.since {
            self.check_since(since, &follower)?;
        }
        let mut view = View::new(&self, archive)?;
        view.begin(&follower)?;
        if let Some(since) = self.since {
            self.catch_up(archive, &view, &follower, since)?;
        }
        while self.until == Until::Interrupted || !has_ended(follower.state().status) {
            tokio::select! {
                incoming = interrupts.asked_to_end() => {
                    view.finish(&follower)?;
                    return Ok(End::Signal(incoming));
                }
                commit = follower.next() => match commit {
                    Ok(commit) => view.commit(&commit)?,
                    Err(error) => return Err(self.lost(error, &mut view, &follower)?),
                },
                Some(artifact) = kept.recv() => view.kept(&artifact)?,
                () = view.wants_drawing(&mut resized) => view.draw(&follower)?,
            }
        }
        while let Ok(artifact) = kept.try_recv() {
            view.kept(&artifact)?;
        }
        view.finish(&follower)?;
        Ok(End::Upgrade(follower.state().status))
    }

    /// Refuses a sequence from the future, before anything is shown.
    fn check_since(&self, since: u64, follower: &Follower<UpgradeProgress>) -> Result<(), Failure> {
        let until = follower.head().seq;
        if since <= until {
            return Ok(());
        }
        let attempted = format!("watch upgrade {} since {since}", self.upgrade);
        let cause = format!("its journal has only {until} records");
        Err(Failure::new(Kind::Usage, attempted, cause)
            .hint("it may be another upgrade of the same id; leave --since out to begin anew"))
    }

    /// Shows what came after `since` up to where `follower` stands.
    fn catch_up(
        &self,
        archive: &Archive,
        view: &View,
        follower: &Follower<UpgradeProgress>,
        since: u64,
    ) -> Result<(), Failure> {
        let attempted = || format!("watch upgrade {} since {since}", self.upgrade);
        let until = follower.head().seq;
        let stream = StreamId::Upgrade(self.upgrade.clone());
        let read = || -> Result<JournalReader, JournalError> {
            JournalReader::open_at(archive.data_dir(), &stream, since + 1)
        };
        let mut reader = read().map_err(cannot(attempted))?;
        while reader.position().head.seq < until {
            let Some(record) = reader.next_record().map_err(cannot(attempted))? else {
                break;
            };
            let event = record.decode().map_err(|source| JournalError::Undecodable {
                path: archive.data_dir().journal_path(&stream),
                seq: record.seq,
                source: Arc::new(source),
            });
            view.event(
                record.epoch.to_string(),
                &record.meta(),
                &event.map_err(cannot(attempted))?,
            )?;
        }
        Ok(())
    }

    /// What is shown is not live any more: says so where it is shown, and why.
    fn lost(
        &self,
        error: JournalError,
        view: &mut View,
        follower: &Follower<UpgradeProgress>,
    ) -> Result<Failure, Failure> {
        view.stale(error.to_string());
        view.finish(follower)?;
        Ok(cannot(|| format!("watch upgrade {} any longer", self.upgrade))(
            error,
        ))
    }
}

/// The ways to show it.
#[derive(Debug)]
enum View {
    Wire(Wire),
    Lines(Lines),
    Tree(Box<LocalTree>),
}

impl View {
    fn new(follow: &Follow, archive: &Archive) -> Result<Self, Failure> {
        let upgrade = follow.upgrade.clone();
        if follow.output.is_json() {
            Ok(Self::Wire(Wire::new(upgrade, follow.output)))
        } else if follow.output.is_live() && follow.since.is_none() {
            let tree = LocalTree::begin(archive, &upgrade, follow.output.palette());
            tree.map(|tree| Self::Tree(Box::new(tree)))
        } else {
            Ok(Self::Lines(Lines::new(upgrade, follow.output)))
        }
    }

    fn begin(&mut self, follower: &Follower<UpgradeProgress>) -> Result<(), Failure> {
        let summary = || Summary::of(follower.state(), SystemClock.now());
        match self {
            Self::Wire(wire) => wire.summary(follower.head(), &summary()),
            Self::Lines(lines) => lines.summary(&summary()),
            Self::Tree(tree) => tree.draw(follower.state()),
        }
    }

    fn commit(&mut self, commit: &Commit<UpgradeEvent>) -> Result<(), Failure> {
        if let Self::Tree(tree) = self {
            tree.changed();
            return Ok(());
        }
        for record in &commit.records {
            self.event(commit.head.epoch.to_string(), &record.meta, &record.event)?;
        }
        Ok(())
    }

    fn event(
        &self,
        epoch: String,
        meta: &tracking_model::RecordMeta,
        event: &UpgradeEvent,
    ) -> Result<(), Failure> {
        match self {
            Self::Wire(wire) => wire.event(epoch, meta, event),
            Self::Lines(lines) => lines.event(meta, event),
            Self::Tree(_) => Ok(()),
        }
    }

    fn kept(&mut self, artifact: &Artifact) -> Result<(), Failure> {
        match self {
            Self::Wire(wire) => wire.kept(artifact),
            Self::Lines(lines) => lines.kept(artifact),
            Self::Tree(tree) => {
                tree.kept(artifact);
                Ok(())
            }
        }
    }

    /// Ready when it should be drawn again; never for what is not drawn.
    async fn wants_drawing(&self, resized: &mut Signal) {
        match self {
            Self::Tree(tree) => tokio::select! {
                () = tree.due() => {}
                _ = resized.recv() => {}
            },
            Self::Wire(_) | Self::Lines(_) => std::future::pending().await,
        }
    }

    fn draw(&mut self, follower: &Follower<UpgradeProgress>) -> Result<(), Failure> {
        match self {
            Self::Tree(tree) => tree.draw(follower.state()),
            Self::Wire(_) | Self::Lines(_) => Ok(()),
        }
    }

    /// Shows how it stands in the end.
    fn finish(&mut self, follower: &Follower<UpgradeProgress>) -> Result<(), Failure> {
        match self {
            Self::Wire(_) => Ok(()),
            Self::Lines(lines) if lines.has_news() => {
                lines.summary(&Summary::of(follower.state(), SystemClock.now()))
            }
            Self::Lines(_) => Ok(()),
            Self::Tree(tree) => tree.draw(follower.state()),
        }
    }

    fn stale(&mut self, reason: String) {
        if let Self::Tree(tree) = self {
            tree.stale(reason);
        }
    }
}
