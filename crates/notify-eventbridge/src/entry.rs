//! From a record to the entry of a call: pure, and the same for the same record.

use std::sync::Arc;

use tracking_journal::Record;
use tracking_model::{StreamId, Timestamp, UpgradeEvent};

use crate::detail::{About, Detail};
use crate::settings::Settings;

/// What a time counts against the size of a call.
const TIME_BYTES: usize = 14;

/// One entry of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) detail_type: String,
    pub(crate) detail: String,
    pub(crate) time: Timestamp,
    /// What it counts against the size of a call.
    pub(crate) size: usize,
    /// Whether fields of its detail were left out.
    pub(crate) truncated: bool,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mapped {
    Entry(Entry),
    /// It is of a kind that is not sent.
    Ignored,
    /// It can never be sent, and why.
    Impossible(String),
}

/// The entry for `record`, whose stream began with what `about` says.
pub(crate) fn map(settings: &Settings, about: &About<'_>, record: &Record) -> Mapped {
    let StreamId::Upgrade(upgrade_id) = &record.stream else {
        return Mapped::Ignored;
    };
    if !settings.kinds.has(&record.kind) {
        return Mapped::Ignored;
    }
    let event = match record.decode::<UpgradeEvent>() {
        Ok(event) => event,
        Err(error) => return Mapped::Impossible(error.to_string()),
    };
    let Some(detail) = Detail::new(upgrade_id, about, record, event) else {
        return Mapped::Ignored;
    };
    let around = around(&settings.source, &record.kind, &settings.resources);
    let journal = || format!("progress/{}.jsonl", record.stream.file_stem());
    let Some((detail, truncated)) = detail.fit(settings.max_bytes.saturating_sub(around), journal) else {
        return Mapped::Impossible(format!(
            "an entry has at most {} bytes, and this one has more even without its free fields",
            settings.max_bytes
        ));
    };
    Mapped::Entry(Entry {
        detail_type: record.kind.clone(),
        time: record.at,
        size: around + detail.len(),
        detail,
        truncated,
    })
}

/// What an entry counts beside its detail.
fn around(source: &str, detail_type: &str, resources: &[Arc<str>]) -> usize {
    let resources: usize = resources.iter().map(|arn| arn.len()).sum();
    TIME_BYTES + source.len() + detail_type.len() + resources
}
