//! Putting the small segments of a stream that is over together.

use std::collections::HashSet;

use artifact_core::{StoreError, StoreErrorKind, run_blocking};
use futures_util::stream::{self, StreamExt};
use tracking_model::StreamId;
use uuid::Uuid;

use super::key::{self, SegmentName, segment_key};
use super::segment::{self, Packer, Segment};
use crate::key::ObjectKey;
use crate::metadata::ObjectMetadata;
use crate::object::{ObjectInfo, S3Objects};

/// Segments that are read ahead.
const AHEAD: usize = 16;

/// Outcome of a compaction.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments that were put together.
    pub small: usize,
    /// Segments that they became; 0 if there was nothing to gain.
    pub combined: usize,
    /// Small segments that could not be deleted, and why. Readers read both, which changes nothing.
    pub left: Vec<(ObjectKey, StoreError)>,
}

/// Writes the segments of one life of a stream anew, as few of at most `limit` bytes, and then deletes the small ones.
/// Records are in both in between, and for good if deletion is denied or does not come about.
pub(crate) async fn compact(
    objects: &S3Objects,
    limit: usize,
    stream: &StreamId,
    epoch: Uuid,
) -> Result<Compacted, StoreError> {
    let listed = objects.all(&key::epoch_folder(stream, epoch)).await?;
    let small = worth_it(listed, limit as u64);
    if small.len() < 2 {
        return Ok(Compacted::default());
    }
    let mut combiner = Combiner {
        objects,
        name: SegmentName {
            stream: stream.clone(),
            epoch,
            first_seq: 1,
        },
        packer: Some(Packer::new(limit)),
        ids: HashSet::new(),
        combined: 0,
    };
    let mut done = Vec::with_capacity(small.len());
    let mut reads = stream::iter(small)
        .map(|object| async move {
            // At most the bytes that were listed, whatever is there now.
            let read = objects.read_range(&object.key, 0, object.size).await;
            (object.key, read)
        })
        .buffered(AHEAD);
    while let Some((key, read)) = reads.next().await {
        match read {
            Ok(read) => {
                // One with lines that are no records is left as it is, for people to look at.
                if combiner.add(read.bytes).await? {
                    done.push(key);
                }
            }
            // Somebody else put it together.
            Err(error) if error.kind() == StoreErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    drop(reads);
    combiner.finish().await?;
    let deleted = objects.delete_many(&done).await;
    Ok(Compacted {
        small: done.len(),
        combined: combiner.combined,
        left: deleted.failed,
    })
}

/// Segments that can be put together so that there are fewer, in the order of their sequences.
fn worth_it(listed: Vec<ObjectInfo>, limit: u64) -> Vec<ObjectInfo> {
    let named = |object: ObjectInfo| Some((SegmentName::parse(&object.key)?.first_seq, object));
    // Those that were put together before are near the limit; what is larger has one long record in it.
    let mut small: Vec<_> = listed
        .into_iter()
        .filter(|object| object.size < limit / 4 * 3)
        .filter_map(named)
        .collect();
    small.sort_by(|a, b| (a.0, &a.1.key).cmp(&(b.0, &b.1.key)));
    small.into_iter().map(|(_, object)| object).collect()
}

struct Combiner<'a> {
    objects: &'a S3Objects,
    name: SegmentName,
    packer: Option<Packer>,
    /// Of the records that are in.
    ids: HashSet<Uuid>,
    combined: usize,
}

impl Combiner<'_> {
    /// Takes the lines of a segment as they are, each record once; puts what is full. Nothing, if not all of its lines are
    /// records: then it says no.
    async fn add(&mut self, bytes: Vec<u8>) -> Result<bool, StoreError> {
        let name = self.name.clone();
        let mut packer = self.packer.take().expect("it is given back after each segment");
        let mut ids = std::mem::take(&mut self.ids);
        let (packer, ids, full, taken) = run_blocking(move || {
            let mut lines = Vec::new();
            let bad = segment::read(&name, &bytes, |record, line| {
                lines.push((record.id, record.seq, line))
            });
            let mut full = Vec::new();
            if bad.is_empty() {
                for (id, seq, line) in lines {
                    if ids.insert(id) {
                        full.extend(packer.push(seq, line));
                    }
                }
            }
            (packer, ids, full, bad.is_empty())
        })
        .await;
        (self.packer, self.ids) = (Some(packer), ids);
        for segment in full {
            self.put(segment).await?;
        }
        Ok(taken)
    }

    async fn finish(&mut self) -> Result<(), StoreError> {
        match self.packer.as_mut().and_then(Packer::finish) {
            Some(segment) => self.put(segment).await,
            None => Ok(()),
        }
    }

    async fn put(&mut self, segment: Segment) -> Result<(), StoreError> {
        let Segment { first_seq, bytes, .. } = segment;
        // A name of its own for each: a record that is missing in a journal may have another of its sequence.
        let SegmentName { stream, epoch, .. } = &self.name;
        let key = segment_key(stream, *epoch, tracking_model::new_uuid(), first_seq);
        self.objects
            .create(&key, bytes, &ObjectMetadata::default())
            .await?;
        self.combined += 1;
        Ok(())
    }
}
