//! From files to a state: what opening, following and reading share.

use std::io::{self, BufRead};
use std::sync::Arc;

use serde::Deserialize;
use tracking_model::{Fold, with_causes};
use uuid::Uuid;

use crate::bulk;
use crate::chain::{Chain, LinkError};
use crate::checkpoint;
use crate::cursor::vouched_points;
use crate::io::{IoFile, OpenMode};
use crate::line::{FORMAT_VERSION, Line, RECORD_START, trailing_hash};
use crate::lines::Lines;
use crate::place::Place;
use crate::replay::replay;
use crate::seek::hash_before;
use crate::sidecar::DurableLength;
use crate::{Committed, Damage, Head, JournalError};

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
    /// Format version of the newest records if this program can read them and not write it.
    pub newer_version: Option<u32>,
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

    /// Reads the journal up to `end`, from its checkpoint on where there is one. What comes after the last record is
    /// a torn tail or an error.
    pub(crate) fn load(place: &Place, file: &Arc<dyn IoFile>, end: u64) -> Result<Self, JournalError> {
        let mut state = checkpoint::read(place, file, end).unwrap_or_else(|| Self::empty(place));
        let torn = state.advance(place, file, end, |_| {})?;
        state.report.torn_bytes = torn;
        state.report.newer_version = state.newer_version();
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
        // What is vouched for is asked before reading: bytes that are durable never change again, so what is wrong in
        // them cannot be a writer at work.
        let vouched = Vouched::read(place)?;
        if end != self.chain.offset {
            self.check_before(place, file)?;
        }
        let fold = &mut self.fold;
        let replayed = &mut self.report.replayed;
        let mut apply = |record: Committed<F::Event>| {
            fold.apply(&record.meta, &record.event);
            *replayed += 1;
            each(record);
        };
        if end.saturating_sub(self.chain.offset) >= bulk::WORTH_IT {
            bulk::read_ahead(place, file, &mut self.chain, end, &mut apply);
        }
        let stop = replay(place, file, &mut self.chain, end, apply)?;
        torn_tail(place, file, &self.chain, end, stop, &vouched)
    }
}

impl<F> State<F> {
    /// Makes sure that the file still has, where this state stands, the record at which it stands.
    fn check_before(&self, place: &Place, file: &Arc<dyn IoFile>) -> Result<(), JournalError> {
        let Chain { head, offset, .. } = &self.chain;
        let found = hash_before(&**file, *offset);
        let found = found.map_err(|error| JournalError::io("read", &place.journal, error))?;
        if head.is_empty() || found == Some(head.hash) {
            return Ok(());
        }
        Err(JournalError::from(Damage {
            path: place.journal.clone(),
            line: self.chain.line_number(),
            offset: *offset,
            reason: format!(
                "record {}, which was here before, is not there any more",
                head.seq
            ),
        }))
    }
}

/// How much of a journal was durable once, as others say.
#[derive(Debug)]
struct Vouched {
    announced: Option<DurableLength>,
    checkpoint: Option<checkpoint::Header>,
}

impl Vouched {
    fn read(place: &Place) -> Result<Self, JournalError> {
        let file = place.io.open(&place.sidecar, OpenMode::Read);
        let announced = match file.and_then(|file| DurableLength::read(&*file)) {
            Ok(durable) => durable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(JournalError::io("read", &place.sidecar, error)),
        };
        Ok(Self {
            announced,
            checkpoint: checkpoint::read_header(place),
        })
    }

    /// The length that was durable of the journal in which `head` is.
    fn length(&self, head: &Head) -> u64 {
        let same = |epoch: Uuid| head.is_empty() || epoch == head.epoch;
        let announced = self
            .announced
            .filter(|durable| same(durable.epoch))
            .map(|durable| durable.length);
        let checkpoint = self.checkpoint.as_ref().filter(|header| same(header.head.epoch));
        announced
            .unwrap_or(0)
            .max(checkpoint.map_or(0, |header| header.offset))
    }
}

/// The length up to which sinks were given records of the journal in which `head` is.
fn cursors_length(place: &Place, head: &Head) -> Result<u64, JournalError> {
    let Some(dir) = &place.dir else { return Ok(0) };
    let points = vouched_points(dir, &place.stream).map_err(|error| {
        JournalError::io(
            "read the cursors of",
            &place.journal,
            io::Error::other(with_causes(&error)),
        )
    })?;
    let positions = points.iter().map(|point| point.position);
    let same = positions.filter(|position| head.is_empty() || position.head.epoch == head.epoch);
    Ok(same.map(|position| position.offset).max().unwrap_or(0))
}

