//! The output of a command: kept in logs, and passed on to our own reader.

use std::fs::File;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use tokio::sync::oneshot;

use super::Streams;
use super::keeper::{Drained, KeepBytes, Keeper, Pumped, Source};
use super::passing::{Passed, Passing};
use super::terminal::Terminal;
use super::times::Times;
use crate::output::Patient;

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

/// Outcome of keeping a command's output.
#[derive(Debug)]
pub(crate) struct Collected<K> {
    pub(crate) logs: Keep<K>,
    pub(crate) streams: Vec<Pumped>,
    /// Why the times of the output are not kept.
    pub(crate) times_not_kept: Option<String>,
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
        let streams = vec![
            ("stdout", from_stdout.into(), keep.stdout, stdout),
            ("stderr", from_stderr.into(), keep.stderr, PassTo::Stderr),
        ];
        let output = Self::start(streams, keep.times, spool_in)?;
        let streams = Streams {
            stdout: to_stdout.into(),
            stderr: to_stderr.into(),
        };
        Ok((output, streams))
    }

    /// As [`Self::keep`], for a command that is about to start on a terminal of its own, where both streams are one.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(crate) fn keep_terminal(
        keep: Keep<K>,
        stdout: PassTo,
        spool_in: &Path,
        terminal: &Terminal,
    ) -> io::Result<Self> {
        let streams = vec![("stdout", terminal.output()?, keep.stdout, stdout)];
        Self::start(streams, keep.times, spool_in)
    }

    fn start(
        streams: Vec<(&'static str, OwnedFd, Option<K>, PassTo)>,
        times: Option<K>,
        spool_in: &Path,
    ) -> io::Result<Self> {
        let (command_ended, command) = io::pipe()?;
        let (patience_ended, patience) = io::pipe()?;
        let mut passed = Vec::new();
        let mut sources = Vec::new();
        for (name, from, keep, to) in streams {
            let (tell, told) = oneshot::channel();
            passed.push((name, told));
            sources.push(Source {
                name,
                from,
                keep,
                pass_on: Passing::start(own_stream(to), spool_in.to_owned(), tell)?,
            });
        }
        let keeper = Keeper::new(sources, Times::new(times), command_ended, patience_ended);
        let (tell, drained) = oneshot::channel();
        thread::Builder::new()
            .name("keep output".to_owned())
            .spawn(move || keeper.run(tell))?;
        Ok(Self {
            drained,
            passed,
            command: Some(command),
            patience: Some(patience),
        })
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

/// Lets something that the command left running write on: nobody reads its pipe when we are gone, and it would die of
/// SIGPIPE. Returns the process that discards what it writes, until it has closed its end.
pub(crate) fn discard_the_rest(held_open: OwnedFd) -> io::Result<u32> {
    let cat = Command::new("cat")
        .stdin(held_open)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .spawn()?;
    Ok(cat.id())
}
