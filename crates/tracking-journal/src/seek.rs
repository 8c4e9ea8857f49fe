//! Finding a record by its sequence without an index: lines are searched by bisection, as each names its sequence.

use std::io;

use crate::checkpoint::hash_before;
use crate::io::{IoFile, read_full};
use crate::line::{Line, MAX_LINE_BYTES};
use crate::lines::line_length;
use crate::place::Place;
use crate::reader::Position;
use crate::{Head, JournalError};

/// Below this, reading on is as fast as searching.
const NEAR: u64 = 64 << 10;

/// The position before some record not after `seq` and near to it; `None` means the start of the file, which is
/// always right.
pub(crate) fn seek(
    place: &Place,
    file: &dyn IoFile,
    seq: u64,
    end: u64,
) -> Result<Option<Position>, JournalError> {
    let (mut low, mut high) = (0, end);
    let mut found = None;
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        let read = first_line_after(file, middle, end);
        let line = read.map_err(|error| JournalError::io("read", &place.journal, error))?;
        match line {
            Some((position, found_seq)) if found_seq <= seq && position.offset < high => {
                low = position.offset;
                found = Some(position);
            }
            _ => high = middle,
        }
    }
    Ok(found)
}

/// The position before the first line that begins after `offset`, and that line's sequence.
fn first_line_after(file: &dyn IoFile, offset: u64, end: u64) -> io::Result<Option<(Position, u64)>> {
    let mut size = 16 << 10;
    loop {
        let wanted = usize::try_from((end - offset).min(size)).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; wanted];
        let read = read_full(file, &mut bytes, offset)?;
        bytes.truncate(read);
        if let Some(start) = line_length(&bytes)
            && let Some(length) = line_length(&bytes[start..])
        {
            let Ok(line) = Line::parse(&bytes[start..start + length - 1]) else {
                return Ok(None);
            };
            let at = offset + start as u64;
            let before = hash_before(file, at)?.zip(line.seq.checked_sub(1).filter(|before| *before > 0));
            return Ok(before.map(|(hash, before)| {
                (
                    Position {
                        head: Head {
                            epoch: line.epoch,
                            seq: before,
                            hash,
                        },
                        offset: at,
                    },
                    line.seq,
                )
            }));
        }
        if read < wanted || (wanted as u64) < size || size > 4 * MAX_LINE_BYTES as u64 {
            return Ok(None);
        }
        size *= 8;
    }
}
