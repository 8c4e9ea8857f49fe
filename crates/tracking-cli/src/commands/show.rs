//! What is shown of upgrades and tasks: `upgrade list`, `upgrade show`, `task show`.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};
use tracking_facade::{
    Head, ProgressError, ProgressEvent, Status, Summary, TaskId, TaskReport, Timestamp, UpgradeId,
    UpgradeProgress, UpgradeView,
};

use crate::args::TaskName;
use crate::exit::{Failure, chain};
use crate::failure::cannot;
use crate::render::{Cell, Palette, Table, bar, one_line, sign, span, task_tree, time};
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
            tasks: None,
        }
    }

    fn full(view: &UpgradeView) -> Self {
        let reports = view.progress.tasks().values();
        let reports = reports
            .map(|task| TaskReport::new(&view.progress, task, view.at))
            .collect();
        Self {
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
}

impl TaskDocument {
    pub(crate) fn new(progress: &UpgradeProgress, task: &TaskId, head: &Head, now: Timestamp) -> Self {
        Self {
            upgrade_id: progress.upgrade_id.clone(),
            seq: head.seq,
            report: progress
                .task(task)
                .map(|task| TaskReport::new(progress, task, now)),
        }
    }
}

/// `upgrade list`.
#[derive(Debug, Serialize)]
struct ListDocument {
    upgrades: Vec<UpgradeDocument>,
    /// Upgrades whose journal cannot be read.
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    upgrade_id: UpgradeId,
    error: String,
}

pub(crate) fn list(settings: &Settings, status: Option<Status>) -> Result<(), Failure> {
    let attempted = || format!("list the upgrades in {}", settings.data_dir.display());
    let archive = settings.archive().map_err(cannot(attempted))?;
    let entries = archive.upgrades().map_err(cannot(attempted))?;
    let mut views = Vec::new();
    let mut unreadable = Vec::new();
    for (upgrade_id, entry) in entries {
        match entry {
            Ok(view) if status.is_none_or(|status| view.progress.status == status) => views.push(view),
            Ok(_) => {}
            Err(error) => unreadable.push(Unreadable {
                upgrade_id,
                error: chain(&error).join(": "),
            }),
        }
    }
    let document = ListDocument {
        upgrades: views
            .iter()
            .map(|view| UpgradeDocument::brief(&view.progress, &view.head, view.at))
            .collect(),
        unreadable,
    };
    settings.output.result(&document, |palette| {
        list_text(&views, &document.unreadable, palette)
    })
}

fn list_text(views: &[UpgradeView], unreadable: &[Unreadable], palette: Palette) -> String {
    let mut table = Table::new([
        "UPGRADE", "CLUSTER", "STATUS", "PROGRESS", "PHASE", "STARTED", "TOOK",
    ]);
    for view in views {
        let progress = &view.progress;
        let took = progress
            .duration
            .or_else(|| progress.started_at.map(|started| view.at.since(started)));
        table.row([
            progress.upgrade_id.as_str().into(),
            (&progress.cluster_name).into(),
            Cell::painted(progress.status.as_str(), |text| {
                palette.status(progress.status, text)
            }),
            format!("{}%", progress.overall_percentage()).into(),
            progress.current_phase.as_deref().unwrap_or("-").into(),
            progress.started_at.map_or_else(|| "-".to_owned(), time).into(),
            took.map_or_else(|| "-".to_owned(), span).into(),
        ]);
    }
    let mut text = if table.is_empty() {
        "no upgrades\n".to_owned()
    } else {
        table.render(palette)
    };
    for Unreadable { upgrade_id, error } in unreadable {
        writeln!(text, "{} {upgrade_id}: {error}", palette.error("unreadable:"))
            .expect("strings take everything");
    }
    text
}

pub(crate) fn upgrade(settings: &Settings, id: &UpgradeId) -> Result<(), Failure> {
    let attempted = || format!("show upgrade {id}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    let view = archive.upgrade(id).map_err(cannot(attempted))?;
    settings.output.result(&UpgradeDocument::full(&view), |palette| {
        upgrade_text(&view, palette)
    })
}

/// The head lines and the tree of tasks.
pub(crate) fn upgrade_text(view: &UpgradeView, palette: Palette) -> String {
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
    let mut parts = vec![palette.status(progress.status, progress.status.as_str())];
    if progress.completed_with_failures {
        parts.push(palette.warn("with failures"));
    }
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

pub(crate) fn task(settings: &Settings, name: &TaskName) -> Result<(), Failure> {
    let TaskName { upgrade, task } = name;
    let attempted = || format!("show task {task} of upgrade {upgrade}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    let view = archive.upgrade(upgrade).map_err(cannot(attempted))?;
    let Some(found) = view.progress.task(task) else {
        return Err(cannot(attempted)(ProgressError::UnknownTask {
            upgrade_id: upgrade.clone(),
            task_id: task.clone(),
        }));
    };
    let report = TaskReport::new(&view.progress, found, view.at);
    let text = |palette| task_text(&report, &found.events, found.events_omitted, palette);
    settings.output.result(
        &TaskDocument::new(&view.progress, task, &view.head, view.at),
        text,
    )
}

fn task_text<'a>(
    report: &TaskReport,
    events: impl IntoIterator<Item = &'a ProgressEvent>,
    omitted: u64,
    palette: Palette,
) -> String {
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
