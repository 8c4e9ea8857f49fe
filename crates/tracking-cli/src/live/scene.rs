//! An upgrade as a terminal shows it: from a state to lines, and nothing else.

use std::collections::BTreeSet;

use console::{measure_text_width, pad_str, truncate_str};
use tracking_facade::{
    Agent, Estimate, EstimateBasis, History, Percent, Span, Status, TaskId, TaskProgress, TaskTree,
    Timestamp, TreeRow, UpgradeProgress, estimate_task, estimate_upgrade,
};

use super::charset::Charset;
use super::fit::{Fitted, fit, needed};
use crate::render::{Palette, one_line, span, time};

/// Silence of this length is worth a word.
const SILENCE: Span = Span::from_secs(10);
/// Where the terminal is at least so wide, tasks have room for more.
const WIDE: usize = 110;
/// Most columns that a name takes.
const WIDEST_NAME: usize = 44;

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) progress: &'a UpgradeProgress,
    /// What estimates are learned from.
    pub(crate) history: &'a History,
    pub(crate) agent: Agent,
    /// The tasks that are silent, where that is told by whoever hears their signs of life.
    pub(crate) stalled: Option<&'a BTreeSet<TaskId>>,
    pub(crate) now: Timestamp,
    /// Lines below the tree.
    pub(crate) notes: &'a [String],
    /// Why what is shown is not live any more.
    pub(crate) stale: Option<&'a str>,
}

/// What it is shown on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas {
    /// Columns.
    pub(crate) width: usize,
    /// Most lines.
    pub(crate) height: usize,
    pub(crate) charset: Charset,
    pub(crate) palette: Palette,
}

