//! The end of the demo: what it left, and whether all of it is as it was written.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tracking_facade::{
    Archive, ArchiveReport, Artifact, ProgressError, SearchResults, SessionId, Span, StreamId, TrackingError,
    UpgradeId,
};

use super::{NAME, TAG, plan};
use crate::exit::{Failure, Kind};
use crate::live::brief;
use crate::render::{Palette, Table, bytes};
use crate::settings::{DEFAULT_DATA_DIR, Settings};

/// Most artifacts that are shown of a search.
const SHOWN: usize = 6;
/// How many digits of a hash people see.
const DIGITS: usize = 16;

/// What the demo left.
#[derive(Debug)]
pub(super) struct Finale {
    upgrade: UpgradeId,
    tasks: usize,
    retries: u32,
    took: Span,
    found: [SearchResults; 2],
    verified: ArchiveReport,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    upgrade_id: &'a UpgradeId,
    session_id: &'a UpgradeId,
    simulated: bool,
    tasks: usize,
    retries: u32,
    duration: Span,
    searches: [Search<'a>; 2],
    verification: Verification,
    next: &'a [String],
}

#[derive(Debug, Serialize)]
struct Search<'a> {
    query: &'a str,
    artifacts: &'a [Arc<Artifact>],
}

#[derive(Debug, Serialize)]
struct Verification {
    ok: bool,
    streams: Vec<Verified>,
    artifacts: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Verified {
    stream: String,
    records: u64,
    head: String,
}

impl Finale {
    /// Verifies everything that the upgrade left.
    pub(super) fn new(
        upgrade: UpgradeId,
        found: [SearchResults; 2],
        settings: &Settings,
    ) -> Result<Self, TrackingError> {
        let session = SessionId::new(upgrade.as_str()).map_err(ProgressError::from)?;
        let archive = Archive::open(&settings.data_dir)?;
        let streams = [StreamId::Upgrade(upgrade.clone()), StreamId::Session(session)];
        let verified = archive.verify(&streams, None, |_| {})?;
        let progress = archive.upgrade(&upgrade)?.progress;
        Ok(Self {
            tasks: progress.tasks().len(),
            retries: progress.tasks().values().map(|task| task.retry_count).sum(),
            took: progress.duration.unwrap_or_default(),
            next: next(&found, &upgrade, &settings.data_dir),
            upgrade,
            found,
            verified,
        })
    }

    /// Prints it.
    ///
    /// # Errors
    /// Something is not as it was written; or the output is gone.
    pub(super) fn show(&self, settings: &Settings) -> Result<(), Failure> {
        let document = json!({ "type": "demo_result", "data": self.document() });
        settings.output.result(&document, |palette| self.text(palette))?;
        if self.verified.is_clean() {
            return Ok(());
        }
        let cause = "something in the data directory is not as the demo wrote it";
        Err(Failure::new(Kind::Refused, "verify what the demo left", cause)
            .hint("`ekstrack verify` says what"))
    }

    fn document(&self) -> Document<'_> {
        let search = |query, found: usize| Search {
            query,
            artifacts: &self.found[found].artifacts,
        };
        Document {
            upgrade_id: &self.upgrade,
            session_id: &self.upgrade,
            simulated: true,
            tasks: self.tasks,
            retries: self.retries,
            duration: self.took,
            searches: [search(TAG, 0), search(NAME, 1)],
            verification: Verification {
                ok: self.verified.is_clean(),
                streams: self.streams().collect(),
                artifacts: self.verified.artifacts.artifacts,
                bytes: self.verified.artifacts.bytes,
            },
            next: &self.next,
        }
    }

    fn streams(&self) -> impl Iterator<Item = Verified> {
        self.verified.streams.iter().filter_map(|report| {
            let verified = report.result.as_ref().ok()?;
            Some(Verified {
                stream: report.stream.to_string(),
                records: verified.head.seq,
                head: verified.head.hash.to_string(),
            })
        })
    }

    fn text(&self, palette: Palette) -> String {
        let retried = match self.retries {
            1 => "1 retry".to_owned(),
            retries => format!("{retries} retries"),
        };
        let summary = format!(
            "{} went from {} to {}: {} tasks, {retried}, {} (simulated, compressed).",
            palette.bold(plan::CLUSTER),
            plan::FROM,
            plan::TO,
            self.tasks,
            brief(self.took),
        );
        let mut lines = vec![String::new(), summary, String::new()];
        let [by_tag, by_name] = &self.found;
        for (what, found) in [(format!("tag {TAG}"), by_tag), (format!("name {NAME}"), by_name)] {
            let count = found.artifacts.len();
            lines.push(palette.bold(&format!("Search by {what}: {count} artifacts")));
            lines.push(table(&found.artifacts, palette));
        }
        lines.push(palette.bold("Verification of every hash"));
        let intact = palette.good("intact");
        for stream in self.streams() {
            let head: String = stream.head.chars().take(DIGITS).collect();
            lines.push(format!(
                "  {intact}  {}: {} records, head {head}",
                stream.stream, stream.records
            ));
        }
        let files = &self.verified.artifacts;
        if files.is_clean() {
            let size = bytes(files.bytes);
            lines.push(format!(
                "  {intact}  {} artifacts, {size}: SHA-256 as recorded",
                files.artifacts
            ));
        }
        lines.push(String::new());
        lines.push(palette.bold("Try next"));
        lines.extend(self.next.iter().map(|command| format!("  {command}")));
        lines.join("\n") + "\n"
    }
}

fn table(artifacts: &[Arc<Artifact>], palette: Palette) -> String {
    let mut table = Table::new(["  NAME", "TYPE", "SIZE", "SHA-256"]);
    for artifact in artifacts.iter().take(SHOWN) {
        let hash = artifact.file_hash.map(|hash| hash.to_string());
        let hash: String = hash.iter().flat_map(|hash| hash.chars()).take(DIGITS).collect();
        table.row([
            format!("  {}", artifact.name).into(),
            artifact.artifact_type.as_str().into(),
            bytes(artifact.file_size.unwrap_or(0)).into(),
            hash.into(),
        ]);
    }
    let mut text = table.render(palette);
    if artifacts.len() > SHOWN {
        text.push_str(&palette.dim(&format!("  and {} more\n", artifacts.len() - SHOWN)));
    }
    text
}

/// Commands that work on what is there now.
fn next(found: &[SearchResults; 2], upgrade: &UpgradeId, data_dir: &Path) -> Vec<String> {
    let mut command = program();
    if data_dir != Path::new(DEFAULT_DATA_DIR) {
        command = format!("{command} --data-dir {}", quoted(&data_dir.display().to_string()));
    }
    let mut next = vec![
        format!("{command} upgrade show {upgrade}"),
        format!("{command} search --tag traffic"),
    ];
    if let Some(artifact) = found[0].artifacts.first() {
        next.push(format!("{command} artifact show {}", artifact.artifact_id));
    }
    next.push(format!("{command} verify"));
    next
}

/// This program as the shell called it.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    match called.to_str() {
        Some(name) if !name.is_empty() => quoted(name),
        _ => "ekstrack".to_owned(),
    }
}

/// As a shell reads it back.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(quoted("target/release/ekstrack"), "target/release/ekstrack");
        assert_eq!(quoted("my data/it's"), r"'my data/it'\''s'");
    }
}
