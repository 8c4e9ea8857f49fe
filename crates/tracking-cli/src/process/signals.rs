//! Signals that come to us while a command runs.

use std::fs::{self, File};
use std::io;

use rustix::process::Signal;
use signal_hook::iterator::backend::{Pending, SignalDelivery};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tokio::net::UnixStream;

/// The signals that are passed on to the command.
const PASSED_ON: [Signal; 18] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::CONT,
    Signal::TSTP,
    Signal::URG,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::WINCH,
    Signal::IO,
    Signal::POWER,
];

/// The signals that ask for the end.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// The signals that a terminal sends to its whole foreground process group.
const OF_TERMINAL: [Signal; 6] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TSTP,
    Signal::CONT,
    Signal::WINCH,
];

/// Something that happened while the command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The command has ended, stopped or continued.
    Child,
    Signal(Incoming),
}

/// A signal that came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(super) signal: Signal,
    /// The process that sent it; `None` if the system did.
    pub(crate) sender: Option<i32>,
}

impl Incoming {
    pub(crate) fn name(self) -> String {
        name(self.signal.as_raw())
    }

    /// The number of the signal.
    pub(crate) const fn number(self) -> i32 {
        self.signal.as_raw()
    }

    /// True if it asks for the end.
    pub(crate) fn ends(self) -> bool {
        ENDING.contains(&self.signal)
    }

    /// True if it only tells of the terminal or of job control.
    pub(crate) fn is_job_control(self) -> bool {
        [Signal::CONT, Signal::TSTP, Signal::WINCH, Signal::URG].contains(&self.signal)
    }

    /// True if the terminal sent it to our process group, the command included.
    pub(super) fn is_of_terminal(self) -> bool {
        self.sender.is_none() && OF_TERMINAL.contains(&self.signal)
    }

    /// True if the system tells us of a limit that we have reached, not the command.
    pub(super) fn is_of_own_limit(self) -> bool {
        let own = rustix::process::getpid().as_raw_pid();
        [Signal::XCPU, Signal::XFSZ].contains(&self.signal) && self.sender.is_none_or(|sender| sender == own)
    }
}

/// The name of a signal.
pub(super) fn name(number: i32) -> String {
    signal_hook::low_level::signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
}

/// Signals could not be taken over.
#[derive(Debug, thiserror::Error)]
#[error("cannot take over signals")]
pub(crate) struct SignalError(#[from] io::Error);

/// The signals that are passed on, taken over from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    pending: Pending<WithOrigin>,
}

impl Signals {
    /// Takes over those that are not ignored: a signal that `nohup` or a shell's `&` made us ignore stays ignored, by
    /// the command too.
    ///
    /// # Errors
    /// [`SignalError`] if the system refuses.
    pub(crate) fn take_over() -> Result<Self, SignalError> {
        Self::take(&PASSED_ON)
    }

    /// As [`Self::take_over`], but only those that ask for the end.
    ///
    /// # Errors
    /// As [`Self::take_over`].
    pub(crate) fn that_end() -> Result<Self, SignalError> {
        Self::take(&ENDING)
    }

    fn take(signals: &[Signal]) -> Result<Self, SignalError> {
        let ignored = ignored_signals();
        let taken = signals.iter().map(|signal| signal.as_raw());
        let taken = taken.filter(|number| ignored & (1 << (number - 1)) == 0);
        // A parent that ignores SIGCHLD would keep us from learning how the command ends.
        let taken = taken.chain([Signal::CHILD.as_raw()]);
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let read = UnixStream::from_std(read)?;
        let mut delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), taken)?;
        let pending = delivery.pending();
        Ok(Self { delivery, pending })
    }

    /// The next thing that happened.
    ///
    /// # Cancellation
    /// Safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.arrived() {
                return told;
            }
            let woken = self.delivery.get_read();
            if woken.readable().await.is_err() {
                // The runtime shuts down: nobody waits for signals any more.
                std::future::pending::<()>().await;
            }
            while matches!(woken.try_read(&mut [0; 64]), Ok(1..)) {}
            self.pending = self.delivery.pending();
        }
    }

    /// The next signal that asks for the end.
    ///
    /// # Cancellation
    /// Safe: no signal is lost but such as have no meaning here.
    pub(crate) async fn asked_to_end(&mut self) -> Incoming {
        loop {
            match self.next().await {
                Told::Signal(incoming) if incoming.ends() => return incoming,
                Told::Signal(_) | Told::Child => {}
            }
        }
    }

    /// A signal that has asked for the end already.
    pub(crate) fn was_asked_to_end(&mut self) -> Option<Incoming> {
        self.pending = self.delivery.pending();
        std::iter::from_fn(|| self.arrived()).find_map(|told| match told {
            Told::Signal(incoming) => incoming.ends().then_some(incoming),
            Told::Child => None,
        })
    }

    fn arrived(&mut self) -> Option<Told> {
        let Origin {
            signal,
            process,
            cause,
            ..
        } = self.pending.next()?;
        let signal = Signal::from_named_raw(signal).filter(|signal| *signal != Signal::CHILD);
        let Some(signal) = signal else {
            return Some(Told::Child);
        };
        let sender = process
            .map(|process| process.pid)
            .filter(|_| cause != Cause::Kernel);
        Some(Told::Signal(Incoming { signal, sender }))
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

/// True if this process has a controlling terminal.
pub(super) fn have_terminal() -> bool {
    // not by storage: a terminal is a device
    File::open("/dev/tty").is_ok()
}
