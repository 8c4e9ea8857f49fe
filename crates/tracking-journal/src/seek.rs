//! Finding a record without an index: by its sequence, for which lines are searched by bisection, as each names its
//! own, or by where it ends.

use std::io;

use crate::chain::Chain;
use crate::io::{IoFile, read_full};
use crate::line::{HASH_SUFFIX, Line, MAX_LINE_BYTES, trailing_hash};
use crate::lines::line_length;
use crate::place::Place;
use crate::reader::Position;
use crate::{ChainHash, Head, JournalError};

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

/// The hash of the record that ends before `offset`.
pub(crate) fn hash_before(journal: &dyn IoFile, offset: u64) -> io::Result<Option<ChainHash>> {
    let mut buffer = [0; HASH_SUFFIX + 1];
    let Some(start) = offset.checked_sub(buffer.len() as u64) else {
        return Ok(None);
    };
    let read = read_full(journal, &mut buffer, start)?;
    Ok(buffer[..read].strip_suffix(b"\n").and_then(trailing_hash))
}

/// The chain after the record that ends before `offset`, as that record has it: stream, epoch, sequence, commit and
/// hash, the hash verified against the record before it. `None` if no record of the stream ends there.
pub(crate) fn chain_before(place: &Place, journal: &dyn IoFile, offset: u64) -> io::Result<Option<Chain>> {
    let mut size = 4 << 10;
    loop {
        let start = offset.saturating_sub(size);
        let wanted = usize::try_from(offset - start).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; wanted];
        if read_full(journal, &mut bytes, start)? < wanted || bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        let before = &bytes[..wanted - 1];
        let line = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map(|feed| feed + 1);
        match line {
            // The hash of the record before is at its end.
            Some(line) if line > HASH_SUFFIX || start == 0 => {
                let previous = trailing_hash(&bytes[..line - 1]);
                return Ok(
                    previous.and_then(|hash| linked(place, start + line as u64, Some(hash), &bytes[line..]))
                );
            }
            None if start == 0 => return Ok(linked(place, 0, None, &bytes)),
            _ if size > 2 * MAX_LINE_BYTES as u64 => return Ok(None),
            _ => size *= 8,
        }
    }
}

/// The chain after `line`, which begins at `offset`, if it is a record that follows one of hash `previous`.
fn linked(place: &Place, offset: u64, previous: Option<ChainHash>, line: &[u8]) -> Option<Chain> {
    let mut chain = match previous {
        None => Chain::new(&place.stream),
        Some(hash) => {
            let line = Line::parse(line.strip_suffix(b"\n")?).ok()?;
            let seq = line.seq.checked_sub(1).filter(|before| *before > 0)?;
            let epoch = line.epoch;
            Chain::resume(&place.stream, Head { epoch, seq, hash }, offset)
        }
    };
    chain.follow(line, &place.stream).ok()?;
    Some(chain)
}
