//! Where reading stands in a journal, and whether the next line belongs there.

use tracking_model::StreamId;

use crate::line::{FORMAT_VERSION, Line, LineError};
use crate::{ChainHash, Head};

/// Why a line cannot be the next record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("the line does not end")]
    Unfinished,
    #[error("the record belongs to {0}")]
    Stream(String),
    #[error("the record belongs to another epoch")]
    Epoch,
    #[error("sequence {found} stands where {expected} should")]
    Sequence { expected: u64, found: u64 },
    #[error("the record names {0} as the first of its commit")]
    Batch(u64),
    #[error("the hash does not fit the record and its predecessor")]
    Hash,
}

/// The records read so far: what the next one must follow.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    stream: String,
    pub(crate) head: Head,
    /// First record of the last commit.
    pub(crate) batch: u64,
    /// Where the next line begins.
    pub(crate) offset: u64,
    /// The newest format version seen.
    pub(crate) newest: u32,
}

impl Chain {
    /// Before the first record.
    pub(crate) fn new(stream: &StreamId) -> Self {
        Self {
            stream: stream.to_string(),
            head: Head::EMPTY,
            batch: 0,
            offset: 0,
            newest: FORMAT_VERSION,
        }
    }

    /// After the record that `head` names, which ends before `offset`.
    pub(crate) fn resume(stream: &StreamId, head: Head, offset: u64) -> Self {
        Self {
            stream: stream.to_string(),
            head,
            batch: 0,
            offset,
            newest: FORMAT_VERSION,
        }
    }

    /// Number of the next line, from 1.
    pub(crate) const fn line_number(&self) -> u64 {
        self.head.seq.saturating_add(1)
    }

    /// Reads `line` (with its line feed) and passes it if it is the next record.
    pub(crate) fn follow<'a>(&mut self, line: &'a [u8], stream: &StreamId) -> Result<Line<'a>, LinkError> {
        let text = line.strip_suffix(b"\n").ok_or(LinkError::Unfinished)?;
        let parsed = Line::parse(text)?;
        self.check(&parsed, stream)?;
        self.advance(&parsed, line.len());
        Ok(parsed)
    }

    fn check(&self, line: &Line<'_>, stream: &StreamId) -> Result<(), LinkError> {
        let expected = self.line_number();
        if line.stream != self.stream {
            return Err(LinkError::Stream(line.stream.clone().into_owned()));
        }
        if line.seq != expected {
            return Err(LinkError::Sequence {
                expected,
                found: line.seq,
            });
        }
        if !self.head.is_empty() && line.epoch != self.head.epoch {
            return Err(LinkError::Epoch);
        }
        // After a checkpoint the last commit's first record is not known (0): any earlier one will do.
        let same_commit = if self.batch == 0 {
            line.batch <= expected
        } else {
            line.batch == self.batch
        };
        if line.batch != expected && !same_commit {
            return Err(LinkError::Batch(line.batch));
        }
        let previous = if self.head.is_empty() {
            ChainHash::genesis(stream, line.epoch)
        } else {
            self.head.hash
        };
        if previous.next(line.body) != line.hash {
            return Err(LinkError::Hash);
        }
        Ok(())
    }

    fn advance(&mut self, line: &Line<'_>, bytes: usize) {
        self.head = Head {
            epoch: line.epoch,
            seq: line.seq,
            hash: line.hash,
        };
        self.batch = line.batch;
        self.offset += bytes as u64;
        self.newest = self.newest.max(line.v);
    }

    /// Passes records that this process has just written.
    pub(crate) fn wrote(&mut self, head: Head, batch: u64, bytes: u64) {
        self.head = head;
        self.batch = batch;
        self.offset += bytes;
    }
}
