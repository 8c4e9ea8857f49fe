//! A sink that keeps what it gets in memory.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Delivery, EventSink, SinkPace};
use crate::Record;

type Answer = Box<dyn FnMut(&Record) -> Delivery + Send>;

/// Keeps every record that it accepts: for tests, examples, and programs that want their own records back.
///
/// It grows with what it gets and drops no duplicates, so that at-least-once delivery can be seen.
pub struct MemorySink {
    name: String,
    pace: SinkPace,
    content: Mutex<Content>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Content {
    records: Vec<Record>,
    batches: Vec<usize>,
    answer: Option<Answer>,
}

impl MemorySink {
    /// A sink that accepts everything.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            pace: SinkPace::default(),
            content: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// Sets what it asks of the relay that feeds it.
    #[must_use]
    pub const fn with_pace(mut self, pace: SinkPace) -> Self {
        self.pace = pace;
        self
    }

    /// Lets `answer` decide from now on what becomes of each record; only what it answers with
    /// [`Delivery::Delivered`] is kept.
    pub fn answer_with(&self, answer: impl FnMut(&Record) -> Delivery + Send + 'static) {
        self.content().answer = Some(Box::new(answer));
    }

    /// The records delivered so far, in order of arrival, duplicates included.
    #[must_use]
    pub fn received(&self) -> Vec<Record> {
        self.content().records.clone()
    }

    /// The ids of [`Self::received`].
    #[must_use]
    pub fn received_ids(&self) -> Vec<Uuid> {
        self.content().records.iter().map(|record| record.id).collect()
    }

    /// The length of each batch so far, refused records included.
    #[must_use]
    pub fn batch_sizes(&self) -> Vec<usize> {
        self.content().batches.clone()
    }

    /// Waits until at least `count` records were delivered.
    pub async fn wait_for(&self, count: usize) {
        let mut counts = self.count.subscribe();
        counts
            .wait_for(|now| *now >= count)
            .await
            .expect("the sender lives as long as the sink");
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventSink for MemorySink {
    fn name(&self) -> &str {
        &self.name
    }

    fn pace(&self) -> SinkPace {
        self.pace
    }

    async fn publish(&self, _first: &Record, batch: &[Record]) -> Vec<Delivery> {
        let mut content = self.content();
        content.batches.push(batch.len());
        let mut deliveries = Vec::with_capacity(batch.len());
        for record in batch {
            let delivery = content
                .answer
                .as_mut()
                .map_or(Delivery::Delivered, |answer| answer(record));
            if delivery == Delivery::Delivered {
                content.records.push(record.clone());
            }
            deliveries.push(delivery);
        }
        self.count.send_replace(content.records.len());
        deliveries
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
