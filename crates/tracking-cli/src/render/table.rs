//! Tables with a head and aligned columns.

use super::{Palette, one_line};

/// A cell: what is seen, and the same painted.
#[derive(Debug)]
pub(crate) struct Cell {
    painted: String,
    width: usize,
}

impl Cell {
    /// A cell in the colours that `paint` gives it.
    pub(crate) fn painted(text: &str, paint: impl FnOnce(&str) -> String) -> Self {
        let text = one_line(text);
        Self {
            width: text.chars().count(),
            painted: paint(&text),
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text.as_ref(), str::to_owned)
    }
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    head: [&'static str; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) const fn new(head: [&'static str; COLUMNS]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: [Cell; COLUMNS]) {
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn render(&self, palette: Palette) -> String {
        self.render_with(palette, |_| None)
    }

    /// With a line of its own after those rows, counted from 0, for which `note` has one.
    pub(crate) fn render_with(&self, palette: Palette, note: impl Fn(usize) -> Option<String>) -> String {
        let head = self
            .head
            .map(|head| Cell::painted(head, |head| palette.bold(head)));
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: [usize; COLUMNS] =
            std::array::from_fn(|column| all().map(|row| row[column].width).max().unwrap_or(0));
        let mut text = String::new();
        for (number, row) in all().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(&cell.painted);
                if column + 1 < COLUMNS {
                    text.push_str(&" ".repeat(widths[column] - cell.width + 2));
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
            if let Some(note) = number.checked_sub(1).and_then(&note) {
                text.push_str(&note);
                text.push('\n');
            }
        }
        text
    }
}
