//! The tree on a terminal: when it is drawn, and with what. The same for an upgrade that is followed here, and for one
//! that is followed from afar.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracking_facade::{Agent, Artifact, History, TaskId, Timestamp, UpgradeProgress};

use super::charset::Charset;
use super::lines::kept;
use super::scene::{Canvas, Scene};
use super::screen::Screen;
use crate::exit::Failure;
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
    history: History,
    artifacts: Artifacts,
    /// Since when, and why.
    stale: Option<(Timestamp, String)>,
    changed: bool,
    drawn: Instant,
}

/// How an upgrade stands, for the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) progress: &'a UpgradeProgress,
    /// Whether somebody is at work on it, as long as it is live.
    pub(super) agent: Agent,
    /// The tasks that are silent; `None` where the state tells.
    pub(super) stalled: Option<&'a BTreeSet<TaskId>>,
    /// The time, by the clock that dates it.
    pub(super) now: Timestamp,
}

/// What was kept so far.
#[derive(Debug, Default)]
struct Artifacts {
    count: usize,
    bytes: u64,
    last: Vec<String>,
}

impl Tree {
    pub(super) fn begin(history: History, palette: Palette) -> Result<Self, Failure> {
        Ok(Self {
            screen: Screen::begin().map_err(|error| Failure::output(&error))?,
            charset: Charset::of_locale(),
            palette,
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

    /// Estimates are made from this from now on.
    pub(super) fn learn(&mut self, history: History) {
        self.history = history;
    }

    /// From `now` on what is shown is not live.
    pub(super) fn stale(&mut self, reason: String, now: Timestamp) {
        self.stale.get_or_insert((now, reason));
        self.changed = true;
    }

    /// What is shown is live again.
    pub(super) fn live(&mut self) {
        self.stale = None;
        self.changed = true;
    }

    /// Whether what is shown is not live.
    pub(super) const fn is_stale(&self) -> bool {
        self.stale.is_some()
    }

    /// Ready when it should be drawn again.
    pub(super) async fn due(&self) {
        let after = if self.changed { SOONEST } else { LATEST };
        sleep_until(self.drawn + after).await;
    }

    /// Draws it now.
    pub(super) fn draw(&mut self, standing: &Standing<'_>) -> Result<(), Failure> {
        let Standing {
            progress,
            agent,
            stalled,
            now,
        } = *standing;
        // What is stale stands still.
        let now = match (&self.stale, agent) {
            (Some((since, _)), _) => *since,
            (None, Agent::Elsewhere) => progress.last_report_at.unwrap_or(now),
            (None, _) => now,
        };
        let notes = self.artifacts.notes(self.palette);
        let scene = Scene {
            progress,
            history: &self.history,
            agent,
            stalled,
            now,
            notes: &notes,
            stale: self.stale.as_ref().map(|(_, why)| why.as_str()),
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
