//! `ekstrack artifact`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tracking_facade::{
    Artifact, ArtifactError, ArtifactId, CollectionId, NewArtifact, SessionId, TestArtifactsManager,
    VerifyScope,
};

use super::runtime::block_on;
use crate::args::{ArtifactAdd, ArtifactCommand, ArtifactRef, KeyValue};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::files::FilePattern;
use crate::render::{Palette, Table, bytes, one_line, time};
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

pub(crate) fn artifact(command: ArtifactCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ArtifactCommand::Add(args) => add(settings, &args),
        ArtifactCommand::Show(ArtifactRef { id }) => show(settings, &id),
        ArtifactCommand::Verify(ArtifactRef { id }) => verify(settings, &id),
        ArtifactCommand::Download { artifact, dest } => download(settings, &artifact.id, &dest),
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
