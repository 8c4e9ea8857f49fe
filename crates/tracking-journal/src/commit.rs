//! What a commit gives to those who wait for it and to those who follow.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use tracking_model::{Fold, RecordMeta};

use crate::Head;

/// An event that is durable, with what its record says beside it.
#[derive(Debug, Clone)]
pub struct Committed<E> {
    /// Position, id, time and author.
    pub meta: RecordMeta,
    /// What happened.
    pub event: E,
}

/// The records that became durable together, in order.
#[derive(Debug, Clone)]
pub struct Commit<E> {
    /// The records; never empty.
    pub records: Vec<Committed<E>>,
    /// The stream's head after them.
    pub head: Head,
}

/// The answer to a command: its records are durable.
pub struct Receipt<F: Fold> {
    commit: Option<Arc<Commit<F::Event>>>,
    range: Range<usize>,
}

impl<F: Fold> Receipt<F> {
    pub(crate) const fn unchanged() -> Self {
        Self {
            commit: None,
            range: 0..0,
        }
    }

    pub(crate) const fn new(commit: Arc<Commit<F::Event>>, range: Range<usize>) -> Self {
        Self {
            commit: Some(commit),
            range,
        }
    }

    /// The records of the command, in order; none if it changed nothing.
    #[must_use]
    pub fn records(&self) -> &[Committed<F::Event>] {
        self.commit
            .as_ref()
            .map_or(&[], |commit| &commit.records[self.range.clone()])
    }

    /// Whether the command changed nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Sequence of the command's first record, `None` if it changed nothing.
    #[must_use]
    pub fn first_seq(&self) -> Option<u64> {
        self.records().first().map(|record| record.meta.seq)
    }

    /// Sequence of the command's last record, `None` if it changed nothing.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.records().last().map(|record| record.meta.seq)
    }
}

impl<F: Fold> Clone for Receipt<F> {
    fn clone(&self) -> Self {
        Self {
            commit: self.commit.clone(),
            range: self.range.clone(),
        }
    }
}

impl<F: Fold> fmt::Debug for Receipt<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.records()).finish()
    }
}