/// Decides what comes between the last record and `end`: nothing, the rest of a commit that never finished, or damage.
/// Returns how many bytes of an unfinished commit there are.
///
/// Commit N+1 is written only after commit N is durable, so a record of a later commit proves that what is here was
/// once intact; so does a durable length beyond it. A record that no unfinished commit here can have is one that some
/// writer acknowledged, whatever went wrong: it is never cut off.
fn torn_tail(
    place: &Place,
    file: &Arc<dyn IoFile>,
    chain: &Chain,
    end: u64,
    stop: Option<LinkError>,
    vouched: &Vouched,
) -> Result<u64, JournalError> {
    let damage = |reason: String| {
        Err(JournalError::from(Damage {
            path: place.journal.clone(),
            line: chain.line_number(),
            offset: chain.offset,
            reason,
        }))
    };
    let durable = vouched.length(&chain.head);
    let Some(reason) = stop else {
        // Others may have written on since `end` was determined; a file that is too short is what matters.
        let size = file
            .size()
            .map_err(|error| JournalError::io("look at", &place.journal, error))?;
        if size < durable {
            return damage(format!(
                "the file ends at byte {size}, and was durable up to byte {durable}"
            ));
        }
        return Ok(0);
    };
    let durable = durable.max(cursors_length(place, &chain.head)?);
    if durable > chain.offset {
        return damage(format!("{reason}, and the file was durable up to byte {durable}"));
    }
    let mut lines = Lines::new(Arc::clone(file), chain.offset, end);
    let read = |error: io::Error| JournalError::io("read", &place.journal, error);
    while let Some(line) = lines.next_line().map_err(read)? {
        if let Some(seq) = stray_record(place, chain, line) {
            return damage(format!(
                "{reason}, and record {seq} is there, which is no part of an unfinished commit"
            ));
        }
    }
    Ok(end.saturating_sub(chain.offset))
}

/// The sequence of a record in `line` that is no part of an unfinished commit at `chain`: of a later commit, or of
/// another place, life or stream. It need not begin the line: the line feed before it may be what is damaged. Nor need
/// it be as journals write it: an editor may have changed all line feeds, or spaces.
fn stray_record(place: &Place, chain: &Chain, line: &[u8]) -> Option<u64> {
    let is_stray = |stream: &str, epoch: Uuid, seq: u64, batch: u64| {
        let next = chain.line_number();
        let commit = batch == next || batch == chain.batch || (chain.batch == 0 && batch < next);
        let life = chain.head.is_empty() || epoch == chain.head.epoch;
        stream.parse().as_ref() != Ok(&place.stream) || !life || seq < next || !commit
    };
    let line = line.trim_ascii();
    if trailing_hash(line).is_some() {
        let mut records = record_starts(line).filter_map(|record| Line::parse(record).ok());
        let stray = records.find(|record| is_stray(&record.stream, record.epoch, record.seq, record.batch));
        if let Some(record) = stray {
            return Some(record.seq);
        }
    }
    let edited: Edited = serde_json::from_slice(line).ok()?;
    is_stray(&edited.stream, edited.epoch, edited.seq, edited.batch).then_some(edited.seq)
}

/// What of `line` could be a record, from each place on that looks like the start of one.
fn record_starts(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            let before = rest;
            let length = rest.skip_until(b'{').expect("reading from memory cannot fail");
            let start = &before[length.checked_sub(1)?..];
            if start.starts_with(RECORD_START) {
                return Some(start);
            }
        }
    })
}

/// What tells the place of a record, in whatever order and with whatever else.
#[derive(Deserialize)]
struct Edited {
    stream: String,
    epoch: Uuid,
    seq: u64,
    batch: u64,
}

/// Tells damage from an unfinished commit at `chain`, where a reader found something that is no record; or finds that
/// all is well, because a writer has meanwhile put it right. Returns how many bytes of an unfinished commit there are.
pub(crate) fn check_tail(
    place: &Place,
    file: &Arc<dyn IoFile>,
    chain: &Chain,
    end: u64,
) -> Result<u64, JournalError> {
    let vouched = Vouched::read(place)?;
    let mut lines = Lines::new(Arc::clone(file), chain.offset, end);
    let read = |error: io::Error| JournalError::io("read", &place.journal, error);
    let stop = match lines.next_line().map_err(read)? {
        Some(line) => chain.clone().follow(line, &place.stream).err(),
        None => None,
    };
    torn_tail(place, file, chain, end, stop, &vouched)
}
