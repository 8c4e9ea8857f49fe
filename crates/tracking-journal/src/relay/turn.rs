//! One turn of a relay: take in what is new, hand over what is due, save how far it got.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracking_model::with_causes;

use super::call::{self, Until};
use super::source::{self, Chunk, Reading, Request};
use super::{Relay, RelayError};
use crate::cursor::{CursorError, Parked, START};
use crate::watch::{Watch, watch};
use crate::{JournalError, Record};

/// How often to look where nothing tells, as on network file systems and for requests left in files.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a turn did.
#[derive(Debug)]
pub(super) enum Turn {
    /// A call was made, or more can be read at once.
    Worked,
    /// Nothing is to do before `due`, or before something new comes.
    Idle { due: Option<Instant> },
}

/// What a look at the files found.
struct Found {
    watcher: Option<Watch>,
    requested: Result<bool, CursorError>,
    reading: Option<Result<Reading, JournalError>>,
    /// Parked records that were read again, or are gone.
    again: Vec<(Parked, Result<Option<Record>, JournalError>)>,
}

impl Relay {
    pub(super) async fn turn(&mut self, until: &Until<'_>, flush: bool) -> Turn {
        let read_more = self.look().await;
        let batch = self.window.next_batch(Instant::now(), &self.options, flush);
        let worked = match (batch, self.first.clone()) {
            (Some(batch), Some(first)) if !until.reached() => {
                let limit = self.options.publish_timeout;
                let outcome = call::publish(&*self.sink, &first.record, &batch, limit, until).await;
                if let Some(outcome) = outcome {
                    let room = self.options.max_parked.saturating_sub(self.cursor.parked.len());
                    let settled = self
                        .window
                        .settle(&batch, outcome, Instant::now(), &self.options, room);
                    self.account(settled);
                }
                true
            }
            _ => false,
        };
        let save_due = self.save_when_due().await;
        self.show();
        if worked || read_more {
            return Turn::Worked;
        }
        let due = self.window.next_due(&self.options);
        Turn::Idle {
            due: [due, save_due, self.read_after].into_iter().flatten().min(),
        }
    }

    /// Saves the cursor unless it was saved a moment ago; returns when it is to be saved then.
    async fn save_when_due(&mut self) -> Option<Instant> {
        let due = self.saving.last.map(|last| last + self.options.save_every);
        if !self.saving.dirty {
            return None;
        }
        if due.is_some_and(|due| due > Instant::now()) {
            return due;
        }
        if let Err(error) = self.save().await {
            self.fail(error.into());
            return Some(Instant::now() + self.options.save_every.max(LOOK_AGAIN));
        }
        None
    }

    /// Waits until something may be to do.
    pub(super) async fn idle(&mut self, due: Option<Instant>, until: &Until<'_>) {
        tokio::select! {
            biased;
            () = until.stop() => {}
            () = self.wake.changed.notified() => {}
            () = async { sleep_until(due.expect("only polled where there is a moment")).await }, if due.is_some() => {}
            () = sleep(LOOK_AGAIN) => {}
        }
    }

    /// Looks at the journal, as far as there is room, and for requests. Returns whether there is more to read at once.
    async fn look(&mut self) -> bool {
        let request = self.request();
        let again = self.next_again();
        let (journal, place) = (self.journal.clone(), self.place.clone());
        let watched = self.wake.watcher.is_some() || self.first.is_none();
        let changed = (!watched).then(|| Arc::clone(&self.wake.changed));
        let found = call::blocking(move || Found {
            // Before reading, so that what is written after it is noticed.
            watcher: changed.and_then(|changed| {
                watch(&journal.sidecar, move || changed.notify_one())
                    .inspect_err(
                        |error| tracing::debug!(%error, "no notification of changes; looking every second"),
                    )
                    .ok()
            }),
            requested: place.retry_requested(),
            reading: request.map(|request| source::read(&journal, &request)),
            again: again
                .into_iter()
                .map(|parked| {
                    let record = source::record_at(&journal, parked.offset, (parked.seq, parked.id));
                    (parked, record)
                })
                .collect(),
        })
        .await;
        if found.watcher.is_some() {
            self.wake.watcher = found.watcher;
        }
        let more = match found.reading {
            None => false,
            Some(Ok(reading)) => self.take_in(reading),
            Some(Err(error)) => {
                self.read_after = Some(Instant::now() + LOOK_AGAIN);
                self.fail(error.into());
                false
            }
        };
        self.take_again(found.again);
        self.work_on_requests(found.requested).await;
        more
    }

