//! Passes the output of a command on to our own reader, who may be slow.
//!
//! The bytes that wait are in memory, and beyond a limit in a file without a name: neither the command nor its log
//! waits for the reader, and memory does not grow.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// The bytes that wait in memory.
const MEMORY: usize = 256 * 1024;
const PIECE: usize = 64 * 1024;

/// The end of a queue into which the keeper puts bytes. Dropped, nothing more comes.
#[derive(Debug)]
pub(super) struct Passing {
    queue: Arc<Queue>,
}

/// The end of passing on.
#[derive(Debug)]
pub(crate) struct Passed {
    /// `None` if all bytes went on; else why some did not.
    pub(crate) error: Option<io::Error>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// Bytes that wait, the oldest first: those in `memory`, then those in `spool`.
#[derive(Debug)]
struct State {
    memory: VecDeque<u8>,
    spool: Spool,
    /// Nothing more comes.
    ended: bool,
    /// Nobody takes any more.
    gone: bool,
}

/// A file without a name, made when it is needed first.
#[derive(Debug)]
struct Spool {
    directory: PathBuf,
    file: Option<File>,
    written: u64,
    read: u64,
}

impl Passing {
    /// Passes on to `to` what is pushed, in a thread of its own; `passed` is told the end. What does not fit into memory
    /// waits in a file in `spool_in`.
    ///
    /// # Errors
    /// There are no threads any more.
    pub(super) fn start(
        mut to: impl Write + Send + 'static,
        spool_in: PathBuf,
        passed: oneshot::Sender<Passed>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                memory: VecDeque::with_capacity(MEMORY),
                spool: Spool {
                    directory: spool_in,
                    file: None,
                    written: 0,
                    read: 0,
                },
                ended: false,
                gone: false,
            }),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&queue);
        thread::Builder::new().name("pass on".to_owned()).spawn(move || {
            let error = of_thread.pass_on(&mut to).err();
            // The receiver is gone only if nobody waits any more.
            if passed.send(Passed { error }).is_err() {}
        })?;
        Ok(Self { queue })
    }

    /// Adds bytes. Waits for the reader only if the spool cannot take them.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut state = self.queue.lock();
        while !state.gone && !state.take_in(bytes) {
            state = self.queue.wait(state);
        }
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.queue.lock().ended = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_on(&self, to: &mut impl Write) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let passed = loop {
            let written = match self.next(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(length) => to.write_all(buffer.get(..length).unwrap_or_default()),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                break Err(error);
            }
        };
        self.lock().gone = true;
        self.changed.notify_all();
        passed
    }

    /// Waits for bytes and takes them out; 0 at the end.
    fn next(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        loop {
            let length = state.take_out(buffer)?;
            if length > 0 || state.ended {
                drop(state);
                self.changed.notify_all();
                return Ok(length);
            }
            state = self.wait(state);
        }
    }
}

impl State {
    /// Takes `bytes` in, if there is room.
    fn take_in(&mut self, bytes: &[u8]) -> bool {
        if self.spool.is_empty() && self.memory.len() + bytes.len() <= MEMORY {
            self.memory.extend(bytes);
            return true;
        }
        match self.spool.append(bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "output that the reader has not taken cannot wait on disk");
                false
            }
        }
    }

    fn take_out(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.memory.is_empty() {
            return self.spool.take_out(buffer);
        }
        io::Read::read(&mut self.memory, buffer)
    }
}

impl Spool {
    const fn is_empty(&self) -> bool {
        self.read == self.written
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.directory)?),
        };
        file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn take_out(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_empty()) else {
            return Ok(0);
        };
        let left = usize::try_from(self.written - self.read).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        file.read_exact_at(buffer.get_mut(..length).unwrap_or_default(), self.read)?;
        self.read += length as u64;
        if self.is_empty() {
            file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes a piece only when it is told to.
    #[derive(Debug)]
    struct Slow {
        may_take: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may_take.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.taken.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(
        spool_in: PathBuf,
    ) -> (
        Passing,
        mpsc::Sender<()>,
        mpsc::Receiver<Vec<u8>>,
        oneshot::Receiver<Passed>,
    ) {
        let ((permit, may_take), (taken, takes), (passed, end)) =
            (mpsc::channel(), mpsc::channel(), oneshot::channel());
        let passing = Passing::start(Slow { may_take, taken }, spool_in, passed).unwrap();
        (passing, permit, takes, end)
    }

    #[test]
    fn a_slow_reader_gets_all_bytes_in_order_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (passing, permit, takes, end) = slow(folder.path().to_owned());
        let all: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        for piece in all.chunks(50_000) {
            passing.push(piece);
        }
        drop(passing);
        let mut got = Vec::new();
        while got.len() < all.len() {
            permit.send(()).unwrap();
            got.extend(takes.recv().unwrap());
        }
        assert!(got == all);
        assert!(end.blocking_recv().unwrap().error.is_none());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn without_a_spool_the_reader_sets_the_pace_and_nothing_is_lost() {
        let (passing, permit, takes, end) = slow("/nonexistent".into());
        let pusher = thread::spawn(move || {
            for _ in 0..20 {
                passing.push(&[7; PIECE]);
            }
        });
        let mut got = 0;
        while got < 20 * PIECE {
            permit.send(()).unwrap();
            got += takes.recv().unwrap().len();
        }
        pusher.join().unwrap();
        assert!(end.blocking_recv().unwrap().error.is_none());
    }

    #[test]
    fn a_reader_that_is_gone_holds_nobody_up() {
        let (passing, permit, _takes, end) = slow("/nonexistent".into());
        drop(permit);
        for _ in 0..20 {
            passing.push(&[7; PIECE]);
        }
        let error = end.blocking_recv().unwrap().error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
