//! Records of a journal, one after the other, without loading the file.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracking_model::StreamId;

use crate::chain::Chain;
use crate::durable::DurableEnd;
use crate::io::{IoFile, OpenMode};
use crate::line::ActorCache;
use crate::lines::Lines;
use crate::place::Place;
use crate::recovery::check_tail;
use crate::seek::{chain_before, seek};
use crate::{Damage, DataDir, Head, JournalError, Record};

/// Reads the durable records of a stream in order, verifying the chain. Reading goes on where it stopped when more
/// records have become durable: `None` means the end for now.
#[derive(Debug)]
pub struct JournalReader {
    place: Place,
    file: Arc<dyn IoFile>,
    durable: DurableEnd,
    lines: Lines,
    chain: Chain,
    actors: ActorCache,
}

/// Where a reader stands, to go on from there later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last record that was read.
    pub head: Head,
    /// Offset in bytes of the line after it.
    pub offset: u64,
}

impl JournalReader {
    /// Opens a stream at its first record.
    ///
    /// # Errors
    /// [`JournalError::NoSuchStream`] if it has no journal; else as the system says.
    pub fn open(dir: &DataDir, stream: &StreamId) -> Result<Self, JournalError> {
        Self::begin(Place::on_disk(dir, stream), None)
    }

    /// Opens a stream after the record at `position`, as [`Self::position`] gave it.
    ///
    /// # Errors
    /// As [`Self::open`]; [`JournalError::Replaced`] if the journal does not have that record there, with that epoch,
    /// sequence and hash.
    pub fn resume(dir: &DataDir, stream: &StreamId, position: Position) -> Result<Self, JournalError> {
        Self::begin(Place::on_disk(dir, stream), Some(position))
    }

    pub(crate) fn begin(place: Place, position: Option<Position>) -> Result<Self, JournalError> {
        let file = open_journal(&place)?;
        let durable = DurableEnd::new(&place, Arc::clone(&file));
        let chain = match position.filter(|position| !position.head.is_empty()) {
            Some(position) => {
                let found = chain_before(&place, &*file, position.offset)
                    .map_err(|error| JournalError::io("read", &place.journal, error))?;
                match found.filter(|chain| chain.head == position.head) {
                    Some(chain) => chain,
                    None => return Err(JournalError::Replaced { path: place.journal }),
                }
            }
            None => Chain::new(&place.stream),
        };
        let lines = Lines::new(Arc::clone(&file), chain.offset, chain.offset);
        Ok(Self {
            place,
            file,
            durable,
            lines,
            chain,
            actors: ActorCache::default(),
        })
    }

    /// Opens a stream so that the next record is `seq`, found by searching the file, not by reading up to it. What
    /// is before it is not verified, except the record just before, whose hash must fit.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::next_record`].
    pub fn open_at(dir: &DataDir, stream: &StreamId, seq: u64) -> Result<Self, JournalError> {
        let mut reader = Self::open(dir, stream)?;
        let end = reader.durable.end(0)?;
        reader.seek(seq, end)?;
        while reader.chain.line_number() < seq && reader.next_record()?.is_some() {}
        Ok(reader)
    }

    /// Goes on near `seq` and not after it, from the start where nothing nearer is found.
    fn seek(&mut self, seq: u64, end: u64) -> Result<(), JournalError> {
        if let Some(position) = seek(&self.place, &*self.file, seq, end)? {
            self.rest_at(Chain::resume(&self.place.stream, position.head, position.offset));
        }
        Ok(())
    }

    fn rest_at(&mut self, chain: Chain) {
        self.lines = Lines::new(Arc::clone(&self.file), chain.offset, chain.offset);
        self.chain = chain;
    }

    /// Where reading stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            head: self.chain.head,
            offset: self.chain.offset,
        }
    }

    /// The position after the last durable record as of now, found without reading up to it. `None` while there is
    /// no record.
    ///
    /// # Errors
    /// As [`Self::next_record`].
    pub fn last_position(&mut self) -> Result<Option<Position>, JournalError> {
        let end = self.durable.end(self.chain.offset)?;
        let mut tail = Self::begin(self.place.clone(), None)?;
        tail.seek(u64::MAX, end)?;
        while tail.next_record()?.is_some() {}
        Ok((!tail.chain.head.is_empty()).then(|| tail.position()))
    }

    /// The next durable record, `None` if there is none yet.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if what is there is not the next record; [`JournalError::Removed`] and
    /// [`JournalError::Replaced`] if at the end the path names no file or another one; else as the system says.
    pub fn next_record(&mut self) -> Result<Option<Record>, JournalError> {
        let read = |error| JournalError::io("read", &self.place.journal, error);
        if self.lines.at_end() {
            same_file(&self.place, &*self.file)?;
            self.lines.extend(self.durable.end(self.chain.offset)?);
        }
        let Some(line) = self.lines.next_line().map_err(read)? else {
            return Ok(None);
        };
        let offset = self.chain.offset;
        let Ok(line) = self.chain.follow(line, &self.place.stream) else {
            return self.look_closer().map(|()| None);
        };
        let record = Record::from_line(self.place.stream.clone(), &line, &mut self.actors);
        record.map(Some).map_err(|error| {
            let path = self.place.journal.clone();
            Damage {
                path,
                line: line.seq,
                offset,
                reason: error.to_string(),
            }
            .into()
        })
    }

    /// Bytes after the last record that are the rest of an unfinished commit; call it at the end.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if they are more than that, or if the file was longer once.
    pub(crate) fn tail_bytes(&mut self) -> Result<u64, JournalError> {
        read_steadily(|| {
            let end = self.durable.end(self.chain.offset)?;
            check_tail(&self.place, &self.file, &self.chain, end)
        })
    }

    /// What comes next is no record: the tail of a commit whose writer died, which the next writer cuts off, or an
    /// error. Either way the next call reads it again.
    fn look_closer(&mut self) -> Result<(), JournalError> {
        self.rest_at(self.chain.clone());
        self.tail_bytes().map(drop)
    }
}

impl Iterator for JournalReader {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Repeats a look at a file that a writer may be changing: it may cut off an unfinished commit and write another in
/// its place while the reader is between the two. Damage is what is still there when looked at again.
pub(crate) fn read_steadily<T>(mut look: impl FnMut() -> Result<T, JournalError>) -> Result<T, JournalError> {
    for _ in 0..2 {
        match look() {
            Err(JournalError::Damaged(_)) => {}
            other => return other,
        }
    }
    look()
}

/// Makes sure that the path still names the file that is open.
pub(crate) fn same_file(place: &Place, file: &dyn IoFile) -> Result<(), JournalError> {
    let look = |error| JournalError::io("look at", &place.journal, error);
    let path = || place.journal.clone();
    match place.io.identity(&place.journal).map_err(look)? {
        None => Err(JournalError::Removed { path: path() }),
        Some(id) if id == file.identity().map_err(look)? => Ok(()),
        Some(_) => Err(JournalError::Replaced { path: path() }),
    }
}

/// Opens a journal that must exist.
pub(crate) fn open_journal(place: &Place) -> Result<Arc<dyn IoFile>, JournalError> {
    place
        .io
        .open(&place.journal, OpenMode::Read)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::NoSuchStream {
                stream: place.stream.clone(),
                path: place.journal.clone(),
            },
            _ => JournalError::io("open", &place.journal, error),
        })
}
