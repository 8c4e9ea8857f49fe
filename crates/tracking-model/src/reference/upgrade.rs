//! An upgrade's file: what it says becomes one `upgrade.imported` record, and that record the state.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ReferenceError;
use super::json::{Json, to_map};
use super::read::{Fields, Findings, valid_id};
use super::tree::arrange;
use crate::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Details, MAX_WEIGHT, Percent, PlanId, ProgressEvent,
    RECENT_EVENTS, Span, Status, TaskAdded, TaskId, TaskProgress, TaskType, Timestamp, UpgradeId,
    UpgradeImported, UpgradeProgress, Waiting,
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
}

/// The state that an import begins with. Infallible: what cannot be read is kept under `metadata`.
pub(crate) fn progress_from_reference(imported: &UpgradeImported) -> UpgradeProgress {
    let mut progress = match Json::parse(imported.state.as_json().as_bytes()) {
        Ok((Json::Object(entries), _)) => read_upgrade(imported.upgrade_id.clone(), &entries).0,
        Ok(_) | Err(_) => {
            let mut progress = UpgradeProgress::new(imported.upgrade_id.clone());
            let state = Value::String(imported.state.as_json().to_owned());
            progress.metadata.insert("imported".to_owned(), state);
            progress
        }
    };
    progress.plan_id = Some(imported.plan_id.clone());
    progress.cluster_name = Arc::clone(&imported.cluster_name);
    progress
}

