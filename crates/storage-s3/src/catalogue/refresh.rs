//! Bringing the copy up to date: one listing, and each segment that is not in the copy yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use artifact_core::{StoreError, StoreErrorKind, run_blocking};
use aws_connect::Cause;
use futures_util::stream::{self, StreamExt};
use tracking_model::{StreamId, Timestamp};
use uuid::Uuid;

use super::Catalogue;
use super::cache::{Listed, Missing, Read};
use super::key::{self, SegmentName};
use super::report::{
    MissingStart, RefreshProgress, RefreshProgressCallback, RefreshReport, RefreshScope, UnreadableSegment,
};
use super::segment;
use super::state::Refused;
use crate::error::failure_of;
use crate::key::ObjectKey;
use crate::list::ListRequest;
use crate::object::ReadObject;

/// How many segments of one stream are read at once.
const GETS_AT_ONCE: usize = 32;
/// How often a stream is looked at again because what was listed is gone, or the cache was changed by others.
const ROUNDS: usize = 8;
/// Unreadable lines of one segment that are remembered.
const MOST_REFUSED: usize = 20;
/// Objects without a segment's name that are told one by one.
const MOST_MISNAMED: usize = 100;

/// A segment that was listed.
#[derive(Debug, Clone)]
struct Found {
    key: ObjectKey,
    name: SegmentName,
    size: u64,
}

impl Found {
    /// Its key below the stream's folder.
    fn short(&self) -> String {
        let key = self.key.as_str();
        key.strip_prefix(&key::folder(&self.name.stream))
            .unwrap_or(key)
            .to_owned()
    }
}

/// The segments of one stream by their short names.
#[derive(Debug, Clone)]
struct Listing {
    at: Timestamp,
    found: BTreeMap<String, Found>,
}

impl Listing {
    fn listed(&self) -> Listed {
        Listed {
            at: self.at,
            segments: self.found.keys().cloned().collect(),
        }
    }
}

/// The shared state of a refresh of many streams.
struct Run<'a> {
    catalogue: &'a Catalogue,
    scope: RefreshScope,
    progress: Option<RefreshProgressCallback>,
    tally: Mutex<(RefreshProgress, RefreshReport)>,
    /// True if a read got no answer: no other is tried then, for each would take as long.
    lost: AtomicBool,
}

impl Catalogue {
    /// Brings the copy up to date with what is in the bucket. It costs one LIST for each 1,000 segments and one GET for
    /// each that is not in the copy yet.
    ///
    /// # Errors
    /// Whatever S3 refuses the listing, and a cache that cannot be read. What concerns one stream alone is in the report,
    /// and the others are brought up to date.
    ///
    /// # Cancellation
    /// Segments that were taken stay; the next refresh continues.
    pub async fn refresh(
        &self,
        scope: RefreshScope,
        progress: Option<RefreshProgressCallback>,
    ) -> Result<RefreshReport, StoreError> {
        let run = Run {
            catalogue: self,
            scope,
            progress,
            tally: Mutex::default(),
            lost: AtomicBool::new(false),
        };
        let at = self.options.clock.now();
        let listings = run.list(&run.scope.prefix(), at).await?;
        run.tally(|_, report| {
            report.streams = listings.len();
            report.segments = listings.values().map(|listing| listing.found.len()).sum();
        });
        run.remove_others(&listings, at).await?;
        let streams = listings.into_iter().map(|(stream, listing)| {
            let run = &run;
            async move {
                if let Err(error) = run.refresh_stream(&stream, listing).await {
                    if nobody_answers(&error) {
                        run.lost.store(true, Ordering::Relaxed);
                    }
                    run.tally(|_, report| report.failed.push((stream, error)));
                }
            }
        });
        let at_once = self.options.streams_at_once.max(1);
        stream::iter(streams)
            .buffer_unordered(at_once)
            .collect::<Vec<()>>()
            .await;
        let (_, mut report) = run.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        report
            .unreadable
            .sort_by(|a, b| (&a.key, a.line).cmp(&(&b.key, b.line)));
        report.missing_starts.sort();
        report.failed.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(report)
    }
}

