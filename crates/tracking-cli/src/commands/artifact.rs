//! `ekstrack artifact` and `ekstrack search`.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
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
        ArtifactCommand::Show(ArtifactRef { id }) => show(settings, &id),
        ArtifactCommand::Verify(ArtifactRef { id }) => verify(settings, &id),
        ArtifactCommand::Download { artifact, dest } => download(settings, &artifact.id, &dest),
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

fn show(settings: &Settings, id: &ArtifactId) -> Result<(), Failure> {
    let attempted = || format!("show artifact {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let artifact = block_on(manager.artifact(id))?.map_err(cannot(attempted))?;
    settings
        .output
        .result(&*artifact, |palette| artifact_text(&artifact, palette))
}

fn artifact_text(artifact: &Artifact, palette: Palette) -> String {
    let mut rows = vec![
        ("type", artifact.artifact_type.to_string()),
        ("status", artifact.status.to_string()),
        ("upgrade", artifact.upgrade_id.to_string()),
        ("session", artifact.session_id.to_string()),
        ("collection", artifact.collection_id.to_string()),
    ];
    let mut optional =
        |name: &'static str, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    optional("task", artifact.task_id.as_ref().map(ToString::to_string));
    optional("step", artifact.step_id.as_deref().map(one_line));
    optional("about", artifact.description.as_deref().map(one_line));
    optional(
        "tags",
        (!artifact.tags.is_empty()).then(|| one_line(&artifact.tags.join(", "))),
    );
    optional("size", artifact.file_size.map(bytes));
    optional("sha-256", artifact.file_hash.as_ref().map(ToString::to_string));
    optional("file", artifact.local_path.as_deref().map(one_line));
    optional(
        "metadata",
        (!artifact.metadata.is_empty()).then(|| one_line(artifact.metadata.as_json())),
    );
    rows.push(("added", time(artifact.created_at)));
    let mut text = format!(
        "{} ({})\n",
        palette.bold(&one_line(&artifact.name)),
        artifact.artifact_id
    );
    for (name, value) in rows {
        text.push_str(&format!("  {name:<11} {value}\n"));
    }
    text
}

fn verify(settings: &Settings, id: &ArtifactId) -> Result<(), Failure> {
    let attempted = || format!("verify artifact {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let work = Work::begin("verifying", settings.output);
    let shown = work.clone();
    let scope = VerifyScope::Artifact(id.clone());
    let report = block_on(manager.verify_artifacts(scope, move |progress| shown.say(&bytes(progress.bytes))));
    work.end();
    let report = report?.map_err(cannot(attempted))?;
    if let Some(finding) = report.findings.first() {
        let cause = format!("{} is {}", finding.local_path, finding.problem);
        return Err(Failure::new(Kind::Refused, attempted(), cause));
    }
    if report.artifacts == 0 {
        return Err(Failure::new(
            Kind::NotFound,
            attempted(),
            "its bytes are not in this data directory",
        ));
    }
    let document = json!({"artifact_id": id, "ok": true, "bytes": report.bytes});
    settings.output.result(&document, |palette| {
        format!("{} {id}: {}\n", palette.good("intact"), bytes(report.bytes))
    })
}

fn download(settings: &Settings, id: &ArtifactId, dest: &Path) -> Result<(), Failure> {
    let attempted = || format!("download artifact {id} to {}", dest.display());
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let work = Work::begin("downloading", settings.output);
    let downloaded = block_on(manager.download_artifact(id, dest));
    work.end();
    let path = downloaded?.map_err(cannot(attempted))?;
    let document = json!({"artifact_id": id, "path": path});
    settings
        .output
        .result(&document, |_| format!("{}\n", path.display()))
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