    /// What to read, if there is room for more.
    fn request(&mut self) -> Option<Request> {
        let now = Instant::now();
        if self.read_after.is_some_and(|after| after > now) {
            return None;
        }
        self.read_after = None;
        let options = &self.options;
        // The cursor stays at the first refused record. How far others may overtake it is limited, because all of them
        // would be sent again after a crash; the limit grows with each attempt, to see whether it alone is refused.
        let most = options.window_records.max(1);
        let limit = most.saturating_add(
            self.window
                .attempts_of_first()
                .saturating_mul(options.batch_records.max(1)),
        );
        let ahead = self
            .read
            .head
            .seq
            .saturating_sub(self.window.prefix(self.read).head.seq);
        let room = most.saturating_sub(self.window.len());
        let room = room.min(limit.saturating_sub(usize::try_from(ahead).unwrap_or(usize::MAX)));
        let bytes = options.window_bytes.max(1).saturating_sub(self.window.bytes());
        (room > 0 && bytes > 0).then(|| Request {
            from: self.read,
            first: self.first.clone(),
            max_records: room,
            max_bytes: bytes,
            skip: Arc::clone(&self.skip),
        })
    }

    fn take_in(&mut self, reading: Reading) -> bool {
        if matches!(self.problem.as_deref(), Some(RelayError::Journal(_))) {
            self.problem = None;
        }
        match reading {
            Reading::Nothing => false,
            Reading::Elsewhere(cause) => {
                self.cursor.restart(cause, self.options.clock.now());
                self.window = super::Window::new(self.options.seed);
                self.retrying = super::Retrying::default();
                self.read = START;
                self.head = START.head;
                self.first = None;
                // The file that was watched is another now.
                self.wake.watcher = None;
                self.saving.dirty = true;
                true
            }
            Reading::Chunk(chunk) => self.take_chunk(chunk),
        }
    }

    fn take_chunk(&mut self, chunk: Chunk) -> bool {
        let now = Instant::now();
        self.head = chunk.head;
        self.first = Some(chunk.first);
        let read_some = chunk.end != self.read;
        self.read = chunk.end;
        for (record, before) in chunk.records {
            self.window.push(record, before, now);
        }
        self.cursor.skipped += chunk.skipped;
        self.saving.dirty |= self.cursor.move_to(self.window.prefix(self.read));
        read_some && chunk.more && self.request().is_some()
    }

    /// Puts parked records that were read again among those to send.
    fn take_again(&mut self, again: Vec<(Parked, Result<Option<Record>, JournalError>)>) {
        for (parked, record) in again {
            match record {
                Ok(Some(record)) => self.window.push_again(record, parked.offset, Instant::now()),
                Ok(None) => {
                    tracing::warn!(stream = %self.place.stream, sink = %self.place.sink, seq = parked.seq,
                    "a parked record is not where it was; it stays parked")
                }
                Err(error) => self.fail(error.into()),
            }
            self.retrying.queue.retain(|queued| queued.seq != parked.seq);
        }
    }

    /// Parked records for which there is room in memory now.
    fn next_again(&self) -> Vec<Parked> {
        let room = self
            .options
            .window_records
            .max(1)
            .saturating_sub(self.window.len());
        let bytes = self
            .options
            .window_bytes
            .max(1)
            .saturating_sub(self.window.bytes());
        // One at a time once much is held: how large they are is not known before they are read.
        let room = if bytes < self.options.window_bytes / 2 {
            room.min(1)
        } else {
            room.min(16)
        };
        self.retrying.queue.iter().take(room).cloned().collect()
    }

    /// Begins what was asked for, and takes the request away when it is done, so that a crash in between does not lose it.
    async fn work_on_requests(&mut self, requested: Result<bool, CursorError>) {
        let requested = requested.unwrap_or_else(|error| {
            self.fail(error.into());
            false
        });
        let asked = self.shared.retry.swap(false, Ordering::SeqCst);
        if (requested || asked) && !self.retrying.active {
            let waiting = self
                .cursor
                .parked
                .iter()
                .filter(|parked| !self.window.holds(parked.seq));
            self.retrying.queue = waiting.cloned().collect();
            self.retrying.active = true;
        }
        let done = self.retrying.queue.is_empty() && self.window.len() == self.window.pending();
        if self.retrying.active && done {
            self.retrying.active = false;
            let place = self.place.clone();
            if requested && let Err(error) = call::blocking(move || place.clear_retry_request()).await {
                self.fail(error.into());
            }
        }
    }

    fn fail(&mut self, error: RelayError) {
        let text = with_causes(&error);
        if self.problem.as_deref().map(|known| with_causes(known)) != Some(text.clone()) {
            tracing::warn!(stream = %self.place.stream, sink = %self.place.sink, error = text, "a relay cannot go on; it tries again");
        }
        self.problem = Some(Arc::new(error));
    }
}
