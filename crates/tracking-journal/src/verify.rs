//! Verification of a whole journal.

use std::path::PathBuf;

use tracking_model::{Fold, StreamId};

use crate::place::Place;
use crate::reader::open_journal;
use crate::{ChainHash, DataDir, Head, JournalError, JournalReader, checkpoint};

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

/// Result of comparing a checkpoint with its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointVerification {
    /// There is no checkpoint, or one that another version of this program wrote, which this one does not open.
    NotUsed,
    /// The checkpoint's state is what the records up to `seq` make.
    Agrees {
        /// Sequence at which it stands.
        seq: u64,
    },
    /// The checkpoint is altered, does not belong to the journal, or has another state than the records make.
    Wrong {
        /// The checkpoint, which may be deleted at any time.
        path: PathBuf,
        /// Why it is not believed.
        reason: String,
    },
}

/// Compares a stream's checkpoint with its journal: opening believes the state of a checkpoint, this does not. All
/// records up to it are read and folded.
///
/// # Errors
/// As for reading the journal.
pub fn verify_checkpoint<F: Fold>(
    dir: &DataDir,
    stream: &StreamId,
) -> Result<CheckpointVerification, JournalError> {
    let place = Place::on_disk(dir, stream);
    let file = open_journal(&place)?;
    checkpoint::verify::<F>(&place, &file)
}
