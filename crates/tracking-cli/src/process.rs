//! The command that `run` runs: its start, its output, the signals to it, and its end.

mod keeper;
mod passing;
mod signals;
mod times;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::oneshot;

pub(crate) use keeper::Pumped;
pub(crate) use signals::{Incoming, Signals};

use crate::output::Patient;
use keeper::{Drained, Keeper, Source};
use passing::{Passed, Passing};
use times::Times;

/// A command that runs.
///
/// In the foreground of a terminal it stays in our process group, so that it can read the terminal and Ctrl-C
/// reaches it from there. Anywhere else it gets a group of its own, to which signals are passed on.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    own_group: bool,
    ended: oneshot::Receiver<io::Result<()>>,
}

/// The output of a command, on its way to the logs and to our own reader.
#[derive(Debug)]
pub(crate) struct Output<K> {
    drained: oneshot::Receiver<Drained<K>>,
    passed: Vec<(&'static str, oneshot::Receiver<Passed>)>,
    /// Dropped when the command has ended.
    command: Option<PipeWriter>,
    /// Dropped when output is awaited no more.
    patience: Option<PipeWriter>,
}

/// What a command gets as its stdout and stderr.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Stdio,
    stderr: Stdio,
}

/// Which of our own streams the command's stdout is passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassTo {
    Stdout,
    Stderr,
}

/// Where the two streams are kept, and when their pieces came; `None` where it is not, or could not be.
#[derive(Debug)]
pub(crate) struct Keep<K> {
    pub(crate) stdout: Option<K>,
    pub(crate) stderr: Option<K>,
    pub(crate) times: Option<K>,
}

/// What became of the output that was to be kept.
#[derive(Debug)]
pub(crate) struct Collected<K> {
    pub(crate) logs: Keep<K>,
    pub(crate) streams: Vec<Pumped>,
    /// Why the times of the output are not kept.
    pub(crate) times_not_kept: Option<String>,
}

/// A command that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot execute {}", program.display())]
pub(crate) struct StartError {
    program: OsString,
    #[source]
    source: io::Error,
}

impl StartError {
    /// The exit code, as of `env`: 127 if there is no such program, else 126.
    pub(crate) fn code(&self) -> u8 {
        if self.source.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        }
    }
}

impl Streams {
    /// Our own, so that nothing is between the command and our reader.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command's output is passed on as it is"
    )]
    pub(crate) fn own(stdout: PassTo) -> Self {
        Self {
            stdout: match stdout {
                PassTo::Stdout => Stdio::inherit(),
                PassTo::Stderr => io::stderr().into(),
            },
            stderr: Stdio::inherit(),
        }
    }
}

impl<K: Write + Send + 'static> Output<K> {
    /// Prepares to keep the output of a command that is about to start, and to pass it on. What our reader has not taken
    /// yet waits in memory, then in a file in `spool_in`.
    ///
    /// # Errors
    /// The system has no pipes or threads left.
    pub(crate) fn keep(keep: Keep<K>, stdout: PassTo, spool_in: &Path) -> io::Result<(Self, Streams)> {
        let (from_stdout, to_stdout) = io::pipe()?;
        let (from_stderr, to_stderr) = io::pipe()?;
        let (command_ended, command) = io::pipe()?;
        let (patience_ended, patience) = io::pipe()?;
        let mut passed = Vec::new();
        let mut source = |name, from: io::PipeReader, keep, to| {
            let (tell, told) = oneshot::channel();
            passed.push((name, told));
            Ok::<_, io::Error>(Source {
                name,
                from: from.into(),
                keep,
                pass_on: Passing::start(own_stream(to), spool_in.to_owned(), tell)?,
            })
        };
        let sources = vec![
            source("stdout", from_stdout, keep.stdout, stdout)?,
            source("stderr", from_stderr, keep.stderr, PassTo::Stderr)?,
        ];
        let keeper = Keeper::new(sources, Times::new(keep.times), command_ended, patience_ended);
        let (tell, drained) = oneshot::channel();
        thread::Builder::new()
            .name("keep output".to_owned())
            .spawn(move || keeper.run(tell))?;
        let output = Self {
            drained,
            passed,
            command: Some(command),
            patience: Some(patience),
        };
        let streams = Streams {
            stdout: to_stdout.into(),
            stderr: to_stderr.into(),
        };
        Ok((output, streams))
    }

    /// Waits until the output of the command, which has ended, is kept to its end, or something else has held a pipe
    /// open for five seconds in which nothing came.
    ///
    /// # Cancellation
    /// May be called again.
    pub(crate) async fn collect(&mut self) -> Collected<K> {
        self.command = None;
        match (&mut self.drained).await {
            Ok(drained) => drained.into(),
            Err(_) => Collected {
                logs: Keep::default(),
                streams: Vec::new(),
                times_not_kept: Some("the thread that keeps the output is gone".to_owned()),
            },
        }
    }

    /// No longer waits for what else may come.
    pub(crate) fn stop_waiting(&mut self) {
        self.patience = None;
    }

    /// Waits until our reader has taken everything, or is gone. Tells what it did not get.
    pub(crate) async fn passed_on(&mut self) -> Vec<(&'static str, io::Error)> {
        let mut failed = Vec::new();
        while let Some((name, passed)) = self.passed.last_mut() {
            let (name, passed) = (*name, passed.await);
            self.passed.pop();
            // A reader that went away is no failure of ours.
            let error = passed.ok().and_then(|passed| passed.error);
            failed.extend(
                error
                    .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
                    .map(|error| (name, error)),
            );
        }
        failed
    }
}

