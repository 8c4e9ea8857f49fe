//! The scope, the progress and the report of a refresh.

use std::fmt;
use std::sync::Arc;

use artifact_core::StoreError;
use tracking_model::StreamId;
use uuid::Uuid;

use super::key;

/// Which streams to refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefreshScope {
    /// All.
    All,
    /// Those of upgrades.
    Upgrades,
    /// Those of sessions.
    Sessions,
    /// One.
    Stream(StreamId),
    /// Of one stream what others wrote: all but one life of its journal.
    Others {
        /// The stream.
        stream: StreamId,
        /// The life of the journal that is left out.
        own: Uuid,
    },
}

impl RefreshScope {
    /// The prefix of the keys of these streams.
    pub(super) fn prefix(&self) -> String {
        match self {
            Self::All => key::ROOT.to_owned(),
            Self::Upgrades => key::kind_prefix("upgrade"),
            Self::Sessions => key::kind_prefix("session"),
            Self::Stream(stream) | Self::Others { stream, .. } => key::folder(stream),
        }
    }

    /// True if the segments of this life of a journal are left out.
    pub(super) fn leaves_out(&self, epoch: Uuid) -> bool {
        matches!(self, Self::Others { own, .. } if *own == epoch)
    }

    pub(super) fn has(&self, stream: &StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Upgrades => matches!(stream, StreamId::Upgrade(_)),
            Self::Sessions => matches!(stream, StreamId::Session(_)),
            Self::Stream(one) | Self::Others { stream: one, .. } => one == stream,
        }
    }
}

/// Report of a refresh.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RefreshReport {
    /// Streams that are in the bucket.
    pub streams: usize,
    /// Streams that were removed from the copy, because nothing of them is in the bucket any more.
    pub removed: Vec<StreamId>,
    /// Segments that are in the bucket.
    pub segments: usize,
    /// Segments that were read.
    pub new_segments: u64,
    /// Records that are new in the copy.
    pub new_records: u64,
    /// Pages of listings that were asked for, attempts after failures not counted.
    pub lists: u64,
    /// Reads of segments that were asked for, attempts after failures not counted.
    pub gets: u64,
    /// Segments and lines that could not be taken, by this or an earlier refresh, and that are still in the bucket. The others
    /// are in the copy.
    pub unreadable: Vec<UnreadableSegment>,
    /// Journals whose first records are missing. A stream of which no journal has its first record is not known to be an
    /// upgrade or a session.
    pub missing_starts: Vec<MissingStart>,
    /// Streams that could not be brought up to date, and why. The others are.
    pub failed: Vec<(StreamId, StoreError)>,
}

/// A segment, or a line of one, that is no record of its stream: by a newer version, another tool, or somebody who means
/// harm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableSegment {
    /// The object's key, relative to the prefix.
    pub key: String,
    /// The stream, if the key is one of a segment.
    pub stream: Option<StreamId>,
    /// The line, from 1; `None` for all of it.
    pub line: Option<u64>,
    /// The problem.
    pub reason: String,
}

impl fmt::Display for UnreadableSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// A journal whose first records are not in the bucket: somebody deleted them, or they cannot be read. Its other records
/// are in the copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct MissingStart {
    /// The stream.
    pub stream: StreamId,
    /// The life of the journal.
    pub epoch: Uuid,
    /// The first record of it that is there.
    pub first_seq: u64,
}

impl MissingStart {
    /// The prefix of that journal's segments, relative to the store's. Where nobody has the journal any more, these segments
    /// can be deleted, and nothing is missing then.
    #[must_use]
    pub fn folder(&self) -> String {
        key::epoch_folder(&self.stream, self.epoch)
    }
}

impl fmt::Display for MissingStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stream, first_seq, ..
        } = self;
        write!(
            f,
            "the beginning of {stream} is not in the bucket, where its first record is number {first_seq}: somebody deleted \
             the segment before"
        )
    }
}

/// Progress of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RefreshProgress {
    /// Segments that were read.
    pub segments: u64,
    /// Segments to read, as far as is known.
    pub total_segments: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes to read, as far as is known.
    pub total_bytes: u64,
}

/// Called after each segment, from the refresh's own tasks: it must return soon.
#[derive(Clone)]
pub struct RefreshProgressCallback(Arc<dyn Fn(RefreshProgress) + Send + Sync>);

impl RefreshProgressCallback {
    /// Calls `callback`.
    pub fn new(callback: impl Fn(RefreshProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }

    pub(super) fn tell(&self, progress: RefreshProgress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for RefreshProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshProgressCallback")
    }
}
