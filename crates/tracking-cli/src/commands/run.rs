//! `ekstrack run`: a command as a task. Tracking never decides whether the command runs on: once it has been allowed
//! to start, whatever fails here is a warning, and the command's own exit code is passed on.

mod evidence;
mod log;
mod record;
mod room;
mod runner;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tracking_facade::{CollectionId, SessionId, Status, TaskId, UpgradeId};

use crate::args::RunArgs;
use crate::exit::{Exit, Failure, Kind, chain};
use crate::files::FilePattern;
use crate::output::note;
use crate::process::{
    Change, Collected, Incoming, Keep, Output, PassTo, Running, Signals, StartError, Streams, Terminal, Told,
    discard_the_rest, exit_as, in_words, stop_ourselves, tell_our_group,
};
use crate::redact::Rules;
use crate::settings::Settings;
use crate::sinks::Feeding;

use evidence::{Evidence, Kept, Place};
use log::Log;
use record::{Begun, Ending, Recorder};
use room::become_command;
use runner::Runner;

/// Exit code of a command that was not allowed to start.
pub(crate) const REFUSED: u8 = 125;

/// How long a thread for work that blocks waits for more of it: always, so that there is one when the system has no
/// more.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn run(args: RunArgs, settings: &Settings) -> Result<Exit, Failure> {
    let untracked = |why: &str| {
        // Nobody is left to print once the command has taken our place.
        print_document(&args, settings, None, &Ending::default(), Vec::new());
        Ok(become_command(&args, pass_stdout_to(settings), why))
    };
    if let Some(why) = room::lack() {
        return untracked(&why);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return untracked(&error.to_string()),
    };
    let ended = runtime.block_on(supervise(&args, settings));
    // A tracker that hangs on a dead disk must not keep us.
    runtime.shutdown_background();
    match ended? {
        Supervised::Ended(exit) => Ok(exit),
        Supervised::NoRoom(why) => untracked(&why),
    }
}

/// Outcome of supervising a command.
#[derive(Debug)]
enum Supervised {
    Ended(Exit),
    /// It could not be started beside us.
    NoRoom(String),
}

async fn supervise(args: &RunArgs, settings: &Settings) -> Result<Supervised, Failure> {
    let mut signals = match Signals::take_over() {
        Ok(signals) => signals,
        Err(error) => return Ok(Supervised::NoRoom(chain(&error).join(": "))),
    };
    let patterns = evidence::patterns(args)?;
    let rules = log::rules(args)?;
    let mut runner = Runner::take(args, settings)?;
    let begun = surviving(
        "the command runs without being tracked",
        Recorder::begin(args, settings),
    )
    .await;
    let recorder = match begun.transpose()? {
        Some(Begun::Run(recorder)) => recorder,
        Some(Begun::Completed(ending)) => return report(args, settings, Exit::Code(0), &ending, Vec::new()),
        None => Recorder::without_tracking(args, settings),
    };
    let begun = surviving(
        "the command's output is not kept",
        Evidence::begin(args, rules.as_ref(), settings, &recorder),
    )
    .await;
    let (evidence, keep) = begun.flatten().unzip();
    let feeding = settings.feed(&args.upgrade);
    if let Some(signal) = signals.was_asked_to_end() {
        let why = format!("not started: {} was sent to ekstrack before", signal.name());
        abandon(evidence).await;
        let ending = recorder.fail(why).await;
        Feeding::end(feeding, &mut signals).await;
        return report(args, settings, Exit::Signal(signal.number()), &ending, Vec::new());
    }
    let (pass_to, spool_in) = (pass_stdout_to(settings), spool_in(rules.as_ref(), settings));
    let started = if args.tty {
        start_on_terminal(args, keep, pass_to, spool_in)
    } else {
        let (output, streams) = prepare_output(keep, pass_to, spool_in);
        Running::start(&args.command, streams).map(|running| (running, output))
    };
    let (mut running, mut output) = match started {
        Ok(started) => started,
        Err(error) => {
            abandon(evidence).await;
            let why = chain(&error).join(": ");
            if error.is_lack_of_room() {
                recorder.leave().await;
                return Ok(Supervised::NoRoom(why));
            }
            note("error", &why);
            let ending = recorder.fail(why).await;
            Feeding::end(feeding, &mut signals).await;
            return report(args, settings, Exit::Code(error.code()), &ending, Vec::new());
        }
    };
    if let Some(runner) = &mut runner {
        runner.note_command(running.id());
    }
    let (status, received) = follow(&mut running, &mut signals, &recorder).await?;
    let mut collected = match &mut output {
        Some(output) => Some(collect(output, &mut signals).await),
        None => None,
    };
    let had_keys = running.detach();
    let lost = collected.as_mut().is_some_and(tell_what_was_lost);
    let kept = keep_evidence(evidence, collected, &patterns, args);
    let kept = surviving("the command's output is not kept", kept).await;
    let ending = recorder.end(failure(status, received));
    let ending = surviving("the end of the task is not recorded", ending).await;
    // The task may run again from here on, however long our reader takes.
    drop(runner);
    let delivered = Feeding::end(feeding, &mut signals);
    surviving("not everything is delivered", delivered).await;
    if lost {
        note("note", "the command's output is not kept in full");
    }
    if let Some(output) = &mut output {
        pass_on_the_rest(output, &mut signals).await;
    }
    if had_keys && let Err(error) = tell_our_group(status) {
        tracing::info!(%error, "cannot tell our process group of the key");
    }
    let (ending, kept) = (ending.unwrap_or_default(), kept.unwrap_or_default());
    report(args, settings, exit_as(status), &ending, kept)
}

