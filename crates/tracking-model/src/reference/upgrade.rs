//! An upgrade's file: what it says becomes one `upgrade.imported` record, and that record the state.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ReferenceError;
use super::json::Json;
use super::read::{Fields, Findings, valid_id};
use super::task::{read_tasks, with_recent};
use super::tree::arrange;
use crate::{
    Details, PlanId, ProgressEvent, Span, Status, TaskId, TaskProgress, Timestamp, UpgradeId,
    UpgradeImported, UpgradeProgress,
};

/// Stands for a plan or a cluster that a file does not name.
const UNKNOWN: &str = "unknown";

impl UpgradeImported {
    /// Reads the reference's `upgrade_<id>.json`, or a snapshot of ours.
    ///
    /// All that is impossible in it is a warning; its value is kept under the upgrade's `metadata.imported`. An id
    /// that is not valid here is replaced by one that is, made of it; the original is kept as `metadata.original_id`,
    /// `metadata.original_plan_id`, or in `metadata.original_task_ids` under the task's new id.
    ///
    /// # Errors
    /// [`ReferenceError`] if `file` is not JSON, not an object, or has no `upgrade_id`.
    pub fn from_reference(file: &[u8]) -> Result<Self, ReferenceError> {
        let (json, mut warnings) = Json::parse(file)?;
        let Json::Object(entries) = &json else {
            return Err(ReferenceError::NotAnObject { found: json.kind() });
        };
        let mut found = Findings::default();
        let upgrade_id = Fields::new("", entries, &mut Findings::default())
            .id("upgrade_id", &mut found)
            .ok_or(ReferenceError::NoId { field: "upgrade_id" })?;
        let upgrade_id = UpgradeId::new(valid_id(&upgrade_id)).expect("`valid_id` returns valid ids");
        let (progress, more) = read_upgrade(upgrade_id, entries);
        warnings.extend(more);
        Ok(Self {
            upgrade_id: progress.upgrade_id,
            plan_id: progress.plan_id.expect("every upgrade that was read has a plan"),
            cluster_name: progress.cluster_name,
            state: Details::from_object_text(json.to_compact()),
            warnings,
        })
    }

    /// The state that it begins with. Infallible: what cannot be read is kept under `metadata`.
    #[must_use]
    pub fn progress(&self) -> UpgradeProgress {
        let mut progress = match Json::parse(self.state.as_json().as_bytes()) {
            Ok((Json::Object(entries), _)) => read_upgrade(self.upgrade_id.clone(), &entries).0,
            Ok(_) | Err(_) => {
                let mut progress = UpgradeProgress::new(self.upgrade_id.clone());
                let state = Value::String(self.state.as_json().to_owned());
                progress.metadata.insert("imported".to_owned(), state);
                progress
            }
        };
        progress.plan_id = Some(self.plan_id.clone());
        progress.cluster_name = Arc::clone(&self.cluster_name);
        progress
    }

    /// All events of each task in the file, oldest first; the state has only the last of them.
    #[must_use]
    pub fn events(&self) -> HashMap<TaskId, Vec<ProgressEvent>> {
        let Ok((Json::Object(entries), _)) = Json::parse(self.state.as_json().as_bytes()) else {
            return HashMap::new();
        };
        let mut found = Findings::default();
        let tasks = Fields::new("", &entries, &mut found).object("tasks", &mut found);
        let tasks = tasks.unwrap_or_default();
        let (tasks, _) = read_tasks(tasks, &mut found);
        tasks
            .into_iter()
            .map(|(task, events)| (task.task_id, events))
            .collect()
    }
}

fn read_upgrade(upgrade_id: UpgradeId, entries: &[(String, Json)]) -> (UpgradeProgress, Vec<String>) {
    let mut found = Findings::default();
    let mut fields = Fields::new("", entries, &mut found);
    let mut metadata = fields
        .object("metadata", &mut found)
        .map_or_else(Map::new, |entries| {
            let own = Fields::new("metadata", entries, &mut found).into_left();
            own.into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_value()))
                .collect()
        });
    let mut progress = UpgradeProgress::new(upgrade_id);

    if let Some(original) = fields.id("upgrade_id", &mut found)
        && original != progress.upgrade_id.as_str()
    {
        found.warn(format!(
            "upgrade id {original:?} is not valid: imported as {}",
            progress.upgrade_id
        ));
        put(&mut metadata, "original_id", original.into());
    }
    progress.plan_id = Some(plan_id(&mut fields, &mut metadata, &mut found));
    progress.cluster_name = fields.name("cluster_name", &mut found).unwrap_or_else(|| {
        found.warn(format!("cluster_name is missing: imported as {UNKNOWN:?}"));
        UNKNOWN.into()
    });
    let lifetime = Lifetime::read(&mut fields, &mut found);
    progress.status = lifetime.status;
    progress.started_at = lifetime.started_at;
    progress.completed_at = lifetime.completed_at;
    progress.duration = lifetime.duration;
    // It follows from the tasks.
    fields.percent("overall_percentage", &mut found);
    progress.current_phase = fields.text("current_phase", &mut found);
    progress.reason = fields.text("reason", &mut found);
    progress.completed_with_failures = fields
        .flag("completed_with_failures", &mut found)
        .unwrap_or(false);
    progress.retry_count = fields.count_u32("retry_count", &mut found).unwrap_or(0);
    progress.last_report_at = fields.time("last_report_at", &mut found);

    let entries = fields.object("tasks", &mut found).unwrap_or_default();
    let (tasks, original_ids) = read_tasks(entries, &mut found);
    let mut tasks: Vec<TaskProgress> = tasks.into_iter().map(with_recent).collect();
    arrange(&mut tasks, &mut found);
    for task in tasks {
        progress.insert_arranged(task);
    }
    if progress.last_report_at.is_none() {
        progress.last_report_at = last_report(&progress);
    }
    fields.keep_rest(&mut found);

    if let Some(Value::String(error)) = metadata.get("error_message") {
        progress.error_message = Some(error.as_str().into());
        metadata.remove("error_message");
    }
    let (kept, warnings) = found.into_parts();
    extend(&mut metadata, "original_task_ids", original_ids);
    extend(&mut metadata, "imported", kept);
    progress.metadata = metadata;
    (progress, warnings)
}

