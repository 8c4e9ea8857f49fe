//! From files to a state: what opening, following and reading share.

use std::io;
use std::sync::Arc;

use tracking_model::Fold;

use crate::chain::{Chain, LinkError};
use crate::io::{IoFile, OpenMode};
use crate::line::{FORMAT_VERSION, Line};
use crate::lines::Lines;
use crate::place::Place;
use crate::replay::replay;
use crate::sidecar::DurableLength;
use crate::{Committed, Damage, JournalError};

/// What reading a journal found besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Bytes of an unfinished commit after the last record, which were never acknowledged. A writer cuts them off.
    pub torn_bytes: u64,
    /// Records read from the journal.
    pub replayed: u64,
    /// Sequence at which the checkpoint stood that opening began from; 0 without one.
    pub checkpoint_seq: u64,
}

/// A state, the position it stands at, and how it came about.
#[derive(Debug)]
pub(crate) struct State<F> {
    pub(crate) fold: F,
    pub(crate) chain: Chain,
    pub(crate) report: RecoveryReport,
}

impl<F: Fold> State<F> {
    pub(crate) fn empty(place: &Place) -> Self {
        Self {
            fold: F::empty(&place.stream),
            chain: Chain::new(&place.stream),
            report: RecoveryReport::default(),
        }
    }

    /// The version of the newest records, if it is too new to write.
    pub(crate) fn newer_version(&self) -> Option<u32> {
        (self.chain.newest > FORMAT_VERSION).then_some(self.chain.newest)
    }

    /// Reads the whole journal up to `end`; what comes after the last record is a torn tail or an error.
    pub(crate) fn load(place: &Place, file: &Arc<dyn IoFile>, end: u64) -> Result<Self, JournalError> {
        let mut state = Self::empty(place);
        let torn = state.advance(place, file, end, |_| {})?;
        state.report.torn_bytes = torn;
        Ok(state)
    }

    /// Reads on to `end` and returns how many bytes of a torn tail come after the last record.
    pub(crate) fn advance(
        &mut self,
        place: &Place,
        file: &Arc<dyn IoFile>,
        end: u64,
        mut each: impl FnMut(Committed<F::Event>),
    ) -> Result<u64, JournalError> {
        let fold = &mut self.fold;
        let replayed = &mut self.report.replayed;
        let stop = replay(
            place,
            file,
            &mut self.chain,
            end,
            |record: Committed<F::Event>| {
                fold.apply(&record.meta, &record.event);
                *replayed += 1;
                each(record);
            },
        )?;
        match stop {
            None => Ok(0),
            Some(reason) => torn_tail(place, file, &self.chain, end, &reason),
        }
    }
}

/// Decides what the bytes from `chain` to `end` are that begin with something that is no record: the rest of a commit
/// that never finished, or damage.
///
/// Commit N+1 is written only after commit N is durable, so a record of a later commit proves that what is here was
/// once intact; so does a durable length beyond it.
fn torn_tail(
    place: &Place,
    file: &Arc<dyn IoFile>,
    chain: &Chain,
    end: u64,
    reason: &LinkError,
) -> Result<u64, JournalError> {
    let damage = |reason: String| {
        Err(JournalError::from(Damage {
            path: place.journal.clone(),
            line: chain.line_number(),
            offset: chain.offset,
            reason,
        }))
    };
    if let Some(durable) = durable_length(place)?
        && durable.length > chain.offset
        && (chain.head.is_empty() || durable.epoch == chain.head.epoch)
    {
        return damage(reason.to_string());
    }
    let mut lines = Lines::new(Arc::clone(file), chain.offset, end);
    let read = |error: io::Error| JournalError::io("read", &place.journal, error);
    while let Some(line) = lines.next_line().map_err(read)? {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        if let Ok(line) = Line::parse(line)
            && line.stream.parse().as_ref() == Ok(&place.stream)
            && (chain.head.is_empty() || line.epoch == chain.head.epoch)
            && line.batch > chain.line_number()
        {
            return damage(format!(
                "{reason}, and record {} of a later commit follows",
                line.seq
            ));
        }
    }
    Ok(end - chain.offset)
}

/// What the sidecar says is durable, if there is one.
pub(crate) fn durable_length(place: &Place) -> Result<Option<DurableLength>, JournalError> {
    let read = place
        .io
        .open(&place.sidecar, OpenMode::Read)
        .and_then(|file| DurableLength::read(&*file));
    match read {
        Ok(durable) => Ok(durable),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("read", &place.sidecar, error)),
    }
}
