//! Where a stream ends.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ChainHash;

/// The last record of a stream: which life of the journal, how many records, and the hash over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Head {
    /// UUID of this journal's life; nil while the stream is empty.
    pub epoch: Uuid,
    /// Sequence of the last record, 0 while the stream is empty.
    pub seq: u64,
    /// Hash of the last record, [`ChainHash::ZERO`] while the stream is empty.
    pub hash: ChainHash,
}

impl Head {
    /// The head of a stream without records.
    pub const EMPTY: Self = Self {
        epoch: Uuid::nil(),
        seq: 0,
        hash: ChainHash::ZERO,
    };

    /// Whether the stream has no records.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.seq == 0
    }
}
