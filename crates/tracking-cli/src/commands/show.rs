//! What is shown of upgrades and tasks: `upgrade list`, `upgrade show`, `task show`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tracking_facade::{
    Agent, ArtifactId, Clock, Estimate, EstimateBasis, Head, ProgressError, ProgressEvent, Span, Status,
    StreamId, Summary, SystemClock, TaskId, TaskReport, Timestamp, UpgradeHeader, UpgradeId, UpgradeProgress,
    UpgradeView,
};

use super::logs::{Attempt, Stream, attempts};
use crate::args::TaskName;
use crate::exit::{Failure, chain};
use crate::failure::cannot;
use crate::output::note;
use crate::render::{Cell, Palette, Table, bar, bytes, one_line, sign, span, task_tree, time};
use crate::settings::Settings;

const HEAD_BAR: usize = 30;

/// An upgrade as scripts get it.
#[derive(Debug, Serialize)]
pub(crate) struct UpgradeDocument {
    #[serde(flatten)]
    summary: Summary,
    metadata: Map<String, Value>,
    epoch: String,
    seq: u64,
    /// Hash of the journal's last record.
    head: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Agent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_completion: Option<Estimate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<TaskReport>>,
}

impl UpgradeDocument {
    /// Without its tasks.
    pub(crate) fn brief(progress: &UpgradeProgress, head: &Head, now: Timestamp) -> Self {
        Self {
            summary: Summary::of(progress, now),
            metadata: progress.metadata.clone(),
            epoch: head.epoch.to_string(),
            seq: head.seq,
            head: head.hash.to_string(),
            agent: None,
            estimated_completion: None,
            tasks: None,
        }
    }

    fn full(view: &UpgradeView, estimate: &Estimate) -> Self {
        let reports = view.progress.tasks().values();
        let reports = reports
            .map(|task| TaskReport::new(&view.progress, task, view.at))
            .collect();
        Self {
            agent: Some(view.agent),
            estimated_completion: Some(*estimate),
            tasks: Some(reports),
            ..Self::brief(&view.progress, &view.head, view.at)
        }
    }
}

/// A task as scripts get it.
#[derive(Debug, Serialize)]
pub(crate) struct TaskDocument {
    upgrade_id: UpgradeId,
    seq: u64,
    #[serde(flatten)]
    report: Option<TaskReport>,
    /// The logs of its attempts, the oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<LogDocument>>,
}

/// A log of an attempt.
#[derive(Debug, Serialize)]
struct LogDocument {
    attempt: usize,
    stream: Stream,
    artifact_id: ArtifactId,
    name: Arc<str>,
    file_size: Option<u64>,
}

impl LogDocument {
    fn all(attempts: &[Attempt]) -> Vec<Self> {
        let numbered = attempts.iter().zip(1..);
        numbered
            .flat_map(|(attempt, number)| {
                attempt.logs.iter().map(move |log| Self {
                    attempt: number,
                    stream: log.stream,
                    artifact_id: log.artifact.artifact_id.clone(),
                    name: Arc::clone(&log.artifact.name),
                    file_size: log.artifact.file_size,
                })
            })
            .collect()
    }
}

/// `task list`.
#[derive(Debug, Serialize)]
struct TasksDocument {
    upgrade_id: UpgradeId,
    tasks: Vec<TaskReport>,
}

impl TaskDocument {
    pub(crate) fn new(progress: &UpgradeProgress, task: &TaskId, head: &Head, now: Timestamp) -> Self {
        Self {
            upgrade_id: progress.upgrade_id.clone(),
            seq: head.seq,
            report: progress
                .task(task)
                .map(|task| TaskReport::new(progress, task, now)),
            logs: None,
        }
    }
}

/// `upgrade list`.
#[derive(Debug, Serialize)]
struct ListDocument {
    upgrades: Vec<UpgradeHeader>,
    /// Upgrades whose journal cannot be read; in a bucket also those of which a part cannot.
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    upgrade_id: UpgradeId,
    error: String,
}

