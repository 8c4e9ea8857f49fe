//! The sink: looks for the bus, maps records, and gives an answer for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_connect::Failure;
use tokio::sync::OnceCell;
use tracking_journal::{Delivery, EventSink, Record, SinkPace};

use crate::client::{Connected, connect};
use crate::detail::About;
use crate::entry::{Entry, Mapped, map};
use crate::error::{EVENT_BRIDGE, forbids_only_the_look};
use crate::sending::{held_back, send};
use crate::settings::{Patience, Settings};

/// Records of one batch of the relay: many calls, so that one that is not full weighs little.
const BATCH_RECORDS: usize = 250;
/// Their bytes.
const BATCH_BYTES: usize = 4 << 20;
/// What a batch may take beside its calls.
const MARGIN: Duration = Duration::from_secs(5);

/// Sends events of upgrades to a bus. Cheap to clone; clones share one connection and one check of the bus.
#[derive(Debug, Clone)]
pub struct EventBridgeSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    client: OnceCell<Connected>,
    /// Whether the bus was looked for, and nothing is known against it.
    pub(crate) checked: AtomicBool,
    /// Whether the bus ever took an entry: then one that is refused alone is refused for what is in it.
    pub(crate) proved: AtomicBool,
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
    NotAllowed(Failure),
    /// Nobody could be asked. Events wait in the journal, and the check is made again before the first is sent.
    Unreachable(Failure),
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
    /// [`Failure`] for what somebody has to put right: a bus that does not exist, credentials that are absent
    /// or not valid, a wrong region. An outage is none, and neither is being denied the look.
    pub async fn check(&self) -> Result<BusCheck, Failure> {
        self.shared.check().await
    }
}

#[async_trait]
impl EventSink for EventBridgeSink {
    fn name(&self) -> &str {
        self.shared.settings.sink_name.as_str()
    }

    /// Batches of many calls, and time enough for what [`Patience`] allows, so that nothing that was sent is sent again.
    fn pace(&self) -> SinkPace {
        let Patience {
            call_timeout,
            batch_time,
            ..
        } = self.shared.settings.patience;
        // The look for the bus, and the call that is begun at the last moment.
        let longest = batch_time + 2 * call_timeout + MARGIN;
        SinkPace::default()
            .with_max_records(BATCH_RECORDS)
            .with_max_bytes(BATCH_BYTES)
            .with_timeout(longest)
    }

    /// The kinds that it does not send are passed by, so that calls are full.
    fn skips(&self) -> Vec<Arc<str>> {
        self.shared.settings.kinds.others().map(Arc::from).collect()
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
        let sent = self.shared.send(&entries).await;
        tell_of_truncated(first, &entries, &sent);
        let mut sent = sent.into_iter();
        answers
            .into_iter()
            .map(|answer| answer.or_else(|| sent.next()))
            .map(|answer| answer.expect("`send` answers for each entry"))
            .collect()
    }
}

impl Shared {
    pub(crate) async fn connected(&self) -> &Connected {
        self.client.get_or_init(|| connect(&self.settings)).await
    }

    /// An answer for each entry, in order.
    async fn send(&self, entries: &[Entry]) -> Vec<Delivery> {
        if entries.is_empty() {
            return Vec::new();
        }
        match self.ready().await {
            Ok(()) => send(self, entries).await,
            Err(error) => vec![held_back(&error); entries.len()],
        }
    }

    /// Looks for the bus unless that was done, by this call or another.
    async fn ready(&self) -> Result<(), Failure> {
        if self.checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.check().await? {
            BusCheck::Exists { .. } | BusCheck::NotAllowed(_) => Ok(()),
            BusCheck::Unreachable(error) => Err(error),
        }
    }

    async fn check(&self) -> Result<BusCheck, Failure> {
        let bus = &self.settings.bus;
        let connected = self.connected().await;
        let request = connected.client.describe_event_bus().name(bus);
        let mut answer = request.clone().send().await;
        if answer.is_err() && connected.renewal.is_pending() {
            answer = request.send().await;
        }
        let error = match answer {
            Ok(output) => {
                self.checked.store(true, Ordering::Relaxed);
                return Ok(BusCheck::Exists { arn: output.arn });
            }
            Err(error) => Failure::from_sdk(EVENT_BRIDGE, format!("DescribeEventBus on bus {bus}"), &error),
        };
        if error.cause.is_outage() {
            return Ok(BusCheck::Unreachable(error));
        }
        if forbids_only_the_look(error.cause) {
            if !self.checked.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, hint = error.hint(), "whether the event bus exists cannot be looked up; events are sent all the same");
            }
            return Ok(BusCheck::NotAllowed(error));
        }
        Err(error)
    }
}

/// Says so once, when it is sent; the event says it too.
fn tell_of_truncated(first: &Record, entries: &[Entry], sent: &[Delivery]) {
    let truncated = entries.iter().zip(sent).filter(|(entry, _)| entry.truncated);
    let count = truncated
        .filter(|(_, answer)| **answer == Delivery::Delivered)
        .count();
    if count > 0 {
        tracing::warn!(stream = %first.stream, count,
            "events were too large for EventBridge: fields were left out, and their details say which");
    }
}
