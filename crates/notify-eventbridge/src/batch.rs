//! How entries are divided into calls.

use std::ops::Range;

/// Most entries in a call.
const MAX_ENTRIES: usize = 10;

/// The fewest calls that take entries of these sizes in their order: at most ten in each, and at most `max_bytes`. An
/// entry that is larger alone makes a call alone.
///
/// In a fixed order, filling each call as far as possible is optimal.
pub(crate) fn calls(sizes: impl IntoIterator<Item = usize>, max_bytes: usize) -> Vec<Range<usize>> {
    let mut calls = Vec::new();
    let (mut start, mut end, mut bytes) = (0, 0, 0);
    for size in sizes {
        if end > start && (end - start >= MAX_ENTRIES || bytes + size > max_bytes) {
            calls.push(start..end);
            (start, bytes) = (end, 0);
        }
        end += 1;
        bytes += size;
    }
    if end > start {
        calls.push(start..end);
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_full() {
        assert_eq!(calls([], 100), Vec::<Range<usize>>::new());
        assert_eq!(calls([1; 25], 100), [0..10, 10..20, 20..25]);
        assert_eq!(calls([50, 50, 1, 99, 100, 7], 100), [0..2, 2..4, 4..5, 5..6]);
    }

    #[test]
    fn an_entry_that_is_too_large_goes_alone() {
        assert_eq!(calls([1, 101, 1, 1], 100), [0..1, 1..2, 2..4]);
    }

    #[test]
    fn every_entry_goes_once_and_in_order() {
        let mut rng = 7_usize;
        for _ in 0..200 {
            let sizes: Vec<usize> = std::iter::repeat_with(|| {
                rng = rng
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695);
                rng >> 40 & 0x7f
            })
            .take(60)
            .collect();
            let calls = calls(sizes.iter().copied(), 300);
            assert!(calls.iter().cloned().flatten().eq(0..60));
            for call in &calls {
                let bytes: usize = sizes[call.clone()].iter().sum();
                assert!(call.len() <= 10 && bytes <= 300);
            }
            // No two neighbours could have been one.
            assert!(calls.windows(2).all(|pair| {
                let next = pair[1].start;
                let bytes: usize = sizes[pair[0].start..=next].iter().sum();
                pair[0].len() == 10 || bytes > 300
            }));
        }
    }
}
