//! Lines of a file from an offset on, without loading the file.

use std::io::{self, BufRead};
use std::sync::Arc;

use crate::io::{IoFile, read_full};
use crate::line::MAX_LINE_BYTES;

const CHUNK: usize = 256 << 10;

/// Reads lines between two offsets of a file through one buffer.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Arc<dyn IoFile>,
    /// Where the bytes after `buffer` begin.
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
}

impl Lines {
    pub(crate) const fn new(file: Arc<dyn IoFile>, from: u64, end: u64) -> Self {
        Self {
            file,
            next: from,
            end,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Whether everything up to the end has been returned.
    pub(crate) const fn at_end(&self) -> bool {
        self.start == self.buffer.len() && self.next >= self.end
    }

    /// Lets the reader go on to a new, later end.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// The next line with its line feed. The last one may lack it; one that is longer than a line may be comes in pieces.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            if let Some(length) = line_length(&self.buffer[searched..]) {
                let line = self.start..searched + length;
                self.start = line.end;
                return Ok(Some(&self.buffer[line]));
            }
            let partial = self.buffer.len() - self.start;
            if partial > MAX_LINE_BYTES || self.next >= self.end {
                let rest = self.start..self.buffer.len();
                self.start = rest.end;
                return Ok((partial > 0).then(|| &self.buffer[rest]));
            }
            self.fill()?;
            searched = self.start + partial;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let kept = self.buffer.len();
        let wanted = usize::try_from(self.end - self.next)
            .unwrap_or(usize::MAX)
            .min(CHUNK.max(kept));
        self.buffer.resize(kept + wanted, 0);
        let read = read_full(&*self.file, &mut self.buffer[kept..], self.next)?;
        self.buffer.truncate(kept + read);
        self.next += read as u64;
        if read < wanted {
            // The file is shorter than it was: its end is here.
            self.end = self.next;
        }
        Ok(())
    }
}

/// Length of the first line with its line feed, if it ends within `bytes`.
pub(crate) fn line_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let length = rest.skip_until(b'\n').expect("reading from memory cannot fail");
    (length > 0 && bytes[length - 1] == b'\n').then_some(length)
}
