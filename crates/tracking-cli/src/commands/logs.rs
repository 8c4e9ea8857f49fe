//! `ekstrack logs`: what the commands of a task wrote, by attempt.

use std::io::Read as _;
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Artifact, ArtifactId, ArtifactQuery, ArtifactReader, ProgressError, TaskId, TestArtifactsManager,
    UpgradeId,
};

use super::artifact::Content;
use super::pages::Pages;
use super::runtime::block_on;
use crate::args::{LogsArgs, TaskName};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::note;
use crate::settings::Settings;

/// The names that `run` and the recovery of interrupted output give.
const STDOUT: &str = "stdout.log";
const STDERR: &str = "stderr.log";
const INTERRUPTED: &str = "interrupted-output.log";
/// Logs recovered from one run are recorded within this time.
const TOGETHER_SECONDS: i64 = 1;
/// Begins a line of the times of output, which are recovered under the same name as the output.
const TIMES: &[u8] = b"{\"at\":";

/// Stream of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stream {
    Stdout,
    Stderr,
    /// Nothing tells which of the two.
    Interrupted,
}

impl Stream {
    fn of(artifact: &Artifact) -> Option<Self> {
        match &*artifact.name {
            STDOUT => Some(Self::Stdout),
            STDERR => Some(Self::Stderr),
            INTERRUPTED => Some(Self::Interrupted),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A log that was kept.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) stream: Stream,
    pub(super) artifact: Arc<Artifact>,
}

/// The logs of one run of a task's command, in the order in which they were recorded.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) logs: Vec<Log>,
}

impl Attempt {
    /// True if `log` was recorded by the same run as those that are here.
    fn has_room_for(&self, log: &Log) -> bool {
        let Some(last) = self.logs.last() else { return true };
        match log.stream {
            Stream::Interrupted => {
                let between = log.artifact.created_at.since(last.artifact.created_at);
                last.stream == Stream::Interrupted && between.as_micros() <= TOGETHER_SECONDS * 1_000_000
            }
            stream => self
                .logs
                .iter()
                .all(|other| other.stream != stream && other.stream != Stream::Interrupted),
        }
    }

    fn has(&self, stream: Stream) -> bool {
        let wanted = self.logs_of(stream);
        wanted.into_iter().any(|log| log.artifact.file_size != Some(0))
    }

    fn logs_of(&self, stream: Stream) -> impl Iterator<Item = &Log> {
        self.logs
            .iter()
            .filter(move |log| log.stream == stream || log.stream == Stream::Interrupted)
    }
}

/// The attempts of a task whose output was kept, the oldest first.
pub(super) fn attempts(
    manager: &TestArtifactsManager,
    upgrade: &UpgradeId,
    task: &TaskId,
) -> Result<Vec<Attempt>, Failure> {
    let query = ArtifactQuery::new()
        .of_upgrade(upgrade.clone())
        .of_task(task.clone());
    let attempted = format!("find the logs of task {task} of upgrade {upgrade}");
    let mut logs = Vec::new();
    Pages::new(manager, query, attempted).each(
        |failure| failure,
        |page| {
            logs.extend(page.iter().filter_map(|artifact| {
                let stream = Stream::of(artifact)?;
                let artifact = Arc::clone(artifact);
                Some(Log { stream, artifact })
            }));
            Ok(())
        },
    )?;
    logs.sort_by(|a, b| {
        let place = |log: &Log| (log.artifact.created_at, log.artifact.artifact_id.clone());
        place(a).cmp(&place(b))
    });
    let mut attempts: Vec<Attempt> = Vec::new();
    for log in logs {
        match attempts.last_mut() {
            Some(attempt) if attempt.has_room_for(&log) => attempt.logs.push(log),
            _ => attempts.push(Attempt { logs: vec![log] }),
        }
    }
    Ok(attempts)
}

/// Output that is being written, or whose writer died: stdout and stderr.
fn live(
    manager: &TestArtifactsManager,
    upgrade: &UpgradeId,
    task: &TaskId,
    attempted: impl Fn() -> String,
) -> Result<Option<[ArtifactReader; 2]>, Failure> {
    let read = block_on(async {
        for session in manager.sessions().await?.sessions {
            if session.upgrade_id.as_ref() != Some(upgrade) || !session.is_open() {
                continue;
            }
            for collection in session.collections.values() {
                if collection.task_id.as_ref() != Some(task) {
                    continue;
                }
                let id = &collection.collection_id;
                let mut writers = manager.live_output(&session.session_id, id).await?.into_iter();
                // `run` begins stdout, stderr and their times in this order.
                if let (Some(stdout), Some(stderr)) = (writers.next(), writers.next()) {
                    return Ok(Some([stdout, stderr]));
                }
            }
        }
        Ok::<_, tracking_facade::ArtifactError>(None)
    });
    read?.map_err(cannot(attempted))
}

