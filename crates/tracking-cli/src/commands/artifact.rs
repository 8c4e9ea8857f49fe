//! `ekstrack artifact` and `ekstrack search`.

mod one;

use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Artifact, ArtifactError, ArtifactId, ArtifactQuery, Clock, NamePattern, SystemClock, VerifyScope,
};

use super::runtime::block_on;
use super::session::UnreadableSession;
use crate::args::{ArtifactCommand, ArtifactRef, SearchArgs};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::render::{Palette, Table, bytes, one_line, time};
use crate::settings::Settings;
use crate::work::Work;

pub(crate) fn artifact(command: ArtifactCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ArtifactCommand::Add(args) => super::artifact_add::add(settings, &args),
        ArtifactCommand::Show(ArtifactRef { id }) => one::show(settings, &id),
        ArtifactCommand::Verify(ArtifactRef { id }) => one::verify(settings, &id),
        ArtifactCommand::Download { artifact, dest } => one::download(settings, &artifact.id, &dest),
        ArtifactCommand::Tag {
            artifact,
            add,
            remove,
        } => one::tag(settings, &artifact.id, &add, &remove),
        ArtifactCommand::Rm {
            artifact,
            reason,
            force,
        } => one::remove(settings, &artifact.id, reason, force),
    }
}

/// Artifacts, one a line.
pub(super) fn artifact_table<'a>(artifacts: impl IntoIterator<Item = &'a Artifact>) -> Table<6> {
    let mut table = Table::new(["ARTIFACT", "NAME", "TYPE", "SIZE", "ADDED", "TAGS"]);
    for artifact in artifacts {
        let tags: Vec<&str> = artifact.tags.iter().map(AsRef::as_ref).collect();
        table.row([
            artifact.artifact_id.as_str().into(),
            (&artifact.name).into(),
            artifact.artifact_type.as_str().into(),
            artifact.file_size.map_or_else(|| "-".to_owned(), bytes).into(),
            time(artifact.created_at).into(),
            tags.join(",").into(),
        ]);
    }
    table
}

/// What `search` found.
#[derive(Debug, Serialize)]
struct SearchDocument {
    artifacts: Vec<Arc<Artifact>>,
    /// Whether there are more than the limit.
    more: bool,
    unreadable: Vec<UnreadableSession>,
}

pub(crate) fn search(args: SearchArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || "search for artifacts".to_owned();
    let limit = args.limit;
    let query = query(args).map_err(cannot::<ArtifactError>(attempted))?;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let work = Work::begin("searching", settings.output);
    let found = block_on(manager.search_artifacts(query));
    work.end();
    let found = found?.map_err(cannot(attempted))?;
    let document = SearchDocument {
        artifacts: found.artifacts,
        more: found.more,
        unreadable: UnreadableSession::all(&found.unreadable),
    };
    settings.output.result(&document, |palette| {
        let table = artifact_table(document.artifacts.iter().map(AsRef::as_ref));
        let mut text = if table.is_empty() {
            "nothing found\n".to_owned()
        } else {
            table.render(palette)
        };
        if document.more {
            text.push_str(&palette.dim(&format!("there are more than {limit}: raise --limit\n")));
        }
        text.extend(
            document
                .unreadable
                .iter()
                .map(|unreadable| unreadable.line(palette)),
        );
        text
    })
}

fn query(args: SearchArgs) -> Result<ArtifactQuery, ArtifactError> {
    let now = SystemClock.now();
    let mut query = ArtifactQuery::new();
    query.text = args.text;
    query.name = args.name.map(NamePattern::new).transpose()?;
    query.all_tags = args.tag.iter().map(|tag| Arc::from(tag.as_str())).collect();
    query.types = args.artifact_type;
    query.statuses = args.status;
    query.upgrade_id = args.upgrade;
    query.cluster_name = args.cluster.map(Arc::from);
    query.session_id = args.session;
    query.collection_id = args.collection;
    query.task_id = args.task;
    query.step_id = args.step.map(Arc::from);
    query.min_size = args.min_size;
    query.max_size = args.max_size;
    query.since = args.since.map(|since| since.at(now));
    query.until = args.until.map(|until| until.at(now));
    query.sort = args.sort;
    query.limit = args.limit;
    Ok(query)
}
