//! Putting sorted lists together.

use std::cmp::Ordering;

use super::list::List;
use super::segment::SegmentWriter;
use crate::error::Cause;

/// Terms in order, each with its rows.
pub(super) trait Lists {
    /// The next term, if there is one.
    fn term(&self) -> Option<&[u8]>;

    /// Adds the rows of the next term to `list`, and goes on to the one after it.
    fn take(&mut self, list: &mut List) -> Result<(), Cause>;
}

/// Writes what all of them have. It is fastest if the rows of each come after those of the ones before it.
pub(super) fn merge(sources: &mut [&mut dyn Lists], segment: &mut SegmentWriter<'_>) -> Result<(), Cause> {
    let mut term = Vec::new();
    let mut list = List::default();
    let mut next = Vec::new();
    loop {
        find_next(sources, &mut term, &mut next);
        if next.is_empty() {
            return Ok(());
        }
        list.clear();
        for at in &next {
            if let Some(source) = sources.get_mut(*at) {
                source.take(&mut list)?;
            }
        }
        segment.add(&term, list.as_part())?;
    }
}

/// Finds the least term that comes next, and which of them have it.
fn find_next(sources: &[&mut dyn Lists], term: &mut Vec<u8>, next: &mut Vec<usize>) {
    next.clear();
    let mut least: &[u8] = &[];
    for (at, source) in sources.iter().enumerate() {
        let Some(term) = source.term() else { continue };
        let order = if next.is_empty() {
            Ordering::Less
        } else {
            term.cmp(least)
        };
        match order {
            Ordering::Less => {
                next.clear();
                next.push(at);
                least = term;
            }
            Ordering::Equal => next.push(at),
            Ordering::Greater => {}
        }
    }
    term.clear();
    term.extend_from_slice(least);
}
