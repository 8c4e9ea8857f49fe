//! The sink that puts a stream's records into the bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use artifact_core::StoreError;
use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracking_journal::{DataDir, Delivery, EventSink, Record, SinkPace};
use tracking_model::StreamId;
use uuid::Uuid;

use super::compact::{Compacted, compact};
use super::key::segment_key;
use super::options::SegmentOptions;
use super::put_back::{Delivered, put_back};
use super::segment::pack;
use crate::error::failure_of;
use crate::metadata::ObjectMetadata;
use crate::object::S3Objects;

/// The relay counts a record's data and 256 bytes; its line may have some hundred more. A batch of three quarters of a
/// segment fits one.
const OF_A_SEGMENT: (usize, usize) = (3, 4);
/// Smaller records than these do not exist, so this many make a segment in any case.
const LEAST_BYTES: usize = 256;

/// Puts the records of streams into the bucket, as segments under names of its own.
///
/// When a record says that its stream is over, the stream's small segments are put together, in the background:
/// [`Self::finish`] waits for it. That it is denied, or never comes to an end, harms nothing.
#[derive(Debug)]
pub struct SegmentSink {
    name: String,
    shared: Arc<Shared>,
    compactions: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

#[derive(Debug)]
struct Shared {
    objects: S3Objects,
    options: SegmentOptions,
    /// The writer of each stream whose last put is known to have worked.
    writers: Mutex<HashMap<StreamId, Writer>>,
}

/// A part of the names of segments. A writer is dropped whenever one of its names could be used twice.
#[derive(Debug, Clone, Copy)]
struct Writer {
    id: Uuid,
    epoch: Uuid,
    /// The last sequence that it put.
    seq: u64,
}

impl SegmentSink {
    /// A sink that writes below the prefix of `objects`.
    #[must_use]
    pub fn new(objects: S3Objects, options: SegmentOptions) -> Self {
        let stop = CancellationToken::new();
        Self {
            name: format!("s3-journal:{}", objects.place_name()),
            shared: Arc::new(Shared {
                objects,
                options,
                writers: Mutex::default(),
            }),
            compactions: TaskTracker::new(),
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Puts the small segments of one life of a stream together. It does so by itself when the stream ends.
    ///
    /// # Errors
    /// Whatever S3 refuses but the deletion of small segments, which the report tells.
    ///
    /// # Cancellation
    /// Dropping the future may leave combined segments beside the small ones.
    pub async fn compact(&self, stream: &StreamId, epoch: Uuid) -> Result<Compacted, StoreError> {
        let Shared { objects, options, .. } = &*self.shared;
        compact(objects, options.compact_bytes, stream, epoch).await
    }

    /// Compares one listing with the delivered records of the journal in `dir`. Where a record is missing, all of them are
    /// sent again, under names of a new writer; returns how many. A segment that was altered and kept its size is not
    /// noticed here; readers notice it.
    ///
    /// # Errors
    /// Whatever S3 refuses; [`Unexpected`](artifact_core::StoreErrorKind::Unexpected) if the journal cannot be read.
    ///
    /// # Cancellation
    /// Segments that were put stay; the next call sends the records again.
    pub async fn put_back(&self, dir: &DataDir, delivered: &Delivered) -> Result<u64, StoreError> {
        let Shared { objects, options, .. } = &*self.shared;
        put_back(objects, options, dir, delivered).await
    }

    /// Waits until nothing is being put together. The sink can be used on.
    pub async fn finish(&self) {
        self.compactions.close();
        self.compactions.wait().await;
        self.compactions.reopen();
    }

    fn compact_in_background(&self, stream: StreamId, epoch: Uuid) {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.compactions.spawn(async move {
            let Shared { objects, options, .. } = &*shared;
            let work = compact(objects, options.compact_bytes, &stream, epoch);
            match stop.run_until_cancelled(work).await {
                None => tracing::debug!(%stream, "its segments are not put together, for the sink ends"),
                Some(Ok(done)) => tracing::debug!(%stream, ?done, "small segments were put together"),
                Some(Err(error)) => tracing::info!(%stream, %error, "small segments are not put together"),
            }
        });
    }
}

impl Shared {
    fn writers(&self) -> MutexGuard<'_, HashMap<StreamId, Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A writer that never put `first` or anything after it. It is taken away until the puts are known to have worked, so
    /// that a call that is dropped leaves none, and two at once do not share one.
    fn take_writer(&self, stream: &StreamId, first: &Record) -> Writer {
        let known = self.writers().remove(stream);
        let usable = known.filter(|writer| writer.epoch == first.epoch && writer.seq < first.seq);
        usable.unwrap_or_else(|| Writer {
            id: tracking_model::new_uuid(),
            epoch: first.epoch,
            seq: 0,
        })
    }

    /// Puts the records; an answer for each, in order.
    async fn put(&self, stream: &StreamId, batch: &[Record]) -> Vec<Delivery> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
            return Vec::new();
        };
        let mut writer = self.take_writer(stream, first);
        let mut deliveries = Vec::with_capacity(batch.len());
        for segment in pack(batch, self.options.segment_bytes) {
            let key = segment_key(stream, writer.epoch, writer.id, segment.first_seq);
            // A key is taken if the answer to an earlier attempt got lost; the segment is written anew.
            let metadata = ObjectMetadata::default();
            let put = self.objects.create(&key, segment.bytes, &metadata).await;
            if let Err(error) = put {
                let retry = Delivery::retry(with_source(&error));
                deliveries.resize(batch.len(), retry);
                return deliveries;
            }
            deliveries.resize(deliveries.len() + segment.records, Delivery::Delivered);
        }
        writer.seq = last.seq;
        self.writers().insert(stream.clone(), writer);
        deliveries
    }
}

#[async_trait]
impl EventSink for SegmentSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn pace(&self) -> SinkPace {
        let options = &self.shared.options;
        let (part, whole) = OF_A_SEGMENT;
        let bytes = options.segment_bytes / whole * part;
        SinkPace::default()
            .with_linger(options.linger)
            .with_max_bytes(bytes)
            .with_max_records(bytes / LEAST_BYTES + 1)
            .with_timeout(options.timeout)
    }

    /// Waits until nothing is being put together.
    async fn settle(&self) {
        self.finish().await;
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        let stream = &first.stream;
        let deliveries = self.shared.put(stream, batch).await;
        let over = |record: &Record| self.shared.options.ends.iter().any(|end| **end == *record.kind);
        let ended = batch
            .iter()
            .zip(&deliveries)
            .rfind(|(record, delivery)| delivery.is_accepted() && over(record));
        if let Some((record, _)) = ended {
            self.shared.writers().remove(stream);
            self.compact_in_background(stream.clone(), record.epoch);
        }
        deliveries
    }
}

fn with_source(error: &StoreError) -> String {
    let source = std::error::Error::source(error);
    let text = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    match failure_of(error) {
        Some(failure) => format!("{text}; {}", failure.hint()),
        None => text,
    }
}
