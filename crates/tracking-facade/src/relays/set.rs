//! Who is to be told, and telling them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracking_journal::{EventSink, SinkName};
use tracking_model::{StreamId, UpgradeId};

use super::once::{self, FedByOthers};
use super::{Deliveries, Relays, Undrained};
use crate::{Archive, Problem};

/// The sinks that a program feeds, for programs that do without [`Tracking`](crate::Tracking): commands that end soon, and
/// those that look after a data directory. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SinkSet {
    /// Uploads the bytes of artifacts, and writes records itself of where they are: so it comes first when all is to be
    /// delivered, and the others hear of that too.
    pub(crate) uploads: Option<Arc<dyn EventSink>>,
    /// The others.
    pub(crate) others: Vec<Arc<dyn EventSink>>,
}

impl SinkSet {
    /// No sink.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more sink, of a name of its own.
    #[must_use]
    pub fn with_sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.others.push(sink);
        self
    }

    /// All of another set too.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.uploads = self.uploads.or(other.uploads);
        self.others.extend(other.others);
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// The names of the sinks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all().map(|sink| sink.name())
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn EventSink>> {
        self.uploads.iter().chain(&self.others)
    }

    /// What is wrong with the names: each must be valid, and of one sink only.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut names = HashSet::new();
        let mut problems = Vec::new();
        for name in self.names() {
            problems.extend(SinkName::new(name).err().map(Problem::Id));
            if !names.insert(name) {
                problems.push(Problem::SameSink(name.to_owned()));
            }
        }
        problems
    }

    /// Lets the sinks have what they lack of `streams`, and tells what they got, and did not get within `time`; a sink that
    /// takes nothing for 15 s, or for a quarter of the time if that is less, is given up before. What another process feeds
    /// is left to it.
    ///
    /// # Cancellation
    /// When the future is dropped, what was not delivered waits for the next call, with what may have been delivered and
    /// not been noted.
    pub async fn deliver(&self, archive: &Archive, streams: &[StreamId], time: Duration) -> Deliveries {
        once::deliver(archive, self, streams, after(time), FedByOthers::Leave).await
    }

    /// As [`Self::deliver`], and waits for the processes that feed sinks in this one's place: what they do not deliver
    /// in that time is told too.
    ///
    /// # Cancellation
    /// As [`Self::deliver`].
    pub async fn deliver_all(&self, archive: &Archive, streams: &[StreamId], time: Duration) -> Deliveries {
        once::deliver(archive, self, streams, after(time), FedByOthers::WaitFor).await
    }

    /// Feeds the sinks from an upgrade and its sessions, those too that come later, until it is stopped.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn follow(&self, archive: &Archive, upgrade_id: UpgradeId) -> FollowedUpgrade {
        FollowedUpgrade(Relays::start(
            archive.data_dir().clone(),
            upgrade_id,
            Arc::clone(archive.clock()),
            self.clone(),
        ))
    }
}

/// The moment after `time`.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    // A century is as good as for ever.
    now.checked_add(time)
        .unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 86_400))
}

/// Sinks that are being fed from an upgrade. Dropped, feeding stops at once; the cursors say how far each got.
#[derive(Debug)]
pub struct FollowedUpgrade(Relays);

impl FollowedUpgrade {
    /// Lets the sinks have what is left, for at most `time`, and tells what they did not get.
    pub async fn stop(self, time: Duration) -> Vec<Undrained> {
        self.0.stop(Instant::now() + time).await
    }
}
