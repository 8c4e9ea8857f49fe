//! Checkpoints: a stream's state at one record, so that opening need not read what came before. Derived; may be
//! deleted at any time.
//!
//! Two lines of JSON: a header, and the state as the model serialises it. A checkpoint counts only if its own
//! checksum is right and the journal has its hash at its offset.

use std::io::{self, BufRead};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracking_model::Fold;

use crate::chain::Chain;
use crate::io::{IoFile, OpenMode, read_full, write_full};
use crate::line::{HASH_SUFFIX, trailing_hash};
use crate::place::Place;
use crate::recovery::{RecoveryReport, State};
use crate::{ChainHash, CheckpointPolicy, Head, JournalError};

const VERSION: u32 = 1;
/// Writing checkpoints takes at most this share of the time: 1/20.
const REST_PER_COST: u32 = 20;

/// The first line of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    v: u32,
    fold: u32,
    stream: String,
    pub(crate) head: Head,
    batch: u64,
    pub(crate) offset: u64,
    newest: u32,
    /// Length of the state in bytes, and its SHA-256 (after 32 zero bytes, as a first link of a chain).
    bytes: u64,
    sum: ChainHash,
}

/// Replaces the stream's checkpoint by one of `fold` at `chain`.
pub(crate) fn write<F: Fold>(place: &Place, fold: &F, chain: &Chain) -> Result<(), JournalError> {
    let error = |operation, error| JournalError::io(operation, &place.checkpoint, error);
    let state = serde_json::to_vec(fold).map_err(|cause| error("encode", io::Error::other(cause)))?;
    let header = Header {
        v: VERSION,
        fold: F::CHECKPOINT_VERSION,
        stream: place.stream.to_string(),
        head: chain.head,
        batch: chain.batch,
        offset: chain.offset,
        newest: chain.newest,
        bytes: state.len() as u64,
        sum: ChainHash::ZERO.next(&state),
    };
    let mut content =
        serde_json::to_vec(&header).map_err(|cause| error("encode", io::Error::other(cause)))?;
    content.push(b'\n');
    content.extend_from_slice(&state);
    content.push(b'\n');

    let new = temporary(place);
    let file = place
        .io
        .open(&new, OpenMode::Create)
        .map_err(|cause| error("create", cause))?;
    let replaced = replace(place, &new, &*file, &content);
    replaced.map_err(|cause| error("write", cause))
}

/// Writes the new file and gives it the checkpoint's name, unless another process is just doing so.
fn replace(place: &Place, new: &Path, file: &dyn IoFile, content: &[u8]) -> io::Result<()> {
    if !file.try_lock()? || place.io.identity(new)? != Some(file.identity()?) {
        return Ok(());
    }
    let written = file
        .set_size(0)
        .and_then(|()| write_full(file, content, 0))
        .and_then(|()| file.sync_data());
    match written {
        Ok(()) => place.io.rename(new, &place.checkpoint),
        // The disk may be full: give back what was taken.
        Err(error) => place.io.remove(new).and(Err(error)),
    }
}

/// Where a checkpoint is written before it has its name; a crash may leave one, which the next replaces.
pub(crate) fn temporary(place: &Place) -> PathBuf {
    place.checkpoint.with_extension("checkpoint.new")
}

/// Reads the header alone, `None` if there is no usable checkpoint.
pub(crate) fn read_header(place: &Place) -> Option<Header> {
    let file = place.io.open(&place.checkpoint, OpenMode::Read).ok()?;
    header_of(place, &*file).map(|(header, _)| header)
}

/// The header and the length of its line.
fn header_of(place: &Place, file: &dyn IoFile) -> Option<(Header, u64)> {
    let mut buffer = [0; 1024];
    let read = read_full(file, &mut buffer, 0).ok()?;
    let mut rest = &buffer[..read];
    let length = rest.skip_until(b'\n').ok()?;
    let header: Header = serde_json::from_slice(&buffer[..length]).ok()?;
    (header.v == VERSION && header.stream == place.stream.to_string()).then_some((header, length as u64))
}

