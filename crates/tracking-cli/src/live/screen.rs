//! The lines at the bottom of the terminal that are drawn again and again.

use std::io;

use console::{Term, measure_text_width};

/// A block of lines on the terminal. The cursor is hidden while it exists.
#[derive(Debug)]
pub(super) struct Screen {
    term: Term,
    /// Widths of the lines that are there now.
    drawn: Vec<usize>,
}

impl Screen {
    pub(super) fn begin() -> io::Result<Self> {
        let term = Term::buffered_stdout();
        term.hide_cursor()?;
        term.flush()?;
        Ok(Self {
            term,
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
        self.term.move_cursor_up(self.rows(usize::from(columns)))?;
        for line in lines {
            self.term.clear_line()?;
            self.term.write_line(line)?;
        }
        self.term.clear_to_end_of_screen()?;
        self.term.flush()?;
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
        if self.term.show_cursor().and_then(|()| self.term.flush()).is_err() {}
    }
}
