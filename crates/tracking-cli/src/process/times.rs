//! When output came: what makes the times of two raw logs, and the order between them, known afterwards.
//!
//! The logs keep the very bytes. Beside them, one line of JSON for each piece of output says when it came, in which log it
//! is, and where there: `{"at":"2025-01-31T05:25:01.056236Z","stream":"stdout","offset":0,"length":12}`.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracking_facade::{Clock, SystemClock, Timestamp};

/// Pieces of one stream that come within this are one piece.
const ONE_PIECE_MICROS: i64 = 1_000;

/// The pieces of both streams, in the order in which they came. Clones share it.
#[derive(Debug)]
pub(super) struct Times<K> {
    shared: Arc<Mutex<Shared<K>>>,
}

#[derive(Debug)]
struct Shared<K> {
    keep: Option<K>,
    open: Option<Piece>,
    not_kept: Option<String>,
}

#[derive(Debug)]
struct Piece {
    at: Timestamp,
    stream: &'static str,
    offset: u64,
    length: u64,
}

impl<K> Clone for Times<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Write> Times<K> {
    pub(super) fn new(keep: Option<K>) -> Self {
        let shared = Shared {
            keep,
            open: None,
            not_kept: None,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Notes that `length` bytes of `stream` have come, the first of them at `offset`.
    pub(super) fn note(&self, stream: &'static str, offset: u64, length: u64) {
        let at = SystemClock.now();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &mut shared.open
            && open.stream == stream
            && (0..ONE_PIECE_MICROS).contains(&(at.as_micros() - open.at.as_micros()))
        {
            open.length += length;
            return;
        }
        shared.write_open();
        shared.open = Some(Piece {
            at,
            stream,
            offset,
            length,
        });
    }

    /// Gives back where they were kept, if all could be; else why not.
    pub(super) fn finish(&self) -> (Option<K>, Option<String>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.write_open();
        (shared.keep.take(), shared.not_kept.take())
    }
}

impl<K: Write> Shared<K> {
    fn write_open(&mut self) {
        let (Some(piece), Some(keep)) = (self.open.take(), &mut self.keep) else {
            return;
        };
        let Piece {
            at,
            stream,
            offset,
            length,
        } = piece;
        let line =
            format!("{{\"at\":\"{at}\",\"stream\":\"{stream}\",\"offset\":{offset},\"length\":{length}}}\n");
        if let Err(error) = keep.write_all(line.as_bytes()) {
            self.keep = None;
            self.not_kept = Some(format!("cannot write the times of the output: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_in_their_order_and_joined_where_they_come_at_once() {
        let times = Times::new(Some(Vec::new()));
        times.note("stdout", 0, 3);
        times.note("stderr", 0, 2);
        times.note("stdout", 3, 1);
        let (kept, not_kept) = times.finish();
        let lines = String::from_utf8(kept.unwrap()).unwrap();
        let pieces: Vec<_> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|piece| format!("{} {} {}", piece["stream"], piece["offset"], piece["length"]))
            .collect();
        assert_eq!(pieces, ["\"stdout\" 0 3", "\"stderr\" 0 2", "\"stdout\" 3 1"]);
        assert_eq!(not_kept, None);
    }
}
