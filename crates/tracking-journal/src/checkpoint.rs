//! Checkpoints: a stream's state at one record, so that opening need not read what came before. Derived; may be
//! deleted at any time.
//!
//! Two lines of JSON: a header, and the state as the model serialises it. A checkpoint counts only if the checksums of
//! header and state are right and the record that ends at its offset is the one that the header names: epoch,
//! sequence, commit and hash. The state itself is believed; [`verify`] compares it with what the journal says.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracking_model::Fold;

use crate::chain::Chain;
use crate::io::{IoFile, OpenMode, read_full, write_full};
use crate::lines::line_length;
use crate::place::Place;
use crate::recovery::{RecoveryReport, State};
use crate::seal::{is_sealed, seal};
use crate::seek::chain_before;
use crate::{ChainHash, CheckpointPolicy, CheckpointVerification, Head, JournalError};

const VERSION: u32 = 2;
/// Writing checkpoints takes at most this share of the time: 1/20.
const REST_PER_COST: u32 = 20;
/// A header is shorter than this.
const MAX_HEADER: usize = 2 << 10;

/// The longest state that a journal of `length` bytes makes: each record adds some times its own length, and an
/// imported state is written with the fields that it lacked.
const fn longest_state(length: u64) -> u64 {
    length.saturating_mul(16).saturating_add(64 << 10)
}

/// The first line of a checkpoint, which ends in its own checksum.
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
    state: ChainHash,
}

/// Why a checkpoint does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("there is none")]
    Absent,
    #[error("it was written by another version of this program")]
    OtherVersion,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("its checksum is not that of its content")]
    Altered,
    #[error("it says that it is of {0}")]
    OtherStream(String),
    #[error("it claims {0} bytes, more than a state of this journal can have")]
    TooLong(u64),
    #[error("the journal does not have record {seq} at byte {offset} as it says")]
    Elsewhere { seq: u64, offset: u64 },
    #[error("its state is none of this program's: {0}")]
    NoState(String),
    #[error(
        "its state is not the one that the journal's records up to {0} make: it was forged, or written by a faulty program"
    )]
    OtherState(u64),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

/// Replaces the stream's checkpoint by one of `fold` at `chain`.
pub(crate) fn write<F: Fold>(place: &Place, fold: &F, chain: &Chain) -> Result<(), JournalError> {
    let error = |operation, error| JournalError::io(operation, &place.checkpoint, error);
    let state = serde_json::to_vec(fold).map_err(|cause| error("encode", io::Error::other(cause)))?;
    let bytes = state.len() as u64;
    if bytes > longest_state(chain.offset) {
        tracing::debug!(path = %place.checkpoint.display(), bytes, "the state is too long for a checkpoint");
        return Ok(());
    }
    let header = Header {
        v: VERSION,
        fold: F::CHECKPOINT_VERSION,
        stream: place.stream.to_string(),
        head: chain.head,
        batch: chain.batch,
        offset: chain.offset,
        newest: chain.newest,
        bytes,
        state: ChainHash::ZERO.next(&state),
    };
    let mut content =
        serde_json::to_vec(&header).map_err(|cause| error("encode", io::Error::other(cause)))?;
    seal(&mut content);
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
    header_of(place, &*file).ok().map(|(header, _)| header)
}

/// The header, if its checksum is right, and the length of its line.
fn header_of(place: &Place, file: &dyn IoFile) -> Result<(Header, u64), Unusable> {
    let mut buffer = [0; MAX_HEADER];
    let read = read_full(file, &mut buffer, 0)?;
    let line = &buffer[..line_length(&buffer[..read]).ok_or(Unusable::Altered)?];
    if !is_sealed(line) {
        return Err(match serde_json::from_slice(line) {
            // The first version had no checksum here.
            Ok(Version { v: 1 }) => Unusable::OtherVersion,
            _ => Unusable::Altered,
        });
    }
    let altered = |_| Unusable::Altered;
    if serde_json::from_slice::<Version>(line).map_err(altered)?.v != VERSION {
        return Err(Unusable::OtherVersion);
    }
    let header: Header = serde_json::from_slice(line).map_err(altered)?;
    if header.stream != place.stream.to_string() {
        return Err(Unusable::OtherStream(header.stream));
    }
    Ok((header, line.len() as u64))
}

/// The key that every version of a header has.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// A checkpoint that is whole and belongs to the journal.
struct Checked {
    chain: Chain,
    state: Vec<u8>,
}