impl Run<'_> {
    fn tally<T>(&self, change: impl FnOnce(&mut RefreshProgress, &mut RefreshReport) -> T) -> T {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, report) = &mut *tally;
        change(progress, report)
    }

    /// All segments whose keys begin with `prefix`, by stream.
    async fn list(&self, prefix: &str, at: Timestamp) -> Result<BTreeMap<StreamId, Listing>, StoreError> {
        let mut request = ListRequest::prefix(prefix);
        let mut listings = BTreeMap::new();
        let mut misnamed = 0_usize;
        loop {
            let page = self.catalogue.objects.page(&request).await?;
            self.tally(|_, report| report.lists += 1);
            for object in page.objects {
                let Some(name) = SegmentName::parse(&object.key) else {
                    misnamed += 1;
                    if misnamed <= MOST_MISNAMED {
                        self.unreadable(object.key.as_str(), None, None, "this is no name of a segment");
                    }
                    continue;
                };
                if self.scope.leaves_out(name.epoch) {
                    continue;
                }
                let listing = listings.entry(name.stream.clone()).or_insert_with(|| Listing {
                    at,
                    found: BTreeMap::new(),
                });
                let found = Found {
                    key: object.key,
                    name,
                    size: object.size,
                };
                listing.found.insert(found.short(), found);
            }
            match page.next {
                Some(next) => request.continuation = Some(next),
                None => break,
            }
        }
        if misnamed > MOST_MISNAMED {
            let more = misnamed - MOST_MISNAMED;
            self.unreadable(
                prefix,
                None,
                None,
                format!("{more} more objects here have no name of a segment"),
            );
        }
        Ok(listings)
    }

    fn unreadable(&self, key: &str, stream: Option<&StreamId>, line: Option<u64>, reason: impl Into<String>) {
        let unreadable = UnreadableSegment {
            key: key.to_string(),
            stream: stream.cloned(),
            line,
            reason: reason.into(),
        };
        self.tally(|_, report| report.unreadable.push(unreadable));
    }

    /// Removes streams of which nothing is in the bucket.
    async fn remove_others(
        &self,
        listings: &BTreeMap<StreamId, Listing>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let cache = self.catalogue.cache.clone();
        let known = run_blocking(move || cache.streams()).await?;
        for stream in known {
            if !self.scope.has(&stream) || listings.contains_key(&stream) {
                continue;
            }
            let (cache, gone) = (self.catalogue.cache.clone(), stream.clone());
            match run_blocking(move || cache.remove(&gone, at)).await {
                Ok(true) => self.tally(|_, report| report.removed.push(stream)),
                Ok(false) => {}
                Err(error) => self.tally(|_, report| report.failed.push((stream, error))),
            }
        }
        Ok(())
    }

    async fn refresh_stream(&self, stream: &StreamId, mut listing: Listing) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            let missing = self.missing(stream, &listing).await?;
            let (wanted, too_large) = self.wanted(&listing, &missing.segments);
            if wanted.is_empty() {
                self.report_missing_starts(stream, &missing.missing_starts);
                self.report_refused(&listing, missing.refused, &too_large);
                return Ok(());
            }
            self.tally(|progress, _| {
                progress.total_segments += wanted.len() as u64;
                progress.total_bytes += wanted.iter().map(|found| found.size).sum::<u64>();
            });
            let mut gone = false;
            for chunk in self.chunks(&wanted) {
                if self.lost.load(Ordering::Relaxed) {
                    let message = "a moment ago the bucket did not answer any more";
                    let error = StoreError::new(StoreErrorKind::Unavailable, "refresh", stream);
                    return Err(error.with_source(message));
                }
                gone |= self.take(stream, &listing, chunk).await?;
            }
            if gone {
                // Small segments were put together since they were listed: what was in them is in others.
                let at = self.catalogue.options.clock.now();
                let mut again = self.list(&key::folder(stream), at).await?;
                match again.remove(stream) {
                    Some(found) => listing = found,
                    // All of it is gone; the next refresh of more than this removes it.
                    None => return Ok(()),
                }
            }
        }
        let message = "its segments, or the cache, are changed by others all the time";
        Err(StoreError::new(StoreErrorKind::Unavailable, "refresh", stream).with_source(message))
    }

    async fn missing(&self, stream: &StreamId, listing: &Listing) -> Result<Missing, StoreError> {
        let (cache, listed, stream) = (self.catalogue.cache.clone(), listing.listed(), stream.clone());
        run_blocking(move || cache.missing(&stream, &listed)).await
    }

    /// The segments to read, the oldest first, and those that are too large.
    fn wanted(&self, listing: &Listing, missing: &BTreeSet<String>) -> (Vec<Found>, Vec<Found>) {
        let limit = self.catalogue.options.max_segment_bytes;
        let found = listing.found.iter().filter(|(short, _)| missing.contains(*short));
        let (mut wanted, too_large): (Vec<_>, Vec<_>) = found
            .map(|(_, found)| found.clone())
            .partition(|found| found.size <= limit);
        wanted.sort_by(|a, b| {
            (a.name.epoch, a.name.first_seq, &a.key).cmp(&(b.name.epoch, b.name.first_seq, &b.key))
        });
        (wanted, too_large)
    }

    /// Pieces of what is wanted that fit the memory together with those of a few other streams.
    fn chunks<'a>(&self, wanted: &'a [Found]) -> Vec<&'a [Found]> {
        let limit = self.catalogue.options.memory_permits() / 4;
        let (mut chunks, mut start, mut used) = (Vec::new(), 0, 0);
        for (index, found) in wanted.iter().enumerate() {
            let cost = cost(found);
            if index > start && used + cost > limit {
                chunks.push(&wanted[start..index]);
                (start, used) = (index, 0);
            }
            used += cost;
        }
        chunks.push(&wanted[start..]);
        chunks
    }

    /// Reads some segments and takes them into the copy. Tells whether some of them were gone.
    async fn take(&self, stream: &StreamId, listing: &Listing, chunk: &[Found]) -> Result<bool, StoreError> {
        let permits = self.catalogue.options.memory_permits();
        let cost = chunk.iter().map(cost).sum::<usize>().min(permits);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let _share = self.catalogue.memory.acquire_many(cost).await;
        let mut reads = stream::iter(chunk.to_vec())
            .map(|found| async move {
                let read = self.get(&found).await;
                (found, read)
            })
            .buffer_unordered(GETS_AT_ONCE);
        let (mut objects, mut gone, mut failure) = (Vec::with_capacity(chunk.len()), false, None);
        while let Some((found, read)) = reads.next().await {
            match read {
                Ok(object) => objects.push((found, object.bytes)),
                Err(error) if error.kind() == StoreErrorKind::NotFound => gone = true,
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        drop(reads);
        // The segments that could be read are taken, whatever failed.
        let new_segments = objects.len() as u64;
        let (cache, listed, of) = (self.catalogue.cache.clone(), listing.listed(), stream.clone());
        let new_records = run_blocking(move || {
            let read = read_all(objects);
            if read.segments.is_empty() {
                return Ok(0);
            }
            cache.take(&of, &listed, read)
        })
        .await?;
        self.tally(|_, report| {
            report.new_segments += new_segments;
            report.new_records += new_records;
        });
        failure.map_or(Ok(gone), Err)
    }

    async fn get(&self, found: &Found) -> Result<ReadObject, StoreError> {
        self.tally(|_, report| report.gets += 1);
        // Not more than was listed, whatever is there now.
        let read = self.catalogue.objects.read_range(&found.key, 0, found.size).await;
        let told = self.tally(|progress, _| {
            progress.segments += 1;
            progress.bytes += found.size;
            *progress
        });
        if let Some(progress) = &self.progress {
            progress.tell(told);
        }
        read
    }

    fn report_missing_starts(&self, stream: &StreamId, starts: &BTreeMap<Uuid, u64>) {
        let missing = starts.iter().map(|(epoch, first_seq)| MissingStart {
            stream: stream.clone(),
            epoch: *epoch,
            first_seq: *first_seq,
        });
        self.tally(|_, report| report.missing_starts.extend(missing));
    }

    fn report_refused(&self, listing: &Listing, refused: BTreeSet<Refused>, too_large: &[Found]) {
        for refused in refused {
            if let Some(found) = listing.found.get(&refused.segment) {
                self.unreadable(
                    found.key.as_str(),
                    Some(&found.name.stream),
                    refused.line,
                    refused.reason,
                );
            }
        }
        for found in too_large {
            let limit = self.catalogue.options.max_segment_bytes;
            let reason = format!(
                "it has {} bytes, and segments of more than {limit} are not read",
                found.size
            );
            self.unreadable(found.key.as_str(), Some(&found.name.stream), None, reason);
        }
    }
}

/// True if a request got no answer at all, which does not depend on its object.
fn nobody_answers(error: &StoreError) -> bool {
    let silent = failure_of(error).filter(|failure| failure.endpoint.is_some());
    silent.is_some_and(|failure| matches!(failure.cause, Cause::TimedOut | Cause::NoConnection))
}

/// The memory that a segment takes while it is read, in KiB: its bytes, its records, and what is around them.
fn cost(found: &Found) -> usize {
    usize::try_from(found.size.saturating_mul(3) >> 10)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
}

fn read_all(objects: Vec<(Found, Vec<u8>)>) -> Read {
    let mut read = Read::default();
    for (found, bytes) in objects {
        let short = found.short();
        let bad = segment::read(&found.name, &bytes, |record, _| read.records.push(record));
        let lines = bad.iter().filter(|bad| bad.line.is_some()).count();
        let whole = bad.iter().filter(|bad| bad.line.is_none());
        let refused = bad.iter().filter(|bad| bad.line.is_some()).take(MOST_REFUSED);
        read.refused.extend(refused.chain(whole).map(|bad| Refused {
            segment: short.clone(),
            line: bad.line,
            reason: bad.reason.clone(),
        }));
        if lines > MOST_REFUSED && lines == bad.len() {
            read.refused.insert(Refused {
                segment: short.clone(),
                line: None,
                reason: format!("{lines} of its lines are no records"),
            });
        }
        if bytes.is_empty() {
            read.refused.insert(Refused {
                segment: short.clone(),
                line: None,
                reason: "it is empty".to_owned(),
            });
        }
        read.segments.insert(short);
    }
    read
}
