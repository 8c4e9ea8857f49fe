//! The sink: maps, divides into calls, sends them one after the other, and matches the answers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use tracking_journal::{Delivery, EventSink, Record, RelayOptions};
use tracking_model::Timestamp;

use crate::answer::{delivery_of, is_throttled};
use crate::batch::calls;
use crate::client::connect;
use crate::detail::About;
use crate::entry::{Entry, Mapped, map};
use crate::error::EventBridgeError;
use crate::settings::Settings;

/// Records of one batch of the relay: many calls, so that one that is not full weighs little.
const BATCH_RECORDS: usize = 250;

/// Sends events of upgrades to a bus. Cheap to clone; clones share one connection and one check of the bus.
#[derive(Debug, Clone)]
pub struct EventBridgeSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    client: OnceCell<Client>,
    /// Whether the bus was looked for, and nothing is known against it.
    checked: AtomicBool,
    /// Whether the bus ever took an entry: then a call that is refused alone is refused for what is in it.
    proved: AtomicBool,
}

/// What a look at the bus found, where nothing speaks against sending to it.
#[derive(Debug)]
#[non_exhaustive]
pub enum BusCheck {
    /// It exists.
    Exists {
        /// Its ARN, where the server tells it.
        arn: Option<String>,
    },
    /// Whether it exists cannot be told, because looking is not allowed or not possible at this endpoint. Events are
    /// sent all the same; PutEvents may answer success for a bus that does not exist.
    NotAllowed(EventBridgeError),
    /// Nobody could be asked. Events wait in the journal, and the check is made again before the first is sent.
    Unreachable(EventBridgeError),
}

impl EventBridgeSink {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                client: OnceCell::new(),
                checked: AtomicBool::new(false),
                proved: AtomicBool::new(false),
            }),
        }
    }

    /// The bus, as it was configured: a name or an ARN.
    #[must_use]
    pub fn bus(&self) -> &str {
        &self.shared.settings.bus
    }

    /// The types of events that are sent.
    pub fn event_types(&self) -> impl Iterator<Item = &'static str> {
        self.shared.settings.kinds.names()
    }

    /// Looks whether the bus exists. Calling it is optional: it is done before the first event is sent, too, and until
    /// it has succeeded events are held back.
    ///
    /// # Errors
    /// [`EventBridgeError`] for what somebody has to put right: a bus that does not exist, credentials that are absent
    /// or not valid, a wrong region. An outage is none, and neither is being denied the look.
    pub async fn check(&self) -> Result<BusCheck, EventBridgeError> {
        self.shared.check().await
    }

    /// `options` with what suits this sink: batches of many calls, and the kinds that it does not send passed by, so
    /// that calls are full.
    #[must_use]
    pub fn relay_options(&self, options: RelayOptions) -> RelayOptions {
        let mut skip = options.skip_kinds.clone();
        skip.extend(self.shared.settings.kinds.others().map(Arc::from));
        let batch_bytes = options.window_bytes.max(1) / 2;
        options
            .with_skip_kinds(skip)
            .with_batch_records(BATCH_RECORDS)
            .with_batch_bytes(batch_bytes)
    }
}

#[async_trait]
impl EventSink for EventBridgeSink {
    fn name(&self) -> &str {
        self.shared.settings.sink_name.as_str()
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        let about = About::new(first);
        let mut entries = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for record in batch {
            answers.push(match map(&self.shared.settings, &about, record) {
                Mapped::Ignored => Some(Delivery::Ignored),
                Mapped::Impossible(reason) => Some(Delivery::park(reason)),
                Mapped::Entry(entry) => {
                    entries.push(entry);
                    None
                }
            });
        }
        let mut sent = self.shared.send(&entries).await.into_iter();
        answers
            .into_iter()
            .map(|answer| answer.or_else(|| sent.next()))
            .map(|answer| answer.expect("`send` answers for each entry"))
            .collect()
    }
}

impl Shared {
    async fn client(&self) -> &Client {
        self.client.get_or_init(|| connect(&self.settings)).await
    }

    /// An answer for each entry, in order. Stops at the first call that fails, so that what follows stays in order.
    async fn send(&self, entries: &[Entry]) -> Vec<Delivery> {
        let mut answers = Vec::with_capacity(entries.len());
        if entries.is_empty() {
            return answers;
        }
        if let Err(error) = self.ready().await {
            return vec![held_back(&error); entries.len()];
        }
        let begun = Instant::now();
        let mut go_on = true;
        for call in calls(entries.iter().map(|entry| entry.size), self.settings.max_bytes) {
            if begun.elapsed() >= self.settings.patience.batch_time {
                break;
            }
            go_on = self.call(entries, call, &mut answers).await;
            if !go_on {
                break;
            }
        }
        let rest = match answers.last() {
            Some(Delivery::Retry { reason, after }) if !go_on => Delivery::Retry {
                reason: format!("held back behind one that failed: {reason}"),
                after: *after,
            },
            _ => Delivery::retry("held back: the calls before it took long, or EventBridge asks for fewer"),
        };
        answers.resize(entries.len(), rest);
        answers
    }

