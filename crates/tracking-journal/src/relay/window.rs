//! The records between the cursor and the reader: which of them go out next, and what becomes of those that did.
//! Pure: time comes in, decisions go out.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::options::RelayOptions;
use crate::cursor::{FailureCause, START};
use crate::sink::Delivery;
use crate::{Position, Record};

/// The answer of a sink to one batch, or why there is none.
pub(super) type Outcome = Result<Vec<Delivery>, Fault>;

/// What went wrong with a call as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) cause: FailureCause,
    pub(super) reason: String,
}

/// Records that were read and are not done with, by sequence.
#[derive(Debug)]
pub(super) struct Window {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Calls in a row in which nothing was accepted.
    pub(super) failures: u32,
    /// Nothing goes out before this, after a call in which nothing was accepted.
    hold_until: Option<Instant>,
    /// Records accepted so far: tells whether others got through while one did not.
    accepted: u64,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// The point before the record, to which the cursor may advance while the record is here.
    before: Position,
    /// Whether the record was parked before and lies behind the cursor.
    again: bool,
    since: Instant,
    attempts: u32,
    /// When it goes out again, once it was refused.
    due: Option<Instant>,
    /// How often the sink panicked or miscounted over it.
    faults: u32,
    /// How often it was refused although others got through since it was refused before.
    overtaken: u32,
    accepted_before: u64,
}

/// What a call changed.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) delivered: u64,
    pub(super) ignored: u64,
    /// Records that were accepted although they had been parked.
    pub(super) unparked: Vec<u64>,
    pub(super) parked: Vec<ToPark>,
    /// Why records are sent again, if any are.
    pub(super) failure: Option<Fault>,
}

/// A record to park.
#[derive(Debug)]
pub(super) struct ToPark {
    pub(super) record: Record,
    /// Where it begins in the journal.
    pub(super) offset: u64,
    pub(super) reason: String,
    pub(super) attempts: u32,
}

impl Settled {
    fn progressed(&self) -> bool {
        self.delivered + self.ignored > 0 || !self.parked.is_empty()
    }
}

/// One answer being taken in.
struct Round<'a> {
    now: Instant,
    options: &'a RelayOptions,
    /// How many records may be parked.
    room: usize,
    /// The longest pause that was asked for.
    after: Option<Duration>,
    /// From this sequence on nothing of the batch got through, although something before it did.
    tail: u64,
    settled: Settled,
}

