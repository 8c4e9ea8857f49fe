//! The lines at the bottom of the terminal that are drawn again and again.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use console::{Term, measure_text_width};

use crate::output::stdout;

// Control sequences of ECMA-48 and DEC terminals.
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_LINE: &str = "\r\x1b[2K";
const CLEAR_TO_END_OF_SCREEN: &str = "\r\x1b[0J";

/// A block of lines on the terminal. The cursor is hidden while it exists.
#[derive(Debug)]
pub(super) struct Screen {
    /// Tells the size of the terminal.
    term: Term,
    /// Widths of the lines that are there now.
    drawn: Vec<usize>,
}

impl Screen {
    pub(super) fn begin() -> io::Result<Self> {
        write(HIDE_CURSOR)?;
        Ok(Self {
            term: Term::stdout(),
            drawn: Vec::new(),
        })
    }

    /// Columns and lines that can be used: the last of each stays free, so that the terminal never scrolls or wraps.
    pub(super) fn size(&self) -> (usize, usize) {
        let (lines, columns) = self.term.size();
        (
            usize::from(columns).saturating_sub(1).max(20),
            usize::from(lines).saturating_sub(1).max(5),
        )
    }

    /// Replaces what is there.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (_, columns) = self.term.size();
        let mut frame = String::new();
        match self.rows(usize::from(columns)) {
            0 => {}
            rows => write!(frame, "\x1b[{rows}A").expect("a string takes all text"),
        }
        for line in lines {
            frame.extend([CLEAR_LINE, line, "\n"]);
        }
        frame.push_str(CLEAR_TO_END_OF_SCREEN);
        write(&frame)?;
        self.drawn = lines.iter().map(|line| measure_text_width(line)).collect();
        Ok(())
    }

    /// How many rows the lines take now: a terminal that became narrower has wrapped them.
    fn rows(&self, columns: usize) -> usize {
        let columns = columns.max(1);
        let rows = self.drawn.iter().map(|width| width.div_ceil(columns).max(1));
        rows.sum()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal is gone there is no cursor to bring back.
        if write(SHOW_CURSOR).is_err() {}
    }
}

/// Writes a whole frame at once, and waits for room where another program made the terminal non-blocking.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
