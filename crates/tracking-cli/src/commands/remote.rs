//! `--remote`: commands that read, over a copy of the records in the bucket of the team.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracking_facade::s3::{RefreshProgressCallback, RefreshReport, RemoteArchive, S3Location};
use tracking_facade::{ArtifactError, JournalOptions, SessionId, StreamId, TrackingError, UpgradeId};

use super::artifact::bucket;
use super::runtime::block_on;
use crate::args::{ArtifactCommand, CollectionCommand, Command, SessionCommand, TaskCommand, UpgradeCommand};
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::note;
use crate::render::several;
use crate::settings::Settings;
use crate::work::Work;

/// Texts that one search fetches at most: at 64 KiB each, some minutes on a slow line.
const MOST_TEXTS: usize = 20_000;

/// With `--remote`, settings under which the command reads what is in the bucket now.
///
/// # Errors
/// The command is none that reads the bucket, or the bucket cannot be read.
pub(super) fn attach(command: &Command, settings: Settings) -> Result<Settings, Failure> {
    if !settings.asks_bucket {
        return Ok(settings);
    }
    if !works_on_bucket(command) {
        return Err(Failure::new(
            Kind::Usage,
            "use --remote",
            "this command works on a data directory",
        )
        .hint(
            "with --remote: upgrade list and show, task list and show, logs, session list, show, pin and complete, \
                 collection list, artifact list, show, cat, download and url, search, stats, watch, export, gc",
        ));
    }
    if matches!(command, Command::Gc(_)) {
        // It looks at both.
        return Ok(settings);
    }
    let remote = open(&settings)?;
    let location = remote.bucket().location();
    let work = Work::begin("reading the bucket", settings.output);
    let shown = work.clone();
    let progress = RefreshProgressCallback::new(move |progress| {
        shown.say(&format!(
            "{} of {} new segments",
            progress.segments, progress.total_segments
        ));
    });
    let refreshed = block_on(remote.refresh(None, Some(progress)));
    work.end();
    let attempted = || format!("read {location}");
    let refreshed = refreshed?.map_err(with_cache(attempted, remote.archive().data_dir().path()))?;
    let unread = unread(refreshed, &location);
    tell_unreadable(&unread);
    refuse_unread(command, &remote, &unread)?;
    let index = if uses_index(command) {
        let lock = block_on(remote.lock_index())?;
        let path = remote.archive().data_dir().path();
        Some(lock.map_err(with_cache(|| "use the cache of the bucket".to_owned(), path))?)
    } else {
        None
    };
    Ok(Settings {
        data_dir: remote.archive().data_dir().path().to_owned(),
        _index_lock: index.map(Arc::new),
        remote: Some(Arc::new(remote)),
        unread: unread.into(),
        ..settings
    })
}

/// The bucket, over its cache; nothing is read yet.
pub(super) fn open(settings: &Settings) -> Result<RemoteArchive, Failure> {
    let attempted = || "read the bucket of the team".to_owned();
    let bucket = bucket(settings, attempted)?.clone();
    let journal = JournalOptions::default()
        .with_actor(Arc::clone(&settings.actor))
        .with_lock_timeout(settings.lock_timeout);
    let cache = cache_dir()?;
    RemoteArchive::open(bucket, &cache, journal).map_err(with_cache(attempted, &cache))
}

/// As [`cannot`], where it may be the cache that cannot be used: no data directory has anything to do with it.
fn with_cache(attempted: impl FnOnce() -> String, cache: &Path) -> impl FnOnce(TrackingError) -> Failure {
    let hint = format!(
        "the cache of the bucket is {}: EKSTRACK_CACHE_DIR names another directory for it",
        cache.display()
    );
    move |error| {
        let of_bucket = error.hint().is_some();
        let failure = cannot(attempted)(error);
        if of_bucket { failure } else { failure.hint(hint) }
    }
}