/// Reads a checkpoint for a journal of which `end` bytes are durable. Nothing is reserved for a state before the
/// journal has confirmed the header.
fn read_checked(place: &Place, journal: &dyn IoFile, end: u64, version: u32) -> Result<Checked, Unusable> {
    let file = place.io.open(&place.checkpoint, OpenMode::Read)?;
    let (header, length) = header_of(place, &*file)?;
    if header.fold != version {
        return Err(Unusable::OtherVersion);
    }
    let (seq, offset) = (header.head.seq, header.offset);
    let elsewhere = || Unusable::Elsewhere { seq, offset };
    if offset > end {
        return Err(elsewhere());
    }
    let mut chain = chain_before(place, journal, offset)?.ok_or_else(elsewhere)?;
    if (chain.head, chain.batch) != (header.head, header.batch) || header.newest < chain.newest {
        return Err(elsewhere());
    }
    chain.newest = header.newest;
    let bytes = header.bytes;
    if bytes > longest_state(offset) {
        return Err(Unusable::TooLong(bytes));
    }
    if file.size()?.checked_sub(length) != bytes.checked_add(1) {
        return Err(Unusable::Altered);
    }
    let too_long = |_| Unusable::TooLong(bytes);
    let room = usize::try_from(bytes + 1).map_err(|_| Unusable::TooLong(bytes))?;
    let mut state = Vec::new();
    state.try_reserve_exact(room).map_err(too_long)?;
    state.resize(room, 0);
    let read = read_full(&*file, &mut state, length)?;
    let feed = state.pop();
    if read < room || feed != Some(b'\n') || ChainHash::ZERO.next(&state) != header.state {
        return Err(Unusable::Altered);
    }
    Ok(Checked { chain, state })
}

/// The state of the stream's checkpoint, if there is one that belongs to this journal and model.
pub(crate) fn read<F: Fold>(place: &Place, journal: &Arc<dyn IoFile>, end: u64) -> Option<State<F>> {
    let read = read_checked(place, &**journal, end, F::CHECKPOINT_VERSION).and_then(|checked| {
        let fold = serde_json::from_slice(&checked.state);
        let fold = fold.map_err(|error| Unusable::NoState(error.to_string()))?;
        Ok((fold, checked.chain))
    });
    let path = place.checkpoint.display();
    match read {
        Ok((fold, chain)) => {
            let report = RecoveryReport {
                checkpoint_seq: chain.head.seq,
                ..RecoveryReport::default()
            };
            Some(State { fold, chain, report })
        }
        Err(Unusable::Absent) => None,
        Err(why @ Unusable::OtherVersion) => {
            tracing::debug!(%path, %why, "passing over a checkpoint");
            None
        }
        Err(why) => {
            tracing::warn!(%path, %why, "passing over a checkpoint and reading the whole journal; the file may be deleted");
            None
        }
    }
}

/// Compares the stream's checkpoint with what the records before it make.
pub(crate) fn verify<F: Fold>(
    place: &Place,
    journal: &Arc<dyn IoFile>,
) -> Result<CheckpointVerification, JournalError> {
    let size = journal.size();
    let size = size.map_err(|error| JournalError::io("look at", &place.journal, error))?;
    let compared = match read_checked(place, &**journal, size, F::CHECKPOINT_VERSION) {
        Ok(checked) => {
            let mut state = State::<F>::empty(place);
            state.advance(place, journal, checked.chain.offset, |_| {})?;
            same_state(&state.fold, &checked)
        }
        Err(why) => Err(why),
    };
    Ok(match compared {
        Ok(seq) => CheckpointVerification::Agrees { seq },
        Err(Unusable::Absent | Unusable::OtherVersion) => CheckpointVerification::NotUsed,
        Err(why) => CheckpointVerification::Wrong {
            path: place.checkpoint.clone(),
            reason: why.to_string(),
        },
    })
}

/// Compares states as JSON values, since the order of keys says nothing.
fn same_state<F: Fold>(fold: &F, checked: &Checked) -> Result<u64, Unusable> {
    let no_state = |error: serde_json::Error| Unusable::NoState(error.to_string());
    let own = serde_json::to_vec(fold).map_err(no_state)?;
    if own != checked.state {
        let own: serde_json::Value = serde_json::from_slice(&own).map_err(no_state)?;
        let theirs: serde_json::Value = serde_json::from_slice(&checked.state).map_err(no_state)?;
        if own != theirs {
            return Err(Unusable::OtherState(checked.chain.head.seq));
        }
    }
    Ok(checked.chain.head.seq)
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

#[cfg(test)]
mod tests;
