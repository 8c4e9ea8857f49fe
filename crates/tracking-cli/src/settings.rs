//! Flags, environment and configuration file, resolved once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracking_facade::s3::{IndexLock, RemoteArchive};
use tracking_facade::{
    Archive, ArtifactError, DataDir, JournalOptions, ManagerOptions, ProgressError, ProgressTracker,
    ProgressTrackerOptions, SessionId, StreamId, TestArtifactsManager, TrackingError, UpgradeId,
    open_artifacts, session_outcome,
};
use tracking_model::check_name;

use crate::args::GlobalArgs;
use crate::commands::remote::Unread;
use crate::commands::runtime::block_on;
use crate::commands::transfer::ImportDocument;
use crate::config_file::ConfigFile;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::{Output, note};
use crate::sinks::SinkSettings;

pub(crate) const DEFAULT_DATA_DIR: &str = "ekstrack-data";
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// A text is taken up in memory, and many of them together.
const MOST_TEXT_BYTES: u64 = 1 << 20;

/// What every command works with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) actor: Arc<str>,
    pub(crate) lock_timeout: Duration,
    /// How many bytes of the beginning of each log are searched as text, if the configuration says so.
    pub(crate) text_bytes: Option<u64>,
    pub(crate) output: Output,
    /// What the command's changes go to beside the data directory.
    pub(crate) sinks: SinkSettings,
    /// Whether the bucket is asked, and not the data directory.
    pub(crate) asks_bucket: bool,
    /// The bucket, once it was read.
    pub(crate) remote: Option<Arc<RemoteArchive>>,
    /// What of it could not be read.
    pub(crate) unread: Arc<[Unread]>,
    /// Held while a command looks for artifacts in it.
    pub(crate) _index_lock: Option<Arc<IndexLock>>,
}

impl Settings {
    /// Flags win over the environment, that over the configuration file, that over the defaults.
    pub(crate) fn resolve(global: GlobalArgs) -> Result<Self, Failure> {
        let (file, misread) = ConfigFile::find(global.config.as_deref())?;
        let lock_timeout = match (global.lock_timeout, file.lock_timeout) {
            (Some(timeout), _) => timeout,
            (None, Some(seconds)) => Duration::try_from_secs_f64(seconds).map_err(|error| {
                Failure::of(
                    Kind::Usage,
                    "use `lock_timeout` of the configuration file",
                    &error,
                )
            })?,
            (None, None) => DEFAULT_LOCK_TIMEOUT,
        };
        if let Some(bytes) = file.text_bytes.filter(|bytes| *bytes > MOST_TEXT_BYTES) {
            return Err(Failure::new(
                Kind::Usage,
                "use `text_bytes` of the configuration file",
                format!("{bytes} is more than {MOST_TEXT_BYTES}"),
            ));
        }
        let actor = global.actor.or(file.actor).unwrap_or_else(default_actor);
        check_name("actor", &actor)
            .map_err(|error| Failure::of(Kind::Usage, "record who makes this change", &error))?;
        let sinks = SinkSettings::resolve((global.s3, file.s3), (global.eventbridge, file.eventbridge));
        if let Some(misread) = misread {
            return Err(misread.with(sinks.err()));
        }
        let sinks = sinks?;
        if global.remote && sinks.bucket.is_none() {
            return Err(
                Failure::new(Kind::Usage, "read the bucket of the team", "no bucket is given")
                    .hint("name it with --s3 s3://bucket/prefix, or in the section [s3] of ekstrack.toml"),
            );
        }
        let data_dir = global.data_dir.filter(|path| !path.as_os_str().is_empty());
        Ok(Self {
            data_dir: data_dir
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            actor: actor.into(),
            lock_timeout,
            text_bytes: file.text_bytes,
            output: Output::new(global.json),
            sinks,
            asks_bucket: global.remote,
            remote: None,
            unread: Arc::default(),
            _index_lock: None,
        })
    }
}

/// What is looked at.
impl Settings {
    /// The bucket, or the data directory.
    pub(crate) fn place(&self) -> String {
        match &self.remote {
            Some(remote) => remote.bucket().location().to_string(),
            None => self.data_dir.display().to_string(),
        }
    }

    /// As [`cannot`], for what looks something up by its id: where the bucket is asked, it is there that it was not found.
    pub(crate) fn cannot<E: Into<TrackingError>>(
        &self,
        attempted: impl FnOnce() -> String,
    ) -> impl FnOnce(E) -> Failure {
        move |error| {
            let error = error.into();
            let missing = match (&self.remote, &error) {
                (None, _) => None,
                (_, TrackingError::Progress(ProgressError::UnknownUpgrade { upgrade_id, .. })) => Some((
                    format!("upgrade {upgrade_id}"),
                    "`ekstrack --remote upgrade list`",
                )),
                (_, TrackingError::Artifacts(ArtifactError::UnknownSession(id))) => {
                    Some((format!("session {id}"), "`ekstrack --remote session list`"))
                }
                (_, TrackingError::Artifacts(ArtifactError::UnknownArtifact(id))) => {
                    Some((format!("artifact {id}"), "`ekstrack --remote search`"))
                }
                _ => None,
            };
            let Some((what, listed)) = missing else {
                return cannot(attempted)(error);
            };
            let cause = format!("there is no {what} in {}", self.place());
            Failure::new(Kind::NotFound, attempted(), cause).hint(format!(
                "{listed} shows those there are; what a machine has not delivered yet, `ekstrack sync` there does"
            ))
        }
    }
}

/// Opening what the settings name.
impl Settings {
    /// The data directory, created where it is missing.
    pub(crate) fn create_data_dir(&self) -> Result<DataDir, TrackingError> {
        Ok(DataDir::open(&self.data_dir)?)
    }