impl Window {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            failures: 0,
            hold_until: None,
            accepted: 0,
            rng: seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
        }
    }

    /// Records that wait, those that were parked before not counted.
    pub(super) fn pending(&self) -> usize {
        self.entries.values().filter(|entry| !entry.again).count()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a record that follows `before`.
    pub(super) fn push(&mut self, record: Record, before: Position, now: Instant) {
        self.insert(record, before, false, now);
    }

    /// Takes in a record that was parked, to be sent once more.
    pub(super) fn push_again(&mut self, record: Record, offset: u64, now: Instant) {
        self.insert(record, Position { offset, ..START }, true, now);
    }

    fn insert(&mut self, record: Record, before: Position, again: bool, now: Instant) {
        let (seq, size) = (record.seq, size(&record));
        let entry = Entry {
            record,
            before,
            again,
            since: now,
            attempts: 0,
            due: None,
            faults: 0,
            overtaken: 0,
            accepted_before: 0,
        };
        if self.entries.insert(seq, entry).is_none() {
            self.bytes += size;
        }
    }

    pub(super) fn holds(&self, seq: u64) -> bool {
        self.entries.contains_key(&seq)
    }

    /// Up to where nothing is left to do, if everything up to `read` was taken in.
    pub(super) fn prefix(&self, read: Position) -> Position {
        self.entries
            .values()
            .find(|entry| !entry.again)
            .map_or(read, |entry| entry.before)
    }

    /// How often the record at which the cursor stands was refused.
    pub(super) fn attempts_of_first(&self) -> usize {
        let first = self.entries.values().find(|entry| !entry.again);
        first.map_or(0, |entry| entry.attempts as usize)
    }

    /// The records that go out now, in order, if any do. With `flush`, batches need not be full.
    pub(super) fn next_batch(
        &self,
        now: Instant,
        options: &RelayOptions,
        flush: bool,
    ) -> Option<Vec<Record>> {
        if self.hold_until.is_some_and(|until| until > now) {
            return None;
        }
        let (mut batch, mut bytes, mut urgent) = (Vec::new(), 0, flush);
        for entry in self
            .entries
            .values()
            .filter(|entry| entry.due.is_none_or(|due| due <= now))
        {
            bytes += size(&entry.record);
            // What the sink choked on goes alone, so that it is known which record it is.
            let alone = entry.faults > 0;
            let full = batch.len() >= options.batch_records.max(1) || bytes > options.batch_bytes;
            if !batch.is_empty() && (full || alone) {
                urgent = true;
                break;
            }
            urgent |= entry.due.is_some() || entry.since + options.linger <= now;
            batch.push(entry.record.clone());
            if alone {
                break;
            }
        }
        urgent |= batch.len() >= options.batch_records.max(1) || bytes >= options.batch_bytes;
        (urgent && !batch.is_empty()).then_some(batch)
    }

    /// When [`Self::next_batch`] will have something, as far as is known now.
    pub(super) fn next_due(&self, options: &RelayOptions) -> Option<Instant> {
        let due = |entry: &Entry| entry.due.unwrap_or(entry.since + options.linger);
        let first = self.entries.values().map(due).min()?;
        Some(self.hold_until.map_or(first, |until| until.max(first)))
    }

    /// When refused records go out again, while there are any.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.due).min()
    }

    /// Takes the answer to `batch`, which must be what [`Self::next_batch`] gave. At most `room` records may be parked.
    pub(super) fn settle(
        &mut self,
        batch: &[Record],
        outcome: Outcome,
        now: Instant,
        options: &RelayOptions,
        room: usize,
    ) -> Settled {
        let mut round = Round {
            now,
            options,
            room,
            after: None,
            tail: u64::MAX,
            settled: Settled::default(),
        };
        let fault_alone = outcome.is_err() && batch.len() == 1;
        match outcome {
            Ok(deliveries) => {
                let through = |delivery: &&Delivery| !matches!(delivery, Delivery::Retry { .. });
                self.accepted += deliveries.iter().filter(through).count() as u64;
                if let Some(last) = deliveries.iter().rposition(|delivery| through(&delivery)) {
                    round.tail = batch.get(last + 1).map_or(u64::MAX, |record| record.seq);
                }
                for (record, delivery) in batch.iter().zip(deliveries) {
                    self.settle_one(record.seq, delivery, &mut round);
                }
            }
            Err(fault) => {
                for record in batch {
                    self.settle_fault(record.seq, fault.clone(), fault_alone, &mut round);
                }
            }
        }
        let Round {
            after, tail, settled, ..
        } = round;
        if settled.failure.is_none() || settled.progressed() {
            self.failures = 0;
            self.hold_until = None;
            if tail < u64::MAX {
                let pause = options.backoff.pause(1, after, &mut self.rng);
                self.hold_tail(batch, tail, now + pause);
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            let pause = options.backoff.pause(self.failures, after, &mut self.rng);
            let aside = fault_alone || options.batch_records <= 1;
            self.hold(batch, now + pause, aside, options);
        }
        settled
    }

    fn settle_one(&mut self, seq: u64, delivery: Delivery, round: &mut Round<'_>) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        match delivery {
            Delivery::Delivered => round.settled.delivered += 1,
            Delivery::Ignored => round.settled.ignored += 1,
            Delivery::Park { reason } => return self.park(seq, reason, round),
            Delivery::Retry { reason, after } => {
                // Those that nothing of their batch overtook are no sign of a record that is refused alone.
                if seq < round.tail && entry.attempts > 0 && self.accepted > entry.accepted_before {
                    entry.overtaken += 1;
                }
                entry.accepted_before = self.accepted;
                if entry.overtaken >= round.options.max_overtaken.max(1) {
                    let times = entry.attempts + 1;
                    let reason = format!("refused {times} times while others were accepted: {reason}");
                    return self.park(seq, reason, round);
                }
                round.after = round.after.max(after);
                return self.retry(
                    seq,
                    Fault {
                        cause: FailureCause::Refused,
                        reason,
                    },
                    after,
                    round,
                );
            }
        }
        if self.remove(seq).is_some_and(|entry| entry.again) {
            round.settled.unparked.push(seq);
        }
    }

    fn settle_fault(&mut self, seq: u64, fault: Fault, alone: bool, round: &mut Round<'_>) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        // A sink that is too slow is no sign of a record that it cannot bear.
        if fault.cause != FailureCause::TimedOut {
            if entry.faults == 0 {
                entry.accepted_before = self.accepted;
            }
            entry.faults += 1;
        }
        // Only of a record that went out alone, while others got through, is it known that it is the one.
        let others = self.accepted > entry.accepted_before;
        if alone && others && entry.faults >= round.options.max_faults.max(1) {
            self.park(seq, fault.reason, round);
        } else {
            self.retry(seq, fault, None, round);
        }
    }

    fn retry(&mut self, seq: u64, fault: Fault, after: Option<Duration>, round: &mut Round<'_>) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.due = Some(round.now + round.options.backoff.pause(entry.attempts, after, &mut self.rng));
            round.settled.failure = Some(fault);
        }
    }

    fn park(&mut self, seq: u64, reason: String, round: &mut Round<'_>) {
        let listed = self.entries.get(&seq).is_some_and(|entry| entry.again);
        if !listed && round.settled.parked.len() >= round.room {
            let reason =
                format!("no more records can be parked; see to those that are, and to this: {reason}");
            return self.retry(
                seq,
                Fault {
                    cause: FailureCause::Refused,
                    reason,
                },
                None,
                round,
            );
        }
        if let Some(entry) = self.remove(seq) {
            round.settled.parked.push(ToPark {
                record: entry.record,
                offset: entry.before.offset,
                reason,
                attempts: entry.attempts.saturating_add(1),
            });
        }
    }

    /// Nothing got through: nothing goes out until then, and what was refused goes first, so that its order is kept;
    /// unless it is one record `aside` from others, which might be the only one that is refused.
    fn hold(&mut self, batch: &[Record], until: Instant, aside: bool, options: &RelayOptions) {
        self.hold_until = Some(until);
        for record in batch {
            if let Some(entry) = self.entries.get_mut(&record.seq) {
                let pause = options.backoff.pause(entry.attempts, None, &mut self.rng);
                entry.due = Some(if aside { until + pause } else { until });
            }
        }
    }

    /// The sink got stuck within the batch: nothing goes out until then, and what it did not take goes first, so that its
    /// order is kept.
    fn hold_tail(&mut self, batch: &[Record], from: u64, until: Instant) {
        self.hold_until = Some(until);
        for record in batch.iter().filter(|record| record.seq >= from) {
            if let Some(entry) = self.entries.get_mut(&record.seq) {
                entry.due = Some(until);
            }
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        self.bytes -= size(&entry.record);
        Some(entry)
    }
}

/// What a record counts against the limits of bytes: its data, and what is around it.
pub(super) fn size(record: &Record) -> usize {
    record.data.get().len() + 256
}
