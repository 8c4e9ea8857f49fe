//! One batch on its way: call after call, with an answer for each entry.

use std::ops::Range;
use std::sync::atomic::Ordering;

use aws_connect::{Cause, Failure};
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use tokio::time::Instant;
use tracking_journal::Delivery;
use tracking_model::Timestamp;

use crate::answer::{delivery_of, is_throttled};
use crate::batch::calls;
use crate::entry::Entry;
use crate::error::{EVENT_BRIDGE, may_be_an_entry};
use crate::settings::Settings;
use crate::sink::Shared;

/// After how many entries that are refused alone, with none accepted yet, it is not them but the settings.
const MOST_SUSPECTS: usize = 10;

/// An answer for each of `entries`, in order. Stops at the first call that fails, so that what follows stays in order.
pub(crate) async fn send(shared: &Shared, entries: &[Entry]) -> Vec<Delivery> {
    let settings = &shared.settings;
    let mut sending = Sending {
        shared,
        entries,
        until: Instant::now() + settings.patience.batch_time,
        answers: Vec::with_capacity(entries.len()),
        suspects: Vec::new(),
    };
    for call in calls(entries.iter().map(|entry| entry.size), settings.max_bytes) {
        if !sending.call(call).await {
            break;
        }
    }
    sending.finish()
}

/// The answer to entries that a failure keeps from being sent. What to do stands in it too, for it has no other place.
pub(crate) fn held_back(error: &Failure) -> Delivery {
    Delivery::Retry {
        reason: format!("{error}; {}", error.hint()),
        after: error.retry_after,
    }
}

struct Sending<'a> {
    shared: &'a Shared,
    entries: &'a [Entry],
    /// No call is begun after this.
    until: Instant,
    /// For the entries from the first on, as far as it has come.
    answers: Vec<Delivery>,
    /// Those that were refused alone: for what is in them, if any other is accepted.
    suspects: Vec<usize>,
}

impl Sending<'_> {
    /// One call; where it is refused and one of its entries may be why, one for each of them. Returns whether others
    /// may follow at once.
    async fn call(&mut self, call: Range<usize>) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        match self.put(call.clone()).await {
            Ok(results) => self.take(&results, call.len()),
            Err(error) if !may_be_an_entry(error.cause) => {
                self.answers
                    .extend(std::iter::repeat_n(held_back(&error), call.len()));
                false
            }
            Err(_) if call.len() > 1 => {
                for one in call {
                    if !Box::pin(self.call(one..one + 1)).await {
                        return false;
                    }
                }
                true
            }
            Err(error) => {
                self.suspects.push(self.answers.len());
                self.answers.push(held_back(&error));
                self.is_proved() || self.suspects.len() < MOST_SUSPECTS
            }
        }
    }

    async fn put(&self, call: Range<usize>) -> Result<Vec<PutEventsResultEntry>, Failure> {
        let settings = &self.shared.settings;
        let entries = self.entries.get(call).unwrap_or_default();
        let entries = entries
            .iter()
            .map(|entry| request_entry(settings, entry))
            .collect();
        let connected = self.shared.connected().await;
        let request = connected.client.put_events().set_entries(Some(entries));
        let mut answer = request.clone().send().await;
        // Nothing was taken. The credentials may have changed: the next call has what there is now.
        if answer.is_err() && connected.renewal.is_pending() {
            answer = request.send().await;
        }
        match answer {
            Ok(output) => Ok(output.entries.unwrap_or_default()),
            Err(error) => {
                let subject = format!("PutEvents on bus {}", settings.bus);
                let error = Failure::from_sdk(EVENT_BRIDGE, subject, &error);
                if error.cause == Cause::NoResource {
                    // Somebody removed it. Nothing is sent before it is found again.
                    self.shared.checked.store(false, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Takes the answer to a call of `count` entries.
    fn take(&mut self, results: &[PutEventsResultEntry], count: usize) -> bool {
        if results.len() != count {
            let reason = format!("EventBridge answered for {} entries of {count}", results.len());
            self.answers
                .extend(std::iter::repeat_n(Delivery::retry(reason), count));
            return false;
        }
        let deliveries: Vec<_> = results.iter().map(delivery_of).collect();
        if deliveries.contains(&Delivery::Delivered) {
            self.shared.proved.store(true, Ordering::Relaxed);
        }
        self.answers.extend(deliveries);
        !results.iter().any(is_throttled)
    }

    fn is_proved(&self) -> bool {
        self.shared.proved.load(Ordering::Relaxed)
    }

    /// The answers, for those too to which it did not come.
    fn finish(mut self) -> Vec<Delivery> {
        let rest = match self.answers.last() {
            Some(Delivery::Retry { reason, after }) => Delivery::Retry {
                reason: format!("held back behind one that failed: {reason}"),
                after: *after,
            },
            _ => Delivery::retry("held back: the calls before it took long, or EventBridge asks for fewer"),
        };
        if self.is_proved() {
            for suspect in self.suspects {
                if let Some(answer) = self.answers.get_mut(suspect)
                    && let Delivery::Retry { reason, .. } = answer
                {
                    *answer = Delivery::park(std::mem::take(reason));
                }
            }
        }
        self.answers.resize(self.entries.len(), rest);
        self.answers
    }
}

fn request_entry(settings: &Settings, entry: &Entry) -> PutEventsRequestEntry {
    let resources = &settings.resources;
    PutEventsRequestEntry::builder()
        .event_bus_name(&settings.bus)
        .source(&settings.source)
        .detail_type(&entry.detail_type)
        .detail(&entry.detail)
        .time(date_time(entry.time))
        .set_resources((!resources.is_empty()).then(|| resources.iter().map(|arn| arn.to_string()).collect()))
        .build()
}

fn date_time(at: Timestamp) -> DateTime {
    let micros = at.as_micros();
    let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1000).expect("less than a second");
    DateTime::from_secs_and_nanos(micros.div_euclid(1_000_000), nanos)
}
