//! `ekstrack session show --history`: what happened to a session, printed as it is read.

use std::io::{self, BufWriter, Stdout, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;
use tracking_facade::{
    ArtifactChange, ArtifactChangeKind, Committed, SessionEvent, SessionId, StreamEvent, Timestamp,
};

use crate::commands::runtime::block_on;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::output::{Patient, stdout};
use crate::render::{Palette, bytes, one_line, time};
use crate::settings::Settings;

pub(super) fn history(settings: &Settings, id: &SessionId) -> Result<(), Failure> {
    let attempted = || format!("show the history of session {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let printer = Arc::new(Mutex::new(Printer {
        out: BufWriter::new(stdout()),
        form: if settings.output.is_json() {
            Form::Json(id.clone())
        } else {
            Form::Text(settings.output.palette())
        },
        failed: None,
    }));
    let each = {
        let printer = Arc::clone(&printer);
        move |record: Committed<SessionEvent>| lock(&printer).print(&record)
    };
    let read = block_on(manager.session_history(id, each))?;
    let mut printer = lock(&printer);
    let flushed = printer.out.flush();
    let written = printer.failed.take().map_or(flushed, Err);
    drop(printer);
    written.map_err(|error| Failure::output(&error))?;
    read.map_err(settings.cannot(attempted))
}

fn lock(printer: &Mutex<Printer>) -> MutexGuard<'_, Printer> {
    printer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns of the author, who is printed before it is known how long the names of the next ones are.
const ACTOR: usize = 16;

enum Form {
    Text(Palette),
    Json(SessionId),
}

/// Prints records one after the other, so that a long history takes no memory.
struct Printer {
    out: BufWriter<Patient<Stdout>>,
    form: Form,
    failed: Option<io::Error>,
}

impl Printer {
    fn print(&mut self, record: &Committed<SessionEvent>) -> ControlFlow<()> {
        let written = match &self.form {
            Form::Text(palette) => writeln!(self.out, "{}", text(record, *palette)),
            Form::Json(session_id) => Line::new(session_id, record)
                .and_then(|line| serde_json::to_writer(&mut self.out, &line))
                .map_err(io::Error::from)
                .and_then(|()| self.out.write_all(b"\n")),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// One record as scripts get it.
#[derive(Serialize)]
struct Line<'a> {
    session_id: &'a SessionId,
    seq: u64,
    event_id: String,
    at: Timestamp,
    actor: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: Box<RawValue>,
}

impl<'a> Line<'a> {
    fn new(session_id: &'a SessionId, record: &'a Committed<SessionEvent>) -> serde_json::Result<Self> {
        let mut data = Vec::new();
        record.event.write_data(&mut data);
        Ok(Self {
            session_id,
            seq: record.meta.seq,
            event_id: record.meta.event_id().to_string(),
            at: record.meta.at,
            actor: &record.meta.actor,
            kind: record.event.kind(),
            data: RawValue::from_string(String::from_utf8_lossy(&data).into_owned())?,
        })
    }
}

fn text(record: &Committed<SessionEvent>, palette: Palette) -> String {
    format!(
        "{}  {:<ACTOR$}  {}",
        palette.dim(&time(record.meta.at)),
        one_line(&record.meta.actor),
        one_line(&in_words(&record.event))
    )
}

fn in_words(event: &SessionEvent) -> String {
    match event {
        SessionEvent::Created(created) => format!(
            "created session {}, for upgrade {} of cluster {}",
            created.name, created.upgrade_id, created.cluster_name
        ),
        SessionEvent::Imported(imported) => {
            format!("took session {} over from the reference", imported.created.name)
        }
        SessionEvent::CollectionCreated(created) => {
            format!("created collection {} ({})", created.collection_id, created.name)
        }
        SessionEvent::ArtifactAdded(artifact) => format!(
            "added {}{} to {}: {}",
            artifact.name,
            size(artifact.file_size),
            artifact.collection_id,
            artifact.artifact_id
        ),
        SessionEvent::Artifact(kind, change) => change_in_words(*kind, change),
        SessionEvent::Downloaded(taken) => format!(
            "downloaded {}{}: {}",
            taken.name,
            size(taken.file_size),
            taken.artifact_id
        ),
        SessionEvent::Outcome(set) => format!("noted that the upgrade ended as {}", set.outcome),
        SessionEvent::Completed(completed) => {
            let outcome = completed
                .outcome
                .map_or_else(String::new, |outcome| format!(" as {outcome}"));
            format!(
                "completed the session{outcome}, with {} artifacts, {}",
                completed.total_artifacts,
                bytes(completed.total_size_bytes)
            )
        }
        SessionEvent::Pinned(pin) if pin.pinned => "pinned the session".to_owned(),
        SessionEvent::Pinned(_) => "unpinned the session".to_owned(),
        event => format!("{}: of a newer version, see --json", event.kind()),
    }
}

fn change_in_words(kind: ArtifactChangeKind, change: &ArtifactChange) -> String {
    let ArtifactChange {
        name, artifact_id, ..
    } = change;
    let because = change
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    match kind {
        ArtifactChangeKind::Tagged => {
            let tags = change.tags.as_deref().unwrap_or_default().join(", ");
            format!("tagged {name} ({artifact_id}): {tags}")
        }
        ArtifactChangeKind::Uploaded => {
            let url = change.s3_url.as_deref().unwrap_or("S3");
            format!("uploaded {name} ({artifact_id}) to {url}")
        }
        ArtifactChangeKind::Archived => format!("archived {name} ({artifact_id}){because}"),
        ArtifactChangeKind::Failed => format!("failed to upload {name} ({artifact_id}){because}"),
        ArtifactChangeKind::Deleted => {
            format!(
                "deleted {name}{} ({artifact_id}){because}",
                size(change.file_size)
            )
        }
    }
}

fn size(file_size: Option<u64>) -> String {
    file_size.map_or_else(String::new, |size| format!(", {}", bytes(size)))
}
