//! The tasks of an upgrade's file, and their events.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::json::Json;
use super::read::{Fields, Findings, valid_id};
use super::upgrade::Lifetime;
use crate::{
    DEFAULT_HEARTBEAT_SECONDS, DEFAULT_WEIGHT, Details, EventId, MAX_WEIGHT, Percent, ProgressEvent,
    RECENT_EVENTS, Status, TaskAdded, TaskId, TaskProgress, TaskType, Timestamp, Waiting,
};

/// A task and all of its events.
pub(super) type TaskAndEvents = (TaskProgress, Vec<ProgressEvent>);

/// The task with the last of its events.
pub(super) fn with_recent((mut task, mut events): TaskAndEvents) -> TaskProgress {
    let older = events.len().saturating_sub(RECENT_EVENTS);
    task.events_omitted += older as u64;
    task.events = events.split_off(older).into();
    task
}

/// Reads the tasks, not yet arranged as a tree, and the originals of the ids that had to be replaced.
pub(super) fn read_tasks(
    entries: &[(String, Json)],
    found: &mut Findings,
) -> (Vec<TaskAndEvents>, Map<String, Value>) {
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
    (read, replaced)
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
) -> TaskAndEvents {
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
    let history = read_events(&task, events, &fields.path_of("events"), found);
    task.last_report_at = task.last_report_at.or_else(|| {
        let times = [
            task.started_at,
            task.completed_at,
            // An event without a time has the epoch.
            history
                .last()
                .map(|event| event.timestamp)
                .filter(|at| *at > Timestamp::EPOCH),
        ];
        times.into_iter().flatten().max()
    });
    fields.keep_rest(found);
    (task, history)
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
            event_id: fields.text("event_id", found).map_or_else(
                || EventId::Text(format!("{}#{index}", task.task_id).into()),
                |id| EventId::from(&*id),
            ),
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
