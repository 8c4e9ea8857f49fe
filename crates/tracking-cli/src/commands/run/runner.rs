//! One task, one runner: a living `run` holds the task's lock.
//!
//! The system frees the lock when the process dies. What is in the file is a hint for messages only.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracking_facade::{Clock, DataDir, StreamId, SystemClock, TaskId, UpgradeId, storage};

use crate::args::RunArgs;
use crate::exit::{Failure, Kind};
use crate::output::note;
use crate::settings::Settings;

/// The most that is read of a hint.
const LONGEST_HINT: u64 = 64 * 1024;
/// How long a holder may take to die: the system frees the lock of a killed process when it has cleared the process away.
const DYING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// Holds the lock of a task until it is dropped.
#[derive(Debug)]
pub(super) struct Runner {
    path: PathBuf,
    file: File,
    hint: Hint,
}

/// Content of the lock file: a hint about its holder.
#[derive(Debug, Serialize, Deserialize)]
struct Hint {
    pid: u32,
    actor: String,
    since: String,
    #[serde(default)]
    command: Option<CommandHint>,
}

/// A process, told apart from a later one with its id by when it started.
#[derive(Debug, Serialize, Deserialize)]
struct CommandHint {
    pid: u32,
    started: u64,
}

impl Runner {
    /// Takes the task, and warns if the command of an earlier run that was killed is still there. `None` if there is
    /// nothing to lock, or another holds it and `--anyway` is given.
    ///
    /// # Errors
    /// Another `run` of the task lives.
    pub(super) fn take(args: &RunArgs, settings: &Settings) -> Result<Option<Self>, Failure> {
        let Some(path) = lock_path(settings, &args.upgrade, &args.task) else {
            return Ok(None);
        };
        let file = match lock(&path, if args.anyway { Duration::ZERO } else { DYING }) {
            Ok(Some(file)) => file,
            Ok(None) if args.anyway => return Ok(None),
            Ok(None) => return Err(refused(args, Hint::read(&path).as_ref())),
            Err(error) => {
                let what = format!(
                    "it is not known whether another run of task {} lives: cannot lock {}: {error}",
                    args.task,
                    path.display()
                );
                note("warning", &what);
                return Ok(None);
            }
        };
        if let Some(earlier) = Hint::read(&path) {
            earlier.warn_of_command(&args.task);
        }
        let hint = Hint {
            pid: std::process::id(),
            actor: settings.actor.to_string(),
            since: SystemClock.now().to_string(),
            command: None,
        };
        let runner = Self { path, file, hint };
        runner.write();
        Ok(Some(runner))
    }

    /// Notes the command, in case we are killed.
    pub(super) fn note_command(&mut self, pid: u32) {
        self.hint.command = started(pid).map(|started| CommandHint { pid, started });
        self.write();
    }

    /// A hint that cannot be written costs a message its details.
    fn write(&self) {
        let written = serde_json::to_vec(&self.hint)
            .map_err(io::Error::from)
            .and_then(|hint| {
                self.file.set_len(0)?;
                self.file.write_all_at(&hint, 0)
            });
        if let Err(error) = written {
            tracing::info!(%error, path = %self.path.display(), "cannot note who runs the task");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // The name goes while the lock is held, so nobody else's is removed.
        let removed = fs::remove_file(&self.path);
        if let Err(error) = removed {
            tracing::info!(%error, path = %self.path.display(), "cannot remove the lock of the task");
        }
        // It stays while other tasks have locks in it.
        if let Some(directory) = self.path.parent()
            && fs::remove_dir(directory).is_err()
        {}
    }
}

impl Hint {
    fn read(path: &Path) -> Option<Self> {
        let content = storage::read(path, LONGEST_HINT).ok()?;
        serde_json::from_slice(&content).ok()
    }

    fn warn_of_command(&self, task: &TaskId) {
        let Some(command) = &self.command else { return };
        if started(command.pid) == Some(command.started) {
            let what = format!(
                "an earlier run of task {task} was killed (process {} of {}, since {}), and its command still runs as \
                 process {}",
                self.pid, self.actor, self.since, command.pid
            );
            note("warning", &what);
        }
    }
}

/// Where the lock of a task is; `None` if there is no such upgrade, which is told later.
fn lock_path(settings: &Settings, upgrade: &UpgradeId, task: &TaskId) -> Option<PathBuf> {
    let dir = DataDir::existing(&settings.data_dir).ok()?;
    let stream = StreamId::Upgrade(upgrade.clone());
    storage::metadata(&dir.journal_path(&stream)).ok()?;
    Some(dir.runs_dir(&stream).join(format!("{}.lock", task.encoded())))
}

/// Locks the file of this name, created if it is absent; `None` if another process has locked it and does not end within
/// `time`.
fn lock(path: &Path, time: Duration) -> io::Result<Option<File>> {
    let begun = Instant::now();
    loop {
        if let Some(directory) = path.parent() {
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let mut options = OpenOptions::new();
        let file = match storage::open_with(path, options.read(true).write(true).create(true)) {
            Ok(file) => file,
            // The one who held the last lock has removed the directory meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < time => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // The one who held it may have removed the name before we got the lock.
        let ours = file.metadata()?;
        match storage::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn refused(args: &RunArgs, holder: Option<&Hint>) -> Failure {
    let by = holder.map_or_else(
        || "another process".to_owned(),
        |holder| {
            format!(
                "process {} of {}, since {}",
                holder.pid, holder.actor, holder.since
            )
        },
    );
    Failure::new(
        Kind::Refused,
        format!("run task {} of upgrade {}", args.task, args.upgrade),
        format!("it is being run by {by}"),
    )
    .hint("wait for its end, or pass --anyway to run the command beside it")
}

/// When a process started, in the system's own units since it booted; `None` if there is none, or it has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18)?.parse().ok()?;
    (!ended).then_some(started)
}