    /// One call, and where something in it is refused with all of it, one for each of its entries. Returns whether
    /// others may follow at once.
    async fn call(&self, entries: &[Entry], call: Range<usize>, answers: &mut Vec<Delivery>) -> bool {
        let entries = entries.get(call).unwrap_or_default();
        match self.put(entries).await {
            Ok(results) => self.take(&results, entries.len(), answers),
            Err(error) if error.cause.may_be_an_entry() && entries.len() > 1 => {
                for entry in entries {
                    let go_on = match self.put(std::slice::from_ref(entry)).await {
                        Ok(results) => self.take(&results, 1, answers),
                        Err(error) => self.refused(&error, 1, answers),
                    };
                    if !go_on {
                        return false;
                    }
                }
                true
            }
            Err(error) => self.refused(&error, entries.len(), answers),
        }
    }

    async fn put(&self, entries: &[Entry]) -> Result<Vec<PutEventsResultEntry>, EventBridgeError> {
        let entries = entries.iter().map(|entry| self.request_entry(entry)).collect();
        let request = self.client().await.put_events().set_entries(Some(entries));
        let output = request.send().await;
        output
            .map(|output| output.entries.unwrap_or_default())
            .map_err(|error| EventBridgeError::from_sdk("PutEvents", &self.settings.bus, error))
    }

    fn request_entry(&self, entry: &Entry) -> PutEventsRequestEntry {
        let Settings {
            bus,
            source,
            resources,
            ..
        } = &self.settings;
        PutEventsRequestEntry::builder()
            .event_bus_name(bus)
            .source(source)
            .detail_type(&entry.detail_type)
            .detail(&entry.detail)
            .time(date_time(entry.time))
            .set_resources(
                (!resources.is_empty()).then(|| resources.iter().map(|arn| arn.to_string()).collect()),
            )
            .build()
    }

    /// Takes the answer to a call of `count` entries.
    fn take(&self, results: &[PutEventsResultEntry], count: usize, answers: &mut Vec<Delivery>) -> bool {
        if results.len() != count {
            let reason = format!("EventBridge answered for {} entries of {count}", results.len());
            answers.extend(std::iter::repeat_n(Delivery::retry(reason), count));
            return false;
        }
        let deliveries: Vec<_> = results.iter().map(delivery_of).collect();
        if deliveries.contains(&Delivery::Delivered) {
            self.proved.store(true, Ordering::Relaxed);
        }
        answers.extend(deliveries);
        !results.iter().any(is_throttled)
    }

    /// Takes the failure of a call of `count` entries.
    fn refused(&self, error: &EventBridgeError, count: usize, answers: &mut Vec<Delivery>) -> bool {
        // Alone, and others were accepted with the same settings: it is the entry.
        let for_good = count == 1 && error.cause.may_be_an_entry() && self.proved.load(Ordering::Relaxed);
        let answer = if for_good {
            Delivery::park(error.to_string())
        } else {
            held_back(error)
        };
        answers.extend(std::iter::repeat_n(answer, count));
        for_good
    }

    /// Looks for the bus unless that was done, by this call or another.
    async fn ready(&self) -> Result<(), EventBridgeError> {
        if self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.check().await? {
            BusCheck::Exists { .. } | BusCheck::NotAllowed(_) => Ok(()),
            BusCheck::Unreachable(error) => Err(error),
        }
    }

    async fn check(&self) -> Result<BusCheck, EventBridgeError> {
        let bus = &self.settings.bus;
        let request = self.client().await.describe_event_bus().name(bus);
        let error = match request.send().await {
            Ok(output) => {
                self.checked.store(true, Ordering::Relaxed);
                return Ok(BusCheck::Exists { arn: output.arn });
            }
            Err(error) => EventBridgeError::from_sdk("DescribeEventBus", bus, error),
        };
        if error.cause.is_outage() {
            return Ok(BusCheck::Unreachable(error));
        }
        if error.cause.forbids_only_the_look() {
            if !self.checked.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "whether the event bus exists cannot be looked up; events are sent all the same");
            }
            return Ok(BusCheck::NotAllowed(error));
        }
        Err(error)
    }
}

fn held_back(error: &EventBridgeError) -> Delivery {
    Delivery::Retry {
        reason: error.to_string(),
        after: error.retry_after,
    }
}

fn date_time(at: Timestamp) -> DateTime {
    let micros = at.as_micros();
    let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1000).expect("less than a second");
    DateTime::from_secs_and_nanos(micros.div_euclid(1_000_000), nanos)
}
