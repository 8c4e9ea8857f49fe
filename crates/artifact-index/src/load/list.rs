//! The rows of one term, and where it is in each.

use super::varint;
use crate::error::Cause;

/// Rows of a term, in order, as they stand in a segment: of each how far it is from the one before, the size of its places
/// times two, and its places. Only the first row is not among the bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    first: i64,
    last: i64,
    bytes: Vec<u8>,
    newest: Added,
}

/// What was added last.
#[derive(Debug, Clone, Copy, Default)]
struct Added {
    /// The last row before it.
    before: i64,
    first: i64,
    /// Where it begins, and where it does behind the number of its first row.
    begin: usize,
    body: usize,
}

/// A part of a [`List`], or one that stands elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) bytes: &'a [u8],
}

impl List {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The last row, if there is one.
    pub(super) const fn last(&self) -> i64 {
        self.last
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn as_part(&self) -> Part<'_> {
        Part {
            first: self.first,
            last: self.last,
            bytes: &self.bytes,
        }
    }

    /// Adds a row behind the others, without its places.
    fn begin_row(&mut self, row: i64) {
        if self.is_empty() {
            self.first = row;
            self.newest = Added {
                first: row,
                ..Added::default()
            };
        } else {
            varint::put(&mut self.bytes, distance(self.last, row));
        }
        self.last = row;
    }

    /// Adds a row behind the others.
    pub(super) fn push(&mut self, row: i64, places: &[u8]) {
        self.push_row(row, places.len());
        self.bytes.extend_from_slice(places);
    }

    /// Adds a row behind the others, and so many bytes of places, which follow by [`Self::push_places`].
    pub(super) fn push_row(&mut self, row: i64, size: usize) {
        self.begin_row(row);
        varint::put(&mut self.bytes, 2 * size as u64);
    }

    pub(super) fn push_places(&mut self, places: &[u8]) {
        self.bytes.extend_from_slice(places);
    }

    /// Adds other rows of the term. They may come anywhere between these; most often they come behind them, or but for a
    /// few of what was added last.
    pub(super) fn add(&mut self, other: Part<'_>) -> Result<(), Cause> {
        if other.bytes.is_empty() {
            return Ok(());
        }
        if self.is_empty() || self.last < other.first {
            self.append(other);
            return Ok(());
        }
        let last = self.last;
        let taken = self.take_from(other.first)?;
        let (between, behind) = other.split(last)?;
        let mut rows = Vec::new();
        for row in taken.as_part().rows().chain(between.rows()) {
            rows.push(row?);
        }
        rows.sort_unstable_by_key(|(row, _)| *row);
        let mut ordered = Self::default();
        for (row, places) in rows {
            ordered.push(row, places);
        }
        self.append(ordered.as_part());
        if !behind.bytes.is_empty() {
            self.append(behind);
        }
        Ok(())
    }

    fn append(&mut self, other: Part<'_>) {
        let (before, begin) = (self.last, self.bytes.len());
        self.begin_row(other.first);
        self.newest = Added {
            before,
            first: other.first,
            begin,
            body: self.bytes.len(),
        };
        self.bytes.extend_from_slice(other.bytes);
        self.last = other.last;
    }

    /// Takes out all rows from one on.
    fn take_from(&mut self, row: i64) -> Result<Self, Cause> {
        if row < self.newest.first {
            self.newest = Added {
                first: self.first,
                ..Added::default()
            };
        }
        let Added {
            before,
            first,
            begin,
            body,
        } = self.newest;
        let newest = Part {
            first,
            last: self.last,
            bytes: self.bytes.get(body..).unwrap_or_default(),
        };
        let (kept, taken) = newest.split(row)?;
        let (kept_bytes, kept_last) = (kept.bytes.len(), kept.last);
        let mut out = Self::default();
        out.add(taken)?;
        if kept_bytes == 0 {
            self.bytes.truncate(begin);
            self.last = before;
        } else {
            self.bytes.truncate(body + kept_bytes);
            self.last = kept_last;
        }
        Ok(out)
    }
}

impl<'a> Part<'a> {
    /// Each row, with the bytes of its places.
    pub(super) fn rows(self) -> impl Iterator<Item = Result<(i64, &'a [u8]), Cause>> {
        let mut rest = Rest::of(self);
        std::iter::from_fn(move || rest.next().transpose())
    }

    /// The rows before one, and the others.
    fn split(self, at: i64) -> Result<(Self, Self), Cause> {
        self.split_where(|row, _| row < at)
    }

    /// The rows whose bytes together are at most so many, and the others.
    pub(super) fn split_at_size(self, most: usize) -> Result<(Self, Self), Cause> {
        if self.bytes.len() <= most {
            return Ok((self, Self { bytes: &[], ..self }));
        }
        self.split_where(|_, size| size <= most)
    }

    /// The first row alone, and the others.
    pub(super) fn split_first(self) -> Result<(Self, Self), Cause> {
        let mut is_first = true;
        self.split_where(|_, _| std::mem::take(&mut is_first))
    }