/// The state of the stream's checkpoint, if there is one that belongs to this journal and model.
pub(crate) fn read<F: Fold>(place: &Place, journal: &Arc<dyn IoFile>, end: u64) -> Option<State<F>> {
    let file = place.io.open(&place.checkpoint, OpenMode::Read).ok()?;
    let (header, length) = header_of(place, &*file)?;
    let size = file.size().ok()?;
    if size.checked_sub(length)? != header.bytes.checked_add(1)? {
        return None;
    }
    let mut state = vec![0; usize::try_from(header.bytes).ok()?];
    let read = read_full(&*file, &mut state, length).ok()?;
    let state = &state[..read];
    let intact = state.len() as u64 == header.bytes && ChainHash::ZERO.next(state) == header.sum;
    if !intact || header.fold != F::CHECKPOINT_VERSION || header.offset > end {
        tracing::debug!(path = %place.checkpoint.display(), intact, "passing over a checkpoint");
        return None;
    }
    if hash_before(&**journal, header.offset).ok()? != Some(header.head.hash) {
        tracing::warn!(path = %place.checkpoint.display(), "the checkpoint is not of this journal");
        return None;
    }
    let fold = serde_json::from_slice(state)
        .inspect_err(
            |error| tracing::warn!(%error, path = %place.checkpoint.display(), "unreadable checkpoint"),
        )
        .ok()?;
    let mut chain = Chain::resume(&place.stream, header.head, header.offset);
    chain.batch = header.batch;
    chain.newest = header.newest;
    let report = RecoveryReport {
        checkpoint_seq: header.head.seq,
        ..RecoveryReport::default()
    };
    Some(State { fold, chain, report })
}

/// The hash of the record that ends before `offset`.
pub(crate) fn hash_before(journal: &dyn IoFile, offset: u64) -> io::Result<Option<ChainHash>> {
    let mut buffer = [0; HASH_SUFFIX + 1];
    let Some(start) = offset.checked_sub(buffer.len() as u64) else {
        return Ok(None);
    };
    let read = read_full(journal, &mut buffer, start)?;
    Ok(buffer[..read].strip_suffix(b"\n").and_then(trailing_hash))
}

/// Decides when checkpoints are due and has them written on a thread of their own.
#[derive(Debug)]
pub(crate) struct Checkpoints<F> {
    place: Place,
    policy: CheckpointPolicy,
    /// Sequence and offset of the last checkpoint, or of where this writer began.
    last: (u64, u64),
    not_before: Instant,
    running: Option<JoinHandle<Duration>>,
    fold: PhantomData<fn(F)>,
}

impl<F: Fold> Checkpoints<F> {
    pub(crate) fn new(place: Place, policy: CheckpointPolicy, checkpoint_seq: u64, offset: u64) -> Self {
        let last = (checkpoint_seq, offset);
        Self {
            place,
            policy,
            last,
            not_before: Instant::now(),
            running: None,
            fold: PhantomData,
        }
    }

    /// Begins a checkpoint if one is due; `state` is cloned only then.
    pub(crate) fn consider(&mut self, state: &State<F>) {
        let (seq, offset) = self.last;
        let records = state.chain.head.seq.saturating_sub(seq);
        let bytes = state.chain.offset.saturating_sub(offset);
        if records < self.policy.records && bytes < self.policy.bytes {
            return;
        }
        self.collect();
        if self.running.is_some() || Instant::now() < self.not_before {
            return;
        }
        let (place, fold, chain) = (self.place.clone(), state.fold.clone(), state.chain.clone());
        let thread = thread::Builder::new()
            .name("journal-checkpoint".to_owned())
            .spawn(move || {
                let start = Instant::now();
                write_or_warn(&place, &fold, &chain);
                start.elapsed()
            });
        match thread {
            Ok(thread) => self.running = Some(thread),
            Err(error) => tracing::warn!(%error, "cannot start a checkpoint"),
        }
        self.last = (state.chain.head.seq, state.chain.offset);
    }

    fn collect(&mut self) {
        if let Some(thread) = self.running.take_if(|thread| thread.is_finished()) {
            self.join(thread);
        }
    }

    fn join(&mut self, thread: JoinHandle<Duration>) {
        match thread.join() {
            Ok(cost) => self.not_before = Instant::now() + cost * REST_PER_COST,
            Err(_) => {
                tracing::error!(path = %self.place.checkpoint.display(), "writing a checkpoint panicked")
            }
        }
    }

    /// The state was read anew from a replaced journal.
    pub(crate) fn start_over(&mut self) {
        self.last = (0, 0);
    }

    /// Waits for a checkpoint that is being written, and writes a last one if it is worth it.
    pub(crate) fn finish(&mut self, state: &State<F>) {
        if let Some(thread) = self.running.take() {
            self.join(thread);
        }
        if state.chain.head.seq.saturating_sub(self.last.0) >= self.policy.records_at_close {
            write_or_warn(&self.place, &state.fold, &state.chain);
        }
    }
}

fn write_or_warn<F: Fold>(place: &Place, fold: &F, chain: &Chain) {
    if let Err(error) = write(place, fold, chain) {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "a checkpoint was not written; opening takes longer");
    }
}
