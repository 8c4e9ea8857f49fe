//! Reading much history at once: pieces of the file are verified and decoded on several threads and applied in order.
//!
//! A piece can be verified without those before it, because each line's predecessor hash stands at the end of the
//! line before; that the pieces fit together is checked when they are applied.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracking_model::StreamEvent;

use crate::chain::Chain;
use crate::io::{IoFile, read_full};
use crate::line::{ActorCache, HASH_SUFFIX, Line, trailing_hash};
use crate::lines::line_length;
use crate::place::Place;
use crate::replay::decode;
use crate::{Committed, Head};

/// Bytes of the file to one piece.
const PIECE: u64 = 512 << 10;
/// How many pieces may be ready or in work before the first of them is applied.
const WINDOW: usize = 12;
/// Below this, threads cost more than they save.
pub(crate) const WORTH_IT: u64 = 4 * PIECE;
const MOST_THREADS: usize = 4;

/// Records that follow each other, verified but for what comes before the first.
struct Piece<E> {
    before: Head,
    start: u64,
    first_batch: u64,
    chain: Chain,
    records: Vec<Committed<E>>,
}

/// Passes the records from `chain` towards `end` to `each`, as far as everything is in order. What is left, and any
/// error in it, is for [`replay`](crate::replay::replay) to find.
pub(crate) fn read_ahead<E: StreamEvent>(
    place: &Place,
    file: &Arc<dyn IoFile>,
    chain: &mut Chain,
    end: u64,
    mut each: impl FnMut(Committed<E>),
) {
    let from = chain.offset;
    let count = usize::try_from((end - from) / PIECE).unwrap_or(0);
    let source = Source {
        place,
        file,
        from,
        end,
        after: chain.clone(),
    };
    let pipeline = Pipeline::new(count);
    let threads = thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, MOST_THREADS);
    thread::scope(|scope| {
        for _ in 1..threads {
            let help = || {
                let mut buffer = Vec::new();
                while let Some(index) = pipeline.claim_or_wait() {
                    let mut claim = Claim::new(&pipeline, index);
                    claim.piece = source.piece(index, &mut buffer);
                }
            };
            // This thread reads too, so it goes on without.
            if thread::Builder::new().spawn_scoped(scope, help).is_err() {
                break;
            }
        }
        let _stop = StopOnExit(&pipeline);
        let mut buffer = Vec::new();
        for index in 0..count {
            let Some(piece) = pipeline.take(index, |other| source.piece(other, &mut buffer)) else {
                break;
            };
            if !fits(chain, &piece) {
                break;
            }
            *chain = piece.chain;
            piece.records.into_iter().for_each(&mut each);
        }
    });
}

fn fits<E>(chain: &Chain, piece: &Piece<E>) -> bool {
    let same_commit = chain.batch == 0 || piece.first_batch == chain.batch;
    piece.start == chain.offset
        && piece.before == chain.head
        && (piece.first_batch == chain.line_number() || same_commit)
}

struct Source<'a> {
    place: &'a Place,
    file: &'a Arc<dyn IoFile>,
    from: u64,
    end: u64,
    after: Chain,
}

