//! What a terminal gets of an upgrade that is followed from afar: its summary, and the tasks of which something was heard.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracking_facade::{
    Clock, Percent, ProgressEventMessage, Status, Summary, SystemClock, TaskId, Timestamp,
};

use super::screen::Screen;
use crate::exit::Failure;
use crate::render::{Palette, bar, one_line, time};

/// Least time between two drawings.
const SOONEST: Duration = Duration::from_millis(100);
/// Most time between two drawings: for how long it is stale is shown.
const LATEST: Duration = Duration::from_secs(1);
const BAR: usize = 20;

/// The sketch.
#[derive(Debug)]
pub(super) struct Sketch {
    screen: Screen,
    url: String,
    palette: Palette,
    summary: Option<Summary>,
    agent: Option<String>,
    /// In the order in which they were heard of.
    tasks: Vec<Heard>,
    stale: Option<(Timestamp, String)>,
    changed: bool,
    drawn: Instant,
}

/// What was heard of a task last.
#[derive(Debug)]
struct Heard {
    task_id: TaskId,
    name: String,
    status: Status,
    percentage: Option<Percent>,
    message: String,
}

impl Sketch {
    pub(super) fn begin(url: &str, palette: Palette) -> Result<Self, Failure> {
        Ok(Self {
            screen: Screen::begin().map_err(|error| Failure::output(&error))?,
            url: url.to_owned(),
            palette,
            summary: None,
            agent: None,
            tasks: Vec::new(),
            stale: None,
            changed: false,
            drawn: Instant::now(),
        })
    }

    /// How it stands now; what is shown is live again.
    pub(super) fn summary(&mut self, summary: &Summary, agent: Option<&str>) {
        self.summary = Some(summary.clone());
        self.agent = agent.map(str::to_owned);
        self.stale = None;
        self.changed = true;
    }

    pub(super) fn event(&mut self, event: &ProgressEventMessage) {
        self.changed = true;
        let Some(task_id) = &event.task_id else {
            if let Some(summary) = &mut self.summary {
                summary.status = event.status;
                summary.overall_percentage = event.percentage.unwrap_or(summary.overall_percentage);
                if event.phase.is_some() {
                    summary.current_phase.clone_from(&event.phase);
                }
            }
            return;
        };
        let heard = Heard {
            task_id: task_id.clone(),
            name: event.task_name.as_deref().unwrap_or(task_id.as_str()).to_owned(),
            status: event.status,
            percentage: event.percentage,
            message: event.message.to_string(),
        };
        match self.tasks.iter_mut().find(|task| task.task_id == *task_id) {
            Some(task) => *task = heard,
            None => self.tasks.push(heard),
        }
    }

    /// From now on what is shown is not live, until the next summary.
    pub(super) fn stale(&mut self, reason: &str) {
        self.stale
            .get_or_insert_with(|| (SystemClock.now(), reason.to_owned()));
    }

    /// Ready when it should be drawn again.
    pub(super) async fn due(&self) {
        let after = if self.changed { SOONEST } else { LATEST };
        sleep_until(self.drawn + after).await;
    }

    /// Draws it now.
    pub(super) fn draw(&mut self) -> Result<(), Failure> {
        let (width, height) = self.screen.size();
        let lines = self.lines(height);
        let cut = |line: &String| console::truncate_str(line, width, "…").into_owned();
        let lines: Vec<_> = lines.iter().map(cut).collect();
        self.changed = false;
        self.drawn = Instant::now();
        self.screen.draw(&lines).map_err(|error| Failure::output(&error))
    }

    fn lines(&self, height: usize) -> Vec<String> {
        let Self { palette, url, .. } = self;
        let mut lines = Vec::new();
        match &self.summary {
            None => lines.push(palette.dim(&format!("connecting to {url}"))),
            Some(summary) => lines.extend(self.head(summary)),
        }
        if let Some((since, why)) = &self.stale {
            let text = format!("STALE since {}: {}", time(*since), one_line(why));
            lines.push(palette.warn(&text));
        }
        // Those that were heard of last matter most.
        let room = height.saturating_sub(lines.len());
        let shown = self.tasks.len().saturating_sub(room);
        lines.extend(self.tasks.iter().skip(shown).map(|task| self.task(task)));
        lines
    }

    fn head(&self, summary: &Summary) -> [String; 2] {
        let palette = self.palette;
        let phase = summary
            .current_phase
            .as_deref()
            .map_or_else(String::new, |phase| format!(", {}", one_line(phase)));
        let agent = match self.agent.as_deref() {
            Some("gone") => palette.warn("; agent gone"),
            _ => String::new(),
        };
        let name = format!("{} of {}", summary.upgrade_id, one_line(&summary.cluster_name));
        let percent = summary.overall_percentage;
        [
            format!(
                "{}  {} {percent}%  {}{phase}{agent}",
                palette.bold(&name),
                bar(percent, BAR),
                palette.status(summary.status, &summary.status.as_str().replace('_', " ")),
            ),
            palette.dim(&format!(
                "{} tasks: {} completed, {} running, {} failed; by {}",
                summary.total_tasks,
                summary.completed_tasks,
                summary.active_tasks,
                summary.failed_tasks,
                self.url,
            )),
        ]
    }

    fn task(&self, task: &Heard) -> String {
        let percent = task
            .percentage
            .map_or_else(String::new, |percent| format!("{percent}%"));
        format!(
            "  {percent:>6}  {}: {}",
            self.palette.status(task.status, &one_line(&task.name)),
            one_line(&task.message),
        )
    }
}