/// Something of a stream in the bucket that could not be read.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    pub(crate) stream: StreamId,
    pub(crate) error: String,
    hint: Option<String>,
    kind: Kind,
    extent: Extent,
}

/// How much of a stream could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What came since the last time.
    News,
    /// Its beginning, without which nothing may be known of it.
    Beginning,
    /// Some records.
    Part,
}

/// What of the bucket could not be read, by stream.
pub(super) fn unread(report: RefreshReport, location: &S3Location) -> Vec<Unread> {
    let mut unread = Vec::new();
    for (stream, error) in report.failed {
        let error = TrackingError::from(ArtifactError::from(error));
        unread.push(Unread {
            stream,
            error: format!("it is not brought up to date: {}", chain(&error).join(": ")),
            hint: error.hint(),
            kind: error.kind().into(),
            extent: Extent::News,
        });
    }
    for missing in report.missing_starts {
        let given_up = match &missing.stream {
            StreamId::Session(id) => format!("`ekstrack --remote gc --incomplete {id}` deletes the rest"),
            StreamId::Upgrade(_) => format!("delete the rest, {location}/{}", missing.folder()),
        };
        unread.push(Unread {
            error: missing.to_string(),
            stream: missing.stream,
            hint: Some(format!(
                "`ekstrack sync` on the machine that wrote it puts it there again; if that is gone for good, {given_up}"
            )),
            kind: Kind::Refused,
            extent: Extent::Beginning,
        });
    }
    for segment in report.unreadable {
        let error = segment.to_string();
        match segment.stream {
            Some(stream) => unread.push(Unread {
                stream,
                error,
                hint: None,
                kind: Kind::Refused,
                extent: Extent::Part,
            }),
            None => note("warning", &error),
        }
    }
    unread.sort_by(|a, b| a.stream.cmp(&b.stream));
    unread
}

/// Refuses to show a stream of which it is not known how it stands.
fn refuse_unread(command: &Command, remote: &RemoteArchive, unread: &[Unread]) -> Result<(), Failure> {
    let Some(stream) = stream_of(command) else {
        return Ok(());
    };
    for one in unread.iter().filter(|one| one.stream == stream) {
        let is_known = match one.extent {
            Extent::News => false,
            Extent::Part => true,
            Extent::Beginning => match &stream {
                StreamId::Upgrade(id) => remote.archive().upgrade(id).is_ok(),
                StreamId::Session(id) => block_on(remote.artifacts().session(id))?.is_ok(),
            },
        };
        if !is_known {
            let attempted = format!("read {stream} in {}", remote.bucket().location());
            let failure = Failure::new(one.kind, attempted, one.error.clone());
            return Err(match &one.hint {
                Some(hint) => failure.hint(hint.clone()),
                None => failure,
            });
        }
    }
    Ok(())
}

/// The stream that a command is about.
fn stream_of(command: &Command) -> Option<StreamId> {
    let upgrade = |id: &UpgradeId| Some(StreamId::Upgrade(id.clone()));
    let session = |id: &SessionId| Some(StreamId::Session(id.clone()));
    match command {
        Command::Upgrade(UpgradeCommand::Show { id }) => upgrade(id),
        Command::Task(TaskCommand::List { upgrade: id }) => upgrade(id),
        Command::Task(TaskCommand::Show { name }) => upgrade(&name.upgrade),
        Command::Logs(args) => upgrade(&args.name.upgrade),
        Command::Collection(CollectionCommand::List { session: id }) => session(id),
        Command::Artifact(ArtifactCommand::List(args)) => args.session.as_ref().and_then(session),
        Command::Export(args) => upgrade(&args.upgrade),
        Command::Watch(args) => args.upgrade.as_ref().and_then(upgrade),
        Command::Session(
            SessionCommand::Show { session: id, .. }
            | SessionCommand::Pin { session: id, .. }
            | SessionCommand::Complete { session: id, .. },
        ) => session(id),
        Command::Search(args) => args.criteria.session.as_ref().and_then(session),
        Command::Stats(args) => args.criteria.session.as_ref().and_then(session),
        _ => None,
    }
}