/// Document of `--json`: the bytes and their attempt.
#[derive(Debug, Serialize)]
struct LogsDocument<'a> {
    upgrade_id: &'a UpgradeId,
    task_id: &'a TaskId,
    attempt: usize,
    stream: Stream,
    /// True if the command may still write.
    running: bool,
    artifact_ids: Vec<&'a ArtifactId>,
}

pub(crate) fn logs(args: &LogsArgs, settings: &Settings) -> Result<(), Failure> {
    let TaskName { upgrade, task } = &args.name;
    let attempted = || format!("print the logs of task {task} of upgrade {upgrade}");
    let manager = settings.artifacts().map_err(settings.cannot(attempted))?;
    let stream = if args.stderr {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    let kept = attempts(&manager, upgrade, task)?;
    let live = match settings.remote {
        Some(_) => None,
        None => live(&manager, upgrade, task, attempted)?,
    };
    let all = kept.len() + usize::from(live.is_some());
    let wanted = match args.attempt {
        Some(attempt) => usize::try_from(attempt).unwrap_or(usize::MAX),
        None if live.is_some() => all,
        None => {
            let last = kept.iter().rposition(|attempt| attempt.has(stream));
            last.map_or(all, |place| place + 1)
        }
    };
    let mut document = LogsDocument {
        upgrade_id: upgrade,
        task_id: task,
        attempt: wanted,
        stream,
        running: false,
        artifact_ids: Vec::new(),
    };
    if let Some(attempt) = wanted.checked_sub(1).and_then(|place| kept.get(place)) {
        let content = content(settings, &manager, attempt, &mut document, attempted)?;
        return content.print(settings, &document, attempted);
    }
    match live.filter(|_| wanted == all) {
        Some([stdout, stderr]) => {
            let reader = if args.stderr { stderr } else { stdout };
            note(
                "note",
                &format!("task {task} has not ended: this is its output so far"),
            );
            document.running = true;
            let size = reader.size();
            Content::unverified(reader, size).print(settings, &document, attempted)
        }
        None => Err(missing(settings, &args.name, all, attempted)),
    }
}

/// The bytes of the logs of one attempt.
fn content<'a>(
    settings: &Settings,
    manager: &TestArtifactsManager,
    attempt: &'a Attempt,
    document: &mut LogsDocument<'a>,
    attempted: impl Fn() -> String,
) -> Result<Content, Failure> {
    let mut whole = Content::unverified(std::io::empty(), 0);
    for log in attempt.logs_of(document.stream) {
        let one = Content::open(settings, manager, &log.artifact, &attempted)?;
        let one = match log.stream {
            Stream::Interrupted => one
                .unless_it_begins_with(TIMES)
                .map_err(|error| Failure::output(&error))?,
            Stream::Stdout | Stream::Stderr => Some(one),
        };
        if let Some(one) = one {
            document.artifact_ids.push(&log.artifact.artifact_id);
            whole = whole.then(one);
        }
    }
    if attempt.logs.iter().any(|log| log.stream == Stream::Interrupted) {
        document.stream = Stream::Interrupted;
        note(
            "note",
            "this attempt was interrupted: nothing tells its stdout from its stderr",
        );
    }
    Ok(whole)
}

/// Why there is nothing to print.
fn missing(settings: &Settings, name: &TaskName, attempts: usize, attempted: impl Fn() -> String) -> Failure {
    let TaskName { upgrade, task } = name;
    let found = settings.archive().and_then(|archive| archive.upgrade(upgrade));
    let view = match found {
        Ok(view) => view,
        Err(error) => return settings.cannot(attempted)(error),
    };
    if view.progress.task(task).is_none() {
        return cannot(attempted)(ProgressError::UnknownTask {
            upgrade_id: upgrade.clone(),
            task_id: task.clone(),
        });
    }
    let cause = match attempts {
        0 => "no output of it was kept".to_owned(),
        1 => "output of 1 attempt was kept".to_owned(),
        several => format!("output of {several} attempts was kept"),
    };
    Failure::new(Kind::NotFound, attempted(), cause).hint(format!(
        "`ekstrack task show {upgrade} {task}` names the logs of each attempt; `ekstrack run` keeps what a command writes"
    ))
}

impl Content {
    /// `None` if the bytes begin with `beginning`.
    fn unless_it_begins_with(mut self, beginning: &[u8]) -> std::io::Result<Option<Self>> {
        let mut head = Vec::new();
        self.by_ref()
            .take(beginning.len() as u64)
            .read_to_end(&mut head)?;
        Ok((head != beginning).then(|| self.after(head)))
    }
}