impl Scene<'_> {
    /// At most `canvas.height` lines of at most `canvas.width` columns.
    pub(crate) fn draw(&self, canvas: &Canvas) -> Vec<String> {
        let mut tree = TaskTree::of(self.progress, self.now);
        if let Some(stalled) = self.stalled {
            let rows = tree.rows.iter_mut();
            rows.for_each(|row| row.stalled = stalled.contains(&row.task.task_id));
        }
        let mut lines = vec![
            self.title(canvas),
            self.bar(tree.overall, canvas),
            self.counts(&tree, canvas),
        ];
        lines.extend(self.banner(canvas));
        lines.push(String::new());
        let room = canvas.height.saturating_sub(lines.len());
        let below = self.notes(room, needed(&tree.rows), canvas);
        lines.extend(self.rows(&tree.rows, room.saturating_sub(below.len()), canvas));
        lines.extend(below);
        lines.truncate(canvas.height);
        lines
            .iter()
            .map(|line| canvas.cut(line, canvas.width).trim_end().to_owned())
            .collect()
    }

    /// Whether somebody is at work, as far as is known: without that no estimate holds.
    fn goes_on(&self) -> bool {
        self.progress.status == Status::InProgress
            && !matches!(self.agent, Agent::Gone | Agent::Elsewhere)
            && self.stale.is_none()
    }

    fn title(&self, canvas: &Canvas) -> String {
        let upgrade = self.progress;
        let paint = |text: &str| canvas.palette.status(upgrade.status, text);
        let mut parts = vec![
            canvas.palette.bold(upgrade.upgrade_id.as_str()),
            canvas.text(&upgrade.cluster_name),
            paint(words(upgrade.status)),
        ];
        if let Some(phase) = &upgrade.current_phase {
            parts.push(canvas.palette.bold(&canvas.text(phase)));
        }
        format!(
            "{} {}",
            paint(canvas.charset.sign(upgrade.status)),
            parts.join(canvas.charset.separator())
        )
    }

    fn bar(&self, overall: Percent, canvas: &Canvas) -> String {
        let upgrade = self.progress;
        let mut parts = Vec::new();
        match (upgrade.started_at, upgrade.duration) {
            (_, Some(took)) => parts.push(format!("took {}", brief(took))),
            (Some(started), None) => parts.push(format!("{} elapsed", span(self.now.since(started)))),
            (None, None) => {}
        }
        if self.goes_on() {
            let estimate = estimate_upgrade(upgrade, self.history, self.now);
            parts.push(left(&estimate, self.now));
        }
        format!(
            "{} {}  {}",
            canvas
                .palette
                .status(upgrade.status, &canvas.charset.bar(overall, canvas.width / 5)),
            canvas.palette.bold(&whole(overall)),
            parts.join(canvas.charset.separator())
        )
    }

    fn counts(&self, tree: &TaskTree<'_>, canvas: &Canvas) -> String {
        let upgrade = self.progress;
        let palette = canvas.palette;
        let count = |status| upgrade.tasks_by_status(status).count();
        let mut parts = vec![format!(
            "{} of {} done",
            count(Status::Completed),
            upgrade.tasks().len()
        )];
        let mut add = |count: usize, what: &str, paint: &dyn Fn(&str) -> String| {
            if count > 0 {
                parts.push(paint(&format!("{count} {what}")));
            }
        };
        let waiting = upgrade
            .tasks()
            .values()
            .filter(|task| task.waiting_on.is_some())
            .count();
        let stalled = tree.rows.iter().filter(|row| row.stalled).count();
        add(count(Status::InProgress), "running", &|text| palette.active(text));
        add(count(Status::Failed), "failed", &|text| palette.error(text));
        add(stalled, "stalled", &|text| palette.warn(text));
        add(waiting, "waiting", &|text| palette.warn(text));
        add(count(Status::Paused), "paused", &|text| palette.warn(text));
        add(count(Status::Cancelled), "cancelled", &|text| palette.dim(text));
        parts.join(canvas.charset.separator())
    }

    /// What a viewer must not miss.
    fn banner(&self, canvas: &Canvas) -> Vec<String> {
        let upgrade = self.progress;
        let palette = canvas.palette;
        let mut lines = Vec::new();
        if let Some(stale) = self.stale {
            let text = format!(
                "NOT LIVE: how it stood at {}; {}",
                time(self.now),
                one_line(stale)
            );
            lines.push(palette.error(&canvas.charset.text(&text)));
        }
        if self.agent == Agent::Elsewhere {
            let text = format!("FROM THE BUCKET: as of {}, the last record there", time(self.now));
            lines.push(palette.warn(&canvas.charset.text(&text)));
        }
        if self.agent == Agent::Gone {
            lines.push(palette.error("AGENT GONE: no agent is at work on this upgrade"));
        }
        let because = match upgrade.status {
            Status::Failed => upgrade.error_message.as_deref(),
            Status::Paused | Status::Cancelled => upgrade.reason.as_deref(),
            Status::NotStarted | Status::InProgress | Status::Completed => None,
        };
        if let Some(because) = because {
            let text = format!("{}: {}", words(upgrade.status), canvas.text(because));
            lines.push(palette.status(upgrade.status, &text));
        }
        if let Some(last) = upgrade.last_report_at
            && upgrade.status == Status::InProgress
            && self.now.since(last) >= SILENCE
        {
            let silent = format!(
                "no event for {}, since {}",
                span(self.now.since(last)),
                time(last)
            );
            lines.push(palette.warn(&silent));
        }
        if upgrade.completed_with_failures {
            lines.push(palette.warn("completed although tasks had failed or were unfinished"));
        }
        lines
    }

    /// What comes below the tree, if there is room for it beside the rows that are `needed`.
    fn notes(&self, room: usize, needed: usize, canvas: &Canvas) -> Vec<String> {
        if self.notes.is_empty() || room < needed + 1 + self.notes.len() + 1 {
            return Vec::new();
        }
        let notes = self
            .notes
            .iter()
            .map(|note| canvas.charset.text(note).into_owned());
        std::iter::once(String::new()).chain(notes).collect()
    }

    fn rows(&self, rows: &[TreeRow<'_>], room: usize, canvas: &Canvas) -> Vec<String> {
        let mut fitted = fit(rows, room);
        if unseen(&fitted) > 0 {
            // The line that says so takes room itself.
            fitted = fit(rows, room.saturating_sub(1));
        }
        let lost = unseen(&fitted);
        let branches = canvas.charset.branches();
        // For each level above the present one, whether its siblings are all shown.
        let mut ended: Vec<bool> = Vec::new();
        let mut shown: Vec<(String, &TreeRow<'_>, usize)> = Vec::new();
        for (row, fit) in rows.iter().zip(&fitted) {
            ended.truncate(row.level);
            if fit.shown {
                let above = ended.iter().skip(1).map(|ended| branches[usize::from(*ended)]);
                let mut lead: String = above.collect();
                if row.level > 0 {
                    lead.push_str(branches[2 + usize::from(row.last)]);
                }
                shown.push((lead, row, fit.folded));
            }
            ended.push(row.last);
        }
        let names: Vec<String> = shown
            .iter()
            .map(|(lead, row, folded)| canvas.name(lead, row, *folded))
            .collect();
        let most = (canvas.width * 2 / 5).min(WIDEST_NAME);
        let widest = names.iter().map(|name| measure_text_width(name)).max();
        let column = widest.unwrap_or(0).min(most);
        let mut lines: Vec<String> = names
            .iter()
            .zip(&shown)
            .map(|(name, (_, row, _))| self.row(name, column, row, canvas))
            .collect();
        if lost > 0 {
            let text = format!("{} {lost} more tasks do not fit", canvas.charset.ellipsis());
            lines.push(canvas.palette.warn(&text));
        }
        lines
    }

    fn row(&self, name: &str, column: usize, row: &TreeRow<'_>, canvas: &Canvas) -> String {
        let task = row.task;
        let wide = canvas.width >= WIDE;
        let bar = canvas.charset.bar(row.percentage, if wide { 20 } else { 10 });
        let (clock, clock_width) = (self.clock(task, wide), if wide { 20 } else { 10 });
        let begins = format!(
            "{} {} {} {clock:>clock_width$}  ",
            pad_str(&canvas.cut(name, column), column, console::Alignment::Left, None),
            canvas.palette.status(row.status, &bar),
            whole(row.percentage),
        );
        format!("{begins}{}", self.remark(row, canvas))
    }

    /// How long a task took, or takes still.
    fn clock(&self, task: &TaskProgress, wide: bool) -> String {
        match (task.status, task.started_at, task.duration) {
            (Status::InProgress | Status::Paused, Some(started), _) => {
                let elapsed = span(self.now.since(started));
                // How long a wait takes nobody knows from what was done before it.
                if task.waiting_on.is_some() || !self.goes_on() {
                    return elapsed;
                }
                let estimate = estimate_task(self.progress, &task.task_id, self.history, self.now);
                match estimate.p50.map(|at| remaining(at.since(self.now))) {
                    Some(left) if wide => format!("{elapsed}, {left} left"),
                    Some(left) => format!("{left} left"),
                    None => elapsed,
                }
            }
            (_, Some(_), Some(took)) => brief(took),
            _ => String::new(),
        }
    }

    /// What there is to say of a task: marks first, then its last words.
    fn remark(&self, row: &TreeRow<'_>, canvas: &Canvas) -> String {
        let task = row.task;
        let palette = canvas.palette;
        let mut parts = Vec::new();
        if row.stalled {
            let silent = task
                .last_report_at
                .or(task.started_at)
                .map(|last| self.now.since(last));
            let text = format!("STALLED for {}", span(silent.unwrap_or_default()));
            parts.push(palette.warn(&text));
        }
        if task.retry_count > 0 {
            parts.push(palette.warn(&format!("retry {}", task.retry_count)));
        }
        match (&task.waiting_on, row.status) {
            (Some(waiting), _) => {
                let until = match waiting.until {
                    Some(until) if until > self.now => format!(", {} at most", span(until.since(self.now))),
                    Some(until) => format!(", overdue by {}", span(self.now.since(until))),
                    None => String::new(),
                };
                parts.push(palette.warn(&format!("waits{until}: {}", canvas.text(&waiting.reason))));
            }
            (None, Status::Failed) => {
                let error = task.error_message.as_deref().unwrap_or("failed");
                parts.push(palette.error(&canvas.text(error)));
            }
            (None, Status::InProgress) if task.children.is_empty() => parts.extend(last_words(task, canvas)),
            (None, Status::Paused | Status::Cancelled) => {
                parts.push(palette.status(row.status, words(row.status)));
                parts.extend(last_words(task, canvas));
            }
            (None, Status::NotStarted | Status::InProgress | Status::Completed) => {}
        }
        parts.join(canvas.charset.separator())
    }
}

impl Canvas {
    /// Foreign text on one line, in characters that can be shown.
    fn text(&self, text: &str) -> String {
        self.charset.text(&one_line(text)).into_owned()
    }

    /// At most `width` columns of `line`.
    fn cut(&self, line: &str, width: usize) -> String {
        truncate_str(line, width, self.charset.ellipsis()).into_owned()
    }

    fn name(&self, lead: &str, row: &TreeRow<'_>, folded: usize) -> String {
        let task = row.task;
        let name = self.text(&task.task_name);
        let name = match row.status {
            Status::NotStarted | Status::Cancelled => self.palette.dim(&name),
            _ if task.children.is_empty() => name,
            _ => self.palette.bold(&name),
        };
        let folded = if folded > 0 {
            self.palette.dim(&format!(" +{folded}"))
        } else {
            String::new()
        };
        let sign = self.palette.status(row.status, self.charset.sign(row.status));
        format!("{}{sign} {name}{folded}", self.palette.dim(lead))
    }
}

/// How many rows are neither shown nor counted with one that is.
fn unseen(fitted: &[Fitted]) -> usize {
    let hidden = fitted.iter().filter(|fit| !fit.shown).count();
    let folded: usize = fitted.iter().map(|fit| fit.folded).sum();
    hidden - folded
}

fn last_words(task: &TaskProgress, canvas: &Canvas) -> Option<String> {
    let event = task.events.back()?;
    Some(canvas.text(&event.message)).filter(|message| !message.is_empty())
}

/// Whole percents, rounded down: only what is complete reads as 100.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage is from 0 to 100"
)]
fn whole(percent: Percent) -> String {
    format!("{:>3}%", percent.value().floor() as u8)
}