/// Whether it asks for artifacts.
const fn uses_index(command: &Command) -> bool {
    match command {
        Command::Search(_) | Command::Stats(_) | Command::Artifact(_) | Command::Logs(_) => true,
        Command::Task(command) => matches!(command, TaskCommand::Show { .. }),
        Command::Session(command) => matches!(command, SessionCommand::Show { .. }),
        _ => false,
    }
}

/// Whether it can do what it does in the bucket.
const fn works_on_bucket(command: &Command) -> bool {
    match command {
        Command::Upgrade(command) => {
            matches!(command, UpgradeCommand::List { .. } | UpgradeCommand::Show { .. })
        }
        Command::Session(command) => !matches!(command, SessionCommand::Create { .. }),
        Command::Artifact(command) => matches!(
            command,
            ArtifactCommand::List(_)
                | ArtifactCommand::Show(_)
                | ArtifactCommand::Cat(_)
                | ArtifactCommand::Download { .. }
                | ArtifactCommand::Url { .. }
        ),
        Command::Task(command) => matches!(command, TaskCommand::List { .. } | TaskCommand::Show { .. }),
        Command::Collection(command) => matches!(command, CollectionCommand::List { .. }),
        Command::Logs(_)
        | Command::Search(_)
        | Command::Stats(_)
        | Command::Watch(_)
        | Command::Export(_)
        | Command::Gc(_) => true,
        _ => false,
    }
}

/// With `--remote`, fetches the texts that are to be searched.
pub(super) fn fetch_texts(settings: &Settings) -> Result<(), Failure> {
    let Some(remote) = &settings.remote else {
        return Ok(());
    };
    let work = Work::begin("fetching texts", settings.output);
    let shown = work.clone();
    let fetched = block_on(remote.fetch_texts(MOST_TEXTS, move |done, total| {
        shown.say(&format!("{done} of {total}"));
    }));
    work.end();
    let attempted = || "fetch the texts to search".to_owned();
    let path = remote.archive().data_dir().path();
    let fetched = fetched?.map_err(with_cache(attempted, path))?;
    if let Some(reason) = &fetched.reason {
        let count = several(fetched.failed, "text");
        note(
            "warning",
            &format!("{count} could not be fetched and are not searched: {reason}"),
        );
    }
    if fetched.archived > 0 {
        let count = several(fetched.archived, "text");
        note(
            "note",
            &format!("{count} must be restored in S3 before they can be read, and are not searched"),
        );
    }
    if fetched.left > 0 {
        let count = several(fetched.left, "older text");
        note(
            "note",
            &format!("{count} are not fetched yet and not searched; the next search fetches more"),
        );
    }
    Ok(())
}

/// Names what could not be read.
pub(super) fn tell_unreadable(unread: &[Unread]) {
    for one in unread {
        let hint = one
            .hint
            .as_ref()
            .map_or_else(String::new, |hint| format!("; {hint}"));
        note("warning", &format!("{}: {}{hint}", one.stream, one.error));
    }
}

/// Where copies of buckets are kept.
#[expect(
    clippy::disallowed_methods,
    reason = "the command is where the environment is read"
)]
fn cache_dir() -> Result<PathBuf, Failure> {
    let named = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    named("EKSTRACK_CACHE_DIR")
        .or_else(|| named("XDG_CACHE_HOME").map(|path| path.join("ekstrack")))
        .or_else(|| named("HOME").map(|path| path.join(".cache").join("ekstrack")))
        .ok_or_else(|| {
            Failure::new(Kind::Usage, "find a place for the cache", "HOME is not set")
                .hint("name a directory in EKSTRACK_CACHE_DIR")
        })
}
