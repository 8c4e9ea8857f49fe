//! Sets of paths that take little memory, to compare what is on disk with what is recorded.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// A set of paths, of each of which only a number is kept: 8 bytes rather than a hundred, so that a session of a million
/// artifacts can be compared with its directory.
///
/// Two paths may have one number; of a million, with a probability of one in ten million. Numbers are keyed at random, so
/// nobody can choose paths that collide.
#[derive(Debug)]
pub(crate) struct PathSet {
    numbers: HashSet<u64>,
    keys: RandomState,
}

impl PathSet {
    pub(crate) fn new() -> Self {
        Self {
            numbers: HashSet::new(),
            keys: RandomState::new(),
        }
    }

    pub(crate) fn insert(&mut self, path: &str) {
        let number = self.number(path);
        self.numbers.insert(number);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let number = self.number(path);
        self.numbers.remove(&number);
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.numbers.contains(&self.number(path))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn number(&self, path: &str) -> u64 {
        self.keys.hash_one(path)
    }
}