const fn words(status: Status) -> &'static str {
    match status {
        Status::NotStarted => "not started",
        Status::InProgress => "in progress",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Paused => "paused",
        Status::Cancelled => "cancelled",
    }
}

/// As [`span`], with tenths of a second where they count.
pub(crate) fn brief(took: Span) -> String {
    if took < Span::from_secs(10) {
        let tenths = took.as_micros().max(0) / 100_000;
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else {
        span(took)
    }
}

/// What is left of something, where less than a second is no longer counted.
fn remaining(left: Span) -> String {
    if left < Span::from_secs(1) {
        "<1s".to_owned()
    } else {
        format!("~{}", span(left))
    }
}

/// How long it takes still, and how anyone knows.
fn left(estimate: &Estimate, now: Timestamp) -> String {
    let basis = match estimate.basis {
        EstimateBasis::History { runs } => format!("{runs} earlier runs"),
        EstimateBasis::Rate => "by rate".to_owned(),
        EstimateBasis::Unknown => return "time left unknown".to_owned(),
    };
    match (estimate.p50, estimate.p90) {
        (Some(p50), Some(p90)) => format!(
            "{} left (p90 {}, {basis})",
            remaining(p50.since(now)),
            span(p90.since(now))
        ),
        _ => "time left unknown".to_owned(),
    }
}