fn read_upgrade(upgrade_id: UpgradeId, entries: &[(String, Json)]) -> (UpgradeProgress, Vec<String>) {
    let mut found = Findings::default();
    let mut fields = Fields::new("", entries, &mut found);
    let mut metadata = fields
        .object("metadata", &mut found)
        .map_or_else(Map::new, to_map);
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

    let tasks = fields.object("tasks", &mut found).unwrap_or_default();
    let original_ids = read_tasks(&mut progress, tasks, &mut found);
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
struct Lifetime {
    status: Status,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    duration: Option<Span>,
}

impl Lifetime {
    fn read(fields: &mut Fields<'_>, found: &mut Findings) -> Self {
        let status = fields.named("status", "a status", found).unwrap_or_default();
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

/// Reads the tasks into `progress`; returns the originals of the ids that had to be replaced.
fn read_tasks(
    progress: &mut UpgradeProgress,
    entries: &[(String, Json)],
    found: &mut Findings,
) -> Map<String, Value> {
    let tasks = Fields::new("tasks", entries, found).into_left();
    let ids = task_ids(tasks.iter().map(|(key, _)| *key));
    let mut replaced = Map::new();
    let mut read = Vec::with_capacity(tasks.len());
    for (key, value) in tasks {
        let path = format!("tasks.{key}");
        let Json::Object(entries) = value else {
            found.keep(&path, value, "is not a task");
            continue;
        };
        let id = ids[key].clone();
        if id.as_str() != key {
            found.warn(format!("task id {key:?} is not valid: imported as {id}"));
            replaced.insert(id.to_string(), key.into());
        }
        read.push(read_task(key, id, &ids, Fields::new(path, entries, found), found));
    }
    arrange(&mut read, found);
    for task in read {
        progress.insert_arranged(task);
    }
    replaced
}

/// The valid id of every task in the file, by the one it has there. Valid ones stay; the others never take theirs.
fn task_ids<'a>(originals: impl Iterator<Item = &'a str> + Clone) -> HashMap<&'a str, TaskId> {
    let mut ids: HashMap<&str, TaskId> = originals
        .clone()
        .filter_map(|original| Some((original, TaskId::new(original).ok()?)))
        .collect();
    let mut taken: HashSet<TaskId> = ids.values().cloned().collect();
    for original in originals {
        if ids.contains_key(original) {
            continue;
        }
        let base = valid_id(original);
        let id = (1_usize..)
            .map(|attempt| {
                if attempt == 1 {
                    base.to_string()
                } else {
                    format!("{base}-{attempt}")
                }
            })
            .map(|text| TaskId::new(text).expect("`valid_id` leaves room for a suffix"))
            .find(|id| !taken.contains(id))
            .expect("there are more suffixes than tasks");
        taken.insert(id.clone());
        ids.insert(original, id);
    }
    ids
}

fn read_task(
    key: &str,
    task_id: TaskId,
    ids: &HashMap<&str, TaskId>,
    mut fields: Fields<'_>,
    found: &mut Findings,
) -> TaskProgress {
    if let Some(inner) = fields.take("task_id")
        && inner.as_text() != Some(key)
    {
        found.keep(
            &fields.path_of("task_id"),
            inner,
            "differs from the key, which counts",
        );
    }
    let parent_task_id = fields.read("parent_task_id", "a task of this upgrade", found, |value| {
        ids.get(value.as_text()?).cloned()
    });
    let mut task = TaskProgress::new(
        &TaskAdded {
            task_name: fields
                .name("task_name", found)
                .unwrap_or_else(|| task_id.as_str().into()),
            task_type: fields
                .named("task_type", "a task type", found)
                .unwrap_or(TaskType::UpgradeStep),
            parent_task_id,
            weight: fields
                .read("weight", "a weight above 0", found, |value| {
                    value
                        .as_f64()
                        .filter(|weight| *weight > 0.0 && *weight <= MAX_WEIGHT)
                })
                .unwrap_or(DEFAULT_WEIGHT),
            total_steps: fields.count("total_steps", found),
            heartbeat_seconds: fields
                .count_u32("heartbeat_seconds", found)
                .filter(|seconds| *seconds > 0)
                .unwrap_or(DEFAULT_HEARTBEAT_SECONDS),
            task_id,
        },
        1,
    );
    let lifetime = Lifetime::read(&mut fields, found);
    task.status = lifetime.status;
    task.started_at = lifetime.started_at;
    task.completed_at = lifetime.completed_at;
    task.duration = lifetime.duration;
    task.current_step = fields.text("current_step", found);
    task.completed_steps = completed_steps(&mut fields, task.total_steps, found);
    task.percentage = percentage(&mut fields, &task, found);
    task.error_message = fields.text("error_message", found);
    task.retry_count = fields.count_u32("retry_count", found).unwrap_or(0);
    task.waiting_on = fields
        .object("waiting_on", found)
        .and_then(|entries| waiting(&fields, entries, found));
    task.events_omitted = fields.count("events_omitted", found).unwrap_or(0);
    task.last_report_at = fields.time("last_report_at", found);
    let events = fields.list("events", found).unwrap_or_default();
    let mut history = read_events(&task, events, &fields.path_of("events"), found);
    task.events_omitted += history.len().saturating_sub(RECENT_EVENTS) as u64;
    task.events = history
        .split_off(history.len().saturating_sub(RECENT_EVENTS))
        .into();
    task.last_report_at = task.last_report_at.or_else(|| {
        let times = [
            task.started_at,
            task.completed_at,
            task.events.back().map(|event| event.timestamp),
        ];
        times.into_iter().flatten().max()
    });
    fields.keep_rest(found);
    task
}

fn completed_steps(fields: &mut Fields<'_>, total: Option<u64>, found: &mut Findings) -> u64 {
    let raw = fields.take("completed_steps");
    let Some(raw) = raw else { return 0 };
    let path = fields.path_of("completed_steps");
    match (raw.as_count(), total) {
        (None, _) => {
            found.keep(&path, raw, "is not a count");
            0
        }
        (Some(done), Some(total)) if done > total => {
            found.keep(
                &path,
                raw,
                format_args!("is more than the {total} steps that there are"),
            );
            total
        }
        (Some(done), _) => done,
    }
}

/// What the task reported of itself: that of the file, else what its steps tell. Whoever is complete has all.
fn percentage(fields: &mut Fields<'_>, task: &TaskProgress, found: &mut Findings) -> Percent {
    let reported = fields.take("reported_percentage");
    let raw = reported.or_else(|| fields.take("percentage"));
    // Beside what the task reported of itself stands what it shows, which follows from its parts.
    fields.take("percentage");
    let key = if reported.is_some() {
        "reported_percentage"
    } else {
        "percentage"
    };
    let path = fields.path_of(key);
    let read = raw.and_then(|raw| Fields::percent_of(&path, raw, found));
    match (read, task.status, raw) {
        (Some(read), Status::Completed, Some(raw)) if read < Percent::FULL => {
            found.keep(
                &path,
                raw,
                "contradicts the status completed, and was taken as 100",
            );
            Percent::FULL
        }
        (_, Status::Completed, _) => Percent::FULL,
        (Some(read), _, _) => read,
        (None, _, _) => Percent::from_steps(task.completed_steps, task.total_steps.unwrap_or(0)),
    }
}

fn waiting(fields: &Fields<'_>, entries: &[(String, Json)], found: &mut Findings) -> Option<Waiting> {
    let mut inner = Fields::new(fields.path_of("waiting_on"), entries, found);
    let waiting = inner
        .text("reason", found)
        .zip(inner.time("since", found))
        .map(|(reason, since)| Waiting {
            reason,
            since,
            until: inner.time("until", found),
        });
    inner.keep_rest(found);
    waiting
}

/// All events of a task, oldest first as the file has them.
fn read_events(task: &TaskProgress, items: &[Json], path: &str, found: &mut Findings) -> Vec<ProgressEvent> {
    let mut events: Vec<ProgressEvent> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}.{index}");
        let Json::Object(entries) = item else {
            found.keep(&path, item, "is not an event");
            continue;
        };
        let mut fields = Fields::new(path, entries, found);
        let before = events.last().map(|event| event.timestamp).or(task.started_at);
        if let Some(other) = fields.take("task_id")
            && other.as_text() != Some(task.task_id.as_str())
            && other.as_text().map(valid_id).as_deref() != Some(task.task_id.as_str())
        {
            found.keep(&fields.path_of("task_id"), other, "names another task");
        }
        events.push(ProgressEvent {
            event_id: fields
                .text("event_id", found)
                .unwrap_or_else(|| format!("{}#{index}", task.task_id).into()),
            timestamp: fields.time("timestamp", found).unwrap_or_else(|| {
                found.warn(format!("{} is missing", fields.path_of("timestamp")));
                before.unwrap_or(Timestamp::EPOCH)
            }),
            task_id: task.task_id.clone(),
            task_type: fields
                .named("task_type", "a task type", found)
                .unwrap_or(task.task_type),
            status: fields.named("status", "a status", found).unwrap_or(task.status),
            message: fields.text("message", found).unwrap_or_else(|| "".into()),
            details: fields.object("details", found).map_or(Details::NONE, |entries| {
                Details::from_object_text(Json::Object(entries.to_vec()).to_compact())
            }),
            percentage: fields.percent("percentage", found),
        });
        fields.keep_rest(found);
    }
    events
}