    /// The rows up to the first that is not to be kept, by its number and how many bytes it and those before it take.
    fn split_where(self, mut keep: impl FnMut(i64, usize) -> bool) -> Result<(Self, Self), Cause> {
        let mut rest = Rest::of(self);
        let mut before = Self { bytes: &[], ..self };
        while let Some(row) = rest.row()? {
            let body = rest.bytes;
            rest.places()?;
            let size = self.bytes.len() - rest.bytes.len();
            if !keep(row, size) {
                let behind = Self {
                    first: row,
                    bytes: body,
                    ..self
                };
                return Ok((before, behind));
            }
            before.bytes = self.bytes.get(..size).unwrap_or_default();
            before.last = row;
        }
        Ok((self, Self { bytes: &[], ..self }))
    }
}

/// What is left of a part to be read.
struct Rest<'a> {
    row: i64,
    is_first: bool,
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    const fn of(part: Part<'a>) -> Self {
        Self {
            row: part.first,
            is_first: true,
            bytes: part.bytes,
        }
    }

    /// The number of the next row; its places are next.
    fn row(&mut self) -> Result<Option<i64>, Cause> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        if self.is_first {
            self.is_first = false;
        } else {
            let distance = varint::take(&mut self.bytes).ok_or_else(Cause::damaged)?;
            self.row = self.row.wrapping_add_unsigned(distance);
        }
        Ok(Some(self.row))
    }

    fn places(&mut self) -> Result<&'a [u8], Cause> {
        let size = varint::take(&mut self.bytes).and_then(|size| usize::try_from(size / 2).ok());
        let places = size.and_then(|size| self.bytes.split_at_checked(size));
        let (places, rest) = places.ok_or_else(Cause::damaged)?;
        self.bytes = rest;
        Ok(places)
    }

    fn next(&mut self) -> Result<Option<(i64, &'a [u8])>, Cause> {
        let Some(row) = self.row().inspect_err(|_| self.bytes = &[])? else {
            return Ok(None);
        };
        let places = self.places().inspect_err(|_| self.bytes = &[])?;
        Ok(Some((row, places)))
    }
}

/// How far a row is from an earlier one.
const fn distance(earlier: i64, row: i64) -> u64 {
    row.wrapping_sub(earlier).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[i64]) -> List {
        let mut list = List::default();
        for row in rows {
            list.push(*row, &row.to_le_bytes());
        }
        list
    }

    #[test]
    fn rows_come_back() {
        let rows = [i64::MIN, -1_735_000_000_000_000, -1, 0, 1, i64::MAX];
        let list = list(&rows);
        let back: Vec<_> = list.as_part().rows().map(Result::unwrap).collect();
        let expected: Vec<_> = rows.iter().map(|row| (*row, row.to_le_bytes())).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(row, places)| (*row, places.as_slice()))
            .collect();
        assert_eq!(back, expected);
    }

    #[test]
    fn lists_are_put_together_in_order() {
        for lists in [
            &[&[][..], &[1, 2][..]][..],
            &[&[1, 2], &[3, 9]],
            &[&[3, 9], &[1, 2]],
            &[&[1, 4, 9], &[0, 2, 5, 10]],
            &[&[1, 2], &[3, 8], &[7, 9, 10], &[4, 11]],
            &[&[1, 2], &[3, 8], &[5, 6], &[4, 11], &[0]],
            &[&[5], &[3], &[4], &[1], &[2, 6]],
            &[&[1], &[1000, 9000], &[500], &[700, 9500], &[600, 20_000]],
        ] {
            let mut all = List::default();
            for rows in lists {
                all.add(list(rows).as_part()).unwrap();
            }
            let mut rows = lists.concat();
            rows.sort_unstable();
            let expected = list(&rows);
            assert_eq!(all.bytes, expected.bytes, "{lists:?}");
            assert_eq!((all.first, all.last), (expected.first, expected.last));
        }
    }

    #[test]
    fn what_is_cut_off_is_damaged() {
        let whole = list(&[1, 2]);
        let part = Part {
            bytes: &whole.bytes[..whole.bytes.len() - 1],
            ..whole.as_part()
        };
        let rows: Vec<bool> = part.rows().map(|row| row.is_ok()).collect();
        assert_eq!(rows, [true, false]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..proptest::prelude::ProptestConfig::default() })]

        #[test]
        fn any_lists_are_put_together(
            lists in proptest::collection::vec(proptest::collection::btree_set(0..2000_i64, 0..20), 1..8),
        ) {
            let mut seen = std::collections::BTreeSet::new();
            let mut all = List::default();
            for rows in lists {
                let new: Vec<i64> = rows.into_iter().filter(|row| seen.insert(*row)).collect();
                all.add(list(&new).as_part()).unwrap();
                let expected = list(&seen.iter().copied().collect::<Vec<_>>());
                proptest::prop_assert_eq!(&all.bytes, &expected.bytes);
            }
        }
    }
}
