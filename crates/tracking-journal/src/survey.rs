//! Which lines of a damaged journal are worth keeping.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::io::IoFile;
use crate::line::Line;
use crate::lines::Lines;
use crate::place::Place;

/// The lines to keep, as indices in ascending order: of the life that most records belong to, as many as possible
/// whose sequences rise. One wrong epoch or sequence so costs no more than its own record.
pub(crate) fn survey(place: &Place, file: &Arc<dyn IoFile>) -> io::Result<Vec<usize>> {
    let mut records = Vec::new();
    // Of each life, how many records there are and where the first is.
    let mut lives: HashMap<Uuid, (usize, Reverse<usize>)> = HashMap::new();
    let mut lines = Lines::new(Arc::clone(file), 0, file.size()?);
    let mut index = 0;
    while let Some(line) = lines.next_line()? {
        let record = line.strip_suffix(b"\n").and_then(|text| Line::parse(text).ok());
        let ours = |record: &Line<'_>| record.seq > 0 && record.stream.parse().as_ref() == Ok(&place.stream);
        if let Some(record) = record.filter(ours) {
            lives.entry(record.epoch).or_insert((0, Reverse(index))).0 += 1;
            records.push((index, record.epoch, record.seq));
        }
        index += 1;
    }
    let life = lives.into_iter().max_by_key(|(_, size)| *size);
    if let Some((epoch, _)) = life {
        records.retain(|(_, of, _)| *of == epoch);
    }
    let sequences: Vec<u64> = records.iter().map(|(_, _, seq)| *seq).collect();
    let kept = longest_rise(&sequences);
    Ok(kept.into_iter().map(|at| records[at].0).collect())
}

/// The places of a longest strictly rising subsequence.
fn longest_rise(values: &[u64]) -> Vec<usize> {
    // For each length, the place of the smallest value that ends a rise of that length; and what comes before each.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = Vec::with_capacity(values.len());
    for (at, value) in values.iter().enumerate() {
        let length = ends.partition_point(|end| values[*end] < *value);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut rise: Vec<usize> = std::iter::successors(ends.last().copied(), |at| before[*at]).collect();
    rise.reverse();
    rise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_value_costs_no_other() {
        let rise = |values: &[u64]| {
            let places = longest_rise(values);
            places.into_iter().map(|at| values[at]).collect::<Vec<_>>()
        };
        assert!(rise(&[]).is_empty());
        assert_eq!(rise(&[1, 2, u64::MAX, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(rise(&[9, 2, 3, 3, 1, 4]), [2, 3, 4]);
    }
}
