//! The bucket as a catalogue without a server: each writer puts segments of its journals under names of its own, and
//! each reader merges all segments of a stream into a local copy.
//!
//! ```text
//! {prefix}/_journal/{stream}/{epoch}/{writer}-{first_seq}.jsonl
//! ```
//!
//! A segment is immutable, and its name is never used for another content: `writer` is a UUID that a [`SegmentSink`]
//! takes fresh when it begins, and again whenever it does not know what became of a put. So nothing rests on conditional
//! writes, and a reader needs to read a segment once. Records may be in several segments; readers tell them by their ids.
//!
//! [`Catalogue`] keeps the copy as an ordinary data directory, which may be deleted at any time.

mod cache;
mod compact;
mod key;
mod merge;
mod options;
mod put_back;
mod refresh;
mod report;
mod segment;
mod sink;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use artifact_core::{StoreError, StoreErrorKind};
use tokio::sync::Semaphore;
use tracking_journal::{DataDir, NewRecord, Record};
use tracking_model::{Span, StreamEvent, StreamId};

use crate::metadata::ObjectMetadata;
use crate::object::S3Objects;

pub use compact::Compacted;
pub use options::{CatalogueOptions, SegmentOptions};
pub use put_back::Delivered;
pub use report::{
    MissingStart, RefreshProgress, RefreshProgressCallback, RefreshReport, RefreshScope, UnreadableSegment,
};
pub use sink::SegmentSink;

use cache::Cache;

/// Reads a bucket as a catalogue, through a local copy. Clones share it.
#[derive(Debug, Clone)]
pub struct Catalogue {
    objects: S3Objects,
    cache: Cache,
    options: Arc<CatalogueOptions>,
    /// Memory for segments that are read at once, in KiB.
    memory: Arc<Semaphore>,
}

impl Catalogue {
    /// Opens the catalogue of `objects` with `cache` as its copy: a directory of its own, created if it is missing, in
    /// which nothing else is kept and that may be deleted whenever nothing has it open. Nothing is asked of S3 yet.
    ///
    /// # Errors
    /// [`Misconfigured`](StoreErrorKind::Misconfigured) if the directory cannot be used.
    pub fn open(
        objects: S3Objects,
        cache: impl AsRef<Path>,
        options: CatalogueOptions,
    ) -> Result<Self, StoreError> {
        let path = cache.as_ref();
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::new(StoreErrorKind::Misconfigured, "open the cache", path.display())
                .with_source(source)
        };
        let dir = DataDir::open(path).map_err(|error| failed(error.into()))?;
        state::create_folder(&dir).map_err(|error| failed(error.into()))?;
        let cache = Cache {
            dir,
            lock_timeout: options.lock_timeout,
        };
        Ok(Self {
            objects,
            cache,
            memory: Arc::new(Semaphore::new(options.memory_permits())),
            options: Arc::new(options),
        })
    }

    /// The copy: an ordinary data directory, without the bytes of artifacts.
    #[must_use]
    pub const fn data_dir(&self) -> &DataDir {
        &self.cache.dir
    }

    /// The prefix of the keys of a stream's segments, relative to the store's.
    #[must_use]
    pub fn folder(stream: &StreamId) -> String {
        key::folder(stream)
    }

    /// Puts events of this program into a stream, as a journal of their own: they are in the bucket when this returns,
    /// and in the copy after the next refresh. Their time is later than that of everything in the copy, so that they
    /// stand after what the caller has seen, whatever the clocks.
    ///
    /// # Errors
    /// Whatever S3 refuses. What became of the events is not known then; they may be put again.
    ///
    /// # Cancellation
    /// Dropping the future may leave some or all of the events in the bucket.
    pub async fn append<E: StreamEvent>(
        &self,
        stream: &StreamId,
        events: &[E],
        actor: impl Into<Arc<str>> + Send,
    ) -> Result<(), StoreError> {
        let (cache, of) = (self.cache.clone(), stream.clone());
        let latest = artifact_core::run_blocking(move || cache.latest(&of)).await?;
        let now = self.options.clock.now();
        let at = latest.map_or(now, |latest| now.max(latest + Span::from_micros(1)));
        let actor = actor.into();
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            let mut data = Vec::new();
            event.write_data(&mut data);
            let unwritable = |error: Box<dyn std::error::Error + Send + Sync>| {
                StoreError::new(StoreErrorKind::Unexpected, "append to", stream).with_source(error)
            };
            let data = String::from_utf8(data).map_err(|error| unwritable(error.into()))?;
            new.push(NewRecord {
                id: tracking_model::new_uuid(),
                at,
                actor: Arc::clone(&actor),
                kind: event.kind().to_owned(),
                data: serde_json::value::RawValue::from_string(data)
                    .map_err(|error| unwritable(error.into()))?,
            });
        }
        let (epoch, writer) = (tracking_model::new_uuid(), tracking_model::new_uuid());
        let records = Record::begin(stream, epoch, new);
        for segment in segment::pack(&records, options::SEGMENT_BYTES) {
            let key = key::segment_key(stream, epoch, writer, segment.first_seq);
            self.objects
                .create(&key, segment.bytes, &ObjectMetadata::default())
                .await?;
        }
        Ok(())
    }
}
