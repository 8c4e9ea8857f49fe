//! The command that `run` runs: its start, its output, the signals to it, and its end.

mod keeper;
mod output;
mod passing;
mod signals;
mod terminal;
mod times;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

pub(crate) use keeper::KeepBytes;
pub(crate) use output::{Collected, Keep, Output, PassTo, discard_the_rest};
pub(crate) use signals::{Incoming, Signals, Told};
pub(crate) use terminal::Terminal;

use crate::exit::Exit;
use terminal::Attached;

/// A command that runs.
///
/// Where there is a terminal it stays in our process group, so that job control and Ctrl-C reach it as they would
/// without us. Elsewhere, and on a terminal of its own, it has a group of its own, to which signals are passed on.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    own_group: bool,
    told_to_stop: bool,
    terminal: Option<Attached>,
}

/// Change of a command's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Ended(ExitStatus),
    /// It was stopped, and we are to stop too, so that a shell sees its job stopped.
    Stopped,
}

/// Stdout and stderr of a command.
#[derive(Debug)]
pub(crate) struct Streams {
    stdout: Stdio,
    stderr: Stdio,
}

/// A command that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempted}")]
pub(crate) struct StartError {
    attempted: String,
    #[source]
    source: io::Error,
}

impl StartError {
    pub(crate) fn new(program: &OsStr, source: io::Error) -> Self {
        Self {
            attempted: format!("execute {}", program.display()),
            source,
        }
    }

    pub(crate) fn no_terminal(source: io::Error) -> Self {
        Self {
            attempted: "open a pseudo terminal".to_owned(),
            source,
        }
    }

    /// True if the system has no room for another process, and the program may be all right.
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
            terminal: None,
        })
    }

    /// Starts `command` on a terminal of its own.
    pub(crate) fn start_on(terminal: Terminal, command: &[OsString]) -> Result<Self, StartError> {
        let (program, arguments) = command.split_first().expect("clap requires a command");
        let mut builder = Command::new(program);
        builder.args(arguments);
        let started = terminal.spawn(builder);
        let (child, attached) = started.map_err(|error| StartError::new(program, error))?;
        Ok(Self {
            child,
            own_group: true,
            told_to_stop: false,
            terminal: Some(attached),
        })
    }

    /// Gives our terminal back, if the command had one of its own. Returns whether keys made its signals.
    pub(crate) fn detach(&mut self) -> bool {
        self.terminal.take().is_some_and(|terminal| terminal.has_keys())
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
        // SIGTTIN and SIGTTOU stop us with it: they go to the whole group, and we leave their action alone.
        let stop = by == Some(Signal::TSTP.as_raw()) && (!self.own_group || self.told_to_stop);
        Ok(stop.then_some(Change::Stopped))
    }

    /// Passes a signal on, unless the terminal has sent it to the command itself.
    pub(crate) fn pass_on(&mut self, incoming: Incoming) -> io::Result<()> {
        if let Some(terminal) = &self.terminal {
            if incoming.signal == Signal::WINCH {
                // The system tells the command.
                return terminal.resize();
            }
        } else {
            self.told_to_stop = incoming.signal == Signal::TSTP;
        }
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

/// How we end after a command that ended with `status`: as it did.
pub(crate) fn exit_as(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(1),
    }
}

/// Sends our process group what a terminal sends it for a key that killed the command: as on a terminal that was ours,
/// the shell whose script this is learns of it.
pub(crate) fn tell_our_group(status: ExitStatus) -> io::Result<()> {
    let keys = [Signal::INT, Signal::QUIT];
    let by_key = keys.into_iter().find(|key| status.signal() == Some(key.as_raw()));
    match by_key {
        Some(signal) => Ok(rustix::process::kill_current_process_group(signal)?),
        None => Ok(()),
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
