//! `ekstrack artifact` and `ekstrack search`.

mod one;

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Artifact, ArtifactError, ArtifactId, ArtifactQuery, Clock, CollectionId, NamePattern, NewArtifact,
    SessionId, SystemClock, TestArtifactsManager,
};

use super::runtime::block_on;
use super::session::UnreadableSession;
use crate::args::{ArtifactAdd, ArtifactCommand, ArtifactRef, KeyValue, SearchArgs};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::files::FilePattern;
use crate::render::{Table, bytes, time};
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

pub(crate) fn artifact(command: ArtifactCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ArtifactCommand::Add(args) => add(settings, &args),
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

/// What `artifact add` added.
#[derive(Debug, Serialize)]
struct AddDocument {
    session_id: SessionId,
    collection_id: CollectionId,
    /// The one that was added, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_id: Option<ArtifactId>,
    artifacts: Vec<Arc<Artifact>>,
}

fn add(settings: &Settings, args: &ArtifactAdd) -> Result<(), Failure> {
    let sources = sources(args)?;
    let manager = settings
        .artifacts()
        .map_err(cannot(|| attempted(args, &args.files[0])))?;
    let work = Work::begin("adding", settings.output);
    let added = block_on(async {
        let added = add_all(&manager, args, &sources, &work).await;
        close_artifacts(&manager).await;
        added
    });
    work.end();
    let artifacts = added??;
    let document = AddDocument {
        session_id: args.session.clone(),
        collection_id: args.collection.clone(),
        artifact_id: match artifacts.as_slice() {
            [one] => Some(one.artifact_id.clone()),
            _ => None,
        },
        artifacts,
    };
    settings.output.result(&document, |palette| {
        artifact_table(document.artifacts.iter().map(AsRef::as_ref)).render(palette)
    })
}

fn attempted(args: &ArtifactAdd, file: &Path) -> String {
    format!(
        "add {} to collection {} of session {}",
        file.display(),
        args.collection,
        args.session
    )
}

/// Something to add.
enum Source {
    File(std::path::PathBuf),
    Stdin,
}

fn sources(args: &ArtifactAdd) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for file in &args.files {
        let usage = |cause: &str| Failure::new(Kind::Usage, attempted(args, file), cause);
        if file.as_os_str() == "-" {
            if args.name.is_none() {
                return Err(usage("standard input has no name").hint("give one with --name"));
            }
            sources.push(Source::Stdin);
            continue;
        }
        let pattern = FilePattern::new(file)
            .map_err(|error| Failure::of(Kind::Usage, attempted(args, file), &error))?;
        let files = pattern
            .files()
            .map_err(|error| Failure::of(Kind::Unavailable, attempted(args, file), &error))?;
        if files.is_empty() {
            return Err(Failure::new(
                Kind::NotFound,
                attempted(args, file),
                "no file matches",
            ));
        }
        sources.extend(files.into_iter().map(Source::File));
    }
    if sources.len() > 1 && args.name.is_some() {
        let cause = format!("--name names one artifact, and there are {}", sources.len());
        return Err(Failure::new(Kind::Usage, attempted(args, &args.files[0]), cause));
    }
    Ok(sources)
}

async fn add_all(
    manager: &TestArtifactsManager,
    args: &ArtifactAdd,
    sources: &[Source],
    work: &Work,
) -> Result<Vec<Arc<Artifact>>, Failure> {
    let described = described(args)?;
    let mut added = Vec::new();
    for source in sources {
        let new = described.clone();
        let (path, name) = match source {
            Source::File(path) => (path.as_path(), path.display().to_string()),
            Source::Stdin => (Path::new("-"), "standard input".to_owned()),
        };
        work.say(&format!("{name} ({} of {})", added.len() + 1, sources.len()));
        let (session, collection) = (&args.session, &args.collection);
        let outcome = match source {
            Source::File(path) => manager.add_artifact(session, collection, path, new).await,
            Source::Stdin => {
                let stdin = io::stdin();
                manager.add_reader(session, collection, new, stdin, None).await
            }
        };
        match outcome {
            Ok(artifact) => added.push(artifact),
            Err(error) => {
                let failure = cannot::<ArtifactError>(|| attempted(args, path))(error);
                return Err(match added.len() {
                    0 => failure,
                    count => failure.hint(format!("the {count} before it were added; add the rest again")),
                });
            }
        }
    }
    Ok(added)
}

fn described(args: &ArtifactAdd) -> Result<NewArtifact, Failure> {
    let mut new = NewArtifact::new()
        .with_tags(args.tag.iter().map(String::as_str))
        .with_metadata(KeyValue::details(&args.meta)?);
    if let Some(name) = &args.name {
        new = new.with_name(name.as_str());
    }
    new.artifact_type = args.artifact_type;
    new.description = args.description.as_deref().map(Arc::from);
    new.task_id.clone_from(&args.task);
    new.step_id = args.step.as_deref().map(Arc::from);
    Ok(new)
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
