//! What `run` keeps: the command's output while it comes, and files afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Artifact, ArtifactError, ArtifactId, ArtifactType, CollectionId, FileHash, NewArtifact, NewCollection,
    NewSession, SessionId, TestArtifactsManager, TrackingError,
};

use super::log::Log;
use super::record::Recorder;
use crate::args::RunArgs;
use crate::exit::{Failure, Kind, chain};
use crate::files::{FilePattern, OwnData};
use crate::output::note;
use crate::process::{Keep, KeepBytes as _};
use crate::redact::Rules;
use crate::settings::{Settings, close_artifacts};

/// The names of what is kept of the output.
const STDOUT: &str = "stdout.log";
const STDERR: &str = "stderr.log";
const TIMES: &str = "output-times.jsonl";

/// The session and collection of a run, and what is being kept in them.
#[derive(Debug)]
pub(super) struct Evidence {
    manager: TestArtifactsManager,
    place: Place,
    own: OwnData,
}

/// Where evidence goes.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) session: SessionId,
    pub(super) collection: CollectionId,
}

impl Place {
    /// Session and collection as given, else those named as the upgrade and the task.
    pub(super) fn of(args: &RunArgs) -> Self {
        let session = || SessionId::new(&args.upgrade).expect("all ids follow the same rules");
        let collection = || CollectionId::new(&args.task).expect("all ids follow the same rules");
        Self {
            session: args.session.clone().unwrap_or_else(session),
            collection: args.collection.clone().unwrap_or_else(collection),
        }
    }
}

/// An artifact that was kept, for scripts.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    artifact_id: ArtifactId,
    name: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_bytes: Option<Arc<str>>,
    file_size: Option<u64>,
    file_hash: Option<FileHash>,
}

impl From<Arc<Artifact>> for Kept {
    fn from(artifact: Arc<Artifact>) -> Self {
        Self {
            artifact_id: artifact.artifact_id.clone(),
            name: Arc::clone(&artifact.name),
            name_bytes: artifact.name_bytes.clone(),
            file_size: artifact.file_size,
            file_hash: artifact.file_hash,
        }
    }
}

/// Reads the patterns of `--artifact`, so that a wrong one is refused before the start.
pub(super) fn patterns(args: &RunArgs) -> Result<Vec<FilePattern>, Failure> {
    let read = |pattern: &String| {
        FilePattern::new(pattern).map_err(|error| {
            Failure::of(
                Kind::Usage,
                format!("keep the files that match {pattern}"),
                &error,
            )
        })
    };
    args.artifact.iter().map(read).collect()
}

impl Evidence {
    /// Prepares session, collection, the two logs and their times. Where that fails, a warning is printed, and nothing is kept.
    pub(super) async fn begin(
        args: &RunArgs,
        rules: Option<&Rules>,
        settings: &Settings,
        recorder: &Recorder,
    ) -> Option<(Self, Keep<Log>)> {
        let cluster = recorder.cluster_name()?;
        let place = Place::of(args);
        let prepare = async {
            let manager = settings.artifacts()?;
            let session = NewSession::new(args.upgrade.clone(), cluster);
            let session = manager.ensure_session(place.session.clone(), session).await?;
            if let Some(upgrade) = session.upgrade_id.filter(|upgrade| *upgrade != args.upgrade) {
                let id = &place.session;
                note(
                    "warning",
                    &format!("session {id} belongs to upgrade {upgrade}: what is kept counts as that one's"),
                );
            }
            let name = args.name.clone().unwrap_or_else(|| args.task.to_string());
            let collection = NewCollection::new(name)
                .with_id(place.collection.clone())
                .with_task(args.task.clone());
            manager.ensure_collection(&place.session, collection).await?;
            let keep = Keep {
                stdout: Some(begin_log(&manager, &place, (args, rules), STDOUT).await?),
                stderr: Some(begin_log(&manager, &place, (args, rules), STDERR).await?),
                times: Some(begin_times(&manager, &place, args).await?),
            };
            // Job control may stop this process as soon as the command runs, with every lock that it has then.
            manager.close().await?;
            let own = OwnData::at(&settings.data_dir);
            Ok::<_, TrackingError>((Self { manager, place, own }, keep))
        };
        let prepared = recorder.within_patience(prepare).await;
        prepared
            .map_err(|reason| note("warning", &format!("the command's output is not kept: {reason}")))
            .ok()
    }

    /// Finishes the logs and adds the files that the patterns name. What cannot be kept is a warning.
    pub(super) async fn finish(self, logs: Keep<Log>, patterns: &[FilePattern], args: &RunArgs) -> Vec<Kept> {
        let mut kept = Vec::new();
        // A command that wrote nothing to stdout has an empty log to show for it; no stderr is the normal case.
        let stderr = logs.stderr.filter(|log| log.size() > 0);
        let times = logs.times.filter(|times| times.size() > 0);
        for (name, log) in [(STDOUT, logs.stdout), (STDERR, stderr), (TIMES, times)] {
            let Some(log) = log else { continue };
            match log.finish().await {
                Ok(artifact) => kept.push(artifact.into()),
                Err(error) => warn(name, &error),
            }
        }
        for path in matching(patterns, &self.own) {
            let new = NewArtifact::new().with_task(args.task.clone());
            let (session, collection) = (&self.place.session, &self.place.collection);
            match self.manager.add_artifact(session, collection, &path, new).await {
                Ok(artifact) => kept.push(artifact.into()),
                Err(error) => warn(&path.display().to_string(), &error),
            }
        }
        close_artifacts(&self.manager).await;
        kept
    }

    /// Gives the logs up, since there is no command that could write any.
    pub(super) async fn abandon(self) {
        close_artifacts(&self.manager).await;
    }
}

async fn begin_log(
    manager: &TestArtifactsManager,
    place: &Place,
    (args, rules): (&RunArgs, Option<&Rules>),
    name: &str,
) -> Result<Log, ArtifactError> {
    let command = args
        .command
        .iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let command = rules.map_or(command.clone(), |rules| rules.redact(&command));
    let log = NewArtifact::new()
        .with_name(name)
        .with_type(ArtifactType::LogFile)
        .with_task(args.task.clone())
        .with_description(shortened(&format!("output of {command}")));
    let artifact = manager
        .begin_artifact(&place.session, &place.collection, log)
        .await?;
    Ok(Log::new(artifact, rules))
}

/// What says when each piece of the two logs came, which themselves are the command's very bytes.
async fn begin_times(
    manager: &TestArtifactsManager,
    place: &Place,
    args: &RunArgs,
) -> Result<Log, ArtifactError> {
    let times = NewArtifact::new()
        .with_name(TIMES)
        .with_type(ArtifactType::MetricsData)
        .with_task(args.task.clone())
        .with_description("when each piece of the output came");
    let artifact = manager
        .begin_artifact(&place.session, &place.collection, times)
        .await?;
    Ok(Log::new(artifact, None))
}

/// At most 200 characters.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn matching(patterns: &[FilePattern], own: &OwnData) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in patterns {
        let named = pattern.files(own);
        named.tell_left_out();
        if named.is_empty() {
            note("warning", &format!("no file matches {}", pattern.text()));
        }
        for one in &named.unlisted {
            note("warning", &chain(one).join(": "));
        }
        for one in &named.refused {
            note("warning", &format!("{} is not kept: {one}", one.0.display()));
        }
        found.extend(named.files);
    }
    found
}

fn warn(what: &str, error: &ArtifactError) {
    note(
        "warning",
        &format!("{what} is not kept: {}", chain(error).join(": ")),
    );
}
