//! What a command prints on stdout.

use std::io::{self, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use tracking_model::ArtifactName;

use crate::exit::Failure;
use crate::redact::messages;
use crate::render::{Palette, printable};

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether scripts read it.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// The colours for stdout.
    pub(crate) fn palette(self) -> Palette {
        Palette::for_stdout()
    }

    /// Whether a person watches stdout live.
    pub(crate) fn is_live(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints a result: `document` for scripts, else what `text` makes.
    pub(crate) fn result<T: Serialize>(
        self,
        document: &T,
        text: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            self.document(document)
        } else {
            self.text(&text(self.palette()))
        }
    }

    /// Prints one JSON document on one line.
    pub(crate) fn document<T: Serialize>(self, document: &T) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document)
            .map_err(|error| Failure::of(crate::exit::Kind::Failed, "write the result as JSON", &error))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Prints text as it is.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = stdout();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::output(&error))
    }
}

/// A writer that waits for room where the descriptor is non-blocking.
///
/// A descriptor is shared with all who inherited it, so a program beside us may have made ours non-blocking.
#[derive(Debug)]
pub(crate) struct Patient<W>(pub(crate) W);

impl<W: Write + AsFd> Patient<W> {
    fn insist<T>(&mut self, mut act: impl FnMut(&mut W) -> io::Result<T>) -> io::Result<T> {
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn wait_for_room(&self) -> io::Result<()> {
        match poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.insist(|to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.insist(W::flush)
    }
}

/// Our stdout. All of the command writes to it by this.
pub(crate) fn stdout() -> Patient<Stdout> {
    Patient(io::stdout())
}

/// A path as documents carry it: its text, and its exact bytes, percent-encoded, where it is not UTF-8. A document that
/// held the path itself could not be written then.
pub(crate) fn path_text(path: &Path) -> (String, Option<Arc<str>>) {
    let ArtifactName { text, bytes } = ArtifactName::from_bytes(path.as_os_str().as_bytes());
    (text.to_string(), bytes)
}

/// Prints a warning or note to stderr.
pub(crate) fn note(head: &str, text: &str) {
    let palette = Palette::for_stderr();
    let head = palette.warn(&format!("ekstrack: {head}:"));
    messages::write(&format!("{head} {}\n", printable(text)));
}
