//! `ekstrack run`: a command as a task. Tracking never decides whether the command runs on: once it has been allowed
//! to start, whatever fails here is a warning, and the command's own exit code is passed on.

mod evidence;
mod record;

use std::process::ExitStatus;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tracking_facade::{ArtifactWriter, CollectionId, SessionId, Status, TaskId, UpgradeId};

use crate::args::RunArgs;
use crate::exit::{Failure, Kind, chain};
use crate::output::note;
use crate::process::{Ended, Incoming, Keep, PassTo, Running, Signals, exit_code, in_words};
use crate::settings::Settings;
use crate::sinks::Feeding;

use evidence::{Evidence, Kept, Place};
use record::{Ending, Recorder};

/// Exit code of a command that was not allowed to start.
pub(crate) const REFUSED: u8 = 125;

pub(crate) fn run(args: RunArgs, settings: &Settings) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Kind::Failed, "prepare to run the command", &error))?;
    let code = runtime.block_on(supervise(args, settings));
    // A tracker that hangs on a dead disk must not keep us.
    runtime.shutdown_background();
    code
}

async fn supervise(args: RunArgs, settings: &Settings) -> Result<u8, Failure> {
    let mut signals = Signals::take_over()
        .map_err(|error| Failure::of(Kind::Failed, format!("run task {}", args.task), &error))?;
    let patterns = evidence::patterns(&args)?;
    let recorder = Recorder::begin(&args, settings).await?;
    let (evidence, keep) = match Evidence::begin(&args, settings, &recorder).await {
        Some((evidence, keep)) => (Some(evidence), keep),
        None => (None, Keep::default()),
    };
    let feeding = settings.feed(&args.upgrade);
    let pass_stdout_to = if settings.output.is_json() {
        PassTo::Stderr
    } else {
        PassTo::Stdout
    };
    let running = match Running::start(&args.command, pass_stdout_to, keep) {
        Ok(running) => running,
        Err(error) => {
            if let Some(evidence) = evidence {
                evidence.abandon().await;
            }
            note("error", &chain(&error).join(": "));
            let ending = recorder.fail(chain(&error).join(": ")).await;
            Feeding::end(feeding).await;
            return report(&args, settings, error.code(), &ending, Vec::new());
        }
    };
    let (ended, logs, received) = follow(running, &mut signals, &recorder).await?;
    let failed = tell_what_was_lost(&ended);
    let kept = match evidence {
        Some(evidence) => evidence.finish(logs, &patterns, &args).await,
        None => Vec::new(),
    };
    let ending = recorder.end(failure(ended.status, received)).await;
    Feeding::end(feeding).await;
    if failed {
        note("note", "the command's output is not kept in full");
    }
    report(&args, settings, exit_code(ended.status), &ending, kept)
}

/// Waits for the command's end, sends heartbeats, and passes signals on.
async fn follow(
    mut running: Running<ArtifactWriter>,
    signals: &mut Signals,
    recorder: &Recorder,
) -> Result<(Ended, Keep<ArtifactWriter>, Option<Incoming>), Failure> {
    let mut received = None;
    let every = recorder.heartbeat_interval();
    let mut heartbeat = tokio::time::interval_at(Instant::now() + every, every);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = running.end() => {
                ended.map_err(|error| Failure::of(Kind::Failed, "wait for the command", &error))?;
                break;
            }
            signal = signals.next() => {
                received = Some(signal);
                if let Err(error) = running.pass_on(signal) {
                    note("warning", &format!("cannot pass {} on to the command: {error}", signal.name()));
                }
            }
            _ = heartbeat.tick() => recorder.heartbeat().await,
        }
    }
    let ended = tokio::task::spawn_blocking(|| running.finish()).await;
    match ended {
        Ok(Ok((ended, logs))) => Ok((ended, logs, received)),
        Ok(Err(error)) => Err(Failure::of(Kind::Failed, "learn how the command ended", &error)),
        Err(error) => Err(Failure::of(Kind::Failed, "learn how the command ended", &error)),
    }
}

/// Why the task failed; `None` if the command ended well.
fn failure(status: ExitStatus, received: Option<Incoming>) -> Option<String> {
    let told = received.map_or_else(String::new, |signal| {
        format!(", after {} was sent to ekstrack", signal.name())
    });
    (!status.success()).then(|| format!("{}{told}", in_words(status)))
}

fn tell_what_was_lost(ended: &Ended) -> bool {
    let streams = [("stdout", &ended.stdout), ("stderr", &ended.stderr)];
    for (name, pumped) in streams {
        if let Some(reason) = &pumped.not_kept {
            note(
                "warning",
                &format!("{name} was passed on, and not kept in full: {reason}"),
            );
        }
        if pumped.cut_off {
            note(
                "note",
                &format!(
                    "something that the command left running holds its {name}; what it writes from now on is lost"
                ),
            );
        }
    }
    if let Some(reason) = &ended.times_not_kept {
        note("warning", reason);
    }
    streams
        .iter()
        .any(|(_, pumped)| pumped.not_kept.is_some() || pumped.cut_off)
}

/// What scripts learn of a run.
#[derive(Debug, Serialize)]
struct RunDocument<'a> {
    upgrade_id: &'a UpgradeId,
    task_id: &'a TaskId,
    exit_code: u8,
    /// The task's status now; null if it could not be recorded.
    status: Option<Status>,
    session_id: SessionId,
    collection_id: CollectionId,
    artifacts: Vec<Kept>,
}

fn report(
    args: &RunArgs,
    settings: &Settings,
    code: u8,
    ending: &Ending,
    artifacts: Vec<Kept>,
) -> Result<u8, Failure> {
    for remark in &ending.remarks {
        note("note", remark);
    }
    if settings.output.is_json() {
        let place = Place::of(args);
        let document = RunDocument {
            upgrade_id: &args.upgrade,
            task_id: &args.task,
            exit_code: code,
            status: ending.status,
            session_id: place.session,
            collection_id: place.collection,
            artifacts,
        };
        match settings.output.document(&document) {
            // The command's exit code counts, not whether somebody still reads what we say of it.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(code)
}
