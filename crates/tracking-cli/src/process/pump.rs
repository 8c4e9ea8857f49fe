//! One pipe of a command: read it, pass it on, keep it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::times::Times;

const BUFFER: usize = 64 * 1024;

/// Which of our own streams a pipe is passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassTo {
    Stdout,
    Stderr,
}

/// What became of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pumped {
    /// Bytes that the command wrote.
    pub(crate) bytes: u64,
    /// Why not all of it was kept.
    pub(crate) not_kept: Option<String>,
    /// Whether the pipe was still open when we stopped reading.
    pub(crate) cut_off: bool,
}

/// A thread that empties a pipe: a slow reader of ours slows the command as it would without us; one that is gone
/// does not stop it.
#[derive(Debug)]
pub(crate) struct Pump<K> {
    done: Receiver<()>,
    shared: Arc<Mutex<Shared<K>>>,
}

#[derive(Debug)]
struct Shared<K> {
    pumped: Pumped,
    keep: Option<K>,
}

impl<K: Write + Send + 'static> Pump<K> {
    /// `name` is what the stream is called in `times`.
    pub(super) fn start(
        from: impl Read + Send + 'static,
        to: PassTo,
        keep: Option<K>,
        (name, times): (&'static str, Times<K>),
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            pumped: Pumped::default(),
            keep,
        }));
        let (ended, done) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            pump(from, to, &of_thread, |offset, length| {
                times.note(name, offset, length)
            });
            // Nobody waits any more if the receiver is gone.
            if ended.send(()).is_err() {}
        });
        Self { done, shared }
    }

    /// Waits for the end of the stream, until `deadline` at most. Gives back where it was kept, if all that came
    /// could be.
    pub(crate) fn finish(self, deadline: Instant) -> (Pumped, Option<K>) {
        let left = deadline.saturating_duration_since(Instant::now());
        let cut_off = matches!(self.done.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout));
        let mut shared = lock(&self.shared);
        let mut pumped = std::mem::take(&mut shared.pumped);
        pumped.cut_off = cut_off;
        (pumped, shared.keep.take())
    }
}

fn lock<K>(shared: &Mutex<Shared<K>>) -> MutexGuard<'_, Shared<K>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pump<K: Write>(mut from: impl Read, to: PassTo, shared: &Mutex<Shared<K>>, came: impl Fn(u64, u64)) {
    // Started without such a stream, there is nobody to pass the output to; it is kept all the same.
    let mut pass = own_stream(to).ok();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                lock(shared).pumped.not_kept = Some(format!("cannot read the command's output: {error}"));
                return;
            }
        };
        let bytes = &buffer[..read];
        came(lock(shared).pumped.bytes, read as u64);
        // Whoever read our output has gone; the command goes on, and what it writes is still kept.
        pass = pass.filter(|mut stream| stream.write_all(bytes).is_ok());
        let mut shared = lock(shared);
        shared.pumped.bytes += read as u64;
        if let Some(Err(error)) = shared.keep.as_mut().map(|keep| keep.write_all(bytes)) {
            shared.keep = None;
            shared.pumped.not_kept = Some(format!("cannot write the log: {error}"));
        }
    }
}

/// Our own stream without a buffer of ours, so that nothing is delayed.
fn own_stream(to: PassTo) -> io::Result<File> {
    let fd = match to {
        PassTo::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
        PassTo::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
    };
    Ok(File::from(fd))
}
