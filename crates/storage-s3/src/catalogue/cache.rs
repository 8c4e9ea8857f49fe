//! The local copy: journals of an ordinary data directory, and what is known of each. Everything here blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use artifact_core::{StoreError, StoreErrorKind};
use tracking_journal::{DataDir, JournalError, Record, Replica, remove, storage};
use tracking_model::{StreamId, Timestamp};
use uuid::Uuid;

use super::merge::{self, Merged};
use super::state::{self, FileMark, Refused, State};

/// A cache directory.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    pub(crate) dir: DataDir,
    pub(crate) lock_timeout: Duration,
}

/// Which segments of a stream a listing found: `{epoch}/{name}`, and when it began.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) at: Timestamp,
    pub(crate) segments: BTreeSet<String>,
}

impl Listed {
    fn has_epoch(&self, epoch: Uuid) -> bool {
        let from = format!("{epoch}/");
        self.segments
            .range(from.clone()..)
            .next()
            .is_some_and(|segment| segment.starts_with(&from))
    }
}

/// The content of some segments.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) records: Vec<Record>,
    pub(crate) segments: BTreeSet<String>,
    pub(crate) refused: BTreeSet<Refused>,
}

/// Segments that the copy of a stream lacks.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) segments: BTreeSet<String>,
    /// Lines and segments that are known to be unreadable.
    pub(crate) refused: BTreeSet<Refused>,
    /// Journals whose first record was never read, with the least sequence that was.
    pub(crate) missing_starts: BTreeMap<Uuid, u64>,
}

impl Cache {
    /// The segments of `listed` that are not in the copy yet.
    pub(crate) fn missing(&self, stream: &StreamId, listed: &Listed) -> Result<Missing, StoreError> {
        let load = || State::load(&self.dir, stream).map_err(|error| io("read the cache of", stream, error));
        let mut state = load()?;
        if state.is_none() && storage::exists(&self.dir.journal_path(stream)) {
            // Another program may be just between the copy and its state: then it holds the stream.
            let turn = Replica::open(&self.dir, stream, self.lock_timeout);
            let _turn = turn.map_err(|error| journal("read the cache of", stream, error))?;
            state = load()?;
        }
        let Some(state) = state.filter(|state| !outlived(state, listed)) else {
            return Ok(Missing {
                segments: listed.segments.clone(),
                ..Missing::default()
            });
        };
        Ok(Missing {
            segments: listed.segments.difference(&state.segments).cloned().collect(),
            refused: state.refused,
            missing_starts: state.firsts.into_iter().filter(|(_, first)| *first > 1).collect(),
        })
    }

    /// Takes what was read into the copy; tells how many records are new.
    pub(crate) fn take(&self, stream: &StreamId, listed: &Listed, read: Read) -> Result<u64, StoreError> {
        let failed = |error| journal("merge", stream, error);
        let io = |error| io("merge", stream, error);
        let mut replica = Replica::open(&self.dir, stream, self.lock_timeout).map_err(failed)?;
        let state = State::load(&self.dir, stream).map_err(io)?;
        let state = state.filter(|state| state.head == replica.head() && !outlived(state, listed));
        let (mut state, known) = match state {
            Some(state) => (state, true),
            None => (State::new(stream, listed.at), false),
        };
        let firsts = firsts(&read.records);
        let before: u64 = state.runs.iter().map(|run| run.count).sum();
        if known {
            add(&mut replica, &mut state, read.records).map_err(failed)?;
        } else {
            let merged = merge::merge(read.records);
            replace(&mut replica, &mut state, merged).map_err(failed)?;
        }
        let after: u64 = state.runs.iter().map(|run| run.count).sum();
        for (epoch, first) in firsts {
            let known = state.firsts.entry(epoch).or_insert(first);
            *known = first.min(*known);
        }
        // A segment that an older listing lacks may be in a younger one.
        if state.listed_at <= listed.at {
            state.listed_at = listed.at;
            state.segments.retain(|segment| listed.segments.contains(segment));
            state
                .refused
                .retain(|refused| listed.segments.contains(&refused.segment));
        }
        state.segments.extend(read.segments);
        state.refused.extend(read.refused);
        state.head = replica.head();
        if state.runs.is_empty() && state.head.is_some() {
            // The copy has records of segments that are gone, and nothing can be read of those that took their place.
            drop(replica);
            remove(&self.dir, stream, self.lock_timeout).map_err(failed)?;
            state.head = None;
        }
        state.file = FileMark::of(&self.dir, stream).map_err(io)?;
        state.save(&self.dir, stream).map_err(io)?;
        Ok(after.saturating_sub(before))
    }

