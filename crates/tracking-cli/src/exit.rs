//! How a command ends: exit codes, and errors as people and scripts read them.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;
/// An error's message and those of its causes.
pub(crate) use tracking_model::causes as chain;

use crate::redact::messages;
use crate::render::{Palette, one_line, printable};

/// How this process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(u8),
    /// By a signal, as the command did that was run.
    Signal(i32),
}

impl Exit {
    /// The exit code; 128+n for signal n, as shells have it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }

    /// Ends by the signal, if it is one, so that whoever waits for us learns the truth: a shell stops its script for a
    /// command that Ctrl-C killed, and not for one that ended with 130. Returns where that does not end us.
    pub(crate) fn end(self) -> ExitCode {
        if let Self::Signal(signal) = self
            // Signals do not end process 1.
            && !rustix::process::getpid().is_init()
        {
            leave_no_core();
            if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
                tracing::debug!(%error, signal, "this signal cannot be raised");
            }
        }
        ExitCode::from(self.code())
    }
}

/// Keeps a signal from writing a core file of this process, whose own fault it is not.
fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(%error, "cannot limit core files");
    }
    // Where cores go to a program the limit does not count.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "cannot forbid core files");
    }
}

/// Why a command did not do what it was asked; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was tried and failed, or what it checked is not so.
    Failed,
    /// The command line is wrong, invalid ids and values included.
    Usage,
    /// What it names does not exist.
    NotFound,
    /// A rule refuses it: state, integrity, duplicate.
    Refused,
    /// The disk, the lock or another backend is not available.
    Unavailable,
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unavailable => 5,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A command that did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With something to say.
    Told(Report),
    /// Whoever read our output closed it: nothing to say, and nobody to say it to.
    BrokenPipe,
}

/// What was attempted, why it did not work, and what to do.
#[derive(Debug)]
pub(crate) struct Report {
    kind: Kind,
    attempted: String,
    causes: Vec<String>,
    hint: Option<String>,
    /// A text that cannot be read, and the character at which it stops making sense.
    place: Option<(String, usize)>,
}

impl Failure {
    /// `attempted` completes "cannot …": `start upgrade prod-1.33`.
    pub(crate) fn new(kind: Kind, attempted: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Told(Report {
            kind,
            attempted: attempted.into(),
            causes: vec![cause.into()],
            hint: None,
            place: None,
        })
    }

    /// As [`Self::new`], with `error` and all of its sources as causes.
    pub(crate) fn of(kind: Kind, attempted: impl Into<String>, error: &dyn Error) -> Self {
        Self::Told(Report {
            kind,
            attempted: attempted.into(),
            causes: chain(error),
            hint: None,
            place: None,
        })
    }

    /// Failing to write our own output.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::of(Kind::Failed, "write the output", error)
        }
    }

    /// Why it did not work, on one line.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Told(report) => report.causes.join(": "),
            Self::BrokenPipe => "nobody reads the output".to_owned(),
        }
    }

    /// Says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(report) = &mut self {
            report.hint = Some(hint.into());
        }
        self
    }

    /// Shows where in a text the cause is.
    pub(crate) fn at(mut self, text: impl Into<String>, character: usize) -> Self {
        if let Self::Told(report) = &mut self {
            report.place = Some((text.into(), character));
        }
        self
    }

    /// Why it did not work, the nearest cause first.
    pub(crate) fn causes(&self) -> &[String] {
        match self {
            Self::Told(report) => &report.causes,
            Self::BrokenPipe => &[],
        }
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Told(report) => report.kind.code(),
            Self::BrokenPipe => 0,
        }
    }

    /// Prints it to stderr: as JSON for scripts, else in two or three lines. The command exits with `code`.
    pub(crate) fn print(&self, json: bool, code: u8) {
        let Self::Told(report) = self else { return };
        let text = if json {
            report.to_json(code)
        } else {
            report.to_text(Palette::for_stderr())
        };
        messages::write(&text);
    }
}

impl Report {
    fn to_text(&self, palette: Palette) -> String {
        let mut text = String::new();
        let (error, cause, hint) = (
            palette.error("error:"),
            palette.dim("cause:"),
            palette.good("hint:"),
        );
        let mut line = |head: &str, body: &str| {
            writeln!(text, "{head} {body}").expect("writing to a string cannot fail");
        };
        line(&error, &format!("cannot {}", printable(&self.attempted)));
        line(&cause, &printable(&self.causes.join(": ")));
        if let Some((excerpt, character)) = &self.place {
            let before: String = excerpt.chars().take(*character).collect();
            let indent = " ".repeat(console::measure_text_width(&one_line(&before)));
            line("      ", &one_line(excerpt));
            line("      ", &format!("{indent}{}", palette.error("^")));
        }
        if let Some(advice) = &self.hint {
            line(&format!(" {hint}"), &printable(advice));
        }
        text
    }

    fn to_json(&self, code: u8) -> String {
        let mut error = json!({"error": {
            "kind": self.kind.as_str(),
            "exit_code": code,
            "attempted": self.attempted,
            "causes": self.causes,
            "hint": self.hint,
        }});
        if let Some((_, character)) = &self.place {
            error["error"]["character"] = json!(character);
        }
        format!("{error}\n")
    }
}
