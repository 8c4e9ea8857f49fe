//! `--remote`: commands that read, over a copy of the records in the bucket of the team.

use std::path::PathBuf;
use std::sync::Arc;

use tracking_facade::JournalOptions;
use tracking_facade::s3::{RefreshProgressCallback, RefreshReport, RemoteArchive};

use super::artifact::bucket;
use super::runtime::block_on;
use crate::args::{ArtifactCommand, Command, SessionCommand, UpgradeCommand};
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
    if !reads_bucket(command) {
        return Err(Failure::new(
            Kind::Usage,
            "use --remote",
            "this command works on a data directory",
        )
        .hint(
            "with --remote: upgrade list and show, session list and show, search, stats, artifact show, \
                 download and url, watch, export, gc",
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
    tell_unreadable(&refreshed?.map_err(cannot(|| format!("read {location}")))?);
    let index = if uses_index(command) {
        let lock = block_on(remote.lock_index())?;
        Some(lock.map_err(cannot(|| "use the cache of the bucket".to_owned()))?)
    } else {
        None
    };
    Ok(Settings {
        data_dir: remote.archive().data_dir().path().to_owned(),
        _index_lock: index.map(Arc::new),
        remote: Some(Arc::new(remote)),
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
    RemoteArchive::open(bucket, cache_dir()?, journal).map_err(cannot(attempted))
}

/// Whether it asks for artifacts.
const fn uses_index(command: &Command) -> bool {
    match command {
        Command::Search(_) | Command::Stats(_) | Command::Artifact(_) => true,
        Command::Session(command) => matches!(command, SessionCommand::Show { .. }),
        _ => false,
    }
}

const fn reads_bucket(command: &Command) -> bool {
    match command {
        Command::Upgrade(command) => {
            matches!(command, UpgradeCommand::List { .. } | UpgradeCommand::Show { .. })
        }
        Command::Session(command) => {
            matches!(command, SessionCommand::List { .. } | SessionCommand::Show { .. })
        }
        Command::Artifact(command) => matches!(
            command,
            ArtifactCommand::Show(_) | ArtifactCommand::Download { .. } | ArtifactCommand::Url { .. }
        ),
        Command::Search(_) | Command::Stats(_) | Command::Watch(_) | Command::Export(_) | Command::Gc(_) => {
            true
        }
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
    let fetched = fetched?.map_err(cannot(|| "fetch the texts to search".to_owned()))?;
    if let Some(reason) = &fetched.reason {
        let count = several(fetched.failed, "text");
        note(
            "warning",
            &format!("{count} could not be fetched and are not searched: {reason}"),
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

/// Names what is in the bucket and is no record.
pub(super) fn tell_unreadable(report: &RefreshReport) {
    for unreadable in &report.unreadable {
        note("warning", &unreadable.to_string());
    }
    for (stream, error) in &report.failed {
        let why = chain(error).join(": ");
        note("warning", &format!("{stream} is not brought up to date: {why}"));
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
