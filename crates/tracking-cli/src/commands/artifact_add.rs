//! `ekstrack artifact add`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    AddProgress, Artifact, ArtifactError, ArtifactId, CollectionId, NewArtifact, NewFile, SessionId,
    StreamId, Symlinks, TestArtifactsManager, storage,
};

use super::artifact::artifact_table;
use super::runtime::block_on;
use crate::args::{ArtifactAdd, KeyValue};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::files::{FilePattern, Found, OfOwnData, OwnData, Unlisted, tree};
use crate::output::{note, path_text};
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
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<Arc<str>>,
    causes: Vec<String>,
}

/// Something to add, or that cannot be.
#[derive(Debug)]
enum Source {
    File(NewFile),
    Stdin(NewArtifact),
    Stream(PathBuf, NewArtifact),
    Nothing(PathBuf, Failure),
}

pub(super) fn add(settings: &Settings, args: &ArtifactAdd) -> Result<(), Failure> {
    let sources = sources(args, &OwnData::at(&settings.data_dir))?;
    if sources.iter().all(|source| matches!(source, Source::Nothing(..))) {
        let nothing = |source| match source {
            Source::Nothing(path, failure) => Some((path, Err(failure))),
            Source::File(_) | Source::Stdin(_) | Source::Stream(..) => None,
        };
        return report(settings, args, sources.into_iter().filter_map(nothing).collect());
    }
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
    settings.sinks.touched(StreamId::Session(args.session.clone()));
    report(settings, args, added?)
}

fn attempted(args: &ArtifactAdd, file: &Path) -> String {
    let what = match &args.name {
        Some(name) if file.as_os_str() == "-" => format!("standard input as {name}"),
        _ => file.display().to_string(),
    };
    format!(
        "add {what} to collection {} of session {}",
        args.collection, args.session
    )
}

fn sources(args: &ArtifactAdd, own: &OwnData) -> Result<Vec<Source>, Failure> {
    let described = described(args)?;
    let symlinks = if args.follow {
        Symlinks::Follow
    } else {
        Symlinks::Refuse
    };
    let file = |path: PathBuf, artifact| {
        Source::File(NewFile::new(path).with_artifact(artifact).with_symlinks(symlinks))
    };
    if args.max_bytes.is_some()
        && !args
            .files
            .iter()
            .any(|given| given.as_os_str() == "-" || is_stream(given))
    {
        let cause = "--max-bytes limits standard input, and no file is '-'";
        return Err(Failure::new(Kind::Usage, attempted(args, &args.files[0]), cause));
    }
    let mut sources = Vec::new();
    for given in &args.files {
        let usage = |cause: &str| Failure::new(Kind::Usage, attempted(args, given), cause);
        if given.as_os_str() == "-" {
            if args.name.is_none() {
                return Err(usage("standard input has no name").hint("give one with --name"));
            }
            sources.push(Source::Stdin(described.clone()));
        } else if is_stream(given) {
            if args.name.is_none() {
                return Err(usage("a stream has no name").hint("give one with --name"));
            }
            sources.push(Source::Stream(given.clone(), described.clone()));
        } else if is_directory(given, symlinks) {
            let found = files_below(args, given, own);
            if found.is_empty() {
                sources.push(nothing(args, given, "there are no regular files in it"));
            }
            for relative in found.files {
                let artifact = placed(described.clone(), &relative);
                sources.push(file(given.join(relative), artifact));
            }
            sources.extend(found.unlisted.into_iter().map(|one| unlisted(args, one)));
            sources.extend(found.refused.into_iter().map(|one| refused(args, one)));
        } else {
            let pattern = FilePattern::new(given)
                .map_err(|error| Failure::of(Kind::Usage, attempted(args, given), &error))?;
            let found = pattern.files(own);
            found.tell_left_out();
            if found.is_empty() {
                sources.push(nothing(args, given, "no file matches"));
            }
            sources.extend(found.files.into_iter().map(|path| file(path, described.clone())));
            sources.extend(found.unlisted.into_iter().map(|one| unlisted(args, one)));
            sources.extend(found.refused.into_iter().map(|one| refused(args, one)));
        }
    }
    let count = sources
        .iter()
        .filter(|source| !matches!(source, Source::Nothing(..)))
        .count();
    if count > 1 && args.name.is_some() {
        let cause = format!("--name names one artifact, and there are {count}");
        return Err(Failure::new(Kind::Usage, attempted(args, &args.files[0]), cause));
    }
    Ok(sources)
}

