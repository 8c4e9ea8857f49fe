//! How a manager works.

use std::sync::Arc;

use tracking_journal::JournalOptions;
use tracking_model::DEFAULT_RETENTION_DAYS;

use crate::{ArtifactCopies, ArtifactIndex, ArtifactTexts, MemoryIndex};

/// Where artifacts go in a bucket unless told otherwise.
const DEFAULT_S3_PREFIX: &str = "eks-upgrade-agent/artifacts";

/// Bytes of each log-like artifact that are searched as text unless told otherwise.
pub const DEFAULT_TEXT_BYTES: u64 = 64 << 10;

/// How a manager works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ManagerOptions {
    /// How the journals of sessions are opened: who writes, how long to wait for others, which clock.
    pub journal: JournalOptions,
    /// Where artifacts are looked up.
    pub index: Arc<dyn ArtifactIndex>,
    /// How many bytes from the beginning of a log-like artifact are searched as text; 0 for none. What was indexed before
    /// stays as it is.
    pub text_bytes: u64,
    /// Where the texts that are searched come from, if not from the bytes that the manager keeps.
    pub texts: Option<Arc<dyn ArtifactTexts>>,
    /// The bucket that new sessions name.
    pub s3_bucket: Option<Arc<str>>,
    /// The prefix that new sessions' prefixes begin with; their id is added.
    pub s3_prefix: Arc<str>,
    /// Looks at copies of bytes in another store. Without it retention frees no bytes that were uploaded.
    pub copies: Option<Arc<dyn ArtifactCopies>>,
    /// For how many days new sessions are kept after their completion.
    pub retention_days: u32,
}

impl Default for ManagerOptions {
    fn default() -> Self {
        Self {
            journal: JournalOptions::default(),
            index: Arc::new(MemoryIndex::new()),
            text_bytes: DEFAULT_TEXT_BYTES,
            texts: None,
            s3_bucket: None,
            s3_prefix: DEFAULT_S3_PREFIX.into(),
            copies: None,
            retention_days: DEFAULT_RETENTION_DAYS,
        }
    }
}

impl ManagerOptions {
    /// Sets how journals are opened.
    #[must_use]
    pub fn with_journal(mut self, journal: JournalOptions) -> Self {
        self.journal = journal;
        self
    }

    /// Sets where artifacts are looked up.
    #[must_use]
    pub fn with_index(mut self, index: Arc<dyn ArtifactIndex>) -> Self {
        self.index = index;
        self
    }

    /// Sets how many bytes from the beginning of a log-like artifact are searched as text.
    #[must_use]
    pub const fn with_text_bytes(mut self, bytes: u64) -> Self {
        self.text_bytes = bytes;
        self
    }

    /// Sets where the texts that are searched come from.
    #[must_use]
    pub fn with_texts(mut self, texts: Arc<dyn ArtifactTexts>) -> Self {
        self.texts = Some(texts);
        self
    }

    /// Sets the bucket that new sessions name.
    #[must_use]
    pub fn with_s3_bucket(mut self, bucket: impl Into<Arc<str>>) -> Self {
        self.s3_bucket = Some(bucket.into());
        self
    }

    /// Sets the prefix that new sessions' prefixes begin with.
    #[must_use]
    pub fn with_s3_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.s3_prefix = prefix.into();
        self
    }

    /// Sets what looks at copies of bytes in another store.
    #[must_use]
    pub fn with_copies(mut self, copies: Arc<dyn ArtifactCopies>) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Sets for how many days new sessions are kept.
    #[must_use]
    pub const fn with_retention_days(mut self, days: u32) -> Self {
        self.retention_days = days;
        self
    }
}
