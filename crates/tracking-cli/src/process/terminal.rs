//! A pseudo terminal for the command of `run --tty`.
//!
//! The command leads a session of its own, whose terminal this is. Our own terminal becomes raw meanwhile: keys go to
//! the command's terminal, which makes signals of them.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;

use pty_process::Size;
use pty_process::blocking::{Command as PtyCommand, Pts, open};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{
    LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// A terminal that a command is about to run on.
#[derive(Debug)]
pub(crate) struct Terminal {
    ours: OwnedFd,
    theirs: Theirs,
    input: Input,
}

/// The end of the command. The library's type has no `Debug`.
struct Theirs(Pts);

/// Where the command reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Its terminal, which gets the keys of ours.
    Keys,
    /// Its terminal, on which nobody types: we are in the background.
    Nobody,
    /// Our stdin, which is no terminal.
    Stdin,
}

/// A terminal that a command runs on. Dropped, our own terminal is as it was.
#[derive(Debug)]
pub(super) struct Attached {
    ours: OwnedFd,
    raw: Option<Raw>,
    /// Ends the thread that reads keys.
    _command: PipeWriter,
}

/// Our own terminal in raw mode, until this is dropped.
#[derive(Debug)]
struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Terminal {
    /// Opens a pseudo terminal of the size and with the modes of ours, if we have one.
    ///
    /// # Errors
    /// The system has none left.
    pub(crate) fn open() -> io::Result<Self> {
        let (pty, theirs) = open().map_err(io_error)?;
        let ours = OwnedFd::from(pty);
        let input = input();
        resize(&ours)?;
        let modes = match input {
            Input::Keys => tcgetattr(io::stdin())?,
            Input::Nobody | Input::Stdin => {
                let mut modes = tcgetattr(&ours)?;
                // Nobody types, so there is nothing to echo.
                modes.local_modes -= LocalModes::ECHO;
                modes
            }
        };
        tcsetattr(&ours, OptionalActions::Now, &modes)?;
        Ok(Self {
            ours,
            theirs: Theirs(theirs),
            input,
        })
    }

    /// Where the output of the command comes from.
    pub(super) fn output(&self) -> io::Result<OwnedFd> {
        self.ours.try_clone()
    }

    /// Starts a command on it.
    pub(super) fn spawn(self, command: Command) -> io::Result<(Child, Attached)> {
        let mut command = PtyCommand::from(command);
        if self.input == Input::Stdin {
            command = command.stdin(Stdio::inherit());
        }
        let (ended, end) = io::pipe()?;
        let keyboard = (self.input == Input::Keys)
            .then(|| self.ours.try_clone())
            .transpose()?;
        let child = command.spawn(self.theirs.0).map_err(io_error)?;
        let raw = match keyboard {
            Some(to) => type_on(to, ended).and_then(|()| Raw::enter()).map(Some),
            None => Ok(None),
        };
        // The command runs; without keys it runs all the same.
        let raw = raw.unwrap_or_else(|error| {
            tracing::warn!(%error, "keys do not reach the command");
            None
        });
        let attached = Attached {
            ours: self.ours,
            raw,
            _command: end,
        };
        Ok((child, attached))
    }
}

impl Attached {
    /// Takes over the size of our terminal.
    pub(super) fn resize(&self) -> io::Result<()> {
        resize(&self.ours)
    }

    /// True if keys of our terminal make the command's signals.
    pub(super) const fn has_keys(&self) -> bool {
        self.raw.is_some()
    }
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone has no modes.
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, &self.before) {
            tracing::debug!(%error, "cannot restore the terminal");
        }
    }
}

impl std::fmt::Debug for Theirs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Theirs").field(&self.0.as_fd()).finish()
    }
}

fn input() -> Input {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Input::Stdin;
    }
    // To read or to change a terminal in the background stops a process.
    match rustix::termios::tcgetpgrp(&stdin) {
        Ok(group) if group == rustix::process::getpgrp() => Input::Keys,
        Ok(_) | Err(_) => Input::Nobody,
    }
}

/// Gives a terminal the size of ours.
fn resize(terminal: &OwnedFd) -> io::Result<()> {
    let usual = rustix::termios::Winsize::from(Size::new(24, 80));
    // not by storage: a terminal is a device
    let size = tcgetwinsize(io::stdin())
        .or_else(|_| tcgetwinsize(File::open("/dev/tty").map_err(|_| rustix::io::Errno::NOTTY)?))
        .unwrap_or(usual);
    Ok(tcsetwinsize(terminal, size)?)
}

/// Sends what is typed to the command's terminal, in a thread of its own, until the command has `ended`.
fn type_on(to: OwnedFd, ended: PipeReader) -> io::Result<()> {
    let mut to = File::from(to);
    let forward = move || {
        let stdin = io::stdin();
        let mut keys = [0; 4096];
        loop {
            let mut fds = [
                PollFd::new(&stdin, PollFlags::IN),
                PollFd::new(&ended, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
            // Keys that come later are for the next program.
            if !fds[1].revents().is_empty() {
                return;
            }
            match rustix::io::read(&stdin, &mut keys) {
                Ok(read @ 1..) if to.write_all(keys.get(..read).unwrap_or_default()).is_ok() => {}
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // The terminal of one of both is gone.
                Ok(_) | Err(_) => return,
            }
        }
    };
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(forward)
        .map(drop)
}

fn io_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
    }
}
