//! `ekstrack artifact add`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    AddProgress, Artifact, ArtifactError, ArtifactId, CollectionId, NewArtifact, NewFile, SessionId,
    Symlinks, TestArtifactsManager,
};

use super::artifact::artifact_table;
use super::runtime::block_on;
use crate::args::{ArtifactAdd, KeyValue};
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::files::{FilePattern, tree};
use crate::output::note;
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

/// What `artifact add` added.
#[derive(Debug, Serialize)]
struct AddDocument {
    session_id: SessionId,
    collection_id: CollectionId,
    /// The one that was added, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_id: Option<ArtifactId>,
    artifacts: Vec<Arc<Artifact>>,
    /// What could not be added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<NotAdded>,
}

/// A file that could not be added.
#[derive(Debug, Serialize)]
struct NotAdded {
    path: PathBuf,
    causes: Vec<String>,
}

/// Something to add.
#[derive(Debug)]
enum Source {
    File(NewFile),
    Stdin(NewArtifact),
}

pub(super) fn add(settings: &Settings, args: &ArtifactAdd) -> Result<(), Failure> {
    let sources = sources(args)?;
    let manager = settings
        .artifacts()
        .map_err(cannot(|| attempted(args, &args.files[0])))?;
    let work = Work::begin("adding", settings.output);
    let added = block_on(async {
        let added = add_all(&manager, args, sources, &work).await;
        close_artifacts(&manager).await;
        added
    });
    work.end();
    report(settings, args, added?)
}

fn attempted(args: &ArtifactAdd, file: &Path) -> String {
    format!(
        "add {} to collection {} of session {}",
        file.display(),
        args.collection,
        args.session
    )
}

fn sources(args: &ArtifactAdd) -> Result<Vec<Source>, Failure> {
    let described = described(args)?;
    let symlinks = if args.follow {
        Symlinks::Follow
    } else {
        Symlinks::Refuse
    };
    let file = |path: PathBuf, artifact| {
        Source::File(NewFile::new(path).with_artifact(artifact).with_symlinks(symlinks))
    };
    let mut sources = Vec::new();
    for given in &args.files {
        let usage = |cause: &str| Failure::new(Kind::Usage, attempted(args, given), cause);
        if given.as_os_str() == "-" {
            if args.name.is_none() {
                return Err(usage("standard input has no name").hint("give one with --name"));
            }
            sources.push(Source::Stdin(described.clone()));
        } else if is_directory(given, symlinks) {
            for relative in files_below(args, given)? {
                let artifact = placed(described.clone(), &relative)?;
                sources.push(file(given.join(relative), artifact));
            }
        } else {
            let pattern = FilePattern::new(given)
                .map_err(|error| Failure::of(Kind::Usage, attempted(args, given), &error))?;
            let files = pattern
                .files()
                .map_err(|error| Failure::of(Kind::Unavailable, attempted(args, given), &error))?;
            if files.is_empty() {
                return Err(nothing(args, given, "no file matches"));
            }
            sources.extend(files.into_iter().map(|path| file(path, described.clone())));
        }
    }
    if sources.len() > 1 && args.name.is_some() {
        let cause = format!("--name names one artifact, and there are {}", sources.len());
        return Err(Failure::new(Kind::Usage, attempted(args, &args.files[0]), cause));
    }
    Ok(sources)
}

fn nothing(args: &ArtifactAdd, given: &Path, cause: &str) -> Failure {
    Failure::new(Kind::NotFound, attempted(args, given), cause)
}

fn is_directory(path: &Path, symlinks: Symlinks) -> bool {
    let metadata = match symlinks {
        Symlinks::Refuse => path.symlink_metadata(),
        Symlinks::Follow => path.metadata(),
    };
    metadata.is_ok_and(|metadata| metadata.is_dir())
}

fn files_below(args: &ArtifactAdd, directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let tree = tree(directory, args.follow)
        .map_err(|error| Failure::of(Kind::Unavailable, attempted(args, directory), &error))?;
    if tree.others > 0 {
        let what = format!(
            "left out of {}: {} that are no regular files",
            directory.display(),
            tree.others
        );
        note("note", &what);
    }
    if tree.files.is_empty() {
        return Err(nothing(args, directory, "there are no regular files in it"));
    }
    Ok(tree.files)
}

/// Says where in its directory a file was, since its name says only the last part.
fn placed(mut artifact: NewArtifact, relative: &Path) -> Result<NewArtifact, Failure> {
    let mut metadata = artifact.metadata.to_map();
    metadata
        .entry("relative_path")
        .or_insert_with(|| relative.to_string_lossy().into());
    artifact.metadata = metadata.into();
    Ok(artifact)
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

/// What was to be added, and what became of it.
type Added = (PathBuf, Result<Arc<Artifact>, ArtifactError>);

async fn add_all(
    manager: &TestArtifactsManager,
    args: &ArtifactAdd,
    sources: Vec<Source>,
    work: &Work,
) -> Vec<Added> {
    let (session, collection) = (&args.session, &args.collection);
    let (mut files, mut stdin) = (Vec::new(), None);
    for source in sources {
        match source {
            Source::File(file) => files.push(file),
            Source::Stdin(new) => stdin = Some(new),
        }
    }
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let shown = work.clone();
    let progress = move |progress: AddProgress| {
        let files = format!("{} of {} files", progress.files, progress.total_files);
        shown.measure(progress.bytes, progress.total_bytes, files);
    };
    let outcomes = manager.add_artifacts(session, collection, files, progress).await;
    let mut added: Vec<Added> = paths.into_iter().zip(outcomes).collect();
    if let Some(new) = stdin {
        work.say("standard input");
        let outcome = manager
            .add_reader(session, collection, new, io::stdin(), None)
            .await;
        added.push((PathBuf::from("-"), outcome));
    }
    added
}

fn report(settings: &Settings, args: &ArtifactAdd, added: Vec<Added>) -> Result<(), Failure> {
    let count = added.len();
    let (mut artifacts, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for (path, outcome) in added {
        match outcome {
            Ok(artifact) => artifacts.push(artifact),
            Err(error) => {
                let causes = chain(&error);
                first.get_or_insert_with(|| cannot::<ArtifactError>(|| attempted(args, &path))(error));
                failed.push(NotAdded { path, causes });
            }
        }
    }
    // One file that could not be added has nothing beside it to report.
    if let (1, Some(failure)) = (count, first.take_if(|_| count == 1)) {
        return Err(failure);
    }
    let document = AddDocument {
        session_id: args.session.clone(),
        collection_id: args.collection.clone(),
        artifact_id: match artifacts.as_slice() {
            [one] => Some(one.artifact_id.clone()),
            _ => None,
        },
        artifacts,
        failed,
    };
    if document.artifacts.is_empty() && !settings.output.is_json() {
        tell(&document.failed);
    } else {
        settings.output.result(&document, |palette| {
            artifact_table(document.artifacts.iter().map(AsRef::as_ref)).render(palette)
        })?;
        if !settings.output.is_json() {
            tell(&document.failed);
        }
    }
    match first {
        Some(failure) => {
            let (failed, kept) = (document.failed.len(), document.artifacts.len());
            Err(failure.hint(format!(
                "{failed} of {count} files were not added; the other {kept} are kept"
            )))
        }
        None => Ok(()),
    }
}

/// Names each file that could not be added.
fn tell(failed: &[NotAdded]) {
    for one in failed {
        note(
            "error",
            &format!("{} is not kept: {}", one.path.display(), one.causes.join(": ")),
        );
    }
}
