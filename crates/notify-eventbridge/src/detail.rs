//! The `Detail` of an event: what stands in it, and what is left out where it is too large.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracking_journal::{ChainHash, Record};
use tracking_model::{
    Details, Percent, Span, Status, Steps, TaskAdded, TaskChange, TaskId, TaskType, Timestamp, UpgradeChange,
    UpgradeEvent, UpgradeId, Waiting,
};
use uuid::Uuid;

/// The version of the form that details have. Keys may be added within a version.
const SCHEMA_VERSION: u32 = 1;
/// What is kept of a text that has to be cut, in bytes.
const KEPT_OF_TEXT: usize = 1024;

/// What the first record of an upgrade's stream says of all the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct About<'a> {
    #[serde(borrow)]
    cluster_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    plan_id: Option<Cow<'a, str>>,
}

impl<'a> About<'a> {
    /// Reads the first record. What a newer version's does not say is absent from the details.
    pub(crate) fn new(first: &'a Record) -> Self {
        serde_json::from_str(first.data.get()).unwrap_or_default()
    }
}

/// The detail of one event, in the order of its keys. Keys that do not apply are absent.
#[derive(Debug, Serialize)]
pub(crate) struct Detail<'a> {
    schema_version: u32,
    event_id: Uuid,
    upgrade_id: &'a UpgradeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_id: Option<&'a str>,
    epoch: Uuid,
    seq: u64,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentage: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<Span>,
    /// `duration` as a number, by which rules can compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unfinished: Vec<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<TaskType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_task_id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_step: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Steps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_on: Option<Waiting>,
    #[serde(skip_serializing_if = "Details::is_empty")]
    details: Details,
    /// The journal's hash up to and including this record, on events of the upgrade itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<ChainHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated_fields: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<Whole>,
}

/// Where what was left out is found.
#[derive(Debug, Serialize)]
struct Whole {
    /// Relative to the data directory.
    journal: String,
    seq: u64,
    note: &'static str,
}

impl<'a> Detail<'a> {
    /// The detail of `record`, of the stream of `upgrade_id`; `None` for events that are never sent.
    pub(crate) fn new(
        upgrade_id: &'a UpgradeId,
        about: &'a About<'_>,
        record: &Record,
        event: UpgradeEvent,
    ) -> Option<Self> {
        let mut detail = Self::blank(upgrade_id, about, record);
        match event {
            UpgradeEvent::Created(_) | UpgradeEvent::Imported(_) => detail.head = Some(record.hash),
            UpgradeEvent::Upgrade(_, change) => {
                detail.upgrade(change);
                detail.head = Some(record.hash);
            }
            UpgradeEvent::TaskAdded(added) => detail.added(added),
            UpgradeEvent::Task(_, change) => detail.task(change),
            _ => return None,
        }
        Some(detail)
    }