    /// The latest time in the copy of a stream.
    pub(crate) fn latest(&self, stream: &StreamId) -> Result<Option<Timestamp>, StoreError> {
        let state = State::load(&self.dir, stream).map_err(|error| io("read the cache of", stream, error))?;
        if let Some(state) = state {
            return Ok(state.tails.values().map(|tail| tail.at).max());
        }
        // Readers saw the copy, also where the state of the copy is lost.
        if !storage::exists(&self.dir.journal_path(stream)) {
            return Ok(None);
        }
        let replica = Replica::open(&self.dir, stream, self.lock_timeout);
        let records = replica.and_then(|replica| replica.records());
        let records = records.map_err(|error| journal("read the cache of", stream, error))?;
        Ok(records.iter().map(|record| record.at).max())
    }

    /// All streams that are in the cache.
    pub(crate) fn streams(&self) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut streams: BTreeSet<_> = state::streams(&self.dir)
            .map_err(|error| StoreError::io("list", "the cache", error))?
            .into_iter()
            .collect();
        let journals = self.dir.streams();
        streams.extend(journals.map_err(|error| {
            StoreError::new(StoreErrorKind::Unexpected, "list", "the cache").with_source(error)
        })?);
        Ok(streams)
    }

    /// Removes the copy of a stream of which a listing that began at `listed_at` has nothing, unless a younger one had.
    /// Tells whether it did.
    pub(crate) fn remove(&self, stream: &StreamId, listed_at: Timestamp) -> Result<bool, StoreError> {
        let io = |error| io("remove the cache of", stream, error);
        let state = State::load(&self.dir, stream).map_err(io)?;
        if state.is_some_and(|state| state.listed_at > listed_at) {
            return Ok(false);
        }
        State::remove(&self.dir, stream).map_err(io)?;
        match remove(&self.dir, stream, self.lock_timeout) {
            Ok(()) | Err(JournalError::NoSuchStream { .. }) => Ok(true),
            Err(error) => Err(journal("remove the cache of", stream, error)),
        }
    }
}

/// The least sequence of each journal.
fn firsts(records: &[Record]) -> BTreeMap<Uuid, u64> {
    let mut firsts = BTreeMap::new();
    for record in records {
        let first = firsts.entry(record.epoch).or_insert(record.seq);
        *first = record.seq.min(*first);
    }
    firsts
}

/// True if the copy has records of a journal of which nothing is left in the bucket: they must go too.
fn outlived(state: &State, listed: &Listed) -> bool {
    state.listed_at <= listed.at && state.tails.keys().any(|epoch| !listed.has_epoch(*epoch))
}

/// Adds records to a copy: at its end where they belong there, else by putting another in its place.
fn add(replica: &mut Replica, state: &mut State, new: Vec<Record>) -> Result<(), JournalError> {
    let new = match merge::follow(new, &state.tails) {
        Ok(merged) => return append(replica, state, merged),
        Err(new) => new,
    };
    let mut records = match replica.records() {
        Ok(records) => records,
        // A copy that is damaged is begun anew with what there is; the rest is missing, and so it is read again.
        Err(JournalError::Damaged(damage)) => {
            tracing::warn!(%damage, "a cached stream is read from the bucket anew");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    if !merge::restore(&mut records, &state.runs) {
        state.segments.clear();
        state.refused.clear();
        state.firsts.clear();
        return replace(replica, state, merge::merge(new));
    }
    let before: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    records.extend(new);
    let mut merged = merge::merge(records);
    let begins_alike = merged.records.len() >= before.len()
        && merged
            .records
            .iter()
            .zip(&before)
            .all(|(record, id)| record.id == *id);
    if !begins_alike {
        return replace(replica, state, merged);
    }
    let new = merged.records.split_off(before.len());
    replica.append(&new)?;
    state.tails = merged.tails;
    state.runs = merged.runs;
    Ok(())
}

fn append(replica: &mut Replica, state: &mut State, merged: Merged) -> Result<(), JournalError> {
    replica.append(&merged.records)?;
    let mut more = merged.runs.into_iter();
    if let (Some(last), Some(next)) = (state.runs.last_mut(), more.as_slice().first())
        && last.epoch == next.epoch
        && last.seq + last.count == next.seq
    {
        last.count += next.count;
        more.next();
    }
    state.runs.extend(more);
    state.tails = merged.tails;
    Ok(())
}

fn replace(replica: &mut Replica, state: &mut State, merged: Merged) -> Result<(), JournalError> {
    replica.replace(&merged.records)?;
    state.tails = merged.tails;
    state.runs = merged.runs;
    Ok(())
}

fn io(operation: &'static str, stream: &StreamId, error: std::io::Error) -> StoreError {
    StoreError::io(operation, stream, error)
}

fn journal(operation: &'static str, stream: &StreamId, error: JournalError) -> StoreError {
    let kind = match &error {
        JournalError::DiskFull { .. } => StoreErrorKind::Full,
        JournalError::Locked { .. } => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Unexpected,
    };
    StoreError::new(kind, operation, stream).with_source(error)
}