impl<K> Default for Keep<K> {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: None,
            times: None,
        }
    }
}

impl<K> From<Drained<K>> for Collected<K> {
    fn from(drained: Drained<K>) -> Self {
        let mut logs = Keep {
            times: drained.times,
            ..Keep::default()
        };
        let mut streams = Vec::new();
        for (pumped, log) in drained.streams {
            match pumped.name {
                "stderr" => logs.stderr = log,
                _ => logs.stdout = log,
            }
            streams.push(pumped);
        }
        Self {
            logs,
            streams,
            times_not_kept: drained.times_not_kept,
        }
    }
}

impl Running {
    /// Starts `command` with our stdin.
    pub(crate) fn start(command: &[OsString], streams: Streams) -> Result<Self, StartError> {
        let (program, arguments) = command.split_first().expect("clap requires a command");
        let failed = |source| StartError {
            program: program.clone(),
            source,
        };
        let own_group = !signals::in_foreground();
        let mut builder = Command::new(program);
        builder
            .args(arguments)
            .stdin(Stdio::inherit())
            .stdout(streams.stdout)
            .stderr(streams.stderr);
        if own_group {
            builder.process_group(0);
        }
        let child = builder.spawn().map_err(failed)?;
        let ended = watch_for_end(&child);
        Ok(Self {
            child,
            own_group,
            ended,
        })
    }

    /// Waits until the command has ended, and reaps it.
    ///
    /// # Cancellation
    /// May be called again.
    pub(crate) async fn end(&mut self) -> io::Result<ExitStatus> {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the command is gone")))?;
        self.child.wait()
    }

    /// Passes a signal on, unless the terminal has sent it to the command itself.
    pub(crate) fn pass_on(&self, signal: Incoming) -> io::Result<()> {
        let pid = Pid::from_child(&self.child);
        match (self.own_group, signal) {
            (true, _) => rustix::process::kill_process_group(pid, signal.signal())?,
            (false, Incoming::Interrupt | Incoming::Quit) => {}
            (false, Incoming::Terminate | Incoming::HangUp) => {
                rustix::process::kill_process(pid, signal.signal())?;
            }
        }
        Ok(())
    }
}

/// Our own stream without a buffer of ours, so that nothing is delayed. Started without such a stream, there is nobody
/// to pass the output on to.
#[expect(
    clippy::disallowed_methods,
    reason = "the command's output is passed on as it is"
)]
fn own_stream(to: PassTo) -> Box<dyn Write + Send> {
    let fd = match to {
        PassTo::Stdout => io::stdout().as_fd().try_clone_to_owned(),
        PassTo::Stderr => io::stderr().as_fd().try_clone_to_owned(),
    };
    match fd {
        Ok(fd) => Box::new(Patient(File::from(fd))),
        Err(_) => Box::new(io::sink()),
    }
}
fn watch_for_end(child: &Child) -> oneshot::Receiver<io::Result<()>> {
    let (sender, receiver) = oneshot::channel();
    let pid = Pid::from_child(child);
    let wait = move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = loop {
            match rustix::process::waitid(WaitId::Pid(pid), options) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => break Err(error.into()),
                Ok(_) => break Ok(()),
            }
        };
        // The receiver is gone only if nobody waits any more.
        if sender.send(ended).is_err() {}
    };
    let _detached: JoinHandle<()> = thread::spawn(wait);
    receiver
}

/// The exit code that passes `status` on: 128+n for signal n.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code & 0xff,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// In words: `exit status 3`, `killed by signal 15 (SIGTERM)`.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => {
            let dumped = if status.core_dumped() { ", core dumped" } else { "" };
            format!("killed by signal {number}{}{dumped}", signal_name(number))
        }
        (None, None) => format!("ended as {status}"),
    }
}

fn signal_name(number: i32) -> String {
    let named = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    named
        .into_iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map_or_else(String::new, |(_, name)| format!(" ({name})"))
}