/// True if a path is one of those by which a shell and the system name what this process has open, as `<(command)` does.
fn is_stream(given: &Path) -> bool {
    let Some(text) = given.to_str() else { return false };
    let number = text
        .strip_prefix("/dev/fd/")
        .or_else(|| text.strip_prefix("/proc/self/fd/"));
    text == "/dev/stdin"
        || number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Opens what this process has open already, whatever it is: it was given to be read.
fn open_stream(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path == Path::new("/dev/stdin") {
        return Ok(Box::new(io::stdin()));
    }
    // not by storage: a FIFO is what it is given
    Ok(Box::new(File::open(path)?))
}

fn nothing(args: &ArtifactAdd, given: &Path, cause: &str) -> Source {
    let failure = Failure::new(Kind::NotFound, attempted(args, given), cause);
    Source::Nothing(given.to_owned(), failure)
}

fn unlisted(args: &ArtifactAdd, one: Unlisted) -> Source {
    let failure = Failure::of(Kind::Unavailable, attempted(args, &one.path), &one);
    Source::Nothing(one.path, failure)
}

fn refused(args: &ArtifactAdd, one: OfOwnData) -> Source {
    let failure = Failure::of(Kind::Refused, attempted(args, &one.0), &one)
        .hint("`ekstrack artifact download` copies an artifact out of it");
    Source::Nothing(one.0, failure)
}

fn is_directory(path: &Path, symlinks: Symlinks) -> bool {
    match symlinks {
        Symlinks::Refuse => path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()),
        Symlinks::Follow => storage::is_named_directory(path),
    }
}

fn files_below(args: &ArtifactAdd, directory: &Path, own: &OwnData) -> Found {
    let tree = tree(directory, args.follow, own);
    tree.found.tell_left_out();
    if tree.others > 0 {
        let what = format!(
            "left out of {}: {} that are no regular files",
            directory.display(),
            tree.others
        );
        note("note", &what);
    }
    tree.found
}

/// Says where in its directory a file was, since its name says only the last part.
fn placed(mut artifact: NewArtifact, relative: &Path) -> NewArtifact {
    let mut metadata = artifact.metadata.to_map();
    let (text, bytes) = path_text(relative);
    if !metadata.contains_key("relative_path") {
        metadata.insert("relative_path".to_owned(), text.into());
        if let Some(bytes) = bytes {
            metadata.insert("relative_path_bytes".to_owned(), (*bytes).into());
        }
    }
    artifact.metadata = metadata.into();
    artifact
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
type Added = (PathBuf, Result<Arc<Artifact>, Failure>);

async fn add_all(
    manager: &TestArtifactsManager,
    args: &ArtifactAdd,
    sources: Vec<Source>,
    work: &Work,
) -> Vec<Added> {
    let (session, collection) = (&args.session, &args.collection);
    let of_file = |source: &Source| match source {
        Source::File(file) => Some(file.clone()),
        Source::Stdin(_) | Source::Stream(..) | Source::Nothing(..) => None,
    };
    let files: Vec<NewFile> = sources.iter().filter_map(of_file).collect();
    let shown = work.clone();
    let progress = move |progress: AddProgress| {
        let files = format!("{} of {} files", progress.files, progress.total_files);
        shown.measure(progress.bytes, progress.total_bytes, files);
    };
    let outcomes = manager.add_artifacts(session, collection, files, progress).await;
    let mut outcomes = outcomes.into_iter();
    let mut added: Vec<Added> = Vec::with_capacity(sources.len());
    for source in sources {
        let (path, outcome) = match source {
            Source::File(file) => (file.path, outcomes.next().expect("each file has one outcome")),
            Source::Stdin(new) => {
                work.say("standard input");
                let stdin = manager.add_reader(session, collection, new, io::stdin(), args.max_bytes);
                (PathBuf::from("-"), stdin.await)
            }
            Source::Stream(path, new) => {
                work.say(&path.display().to_string());
                let stream = match open_stream(&path) {
                    Ok(stream) => stream,
                    Err(error) => {
                        let kind = match error.kind() {
                            io::ErrorKind::NotFound => Kind::NotFound,
                            _ => Kind::Failed,
                        };
                        let failure = Failure::of(kind, attempted(args, &path), &error);
                        added.push((path, Err(failure)));
                        continue;
                    }
                };
                let stream = manager.add_reader(session, collection, new, stream, args.max_bytes);
                (path, stream.await)
            }
            Source::Nothing(path, failure) => {
                added.push((path, Err(failure)));
                continue;
            }
        };
        let outcome = outcome.map_err(|error| cannot::<ArtifactError>(|| attempted(args, &path))(error));
        added.push((path, outcome));
    }
    added
}

fn report(settings: &Settings, args: &ArtifactAdd, added: Vec<Added>) -> Result<(), Failure> {
    let count = added.len();
    let (mut artifacts, mut failed, mut first) = (Vec::new(), Vec::new(), None);
    for (path, outcome) in added {
        match outcome {
            Ok(artifact) => artifacts.push(artifact),
            Err(failure) => {
                let (path, path_bytes) = path_text(&path);
                failed.push(NotAdded {
                    path,
                    path_bytes,
                    causes: failure.causes().to_vec(),
                });
                first.get_or_insert(failure);
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
        // Where there is no such collection, the error of one file says all.
        if let Some(failure) = first.take_if(|_| is_one_reason(&document.failed)) {
            return Err(failure);
        }
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

/// Whether all files could not be added for one reason, which is none of their own: that would name them.
fn is_one_reason(failed: &[NotAdded]) -> bool {
    failed
        .iter()
        .all(|one| failed.first().is_some_and(|first| one.causes == first.causes))
}

/// Names each file that could not be added.
fn tell(failed: &[NotAdded]) {
    for one in failed {
        note(
            "error",
            &format!("{} is not kept: {}", one.path, one.causes.join(": ")),
        );
    }
}
