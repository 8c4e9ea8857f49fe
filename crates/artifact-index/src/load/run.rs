//! Words of rows, sorted in memory.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::list::{List, Part};
use super::merge::Lists;
use super::varint;
use crate::error::Cause;

/// Begins every term of the main index; others are of indexes of prefixes.
const MAIN: u8 = b'0';

/// So many words are sorted at once, which caches hold still: 12 bytes each, and some sixty for each different one.
const SORTED_WORDS: usize = 1 << 19;

/// Sorts words of rows, many at a time.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    terms: Terms,
    /// The number of the term of each word, row after row.
    words: Vec<u32>,
    /// Each row with the place in `words` where it ends.
    rows: Vec<(i64, usize)>,
}

/// A word at its place in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Posting {
    row: u32,
    place: u32,
}

impl Sorter {
    /// Adds the words of a row, which must come after the one before; tells how many.
    pub(crate) fn add(&mut self, row: i64, words: &str) -> u64 {
        let before = self.words.len();
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            let number = self.terms.number(word.as_bytes());
            self.words.push(number);
        }
        self.rows.push((row, self.words.len()));
        (self.words.len() - before) as u64
    }

    /// Takes what it has, to be sorted elsewhere, if that is enough.
    pub(crate) fn take_full(&mut self) -> Option<Self> {
        (self.words.len() >= SORTED_WORDS).then(|| std::mem::take(self))
    }

    /// What is left, if there is anything.
    pub(crate) fn rest(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }

    /// Sorts all of it.
    pub(super) fn sort(self) -> Run {
        let order = self.terms.in_order();
        let (postings, ends) = self.by_term(&order);
        let mut run = Run {
            rows: self.rows.len() as u64,
            words: self.words.len() as u64,
            ..Run::default()
        };
        let mut begin = 0;
        let (mut list, mut places) = (List::default(), Vec::new());
        for number in order {
            let end = ends[number as usize];
            list.clear();
            for in_row in postings[begin..end].chunk_by(|one, other| one.row == other.row) {
                places.clear();
                let mut last = 0;
                for posting in in_row {
                    varint::put(&mut places, u64::from(posting.place - last) + 2);
                    last = posting.place;
                }
                let (row, _) = self.rows[in_row[0].row as usize];
                list.push(row, &places);
            }
            run.push(self.terms.get(number), list.as_part());
            begin = end;
        }
        run
    }

    /// All words, term after term in their order and row after row, and where the postings of each term end.
    fn by_term(&self, order: &[u32]) -> (Vec<Posting>, Vec<usize>) {
        let mut next = vec![0; order.len()];
        for number in &self.words {
            next[*number as usize] += 1;
        }
        let mut begin = 0;
        for number in order {
            let count = std::mem::replace(&mut next[*number as usize], begin);
            begin += count;
        }
        let mut postings = vec![Posting::default(); self.words.len()];
        let mut begin = 0;
        for (row, (_, end)) in (0..).zip(&self.rows) {
            for (place, number) in (0..).zip(&self.words[begin..*end]) {
                let at = &mut next[*number as usize];
                postings[*at] = Posting { row, place };
                *at += 1;
            }
            begin = *end;
        }
        (postings, next)
    }
}

/// All different words, numbered as they come.
#[derive(Debug, Default)]
struct Terms {
    words: Words,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// Words one after the other, and where each ends.
#[derive(Debug, Default)]
struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[number]]
    }
}

impl Terms {
    fn number(&mut self, word: &[u8]) -> u32 {
        let Self {
            words,
            numbers,
            hasher,
        } = self;
        let hash = hasher.hash_one(word);
        if let Some(number) = numbers.find(hash, |number| words.get(*number) == word) {
            return *number;
        }
        let number = u32::try_from(words.ends.len()).expect("no text has so many words");
        words.bytes.extend_from_slice(word);
        words.ends.push(words.bytes.len());
        numbers.insert_unique(hash, number, |number| hasher.hash_one(words.get(*number)));
        number
    }

    fn get(&self, number: u32) -> &[u8] {
        self.words.get(number)
    }

    /// Their numbers, in the order of their bytes.
    fn in_order(&self) -> Vec<u32> {
        // Comparing the first bytes as a number is enough for most.
        let beginning = |word: &[u8]| {
            let mut bytes = [0; 8];
            let length = word.len().min(8);
            bytes[..length].copy_from_slice(&word[..length]);
            u64::from_be_bytes(bytes)
        };
        let mut order: Vec<(u64, u32)> = (0..)
            .take(self.words.ends.len())
            .map(|number| (beginning(self.get(number)), number))
            .collect();
        order.sort_unstable_by(|one, other| {
            one.0
                .cmp(&other.0)
                .then_with(|| self.get(one.1).cmp(self.get(other.1)))
        });
        order.into_iter().map(|(_, number)| number).collect()
    }
}

/// Terms in order, each with its rows, and which of them is next.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) rows: u64,
    pub(super) words: u64,
    terms: Vec<TermEnd>,
    terms_bytes: Vec<u8>,
    lists: Vec<u8>,
    next: usize,
}

/// Where a term ends and where its list does, and the first and the last row of that.
#[derive(Debug, Clone, Copy)]
struct TermEnd {
    term: usize,
    list: usize,
    first: i64,
    last: i64,
}

impl Run {
    fn push(&mut self, term: &[u8], list: Part<'_>) {
        self.terms_bytes.push(MAIN);
        self.terms_bytes.extend_from_slice(term);
        self.lists.extend_from_slice(list.bytes);
        self.terms.push(TermEnd {
            term: self.terms_bytes.len(),
            list: self.lists.len(),
            first: list.first,
            last: list.last,
        });
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.terms_bytes.len() + self.lists.len() + self.terms.len() * size_of::<TermEnd>()
    }

    /// The next term, and its rows.
    fn next(&self) -> Option<(&[u8], Part<'_>)> {
        let end = self.terms.get(self.next)?;
        let before = self.next.checked_sub(1).map(|before| &self.terms[before]);
        let (term, list) = before.map_or((0, 0), |before| (before.term, before.list));
        let rows = Part {
            first: end.first,
            last: end.last,
            bytes: &self.lists[list..end.list],
        };
        Some((&self.terms_bytes[term..end.term], rows))
    }
}

impl Lists for Run {
    fn term(&self) -> Option<&[u8]> {
        self.next().map(|(term, _)| term)
    }

    fn take(&mut self, list: &mut List) -> Result<(), Cause> {
        if let Some((_, rows)) = self.next() {
            list.add(rows)?;
            self.next += 1;
        }
        Ok(())
    }
}
