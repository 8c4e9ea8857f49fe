//! `ekstrack session show`: a session, its collections, and its artifacts, which are read and printed page by page.

use std::io::{BufWriter, Write};

use serde::Serialize;
use tracking_facade::{ArtifactQuery, Session, SessionId, SessionSummary, TestArtifactsManager};

use super::{CollectionDocument, outcome};
use crate::commands::artifact::artifact_table;
use crate::commands::pages::{Pages, write_document};
use crate::commands::runtime::block_on;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::output::stdout;
use crate::render::{Palette, bytes, one_line, time};
use crate::settings::Settings;

/// `session show`.
#[derive(Serialize)]
struct ShowDocument<'a> {
    #[serde(flatten)]
    summary: SessionSummary,
    collections: Vec<CollectionDocument>,
    artifacts: Pages<'a>,
}

pub(super) fn show(settings: &Settings, id: &SessionId) -> Result<(), Failure> {
    let attempted = || format!("show session {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let session = block_on(manager.session(id))?.map_err(settings.cannot(attempted))?;
    let mut out = BufWriter::new(stdout());
    if settings.output.is_json() {
        print_json(&mut out, &manager, &session)?;
    } else {
        print_text(&mut out, &manager, &session, settings.output.palette())?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

fn collections(session: &Session) -> Vec<CollectionDocument> {
    let id = &session.session_id;
    let all = session.collections.values();
    all.map(|one| CollectionDocument::new(id, one)).collect()
}

fn print_json(
    out: &mut impl Write,
    manager: &TestArtifactsManager,
    session: &Session,
) -> Result<(), Failure> {
    let query = ArtifactQuery::new().in_session(session.session_id.clone());
    let document = ShowDocument {
        summary: session.summary(),
        collections: collections(session),
        artifacts: Pages::new(manager, query, format!("show session {}", session.session_id)),
    };
    write_document(out, &document, || document.artifacts.failure())
}

fn print_text(
    out: &mut impl Write,
    manager: &TestArtifactsManager,
    session: &Session,
    palette: Palette,
) -> Result<(), Failure> {
    let mut print = |text: String| {
        out.write_all(text.as_bytes())
            .map_err(|error| Failure::output(&error))
    };
    print(head(&session.summary(), palette))?;
    for collection in collections(session) {
        let task = collection
            .task_id
            .as_ref()
            .map_or_else(String::new, |task| format!(", task {task}"));
        print(format!(
            "\n{} ({}{task})\n",
            palette.bold(&one_line(&collection.name)),
            collection.collection_id
        ))?;
        let query = ArtifactQuery::new()
            .in_session(session.session_id.clone())
            .in_collection(collection.collection_id);
        let attempted = format!("show session {}", session.session_id);
        Pages::new(manager, query, attempted).each(
            |failure| failure,
            |page| print(artifact_table(page.iter().map(AsRef::as_ref)).render(palette)),
        )?;
    }
    Ok(())
}

fn head(summary: &SessionSummary, palette: Palette) -> String {
    let upgrade = summary
        .upgrade_id
        .as_ref()
        .map_or("-", |upgrade| upgrade.as_str());
    let state = summary.completed_at.map_or_else(
        || palette.active("open"),
        |at| palette.good(&format!("completed {}", time(at))),
    );
    let days = if summary.retention_days == 1 {
        "day"
    } else {
        "days"
    };
    format!(
        "{} ({})\n  upgrade   {upgrade}, cluster {}\n  state     {state}\n  outcome   {}\n  holds     {} artifacts, {}\n  kept for  {} {days}\n",
        palette.bold(&one_line(&summary.name)),
        summary.session_id,
        one_line(&summary.cluster_name),
        outcome(summary),
        summary.total_artifacts,
        bytes(summary.total_size_bytes),
        summary.retention_days,
    )
}