/// Drives work of tracking to its end. If it panics, the command does not end with it: `None`, and a warning says so.
async fn surviving<T>(otherwise: &str, work: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => Some(done),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied());
            note(
                "warning",
                &format!("{otherwise}: {}", why.unwrap_or("tracking panicked")),
            );
            None
        }
    }
}

async fn abandon(evidence: Option<Evidence>) {
    if let Some(evidence) = evidence {
        evidence.abandon().await;
    }
}

async fn keep_evidence(
    evidence: Option<Evidence>,
    collected: Option<Collected<Log>>,
    patterns: &[FilePattern],
    args: &RunArgs,
) -> Vec<Kept> {
    match (evidence, collected) {
        (Some(evidence), Some(collected)) => evidence.finish(collected.logs, patterns, args).await,
        (evidence, _) => {
            abandon(evidence).await;
            Vec::new()
        }
    }
}

/// With `--json` our stdout is for the document.
fn pass_stdout_to(settings: &Settings) -> PassTo {
    if settings.output.is_json() {
        PassTo::Stderr
    } else {
        PassTo::Stdout
    }
}

/// Where output waits that our reader has not taken yet. What may have secrets in it must not reach a disk: it waits in
/// memory, and where the system has no such place, the command waits for the reader.
fn spool_in<'a>(rules: Option<&Rules>, settings: &'a Settings) -> &'a Path {
    match rules {
        Some(_) => Path::new("/dev/shm"),
        None => &settings.data_dir,
    }
}

/// Prepares keeping and passing on, and the streams of the command. If nothing is kept, the streams are our
/// own.
fn prepare_output(
    keep: Option<Keep<Log>>,
    stdout: PassTo,
    spool_in: &Path,
) -> (Option<Output<Log>>, Streams) {
    let Some(keep) = keep else {
        return (None, Streams::own(stdout));
    };
    match Output::keep(keep, stdout, spool_in) {
        Ok((output, streams)) => (Some(output), streams),
        Err(error) => {
            note("warning", &format!("the command's output is not kept: {error}"));
            (None, Streams::own(stdout))
        }
    }
}

/// Starts the command on a terminal of its own.
fn start_on_terminal(
    args: &RunArgs,
    keep: Option<Keep<Log>>,
    stdout: PassTo,
    spool_in: &Path,
) -> Result<(Running, Option<Output<Log>>), StartError> {
    let start = || {
        let terminal = Terminal::open()?;
        let keep = keep.unwrap_or_default();
        let output = Output::keep_terminal(keep, stdout, spool_in, &terminal)?;
        Ok((terminal, output))
    };
    let (terminal, output) = start().map_err(StartError::no_terminal)?;
    Running::start_on(terminal, &args.command).map(|running| (running, Some(output)))
}

/// Waits for the command's end, sends heartbeats, and passes signals on. Returns with the last signal that may have had
/// to do with the end.
async fn follow(
    running: &mut Running,
    signals: &mut Signals,
    recorder: &Recorder,
) -> Result<(ExitStatus, Option<Incoming>), Failure> {
    let mut received = None;
    let every = recorder.heartbeat_interval();
    let mut heartbeat = tokio::time::interval_at(Instant::now() + every, every);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A record may have to wait for a lock; no signal waits for it.
    let mut reports = FuturesUnordered::new();
    let status = loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::Child => match running.change() {
                    Ok(Some(Change::Ended(status))) => break status,
                    Ok(Some(Change::Stopped)) => stop(),
                    Ok(None) => {}
                    Err(error) => return Err(Failure::of(Kind::Failed, "wait for the command", &error)),
                },
                Told::Signal(signal) => {
                    if let Err(error) = running.pass_on(signal) {
                        let what = format!("cannot pass {} on to the command: {error}", signal.name());
                        note("warning", &what);
                    }
                    if !signal.is_job_control() {
                        received = Some(signal);
                        reports.push(recorder.signal(signal).boxed_local());
                    }
                }
            },
            _ = heartbeat.tick() => reports.push(recorder.heartbeat().boxed_local()),
            Some(()) = reports.next() => {}
        }
    };
    while reports.next().await.is_some() {}
    Ok((status, received))
}

