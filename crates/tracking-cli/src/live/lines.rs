//! What a log or a pipe gets: a line for each change of state.

use std::cell::Cell;

use tracking_facade::{Artifact, ProgressEventMessage, Summary, UpgradeEvent, UpgradeId};
use tracking_model::RecordMeta;

use crate::exit::Failure;
use crate::output::Output;
use crate::render::{bytes, one_line, time};

/// Prints lines about one upgrade.
#[derive(Debug)]
pub(super) struct Lines {
    upgrade: UpgradeId,
    output: Output,
    /// Whether anything happened since the summary.
    news: Cell<bool>,
}

impl Lines {
    pub(super) const fn new(upgrade: UpgradeId, output: Output) -> Self {
        Self {
            upgrade,
            output,
            news: Cell::new(false),
        }
    }

    pub(super) fn has_news(&self) -> bool {
        self.news.get()
    }

    pub(super) fn summary(&self, summary: &Summary) -> Result<(), Failure> {
        let phase = summary
            .current_phase
            .as_deref()
            .map_or_else(String::new, |phase| format!(", in phase {}", one_line(phase)));
        self.output.text(&format!(
            "upgrade {} of {} is {} at {}%{phase}: {} of {} tasks completed, {} running, {} failed\n",
            self.upgrade,
            one_line(&summary.cluster_name),
            summary.status.as_str().replace('_', " "),
            summary.overall_percentage,
            summary.completed_tasks,
            summary.total_tasks,
            summary.active_tasks,
            summary.failed_tasks,
        ))
    }

    /// A line for whatever changed a state; mere progress is left out.
    pub(super) fn event(&self, meta: &RecordMeta, event: &UpgradeEvent) -> Result<(), Failure> {
        match ProgressEventMessage::new(&self.upgrade, meta, event) {
            Some(message) => self.message(&message),
            None => Ok(()),
        }
    }

    /// The same, of an event as it goes over the wire.
    pub(super) fn message(&self, event: &ProgressEventMessage) -> Result<(), Failure> {
        self.news.set(true);
        if matches!(&*event.kind, "task.progress" | "task.added") {
            return Ok(());
        }
        let palette = self.output.palette();
        let subject = event.task_name.as_deref().unwrap_or("upgrade");
        let percent = event
            .percentage
            .map_or_else(String::new, |percent| format!("{percent}%"));
        self.output.text(&format!(
            "{}  {percent:>6}  {}: {}\n",
            palette.dim(&time(event.timestamp)),
            palette.status(event.status, &one_line(subject)),
            one_line(&event.message),
        ))
    }

    pub(super) fn kept(&self, artifact: &Artifact) -> Result<(), Failure> {
        self.output.text(&format!("{}\n", kept(artifact)))
    }
}

/// An artifact in a line: `kept nodes.log (log_file, 4.2 KiB)`.
pub(super) fn kept(artifact: &Artifact) -> String {
    format!(
        "kept {} ({}, {})",
        one_line(&artifact.name),
        artifact.artifact_type.as_str(),
        bytes(artifact.file_size.unwrap_or(0)),
    )
}
