//! The tree on a terminal: when it is drawn, and with what.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracking_facade::{
    Agent, Artifact, Clock, DataDir, History, Liveness, StreamId, SystemClock, UpgradeProgress,
};

use super::charset::Charset;
use super::lines::kept;
use super::scene::{Canvas, Scene};
use super::screen::Screen;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::render::{Palette, bytes};

/// Least time between two drawings.
const SOONEST: Duration = Duration::from_millis(100);
/// Most time between two drawings: the clocks that are shown go on.
const LATEST: Duration = Duration::from_secs(1);
/// How many of the artifacts that were kept last are named.
const NAMED: usize = 3;

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    screen: Screen,
    charset: Charset,
    palette: Palette,
    dir: DataDir,
    stream: StreamId,
    history: History,
    artifacts: Artifacts,
    stale: Option<String>,
    changed: bool,
    drawn: Instant,
}

/// What was kept so far.
#[derive(Debug, Default)]
struct Artifacts {
    count: usize,
    bytes: u64,
    last: Vec<String>,
}

impl Tree {
    pub(super) fn begin(
        dir: DataDir,
        stream: StreamId,
        history: History,
        palette: Palette,
    ) -> Result<Self, Failure> {
        Ok(Self {
            screen: Screen::begin().map_err(|error| Failure::output(&error))?,
            charset: Charset::of_locale(),
            palette,
            dir,
            stream,
            history,
            artifacts: Artifacts::default(),
            stale: None,
            changed: false,
            drawn: Instant::now(),
        })
    }

    /// There is something new to show.
    pub(super) const fn changed(&mut self) {
        self.changed = true;
    }

    /// An artifact was kept.
    pub(super) fn kept(&mut self, artifact: &Artifact) {
        self.artifacts.add(artifact);
        self.changed = true;
    }

    /// From now on what is shown is not live.
    pub(super) fn stale(&mut self, reason: String) {
        self.stale = Some(reason);
    }

    /// Ready when it should be drawn again.
    pub(super) async fn due(&self) {
        let after = if self.changed { SOONEST } else { LATEST };
        sleep_until(self.drawn + after).await;
    }

    /// Draws it now.
    pub(super) fn draw(&mut self, progress: &UpgradeProgress) -> Result<(), Failure> {
        let now = SystemClock.now();
        let agent = match &self.stale {
            // Whoever removed the journal took the agent's marker along.
            Some(_) => Agent::NotNeeded,
            None => {
                let liveness = Liveness::of(&self.dir, &self.stream);
                Agent::of(
                    progress,
                    liveness.map_err(cannot(|| format!("look after {}", self.stream)))?,
                    now,
                )
            }
        };
        let now = match agent {
            Agent::Elsewhere => progress.last_report_at.unwrap_or(now),
            _ => now,
        };
        let notes = self.artifacts.notes(self.palette);
        let scene = Scene {
            progress,
            history: &self.history,
            agent,
            now,
            notes: &notes,
            stale: self.stale.as_deref(),
        };
        let (width, height) = self.screen.size();
        let canvas = Canvas {
            width,
            height,
            charset: self.charset,
            palette: self.palette,
        };
        let drawn = self.screen.draw(&scene.draw(&canvas));
        self.changed = false;
        self.drawn = Instant::now();
        drawn.map_err(|error| Failure::output(&error))
    }
}

impl Artifacts {
    fn add(&mut self, artifact: &Artifact) {
        self.count += 1;
        self.bytes += artifact.file_size.unwrap_or(0);
        self.last.push(kept(artifact));
        if self.last.len() > NAMED {
            self.last.remove(0);
        }
    }

    /// The artifacts in a few lines; none without artifacts.
    fn notes(&self, palette: Palette) -> Vec<String> {
        if self.count == 0 {
            return Vec::new();
        }
        let total = format!("{} artifacts, {}", self.count, bytes(self.bytes));
        let mut notes = vec![palette.bold(&total)];
        notes.extend(self.last.iter().map(|line| palette.dim(line)));
        notes
    }
}