    /// What is in the data directory, which must exist.
    pub(crate) fn archive(&self) -> Result<Archive, TrackingError> {
        if let Some(remote) = &self.remote {
            return Ok(remote.archive().clone());
        }
        let archive = Archive::open(&self.data_dir)?;
        self.adopt(&archive);
        Ok(archive)
    }

    /// Takes over what the reference left in the data directory itself. Looking at the rest works all the
    /// same where that fails.
    fn adopt(&self, archive: &Archive) {
        match archive.adopt(Arc::clone(&self.actor), self.lock_timeout) {
            Ok(None) => {}
            Ok(Some(import)) => {
                let import = ImportDocument::new(import);
                let (upgrades, sessions) = import.counts();
                if upgrades + sessions > 0 {
                    let what = format!(
                        "took over {upgrades} upgrades and {sessions} sessions of the reference; its files are kept"
                    );
                    note("note", &what);
                }
                for warning in import.warnings() {
                    note("warning", &warning);
                }
            }
            Err(error) => {
                let what = format!(
                    "what the reference left is not taken over: {}",
                    chain(&error).join(": ")
                );
                note("warning", &what);
            }
        }
    }

    /// An upgrade that exists, to write a command or two.
    pub(crate) fn tracker(&self, upgrade: &UpgradeId) -> Result<ProgressTracker, ProgressError> {
        self.sinks.touched(StreamId::Upgrade(upgrade.clone()));
        let dir = DataDir::existing(&self.data_dir)?;
        let tracker = ProgressTracker::open(&dir, upgrade, self.tracker_options())?;
        note_torn_tail(&tracker);
        Ok(tracker)
    }

    /// An upgrade that exists, to stay with it: it counts as alive meanwhile.
    pub(crate) fn long_lived_tracker(&self, upgrade: &UpgradeId) -> Result<ProgressTracker, ProgressError> {
        let dir = DataDir::existing(&self.data_dir)?;
        let options = self.tracker_options().with_long_lived(true);
        let tracker = ProgressTracker::open(&dir, upgrade, options)?;
        note_torn_tail(&tracker);
        Ok(tracker)
    }

    /// The sessions and artifacts of the data directory, which must exist.
    pub(crate) fn artifacts(&self) -> Result<TestArtifactsManager, TrackingError> {
        if let Some(remote) = &self.remote {
            return Ok(remote.artifacts().clone());
        }
        let dir = self.archive()?.data_dir().clone();
        Ok(self.manager(dir))
    }

    pub(crate) fn manager(&self, dir: DataDir) -> TestArtifactsManager {
        let journal = JournalOptions::default()
            .with_actor(Arc::clone(&self.actor))
            .with_lock_timeout(self.lock_timeout);
        let mut options = ManagerOptions::default().with_journal(journal);
        if let Some(bytes) = self.text_bytes {
            options = options.with_text_bytes(bytes);
        }
        open_artifacts(dir, self.sinks.named_in(options))
    }

    /// Notes in the session that is named as the upgrade how that ended, if it has. The upgrade's own record is there
    /// already, so what does not work is worth a warning.
    pub(crate) fn note_outcome(&self, tracker: &ProgressTracker) {
        let Some(outcome) = tracker.journal().read(|state, _| session_outcome(state)) else {
            return;
        };
        if let Ok(session) = SessionId::new(tracker.upgrade_id()) {
            self.sinks.touched(StreamId::Session(session));
        }
        let noted = DataDir::existing(&self.data_dir)
            .map_err(ArtifactError::from)
            .and_then(|dir| {
                let manager = self.manager(dir);
                let noted = block_on(async {
                    let noted = manager.record_outcome(tracker.upgrade_id(), outcome).await;
                    close_artifacts(&manager).await;
                    noted
                });
                // Without a runtime there is nothing that could be waited for.
                noted.unwrap_or_else(|_| Ok(Vec::new()))
            });
        if let Err(error) = noted {
            let why = chain(&error).join(": ");
            note(
                "warning",
                &format!("the upgrade's session does not know how it ended: {why}"),
            );
        }
    }

    /// For a command or two.
    pub(crate) fn tracker_options(&self) -> ProgressTrackerOptions {
        ProgressTrackerOptions::default()
            .with_actor(Arc::clone(&self.actor))
            .with_lock_timeout(self.lock_timeout)
            .with_long_lived(false)
    }

    /// Closes a tracker. What it was asked to do is done; at most the snapshot is behind, which is worth a warning.
    pub(crate) fn close(&self, tracker: &ProgressTracker) {
        if let Err(error) = tracker.close_blocking() {
            note("warning", &chain(&error).join(": "));
        }
    }
}

/// Tells what a writer that died has left behind the last record; the next commit replaces it.
fn note_torn_tail(tracker: &ProgressTracker) {
    let torn = tracker.journal().recovery().torn_bytes;
    if torn > 0 {
        let upgrade = tracker.journal().read(|state, _| state.upgrade_id.clone());
        note(
            "note",
            &format!(
                "a writer of upgrade {upgrade} died: {torn} bytes of a commit that was never acknowledged are cut off"
            ),
        );
    }
}

/// Closes the sessions. What they were asked to do is done; at most a snapshot is behind, which is worth a warning.
pub(crate) async fn close_artifacts(manager: &TestArtifactsManager) {
    if let Err(error) = manager.close().await {
        note("warning", &chain(&error).join(": "));
    }
}

/// `user@host`.
#[expect(
    clippy::disallowed_methods,
    reason = "the command is where the environment is read"
)]
fn default_actor() -> String {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}
