//! The command that `run` runs: its start, its output, the signals to it, and its end.

mod pump;
mod signals;
mod times;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::oneshot;

pub(crate) use pump::{PassTo, Pumped};
pub(crate) use signals::{Incoming, Signals};

use pump::Pump;
use times::Times;

/// How long output is awaited after the command has ended, in case something that it left running holds its pipes.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A command that runs.
///
/// In the foreground of a terminal it stays in our process group, so that it can read the terminal and Ctrl-C
/// reaches it from there. Anywhere else it gets a group of its own, to which signals are passed on.
#[derive(Debug)]
pub(crate) struct Running<K> {
    child: Child,
    own_group: bool,
    ended: oneshot::Receiver<io::Result<()>>,
    pumps: Pumps<K>,
}

/// What goes through each of the two pipes.
#[derive(Debug)]
struct Pumps<K> {
    stdout: Pump<K>,
    stderr: Pump<K>,
    times: Times<K>,
}

/// Where the two streams are kept beside being passed on, and when their pieces came; `None` keeps nothing.
#[derive(Debug)]
pub(crate) struct Keep<K> {
    pub(crate) stdout: Option<K>,
    pub(crate) stderr: Option<K>,
    pub(crate) times: Option<K>,
}

/// How a command ended, and what became of its output.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Pumped,
    pub(crate) stderr: Pumped,
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

impl<K> Default for Keep<K> {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: None,
            times: None,
        }
    }
}

impl<K: Write + Send + 'static> Running<K> {
    /// Starts `command` with our stdin.
    pub(crate) fn start(
        command: &[OsString],
        pass_stdout_to: PassTo,
        keep: Keep<K>,
    ) -> Result<Self, StartError> {
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
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if own_group {
            builder.process_group(0);
        }
        let mut child = builder.spawn().map_err(failed)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let times = Times::new(keep.times);
        let of = |name| (name, times.clone());
        let pumps = Pumps {
            stdout: Pump::start(stdout, pass_stdout_to, keep.stdout, of("stdout")),
            stderr: Pump::start(stderr, PassTo::Stderr, keep.stderr, of("stderr")),
            times,
        };
        let ended = watch_for_end(&child);
        Ok(Self {
            child,
            own_group,
            ended,
            pumps,
        })
    }

    /// Waits until the command has ended; it is not reaped yet, so that its id stays its own.
    ///
    /// # Cancellation
    /// May be called again.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the command is gone")))
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

    /// Reaps the command and awaits the rest of its output.
    pub(crate) fn finish(mut self) -> io::Result<(Ended, Keep<K>)> {
        let status = self.child.wait()?;
        let deadline = std::time::Instant::now() + DRAIN_LIMIT;
        let (stdout, stdout_kept) = self.pumps.stdout.finish(deadline);
        let (stderr, stderr_kept) = self.pumps.stderr.finish(deadline);
        let (times, times_not_kept) = self.pumps.times.finish();
        let ended = Ended {
            status,
            stdout,
            stderr,
            times_not_kept,
        };
        let kept = Keep {
            stdout: stdout_kept,
            stderr: stderr_kept,
            times,
        };
        Ok((ended, kept))
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
