//! Snapshots: an upgrade's state as the JSON file that people and the reference's tools read.

use std::collections::HashMap;
use std::io;

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Map, Value};

use crate::{
    Percent, ProgressEvent, RecordMeta, Rollup, Status, TaskId, TaskProgress, UpgradeEvent, UpgradeProgress,
};

/// An upgrade's state as the reference writes it: its fields, names and order, with the percentages that are shown.
///
/// What the reference does not know follows after its fields, where its readers ignore it:
/// `completed_with_failures`, `retry_count`, `reason` and `last_report_at` of the upgrade; `events_omitted`, `weight`,
/// `heartbeat_seconds`, `last_report_at`, `waiting_on` and, where children decide what is shown,
/// `reported_percentage` and `reported_status` of a task. Why the upgrade failed stands in `metadata.error_message`, as there.
/// [`UpgradeImported::from_reference`](crate::UpgradeImported::from_reference) reads all of it back.
#[derive(Debug)]
pub struct Snapshot<'a> {
    progress: &'a UpgradeProgress,
    rollup: Rollup,
    history: Option<&'a EventHistory>,
    brief: bool,
}

impl<'a> Snapshot<'a> {
    /// The snapshot of `progress`, with the last [`RECENT_EVENTS`](crate::RECENT_EVENTS) events of each task.
    #[must_use]
    pub fn of(progress: &'a UpgradeProgress) -> Self {
        Self {
            progress,
            rollup: Rollup::of(progress),
            history: None,
            brief: false,
        }
    }

    /// What a viewer needs to show `progress`: of each task's events only the last, and of the metadata nothing but the
    /// error.
    #[must_use]
    pub fn brief(progress: &'a UpgradeProgress) -> Self {
        Self {
            brief: true,
            ..Self::of(progress)
        }
    }

    /// Writes all events that `history` has instead of the last ones.
    #[must_use]
    pub const fn with_history(mut self, history: &'a EventHistory) -> Self {
        self.history = Some(history);
        self
    }

    /// Writes it as indented JSON, piece by piece: give a buffered `out`.
    ///
    /// # Errors
    /// Those of `out`; what it has taken until then is no complete JSON.
    pub fn write_to(&self, out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(out, self).map_err(io::Error::from)
    }

    /// As indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and finite numbers serialise into memory")
    }
}

/// All events of an upgrade's tasks, collected from its journal for an export.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventHistory {
    tasks: HashMap<TaskId, Vec<ProgressEvent>>,
}

impl EventHistory {
    /// Adds one record of the upgrade's journal, in order.
    pub fn push(&mut self, meta: &RecordMeta, event: &UpgradeEvent) {
        match event {
            UpgradeEvent::Task(_, change) => self
                .tasks
                .entry(change.task_id.clone())
                .or_default()
                .push(ProgressEvent::new(meta, change)),
            UpgradeEvent::Imported(imported) => self.tasks = imported.events(),
            UpgradeEvent::Created(_)
            | UpgradeEvent::Upgrade(..)
            | UpgradeEvent::TaskAdded(_)
            | UpgradeEvent::Heartbeat(_)
            | UpgradeEvent::Unknown { .. } => {}
        }
    }

    /// The events of a task, oldest first.
    #[must_use]
    pub fn task(&self, task_id: &TaskId) -> &[ProgressEvent] {
        self.tasks.get(task_id).map_or(&[], Vec::as_slice)
    }
}

impl Serialize for Snapshot<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let progress = self.progress;
        let mut out = serializer.serialize_struct("UpgradeProgress", 15)?;
        out.serialize_field("upgrade_id", &progress.upgrade_id)?;
        out.serialize_field("plan_id", &progress.plan_id)?;
        out.serialize_field("cluster_name", &progress.cluster_name)?;
        out.serialize_field("status", &progress.status)?;
        out.serialize_field("started_at", &progress.started_at)?;
        out.serialize_field("completed_at", &progress.completed_at)?;
        out.serialize_field("duration", &progress.duration)?;
        out.serialize_field("overall_percentage", &self.rollup.overall)?;
        out.serialize_field("current_phase", &progress.current_phase)?;
        out.serialize_field("tasks", &Tasks(self))?;
        out.serialize_field("metadata", &Metadata(self))?;
        out.serialize_field("completed_with_failures", &progress.completed_with_failures)?;
        out.serialize_field("retry_count", &progress.retry_count)?;
        out.serialize_field("reason", &progress.reason)?;
        out.serialize_field("last_report_at", &progress.last_report_at)?;
        out.end()
    }
}

