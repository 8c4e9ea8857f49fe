//! Verification of a whole journal.

use tracking_model::StreamId;

use crate::{ChainHash, DataDir, Head, JournalError, JournalReader};

/// What became of a head hash that was kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedHead {
    /// None was given.
    NotGiven,
    /// The journal has that record: everything up to it is as it was when the hash was noted.
    Found {
        /// Sequence of the record.
        seq: u64,
    },
    /// The journal has no such record: it was rewritten, or is another one.
    Missing,
}

/// A journal whose records follow each other without a flaw.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Where the journal ends; its sequence is the number of records.
    pub head: Head,
    /// Bytes of records.
    pub bytes: u64,
    /// Bytes of an unfinished commit after them, never acknowledged.
    pub torn_bytes: u64,
    /// What became of the expected hash.
    pub expected: ExpectedHead,
}

/// Reads all of a journal and verifies its chain, from the first record on and whatever checkpoints say. The chain
/// shows every edit, except that of somebody who rewrites all of it from the edit on: that takes a head hash which
/// was kept elsewhere, given as `expected`, the hash of any record.
///
/// # Errors
/// [`JournalError::Damaged`] with the place of the first flaw; else as for reading.
pub fn verify(
    dir: &DataDir,
    stream: &StreamId,
    expected: Option<ChainHash>,
) -> Result<Verification, JournalError> {
    let mut reader = JournalReader::open(dir, stream)?;
    let mut found = match expected {
        Some(_) => ExpectedHead::Missing,
        None => ExpectedHead::NotGiven,
    };
    while let Some(record) = reader.next_record()? {
        if Some(record.hash) == expected {
            found = ExpectedHead::Found { seq: record.seq };
        }
    }
    let torn_bytes = reader.tail_bytes()?;
    let position = reader.position();
    Ok(Verification {
        head: position.head,
        bytes: position.offset,
        torn_bytes,
        expected: found,
    })
}
