//! Signals that come to us while a command runs.

use std::fs::{self, File};
use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// A signal that is passed on to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incoming {
    Interrupt,
    Quit,
    Terminate,
    HangUp,
}

impl Incoming {
    pub(crate) const fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Terminate => Signal::TERM,
            Self::HangUp => Signal::HUP,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        }
    }
}

/// Signals could not be taken over.
#[derive(Debug, thiserror::Error)]
#[error("cannot take over signals")]
pub(crate) struct SignalError(#[from] io::Error);

/// The signals that are passed on, taken over from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Option<Stream>,
    quit: Option<Stream>,
    terminate: Option<Stream>,
    hang_up: Option<Stream>,
}

impl Signals {
    /// Takes over those that are not ignored: what `nohup` or a shell's `&` made us ignore, the command goes on
    /// ignoring too.
    ///
    /// # Errors
    /// [`SignalError`] if the system refuses.
    pub(crate) fn take_over() -> Result<Self, SignalError> {
        let ignored = ignored_signals();
        let take = |incoming: Incoming, kind: SignalKind| -> io::Result<Option<Stream>> {
            let bit = 1_u64 << (incoming.signal().as_raw() - 1);
            if ignored & bit == 0 {
                signal(kind).map(Some)
            } else {
                Ok(None)
            }
        };
        Ok(Self {
            interrupt: take(Incoming::Interrupt, SignalKind::interrupt())?,
            quit: take(Incoming::Quit, SignalKind::quit())?,
            terminate: take(Incoming::Terminate, SignalKind::terminate())?,
            hang_up: take(Incoming::HangUp, SignalKind::hangup())?,
        })
    }

    /// The next signal.
    ///
    /// # Cancellation
    /// Safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Incoming {
        tokio::select! {
            () = received(&mut self.interrupt) => Incoming::Interrupt,
            () = received(&mut self.quit) => Incoming::Quit,
            () = received(&mut self.terminate) => Incoming::Terminate,
            () = received(&mut self.hang_up) => Incoming::HangUp,
        }
    }
}

async fn received(stream: &mut Option<Stream>) {
    let signal = match stream {
        Some(stream) => stream.recv().await,
        None => None,
    };
    if signal.is_none() {
        std::future::pending::<()>().await;
    }
}

/// The mask of signals that this process ignores; none where the system does not tell.
fn ignored_signals() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return 0;
    };
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether this process is in the foreground of a terminal.
pub(super) fn in_foreground() -> bool {
    let Ok(terminal) = File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}