/// Adds `entries` to the object that `metadata` has under `key`, where an earlier import may have put some.
fn extend(metadata: &mut Map<String, Value>, key: &str, entries: Map<String, Value>) {
    match metadata.get_mut(key) {
        Some(Value::Object(existing)) => existing.extend(entries),
        _ if entries.is_empty() => {}
        _ => put(metadata, key, Value::Object(entries)),
    }
}

/// Sets `key`; what the file had there stays as `original_<key>`.
fn put(metadata: &mut Map<String, Value>, key: &str, value: Value) {
    if let Some(other) = metadata.insert(key.to_owned(), value) {
        metadata.insert(format!("original_{key}"), other);
    }
}

fn plan_id(fields: &mut Fields<'_>, metadata: &mut Map<String, Value>, found: &mut Findings) -> PlanId {
    let Some(original) = fields.id("plan_id", found) else {
        found.warn(format!("plan_id is missing: imported as {UNKNOWN:?}"));
        return PlanId::new(UNKNOWN).expect("a word is a valid id");
    };
    let plan_id = PlanId::new(valid_id(&original)).expect("`valid_id` returns valid ids");
    if original != plan_id.as_str() {
        found.warn(format!(
            "plan id {original:?} is not valid: imported as {plan_id}"
        ));
        put(metadata, "original_plan_id", original.into());
    }
    plan_id
}

/// When anything in the file happened last.
fn last_report(progress: &UpgradeProgress) -> Option<Timestamp> {
    let own = [progress.started_at, progress.completed_at];
    let tasks = progress.tasks().values().filter_map(|task| task.last_report_at);
    own.into_iter().flatten().chain(tasks).max()
}

/// What an upgrade and a task have in common.
pub(super) struct Lifetime {
    pub(super) status: Status,
    pub(super) started_at: Option<Timestamp>,
    pub(super) completed_at: Option<Timestamp>,
    pub(super) duration: Option<Span>,
}

impl Lifetime {
    pub(super) fn read(fields: &mut Fields<'_>, found: &mut Findings) -> Self {
        let shown = fields.named("status", "a status", found);
        // Our snapshots have it where the shown status follows from a task's parts.
        let reported = fields.named("reported_status", "a status", found);
        let status = reported.or(shown).unwrap_or_default();
        let started_at = fields.time("started_at", found);
        let raw = fields.take("completed_at");
        let mut completed_at = raw
            .and_then(Json::as_text)
            .and_then(|text| Timestamp::parse(text).ok());
        let ended = matches!(status, Status::Completed | Status::Failed | Status::Cancelled);
        if let Some(raw) = raw {
            let path = fields.path_of("completed_at");
            if completed_at.is_none() {
                found.keep(&path, raw, "is not a date and time");
            } else if !ended {
                found.keep(&path, raw, format_args!("contradicts the status {status}"));
                completed_at = None;
            } else if completed_at < started_at {
                found.warn(format!(
                    "{path} is before the start: the duration was taken as none"
                ));
            }
        }
        let duration = duration(fields, started_at, completed_at, found);
        Self {
            status,
            started_at,
            completed_at,
            duration,
        }
    }
}

/// The duration that the file names, else that from start to end; never negative, and none before the end.
fn duration(
    fields: &mut Fields<'_>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    found: &mut Findings,
) -> Option<Span> {
    let raw = fields.take("duration");
    let computed = started_at.zip(completed_at).map(|(start, end)| end.since(start));
    let Some(raw) = raw else { return computed };
    let path = fields.path_of("duration");
    match (Fields::span_of(raw), completed_at) {
        (None, _) => found.keep(&path, raw, "is not a duration"),
        (Some(span), _) if span < Span::ZERO => {
            found.keep(&path, raw, "is negative, and was taken as none");
            return Some(Span::ZERO);
        }
        (Some(_), None) => found.keep(&path, raw, "has no end that it leads to"),
        (Some(span), Some(_)) => return Some(span),
    }
    computed
}
