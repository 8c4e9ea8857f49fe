//! Feeding sinks once, for programs that end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracking_journal::{
    EventSink, LeaseError, Relay, RelayError, RelayOptions, SinkName, SinkStatus, sink_status,
};
use tracking_model::StreamId;

use super::{Deliveries, SinkSet, Undrained, relay_options};
use crate::Archive;

/// Streams that are fed at a time. Each has a cursor, a journal and a watch of the file system open.
const AT_ONCE: usize = 8;
/// A sink that got nothing for so long is given up, whatever time is left…
const PATIENCE: Duration = Duration::from_secs(15);
/// …and sooner where there is little time: after this part of it.
const PART: u32 = 4;

/// How often the cursor of a sink that another process feeds is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A sink that another process feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FedByOthers {
    /// Is left to that process.
    Leave,
    /// Is waited for: that process is to deliver what was there at the beginning, or what is left is told.
    WaitFor,
}

/// Lets sinks have what they lack of `streams`, until the deadline, and tells what they got and did not get.
pub(crate) async fn deliver(
    archive: &Archive,
    sinks: &SinkSet,
    streams: &[StreamId],
    deadline: Instant,
    others: FedByOthers,
) -> Deliveries {
    let options = relay_options(Arc::clone(archive.clock()));
    let now = Instant::now();
    let time = deadline.saturating_duration_since(now);
    let (half, patience) = (now + time / 2, PATIENCE.min(time / PART));
    let sessions: Vec<StreamId> = streams
        .iter()
        .filter(|stream| matches!(stream, StreamId::Session(_)))
        .cloned()
        .collect();
    let mut deliveries = Deliveries::default();
    // Uploads write records, of which the others are to hear.
    for (sinks, streams, deadline) in [
        // Large files must not take all of the time.
        (sinks.uploads.as_slice(), sessions.as_slice(), half),
        (sinks.others.as_slice(), streams, deadline),
    ] {
        let limit = Arc::new(Semaphore::new(AT_ONCE));
        let mut feeding = JoinSet::new();
        for stream in streams {
            for sink in sinks {
                let once = Once {
                    archive: archive.clone(),
                    stream: stream.clone(),
                    sink: Arc::clone(sink),
                    options: options.clone(),
                    deadline,
                    patience,
                    others,
                };
                let limit = Arc::clone(&limit);
                feeding.spawn(async move {
                    let _turn = limit.acquire().await;
                    once.feed().await
                });
            }
        }
        while let Some(ended) = feeding.join_next().await {
            match ended {
                Ok((delivered, left)) => {
                    deliveries.delivered += delivered;
                    deliveries.undrained.extend(left);
                }
                Err(error) => super::note_death(&error),
            }
        }
    }
    for sink in &sinks.others {
        // What it does not come to the end of now, it does the next time.
        match tokio::time::timeout_at(deadline, sink.settle()).await {
            Ok(()) | Err(_) => {}
        }
    }
    let undrained = &mut deliveries.undrained;
    undrained.sort_by(|a, b| (&a.stream, &a.sink).cmp(&(&b.stream, &b.sink)));
    deliveries
}

/// One sink, to be fed once from one stream.
struct Once {
    archive: Archive,
    stream: StreamId,
    sink: Arc<dyn EventSink>,
    options: RelayOptions,
    deadline: Instant,
    patience: Duration,
    others: FedByOthers,
}

/// Outcome of waiting for another process that feeds a sink.
enum Other {
    Delivered,
    Ended,
    Slow(Undrained),
}

impl Once {
    /// How many records it got, and what it did not get.
    async fn feed(self) -> (u64, Option<Undrained>) {
        let mut delivered = 0;
        let left = loop {
            match self.drain(&mut delivered).await {
                Ok(left) => break left,
                Err(RelayError::Lease(LeaseError::Held(_))) if self.others == FedByOthers::Leave => {
                    break None;
                }
                Err(RelayError::Lease(LeaseError::Held(_))) => match self.wait_for_other().await {
                    Some(Other::Ended) => {}
                    Some(Other::Slow(left)) => break Some(left),
                    Some(Other::Delivered) | None => break None,
                },
                Err(error) => break Some(Undrained::of(&self.stream, self.sink.name(), &error)),
            }
        };
        (delivered, left)
    }

    async fn drain(&self, delivered: &mut u64) -> Result<Option<Undrained>, RelayError> {
        let begun = self.options.clock.now();
        let (dir, sink) = (self.archive.data_dir(), Arc::clone(&self.sink));
        let mut relay = Relay::open(dir, self.stream.clone(), sink, self.options.clone()).await?;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let report = relay.drain(left.min(self.patience)).await?;
            *delivered += report.delivered;
            if report.remaining == 0 {
                return Ok(None);
            }
            if report.delivered == 0 || left <= self.patience {
                return Ok(Some(Undrained::by(&relay, report.remaining, begun)));
            }
        }
    }

    /// Waits until the process that feeds the sink has delivered what is there now, ends, or gets no further for as long
    /// as a sink of this process may; `None` if that cannot be looked at.
    async fn wait_for_other(&self) -> Option<Other> {
        let mut status = self.status().await?;
        let wanted = status.head.map_or(0, |head| head.seq);
        let mut moved = Instant::now();
        while status.problem.is_some() || (status.lag > 0 && status.cursor.seq < wanted) {
            let now = Instant::now();
            if now >= self.deadline || now - moved >= self.patience {
                return Some(Other::Slow(Undrained::by_other(&status)));
            }
            if status.holder.is_none() {
                return Some(Other::Ended);
            }
            sleep(LOOK).await;
            let next = self.status().await?;
            if next.cursor.position() != status.cursor.position() {
                moved = Instant::now();
            }
            status = next;
        }
        Some(Other::Delivered)
    }

    /// The status of the sink, from its files; `None` if that cannot be read, which has been printed.
    async fn status(&self) -> Option<SinkStatus> {
        let name = SinkName::new(self.sink.name()).ok()?;
        let (dir, stream) = (self.archive.data_dir().clone(), self.stream.clone());
        let looked = tokio::task::spawn_blocking(move || sink_status(&dir, &stream, &name)).await;
        looked.ok()
    }
}