pub(crate) fn list(settings: &Settings, status: Option<Status>) -> Result<(), Failure> {
    let attempted = || format!("list the upgrades in {}", settings.place());
    let archive = settings.archive().map_err(cannot(attempted))?;
    let mut document = ListDocument {
        upgrades: Vec::new(),
        unreadable: Vec::new(),
    };
    for entry in archive.upgrades().map_err(cannot(attempted))? {
        match entry.header {
            Ok(header) if status.is_none_or(|status| header.status == status) => {
                document.upgrades.push(header)
            }
            Ok(_) => {}
            Err(error) => document.unreadable.push(Unreadable {
                upgrade_id: entry.upgrade_id,
                error: chain(&error).join(": "),
            }),
        }
    }
    let unread = settings.unread.iter().filter_map(|unread| match &unread.stream {
        StreamId::Upgrade(id) => Some(Unreadable {
            upgrade_id: id.clone(),
            error: unread.error.clone(),
        }),
        StreamId::Session(_) => None,
    });
    document.unreadable.extend(unread);
    settings
        .output
        .result(&document, |palette| list_text(&document, palette))
}

fn list_text(document: &ListDocument, palette: Palette) -> String {
    let now = SystemClock.now();
    let mut table = Table::new([
        "UPGRADE", "CLUSTER", "STATUS", "PROGRESS", "PHASE", "STARTED", "TOOK",
    ]);
    for header in &document.upgrades {
        let known = match header.agent {
            Agent::Elsewhere => header.last_report_at,
            _ => None,
        };
        let until = header.completed_at.or(known).unwrap_or(now);
        let took = header.started_at.map(|started| span(until.since(started)));
        let remark = match (header.completed_with_failures, header.agent) {
            (true, _) => " with failures",
            (false, Agent::Gone) => ", agent gone",
            (false, _) => "",
        };
        table.row([
            header.upgrade_id.as_str().into(),
            (&header.cluster_name).into(),
            Cell::painted(&format!("{}{remark}", header.status), |text| {
                palette.status(header.status, text)
            }),
            format!("{}%", header.overall_percentage).into(),
            header.current_phase.as_deref().unwrap_or("-").into(),
            header.started_at.map_or_else(|| "-".to_owned(), time).into(),
            took.as_deref().unwrap_or("-").into(),
        ]);
    }
    let mut text = match (table.is_empty(), document.unreadable.is_empty()) {
        (true, true) => "no upgrades\n".to_owned(),
        (true, false) => String::new(),
        (false, _) => table.render(palette),
    };
    for Unreadable { upgrade_id, error } in &document.unreadable {
        let error = one_line(error);
        writeln!(text, "{} {upgrade_id}: {error}", palette.error("unreadable:"))
            .expect("strings take everything");
    }
    text
}

