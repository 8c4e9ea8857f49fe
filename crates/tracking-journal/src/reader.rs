//! Records of a journal, one after the other, without loading the file.

use std::io;
use std::sync::Arc;

use tracking_model::StreamId;

use crate::chain::Chain;
use crate::durable::DurableEnd;
use crate::io::{IoFile, OpenMode};
use crate::line::ActorCache;
use crate::lines::Lines;
use crate::place::Place;
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

/// Where a reader or follower stands, to go on from there later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// As [`Self::open`]. That the journal still has that record is seen by the next record's hash.
    pub fn resume(dir: &DataDir, stream: &StreamId, position: Position) -> Result<Self, JournalError> {
        Self::begin(Place::on_disk(dir, stream), Some(position))
    }

    pub(crate) fn begin(place: Place, position: Option<Position>) -> Result<Self, JournalError> {
        let file = open_journal(&place)?;
        let durable = DurableEnd::new(&place, Arc::clone(&file));
        let chain = match position {
            Some(position) => Chain::resume(&place.stream, position.head, position.offset),
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

    /// Passes over records until the next one is `seq`.
    ///
    /// # Errors
    /// As [`Self::next_record`].
    pub fn skip_to(&mut self, seq: u64) -> Result<(), JournalError> {
        while self.chain.head.seq + 1 < seq && self.next_record()?.is_some() {}
        Ok(())
    }

    /// Where reading stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            head: self.chain.head,
            offset: self.chain.offset,
        }
    }

    /// The next durable record, `None` if there is none yet.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if what is there is not the next record, else as the system says.
    pub fn next_record(&mut self) -> Result<Option<Record>, JournalError> {
        let read = |error| JournalError::io("read", &self.place.journal, error);
        let mut line = self.lines.next_line().map_err(read)?;
        if line.is_none() {
            self.lines.extend(self.durable.end()?);
            line = self.lines.next_line().map_err(read)?;
        }
        let Some(line) = line else { return Ok(None) };
        let damage = |chain: &Chain, reason: String| Damage {
            path: self.place.journal.clone(),
            line: chain.line_number(),
            offset: chain.offset,
            reason,
        };
        if !line.ends_with(b"\n") {
            // The tail of a commit whose writer died; the next writer cuts it off.
            return Ok(None);
        }
        match self.chain.follow(line, &self.place.stream) {
            Ok(line) => {
                let record = Record::from_line(self.place.stream.clone(), &line, &mut self.actors);
                record
                    .map(Some)
                    .map_err(|error| damage(&self.chain, error.to_string()).into())
            }
            Err(error) => Err(damage(&self.chain, error.to_string()).into()),
        }
    }

    /// The file that is read.
    pub(crate) const fn file(&self) -> &Arc<dyn IoFile> {
        &self.file
    }
}

impl Iterator for JournalReader {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
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