    fn blank(upgrade_id: &'a UpgradeId, about: &'a About<'_>, record: &Record) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            event_id: record.id,
            upgrade_id,
            cluster_name: about.cluster_name.as_deref(),
            plan_id: about.plan_id.as_deref(),
            epoch: record.epoch,
            seq: record.seq,
            occurred_at: record.at,
            status: None,
            percentage: None,
            phase: None,
            duration: None,
            duration_seconds: None,
            error_message: None,
            reason: None,
            unfinished: Vec::new(),
            task_id: None,
            task_name: None,
            task_type: None,
            parent_task_id: None,
            message: None,
            current_step: None,
            steps: None,
            retry_count: None,
            waiting_on: None,
            details: Details::NONE,
            head: None,
            truncated: None,
            truncated_fields: Vec::new(),
            whole: None,
        }
    }

    fn upgrade(&mut self, change: UpgradeChange) {
        self.status = Some(change.status);
        self.percentage = Some(change.percentage);
        self.phase = change.phase;
        self.took(change.duration);
        self.error_message = change.error_message;
        self.reason = change.reason;
        self.unfinished = change.unfinished;
    }

    fn added(&mut self, added: TaskAdded) {
        self.status = Some(Status::NotStarted);
        self.task_id = Some(added.task_id);
        self.task_name = Some(added.task_name);
        self.task_type = Some(added.task_type);
        self.parent_task_id = added.parent_task_id;
    }

    fn task(&mut self, change: TaskChange) {
        self.status = Some(change.status);
        self.percentage = Some(change.percentage);
        self.took(change.duration);
        self.error_message = change.error_message;
        self.task_id = Some(change.task_id);
        self.task_name = Some(change.task_name);
        self.task_type = Some(change.task_type);
        self.message = Some(change.message).filter(|message| !message.is_empty());
        self.current_step = change.current_step;
        self.steps = change.steps;
        self.retry_count = Some(change.retry_count).filter(|count| *count > 0);
        self.waiting_on = change.waiting_on;
        self.details = change.details;
    }

    fn took(&mut self, duration: Option<Span>) {
        self.duration = duration;
        self.duration_seconds = duration.map(Span::as_secs_f64);
    }

    /// The detail as JSON of at most `room` bytes, with the largest free fields cut or left out where it has to be so;
    /// `None` if even that does not fit. The second is whether anything was left out.
    pub(crate) fn fit(mut self, room: usize, journal: impl Fn() -> String) -> Option<(String, bool)> {
        let mut json = self.json();
        while json.len() > room {
            let (_, field) = self.free().into_iter().max()?;
            self.leave_out(field);
            self.truncated = Some(true);
            self.truncated_fields.push(field);
            self.whole.get_or_insert_with(|| Whole {
                journal: journal(),
                seq: self.seq,
                note: "the whole record is the line of this seq in the journal, below the data directory",
            });
            json = self.json();
        }
        Some((json, self.truncated.is_some()))
    }

    fn json(&self) -> String {
        serde_json::to_string(self)
            .expect("strings, finite numbers and valid raw JSON always serialise into memory")
    }

    /// The fields of free size that can still be made smaller, with how many bytes they have.
    fn free(&self) -> Vec<(usize, &'static str)> {
        let text = |text: &Option<Arc<str>>| {
            text.as_ref()
                .map(|text| text.len())
                .filter(|length| *length > KEPT_OF_TEXT)
        };
        let waiting = self.waiting_on.as_ref().map(|waiting| waiting.reason.len());
        let unfinished: usize = self.unfinished.iter().map(|task| task.as_str().len() + 3).sum();
        let sizes = [
            (text(&self.phase), "phase"),
            (text(&self.error_message), "error_message"),
            (text(&self.reason), "reason"),
            ((unfinished > 0).then_some(unfinished), "unfinished"),
            (text(&self.message), "message"),
            (text(&self.current_step), "current_step"),
            (waiting.filter(|length| *length > KEPT_OF_TEXT), "waiting_on"),
            (
                (!self.details.is_empty()).then(|| self.details.as_json().len()),
                "details",
            ),
        ];
        let sized = sizes.into_iter().filter_map(|(size, field)| Some((size?, field)));
        sized.collect()
    }

    /// Texts keep their beginning; the rest goes.
    fn leave_out(&mut self, field: &str) {
        let cut = |text: &mut Option<Arc<str>>| *text = text.as_deref().map(beginning);
        match field {
            "phase" => cut(&mut self.phase),
            "error_message" => cut(&mut self.error_message),
            "reason" => cut(&mut self.reason),
            "message" => cut(&mut self.message),
            "current_step" => cut(&mut self.current_step),
            "unfinished" => self.unfinished.clear(),
            "waiting_on" => {
                if let Some(waiting) = &mut self.waiting_on {
                    waiting.reason = beginning(&waiting.reason);
                }
            }
            _ => self.details = Details::NONE,
        }
    }
}

/// At most [`KEPT_OF_TEXT`] bytes of it, the mark of the cut included.
fn beginning(text: &str) -> Arc<str> {
    const MARK: &str = "…";
    let end = text.floor_char_boundary(KEPT_OF_TEXT - MARK.len());
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}{MARK}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let cut = beginning(&"ü".repeat(2_000));
        assert!(cut.len() <= KEPT_OF_TEXT && cut.ends_with("ü…"));
    }
}