struct Tasks<'a>(&'a Snapshot<'a>);

impl Serialize for Tasks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(snapshot) = self;
        serializer.collect_map(snapshot.progress.tasks().iter().map(|(task_id, task)| {
            let shown = snapshot.rollup.task(task_id).unwrap_or(task.percentage);
            let status = snapshot.rollup.status(task_id).unwrap_or(task.status);
            let history = snapshot.history.map(|history| history.task(task_id));
            let brief = snapshot.brief;
            let task = Task {
                task,
                shown,
                status,
                history,
                brief,
            };
            (task_id, task)
        }))
    }
}

struct Task<'a> {
    task: &'a TaskProgress,
    shown: Percent,
    status: Status,
    history: Option<&'a [ProgressEvent]>,
    brief: bool,
}

impl Task<'_> {
    /// The events that are written, and how many more there were.
    fn events(&self) -> (Vec<&ProgressEvent>, u64) {
        let task = self.task;
        match self.history {
            Some(events) => (events.iter().collect(), 0),
            None => {
                let left_out = if self.brief {
                    task.events.len().saturating_sub(1)
                } else {
                    0
                };
                let events = task.events.iter().skip(left_out).collect();
                (events, task.events_omitted + left_out as u64)
            }
        }
    }
}

impl Serialize for Task<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let task = self.task;
        let own = (self.shown != task.percentage).then_some(task.percentage);
        let own_status = (self.status != task.status).then_some(task.status);
        let more = usize::from(own.is_some()) + usize::from(own_status.is_some());
        let mut out = serializer.serialize_struct("TaskProgress", 20 + more)?;
        out.serialize_field("task_id", &task.task_id)?;
        out.serialize_field("task_name", &task.task_name)?;
        out.serialize_field("task_type", &task.task_type)?;
        out.serialize_field("parent_task_id", &task.parent_task_id)?;
        out.serialize_field("status", &self.status)?;
        out.serialize_field("started_at", &task.started_at)?;
        out.serialize_field("completed_at", &task.completed_at)?;
        out.serialize_field("duration", &task.duration)?;
        out.serialize_field("percentage", &self.shown)?;
        out.serialize_field("current_step", &task.current_step)?;
        out.serialize_field("total_steps", &task.total_steps)?;
        out.serialize_field("completed_steps", &task.completed_steps)?;
        out.serialize_field("error_message", &task.error_message)?;
        out.serialize_field("retry_count", &task.retry_count)?;
        let (events, omitted) = self.events();
        out.serialize_field("events", &events)?;
        out.serialize_field("events_omitted", &omitted)?;
        out.serialize_field("weight", &task.weight)?;
        out.serialize_field("heartbeat_seconds", &task.heartbeat_seconds)?;
        out.serialize_field("last_report_at", &task.last_report_at)?;
        out.serialize_field("waiting_on", &task.waiting_on)?;
        if let Some(own) = own {
            out.serialize_field("reported_percentage", &own)?;
        }
        if let Some(own) = own_status {
            out.serialize_field("reported_status", &own)?;
        }
        out.end()
    }
}

/// The metadata, with the error as the reference keeps it.
struct Metadata<'a>(&'a Snapshot<'a>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const ERROR: &str = "error_message";
        let progress = self.0.progress;
        let none = Map::new();
        let metadata: &Map<String, Value> = if self.0.brief { &none } else { &progress.metadata };
        let Some(error) = &progress.error_message else {
            return metadata.serialize(serializer);
        };
        let mut out = serializer.serialize_map(None)?;
        for (key, value) in metadata.iter().filter(|(key, _)| *key != ERROR) {
            out.serialize_entry(key, value)?;
        }
        out.serialize_entry(ERROR, error)?;
        out.end()
    }
}
