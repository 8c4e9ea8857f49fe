//! `ekstrack session show`: a session, its collections, and its artifacts, which are read and printed page by page.

use std::cell::RefCell;
use std::io::{BufWriter, Write};

use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use tracking_facade::{ArtifactQuery, Session, SessionId, SessionSummary, TestArtifactsManager};

use super::{CollectionDocument, outcome};
use crate::commands::artifact::artifact_table;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::stdout;
use crate::render::{Palette, bytes, one_line, time};
use crate::settings::Settings;

/// Artifacts that are in memory at a time, and rows of a table under one head.
const PAGE: usize = 1000;

/// `session show`.
#[derive(Serialize)]
struct ShowDocument<'a> {
    #[serde(flatten)]
    summary: SessionSummary,
    collections: Vec<CollectionDocument>,
    artifacts: Pages<'a>,
}

/// All artifacts that a query matches.
struct Pages<'a> {
    manager: &'a TestArtifactsManager,
    query: ArtifactQuery,
    /// Why they could not be read to the end.
    failure: RefCell<Option<Failure>>,
}

impl<'a> Pages<'a> {
    fn new(manager: &'a TestArtifactsManager, query: ArtifactQuery) -> Self {
        Self {
            manager,
            query: query.with_limit(PAGE),
            failure: RefCell::new(None),
        }
    }

    /// Passes the artifacts to `each`, page by page; the first page may be empty.
    fn each<E>(
        &self,
        failed: impl Fn(Failure) -> E,
        mut each: impl FnMut(&[std::sync::Arc<tracking_facade::Artifact>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut query = self.query.clone();
        loop {
            let attempted = || match &query.session_id {
                Some(id) => format!("show session {id}"),
                None => "show a session".to_owned(),
            };
            let page = block_on(self.manager.search_artifacts(query.clone()));
            let page = page.and_then(|page| page.map_err(cannot(attempted)));
            let page = page.map_err(&failed)?;
            each(&page.artifacts)?;
            match page.next {
                Some(next) => query = query.with_after(next),
                None => return Ok(()),
            }
        }
    }
}

impl Serialize for Pages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        let failed = |failure| {
            *self.failure.borrow_mut() = Some(failure);
            S::Error::custom("the artifacts cannot be read")
        };
        self.each(failed, |page| {
            page.iter()
                .try_for_each(|artifact| sequence.serialize_element(artifact))
        })?;
        sequence.end()
    }
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
        artifacts: Pages::new(manager, query),
    };
    let written = serde_json::to_writer(&mut *out, &document);
    if let Some(failure) = document.artifacts.failure.take() {
        return Err(failure);
    }
    written
        .map_err(|error| match error.io_error_kind() {
            Some(_) => Failure::output(&error.into()),
            None => Failure::of(Kind::Failed, "write the result as JSON", &error),
        })
        .and_then(|()| out.write_all(b"\n").map_err(|error| Failure::output(&error)))
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
        Pages::new(manager, query).each(
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