impl Source<'_> {
    /// The lines that begin in the piece's range; `None` if anything about them is not in order. They are read into
    /// `buffer`, which keeps its room from piece to piece.
    fn piece<E: StreamEvent>(&self, index: usize, buffer: &mut Vec<u8>) -> Option<Piece<E>> {
        let nominal = self.from + index as u64 * PIECE;
        let base = self.read(nominal, buffer).ok()?;
        let bytes = buffer.as_slice();
        let (first, before) = if index == 0 {
            (0, self.after.head.hash)
        } else {
            let feed = HASH_SUFFIX + line_length(bytes.get(HASH_SUFFIX..)?)? - 1;
            (feed + 1, trailing_hash(&bytes[feed - HASH_SUFFIX..feed])?)
        };
        let line = &bytes[first..first + line_length(&bytes[first..])?];
        let line = Line::parse(&line[..line.len() - 1]).ok()?;
        let first_batch = line.batch;
        let before = if index == 0 {
            self.after.head
        } else {
            Head {
                epoch: line.epoch,
                seq: line.seq.checked_sub(1)?,
                hash: before,
            }
        };
        let start = base + first as u64;
        let mut chain = if index == 0 {
            self.after.clone()
        } else {
            Chain::resume(&self.place.stream, before, start)
        };
        let mut records = Vec::with_capacity(bytes.len() / 256);
        let mut actors = ActorCache::default();
        let mut at = first;
        while base + (at as u64) < nominal + PIECE {
            let length = line_length(&bytes[at..])?;
            let line = chain.follow(&bytes[at..at + length], &self.place.stream).ok()?;
            records.push(decode(self.place, &line, &mut actors).ok()?);
            at += length;
        }
        Some(Piece {
            before,
            start,
            first_batch,
            chain,
            records,
        })
    }

    /// Reads bytes that hold the piece's lines and, but for the first piece, the end of the line before; tells their
    /// offset.
    fn read(&self, nominal: u64, bytes: &mut Vec<u8>) -> io::Result<u64> {
        let base = if nominal == self.from {
            nominal
        } else {
            nominal - (HASH_SUFFIX as u64 + 1)
        };
        let mut spare = 16 << 10;
        loop {
            let stop = (nominal + PIECE + spare).min(self.end);
            let wanted = usize::try_from(stop - base).map_err(|_| io::ErrorKind::FileTooLarge)?;
            bytes.resize(wanted, 0);
            let read = read_full(&**self.file, bytes, base)?;
            bytes.truncate(read);
            let tail =
                usize::try_from(nominal + PIECE - 1 - base).map_err(|_| io::ErrorKind::FileTooLarge)?;
            if stop == self.end || bytes.get(tail..).is_some_and(|tail| line_length(tail).is_some()) {
                return Ok(base);
            }
            spare *= 8;
        }
    }
}

/// A piece that a thread works on: given back, without content if the model panics, so that nobody waits for it.
struct Claim<'a, E> {
    pipeline: &'a Pipeline<E>,
    index: usize,
    piece: Option<Piece<E>>,
}

impl<'a, E> Claim<'a, E> {
    const fn new(pipeline: &'a Pipeline<E>, index: usize) -> Self {
        Self {
            pipeline,
            index,
            piece: None,
        }
    }
}

impl<E> Drop for Claim<'_, E> {
    fn drop(&mut self) {
        self.pipeline.put(self.index, self.piece.take());
    }
}

/// Ends the work of all threads, also when the model panics.
struct StopOnExit<'a, E>(&'a Pipeline<E>);

impl<E> Drop for StopOnExit<'_, E> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Hands out pieces in order, and keeps what is ready until it is its turn.
struct Pipeline<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
    count: usize,
}

struct State<E> {
    next: usize,
    taken: usize,
    ready: HashMap<usize, Option<Piece<E>>>,
    stopped: bool,
}

impl<E> Pipeline<E> {
    fn new(count: usize) -> Self {
        let state = State {
            next: 0,
            taken: 0,
            ready: HashMap::new(),
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            count,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<E>>) -> MutexGuard<'a, State<E>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, state: &mut State<E>) -> Option<usize> {
        let free = state.next < self.count && state.next < state.taken + WINDOW;
        free.then(|| {
            state.next += 1;
            state.next - 1
        })
    }

    /// The next piece to work on, `None` when all are given out.
    fn claim_or_wait(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next >= self.count {
                return None;
            }
            if let Some(index) = self.claim(&mut state) {
                return Some(index);
            }
            state = self.wait(state);
        }
    }

    fn put(&self, index: usize, piece: Option<Piece<E>>) {
        self.lock().ready.insert(index, piece);
        self.changed.notify_all();
    }

    /// Waits for a piece, working on others meanwhile.
    fn take(&self, index: usize, mut work: impl FnMut(usize) -> Option<Piece<E>>) -> Option<Piece<E>> {
        let mut state = self.lock();
        loop {
            if let Some(piece) = state.ready.remove(&index) {
                state.taken = index + 1;
                drop(state);
                self.changed.notify_all();
                return piece;
            }
            if let Some(other) = self.claim(&mut state) {
                drop(state);
                let piece = work(other);
                state = self.lock();
                state.ready.insert(other, piece);
            } else {
                state = self.wait(state);
            }
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}
