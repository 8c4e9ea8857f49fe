//! Keeps the output of a command: reads its pipes, writes what comes to the logs, and hands it on.
//!
//! Keeping never waits for passing on: [`Passing`] holds back what our own reader has not taken yet.

use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use super::passing::Passing;
use super::times::Times;

const BUFFER: usize = 64 * 1024;
/// How long output is awaited, once the command has ended, while nothing is left to read and something else holds a pipe.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// A place where output is kept.
pub(crate) trait KeepBytes: Write + Send + 'static {
    /// How many bytes are kept so far: not all that was written, if some are held back.
    fn size(&self) -> u64;

    /// Keeps what is held back: nothing follows.
    fn end(&mut self) -> io::Result<()>;
}

/// A pipe that the command writes to.
#[derive(Debug)]
pub(super) struct Source<K> {
    /// The name of the stream.
    pub(super) name: &'static str,
    pub(super) from: OwnedFd,
    pub(super) keep: Option<K>,
    pub(super) pass_on: Passing,
}

/// Outcome of keeping one stream.
#[derive(Debug)]
pub(crate) struct Pumped {
    /// The name of the stream.
    pub(crate) name: &'static str,
    /// Why not all of it was kept.
    pub(crate) not_kept: Option<String>,
    /// The pipe, if something held it still open when we stopped reading.
    pub(crate) held_open: Option<OwnedFd>,
}

/// All streams at their end.
#[derive(Debug)]
pub(super) struct Drained<K> {
    /// In the order of the sources: what became of each, and where it was kept, if all of it was.
    pub(super) streams: Vec<(Pumped, Option<K>)>,
    pub(super) times: Option<K>,
    /// Why the times of the output are not kept.
    pub(super) times_not_kept: Option<String>,
}

/// Reads all sources in one thread, so that the order between them is known.
#[derive(Debug)]
pub(super) struct Keeper<K> {
    streams: Vec<Stream<K>>,
    times: Times<K>,
    /// At its end when the command has ended.
    command: PipeReader,
    /// At its end when nobody wants to wait for output any more.
    patience: PipeReader,
}

#[derive(Debug)]
struct Stream<K> {
    name: &'static str,
    from: Option<OwnedFd>,
    keep: Option<K>,
    /// `None` once it has ended.
    pass_on: Option<Passing>,
    not_kept: Option<String>,
}

impl<K: KeepBytes> Keeper<K> {
    pub(super) fn new(
        sources: Vec<Source<K>>,
        times: Times<K>,
        command: PipeReader,
        patience: PipeReader,
    ) -> Self {
        let stream = |source: Source<K>| Stream {
            name: source.name,
            from: Some(source.from),
            keep: source.keep,
            pass_on: Some(source.pass_on),
            not_kept: None,
        };
        Self {
            streams: sources.into_iter().map(stream).collect(),
            times,
            command,
            patience,
        }
    }

    /// Reads to the end of all streams in this thread, and tells `drained`.
    pub(super) fn run(mut self, drained: oneshot::Sender<Drained<K>>) {
        let read = self.read_all();
        let Self { streams, times, .. } = self;
        let streams = streams.into_iter().map(|mut stream| {
            if let (Err(error), None) = (&read, &stream.not_kept) {
                stream.not_kept = Some(format!("cannot read the command's output: {error}"));
            }
            let pumped = Pumped {
                name: stream.name,
                not_kept: stream.not_kept,
                held_open: stream.from,
            };
            (pumped, stream.keep)
        });
        let streams = streams.collect();
        let (times, times_not_kept) = times.finish();
        let all = Drained {
            streams,
            times,
            times_not_kept,
        };
        // The receiver is gone only if nobody waits any more.
        if drained.send(all).is_err() {}
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut idle_left = None;
        while self.streams.iter().any(|stream| stream.from.is_some()) {
            let ready = self.wait(&mut idle_left)?;
            let Some(ready) = ready else { return Ok(()) };
            for (stream, _) in self.streams.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
                stream.read(&mut buffer, &self.times);
            }
        }
        Ok(())
    }

    /// Waits until a stream is ready and tells which are; `None` if it is time to stop. `idle_left` is what is left of
    /// [`IDLE_LIMIT`], once the command has ended.
    fn wait(&self, idle_left: &mut Option<Duration>) -> io::Result<Option<Vec<bool>>> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(4);
        fds.push(match idle_left {
            None => PollFd::new(&self.command, PollFlags::IN),
            Some(_) => PollFd::new(&self.patience, PollFlags::IN),
        });
        let open = self.streams.iter().filter_map(|stream| stream.from.as_ref());
        fds.extend(open.map(|from| PollFd::new(from, PollFlags::IN)));
        let timeout = idle_left
            .map(Timespec::try_from)
            .transpose()
            .map_err(io::Error::other)?;
        let began = Instant::now();
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
        let told = events.next().unwrap_or(false);
        let mut any = false;
        let ready: Vec<bool> = self
            .streams
            .iter()
            .map(|stream| stream.from.is_some() && events.next().unwrap_or(false))
            .inspect(|ready| any |= ready)
            .collect();
        match idle_left {
            None if told => *idle_left = Some(IDLE_LIMIT),
            None => {}
            Some(left) => {
                *left = left.saturating_sub(began.elapsed());
                if told || (!any && left.is_zero()) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(ready))
    }
}

impl<K: KeepBytes> Stream<K> {
    /// Reads once: to the log first, then on.
    fn read(&mut self, buffer: &mut [u8], times: &Times<K>) {
        let Some(from) = &self.from else { return };
        let bytes = match rustix::io::read(from, &mut *buffer) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            Ok(0) => return self.end(times),
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            // A pseudo terminal ends so.
            Err(rustix::io::Errno::IO) => return self.end(times),
            Err(error) => {
                self.not_kept = Some(format!("cannot read the command's output: {error}"));
                return self.end(times);
            }
        };
        self.keep(times, |keep| keep.write_all(bytes));
        if let Some(pass_on) = &self.pass_on {
            pass_on.push(bytes);
        }
    }

    /// Has the log keep something, and notes that what is new in it came now.
    fn keep(&mut self, times: &Times<K>, act: impl FnOnce(&mut K) -> io::Result<()>) {
        let Some(keep) = &mut self.keep else { return };
        let before = keep.size();
        if let Err(error) = act(keep) {
            self.keep = None;
            self.not_kept = Some(format!("cannot write the log: {error}"));
            return;
        }
        let new = keep.size() - before;
        if new > 0 {
            times.note(self.name, before, new);
        }
    }

    fn end(&mut self, times: &Times<K>) {
        self.keep(times, K::end);
        self.from = None;
        self.pass_on = None;
    }
}
