//! The tree of an upgrade whose journal is here.

use tracking_facade::{
    Agent, Archive, Artifact, Clock, DataDir, Liveness, StreamId, SystemClock, UpgradeId, UpgradeProgress,
};

use super::tree::{Standing, Tree};
use crate::exit::Failure;
use crate::failure::cannot;
use crate::render::Palette;

/// The tree, and where to look whether somebody is at work.
#[derive(Debug)]
pub(super) struct LocalTree {
    tree: Tree,
    dir: DataDir,
    stream: StreamId,
}

impl LocalTree {
    pub(super) fn begin(archive: &Archive, upgrade: &UpgradeId, palette: Palette) -> Result<Self, Failure> {
        let history = archive.history(upgrade);
        let history = history.map_err(cannot(|| format!("watch upgrade {upgrade}")))?;
        Ok(Self {
            tree: Tree::begin(history, palette)?,
            dir: archive.data_dir().clone(),
            stream: StreamId::Upgrade(upgrade.clone()),
        })
    }

    pub(super) const fn changed(&mut self) {
        self.tree.changed();
    }

    pub(super) fn kept(&mut self, artifact: &Artifact) {
        self.tree.kept(artifact);
    }

    pub(super) fn stale(&mut self, reason: String) {
        self.tree.stale(reason, SystemClock.now());
    }

    pub(super) async fn due(&self) {
        self.tree.due().await;
    }

    pub(super) fn draw(&mut self, progress: &UpgradeProgress) -> Result<(), Failure> {
        let now = SystemClock.now();
        let agent = if self.tree.is_stale() {
            // Whoever removed the journal took the agent's marker along.
            Agent::NotNeeded
        } else {
            let liveness = Liveness::of(&self.dir, &self.stream);
            let liveness = liveness.map_err(cannot(|| format!("look after {}", self.stream)))?;
            Agent::of(progress, liveness, now)
        };
        self.tree.draw(&Standing {
            progress,
            agent,
            stalled: None,
            now,
        })
    }
}