pub(crate) fn upgrade(settings: &Settings, id: &UpgradeId) -> Result<(), Failure> {
    let attempted = || format!("show upgrade {id}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    let view = archive.upgrade(id).map_err(settings.cannot(attempted))?;
    let estimate = archive.estimate(&view).map_err(cannot(attempted))?;
    let document = UpgradeDocument::full(&view, &estimate);
    settings
        .output
        .result(&document, |palette| upgrade_text(&view, &estimate, palette))
}

/// The head lines and the tree of tasks.
fn upgrade_text(view: &UpgradeView, estimate: &Estimate, palette: Palette) -> String {
    let progress = &view.progress;
    let status = progress.status;
    let percent = progress.overall_percentage();
    let title = format!(
        "{} · cluster {}",
        progress.upgrade_id,
        one_line(&progress.cluster_name)
    );
    let mut lines = vec![
        format!(
            "{} {}",
            palette.status(status, sign(status)),
            palette.bold(&title)
        ),
        format!(
            "{} {percent}%  {}",
            palette.status(status, &bar(percent, HEAD_BAR)),
            standing(view, palette)
        ),
    ];
    lines.extend(remaining(estimate, view.at));
    if view.agent == Agent::Gone {
        let last = progress
            .last_report_at
            .map(|last| span(view.at.since(last)))
            .unwrap_or_default();
        lines.push(palette.warn(&format!(
            "agent gone: nothing was recorded for {last}, and nobody is at work on it"
        )));
    }
    if view.agent == Agent::Elsewhere {
        lines.push(palette.dim(&format!("read from the bucket: as of {}", time(view.at))));
    }
    if let Some(error) = &progress.error_message {
        lines.push(palette.error(&one_line(error)));
    }
    if let Some(reason) = &progress.reason {
        lines.push(palette.warn(&one_line(reason)));
    }
    let tree = task_tree(progress, view.at, palette);
    format!("{}\n{tree}", lines.join("\n"))
}

/// Status, phase and times on one line.
fn standing(view: &UpgradeView, palette: Palette) -> String {
    let progress = &view.progress;
    let mut status = palette.status(progress.status, progress.status.as_str());
    if progress.completed_with_failures {
        status = format!("{status} {}", palette.warn("with failures"));
    }
    let mut parts = vec![status];
    parts.extend(
        progress
            .current_phase
            .as_deref()
            .map(|phase| format!("phase {}", one_line(phase))),
    );
    match (progress.duration, progress.started_at) {
        (Some(duration), _) => parts.push(format!("took {}", span(duration))),
        (None, Some(started)) => parts.push(format!("since {}", span(view.at.since(started)))),
        (None, None) => {}
    }
    parts.join(" · ")
}

/// When it will be complete, and how that is known.
fn remaining(estimate: &Estimate, now: Timestamp) -> Option<String> {
    let p50 = estimate.p50.filter(|p50| p50.since(now) >= Span::from_secs(1))?;
    let late = estimate
        .p90
        .map_or_else(String::new, |p90| format!(", at most {}", span(p90.since(now))));
    let basis = match estimate.basis {
        EstimateBasis::History { runs } => format!("from {runs} earlier runs"),
        EstimateBasis::Rate => "from the rate so far".to_owned(),
        EstimateBasis::Unknown => return None,
    };
    Some(format!("about {} left{late} ({basis})", span(p50.since(now))))
}

pub(crate) fn tasks(settings: &Settings, upgrade: &UpgradeId) -> Result<(), Failure> {
    let attempted = || format!("list the tasks of upgrade {upgrade}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    let view = archive.upgrade(upgrade).map_err(settings.cannot(attempted))?;
    let reports = view.progress.tasks().values();
    let document = TasksDocument {
        upgrade_id: upgrade.clone(),
        tasks: reports
            .map(|task| TaskReport::new(&view.progress, task, view.at))
            .collect(),
    };
    settings.output.result(&document, |palette| {
        let mut table = Table::new(["TASK", "NAME", "STATUS", "PROGRESS", "PART OF", "STARTED", "TOOK"]);
        for task in &document.tasks {
            table.row([
                task.task_id.as_str().into(),
                (&task.task_name).into(),
                Cell::painted(task.status.as_str(), |text| palette.status(task.status, text)),
                format!("{}%", task.percentage).into(),
                task.parent_task_id
                    .as_ref()
                    .map_or("-", |parent| parent.as_str())
                    .into(),
                task.started_at.map_or_else(|| "-".to_owned(), time).into(),
                task.duration.map_or_else(|| "-".to_owned(), span).into(),
            ]);
        }
        if table.is_empty() {
            "no tasks\n".to_owned()
        } else {
            table.render(palette)
        }
    })
}

/// The logs of a task's attempts. Where they cannot be read, the task is shown without them.
fn logs_of(settings: &Settings, name: &TaskName) -> Vec<LogDocument> {
    let attempted = || format!("find the logs of task {}", name.task);
    let manager = settings.artifacts().map_err(cannot(attempted));
    let found = manager.and_then(|manager| attempts(&manager, &name.upgrade, &name.task));
    match found {
        Ok(attempts) => LogDocument::all(&attempts),
        Err(failure) => {
            note(
                "warning",
                &format!("the logs of its attempts are not shown: {}", failure.in_short()),
            );
            Vec::new()
        }
    }
}

pub(crate) fn task(settings: &Settings, name: &TaskName) -> Result<(), Failure> {
    let TaskName { upgrade, task } = name;
    let attempted = || format!("show task {task} of upgrade {upgrade}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    let view = archive.upgrade(upgrade).map_err(settings.cannot(attempted))?;
    let Some(found) = view.progress.task(task) else {
        return Err(cannot(attempted)(ProgressError::UnknownTask {
            upgrade_id: upgrade.clone(),
            task_id: task.clone(),
        }));
    };
    let report = TaskReport::new(&view.progress, found, view.at);
    let logs = logs_of(settings, name);
    let text = |palette| {
        let mut text = task_text(&report, palette);
        text.extend(logs.iter().map(log_line));
        text + &events_text(&found.events, found.events_omitted, palette)
    };
    let text = text(settings.output.palette());
    let document = TaskDocument {
        logs: Some(logs),
        ..TaskDocument::new(&view.progress, task, &view.head, view.at)
    };
    settings.output.result(&document, |_| text)
}

fn log_line(log: &LogDocument) -> String {
    let size = log.file_size.map_or_else(|| "-".to_owned(), bytes);
    format!(
        "  attempt {}  {}, {size}: {}\n",
        log.attempt,
        log.stream.as_str(),
        log.artifact_id
    )
}

fn task_text(report: &TaskReport, palette: Palette) -> String {
    let status = report.status;
    let mut rows: Vec<(&str, String)> = vec![
        ("status", palette.status(status, status.as_str())),
        (
            "progress",
            format!(
                "{} {}%",
                palette.status(status, &bar(report.percentage, HEAD_BAR)),
                report.percentage
            ),
        ),
        ("type", report.task_type.to_string()),
    ];
    let mut optional =
        |name: &'static str, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    optional("part of", report.parent_task_id.as_ref().map(ToString::to_string));
    optional(
        "steps",
        report
            .total_steps
            .map(|total| format!("{}/{total}", report.completed_steps)),
    );
    optional("step", report.current_step.as_deref().map(one_line));
    optional(
        "waits on",
        report
            .waiting_on
            .as_ref()
            .map(|waiting| one_line(&waiting.reason)),
    );
    optional(
        "error",
        report
            .error_message
            .as_deref()
            .map(|error| palette.error(&one_line(error))),
    );
    optional(
        "retries",
        (report.retry_count > 0).then(|| report.retry_count.to_string()),
    );
    optional("started", report.started_at.map(time));
    optional("took", report.duration.map(span));
    optional(
        "stalled",
        report.stalled.then(|| palette.warn("it has gone silent")),
    );
    let sign = palette.status(status, sign(status));
    let mut text = format!(
        "{sign} {} ({})\n",
        palette.bold(&one_line(&report.task_name)),
        report.task_id
    );
    for (name, value) in rows {
        text.push_str(&format!("  {name:<9} {value}\n"));
    }
    text
}

/// The last events.
fn events_text<'a>(
    events: impl IntoIterator<Item = &'a ProgressEvent>,
    omitted: u64,
    palette: Palette,
) -> String {
    let mut text = String::new();
    if omitted > 0 {
        text.push_str(&palette.dim(&format!(
            "  {omitted} earlier events: `ekstrack export` has them\n"
        )));
    }
    for event in events {
        let percent = event
            .percentage
            .map_or_else(String::new, |percent| format!("{percent}%"));
        let when = palette.dim(&time(event.timestamp));
        text.push_str(&format!("  {when}  {percent:>6}  {}\n", one_line(&event.message)));
    }
    text
}
