//! The command that `run` runs: its start, its output, the signals to it, and its end.

mod keeper;
mod passing;
mod signals;
mod times;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::oneshot;

pub(crate) use keeper::{KeepBytes, Pumped};
pub(crate) use signals::{Incoming, Signals, Told};

use crate::exit::Exit;
use crate::output::Patient;
use keeper::{Drained, Keeper, Source};
use passing::{Passed, Passing};
use times::Times;

/// A command that runs.
///
/// Where there is a terminal it stays in our process group, so that job control and Ctrl-C reach it as they would
/// without us. Elsewhere it gets a group of its own, to which signals are passed on.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    own_group: bool,
    told_to_stop: bool,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Ended(ExitStatus),
    /// It was stopped, and we are to stop too, so that a shell sees its job stopped.
    Stopped,
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
    pub(crate) fn new(program: &OsStr, source: io::Error) -> Self {
        Self {
            program: program.to_owned(),
            source,
        }
    }

    /// Whether the system has no room for another process, and the program may be all right.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
        )
    }

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

    pub(crate) fn give_to(self, command: &mut Command) {
        command.stdout(self.stdout).stderr(self.stderr);
    }
}

impl<K: KeepBytes> Output<K> {
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
        let own_group = !signals::have_terminal();
        let mut builder = Command::new(program);
        builder.args(arguments).stdin(Stdio::inherit());
        streams.give_to(&mut builder);
        if own_group {
            builder.process_group(0);
        }
        let child = builder.spawn().map_err(|error| StartError::new(program, error))?;
        Ok(Self {
            child,
            own_group,
            told_to_stop: false,
        })
    }

    /// The process id of the command.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Looks at what became of the command, after [`Told::Child`]. One that has ended is reaped.
    pub(crate) fn change(&mut self) -> io::Result<Option<Change>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(Change::Ended(status)));
        }
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let stopped = rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?;
        let by = stopped.and_then(|status| status.stopping_signal());
        let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(Signal::as_raw);
        let stop = by.is_some_and(|by| by_terminal.contains(&by)) && (!self.own_group || self.told_to_stop);
        Ok(stop.then_some(Change::Stopped))
    }

    /// Passes a signal on, unless the terminal has sent it to the command itself.
    pub(crate) fn pass_on(&mut self, incoming: Incoming) -> io::Result<()> {
        self.told_to_stop = incoming.signal == Signal::TSTP;
        let pid = Pid::from_child(&self.child);
        let passed = if incoming.is_of_own_limit() || (!self.own_group && incoming.is_of_terminal()) {
            Ok(())
        } else if self.own_group {
            rustix::process::kill_process_group(pid, incoming.signal)
        } else {
            rustix::process::kill_process(pid, incoming.signal)
        };
        match passed {
            // It has ended meanwhile.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            passed => Ok(passed?),
        }
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
/// How we end after a command that ended with `status`: as it did.
pub(crate) fn exit_as(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(1),
    }
}

/// Stops this process, as a shell's job control does, until somebody continues it.
pub(crate) fn stop_ourselves() -> io::Result<()> {
    signal_hook::low_level::raise(Signal::STOP.as_raw())
}

/// In words: `exit status 3`, `killed by signal 15 (SIGTERM)`.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => {
            let dumped = if status.core_dumped() { ", core dumped" } else { "" };
            let name = signal_hook::low_level::signal_name(number);
            let name = name.map_or_else(String::new, |name| format!(" ({name})"));
            format!("killed by signal {number}{name}{dumped}")
        }
        (None, None) => format!("ended as {status}"),
    }
}