/// Stops with the command. Continued, we go on where we were.
fn stop() {
    if let Err(error) = stop_ourselves() {
        tracing::info!(%error, "cannot stop with the command");
    }
}

/// Waits until the output is kept. A signal ends the waiting for what the command left running.
async fn collect(output: &mut Output<Log>, signals: &mut Signals) -> Collected<Log> {
    tokio::select! {
        collected = output.collect() => return collected,
        signal = signals.asked_to_end() => {
            tracing::info!(signal = signal.name(), "no longer waits for output");
        }
    }
    output.stop_waiting();
    output.collect().await
}

/// Waits until our reader has taken the output, however slow it is. A signal ends the waiting: all of it is kept.
async fn pass_on_the_rest(output: &mut Output<Log>, signals: &mut Signals) {
    tokio::select! {
        failed = output.passed_on() => {
            for (name, error) in failed {
                note("warning", &format!("{name} of the command could not be passed on in full: {error}"));
            }
        }
        signal = signals.asked_to_end() => {
            let what = format!("{} ended the passing on of output; the logs have all of it", signal.name());
            note("note", &what);
        }
    }
}

/// Why the task failed; `None` if the command ended well.
fn failure(status: ExitStatus, received: Option<Incoming>) -> Option<String> {
    let told = received.map_or_else(String::new, |signal| {
        format!(", after {} was sent to ekstrack", signal.name())
    });
    (!status.success()).then(|| format!("{}{told}", in_words(status)))
}

/// Tells what is not kept; returns whether that is anything.
fn tell_what_was_lost(collected: &mut Collected<Log>) -> bool {
    let mut lost = collected.streams.is_empty();
    for stream in &mut collected.streams {
        let name = stream.name;
        if let Some(reason) = &stream.not_kept {
            note(
                "warning",
                &format!("{name} is passed on, and not kept in full: {reason}"),
            );
            lost = true;
        }
        if let Some(held_open) = stream.held_open.take() {
            let then = match discard_the_rest(held_open) {
                Ok(pid) => format!("is lost: process {pid} (cat) discards it"),
                Err(error) => format!("is lost, and SIGPIPE may kill it: cannot start cat: {error}"),
            };
            let what = format!(
                "something that the command left running holds its {name}; what it writes from now on {then}. \
                 Started with `>FILE 2>&1 &` it writes to a file of its own"
            );
            note("note", &what);
            lost = true;
        }
    }
    if let Some(reason) = &collected.times_not_kept {
        note("warning", reason);
    }
    lost
}

/// What scripts learn of a run.
#[derive(Debug, Serialize)]
struct RunDocument<'a> {
    upgrade_id: &'a UpgradeId,
    task_id: &'a TaskId,
    /// Null if the command takes our place: the process then ends as the command does.
    exit_code: Option<u8>,
    /// The task's status now; null if it could not be recorded.
    status: Option<Status>,
    session_id: SessionId,
    collection_id: CollectionId,
    artifacts: Vec<Kept>,
}

fn report(
    args: &RunArgs,
    settings: &Settings,
    exit: Exit,
    ending: &Ending,
    artifacts: Vec<Kept>,
) -> Result<Supervised, Failure> {
    for remark in &ending.remarks {
        note("note", remark);
    }
    print_document(args, settings, Some(exit.code()), ending, artifacts);
    Ok(Supervised::Ended(exit))
}

/// Prints the document of `--json`. The command's exit code counts, not whether somebody still reads the document.
fn print_document(
    args: &RunArgs,
    settings: &Settings,
    exit_code: Option<u8>,
    ending: &Ending,
    artifacts: Vec<Kept>,
) {
    if !settings.output.is_json() {
        return;
    }
    let place = Place::of(args);
    let document = RunDocument {
        upgrade_id: &args.upgrade,
        task_id: &args.task,
        exit_code,
        status: ending.status,
        session_id: place.session,
        collection_id: place.collection,
        artifacts,
    };
    if let Err(failure) = settings.output.document(&document) {
        failure.print(true, exit_code.unwrap_or_default());
    }
}
