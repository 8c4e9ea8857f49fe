//! Feeds one sink from one stream's journal.
//!
//! A relay reads durable records from its cursor on, hands them over in batches, one call at a time, and moves the
//! cursor over what was accepted without a gap. Records that are refused stay in memory and go out again after a
//! pause; records that can never be accepted are parked in the cursor. The writers of the journal know nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracking_model::{IdError, Span, StreamId, with_causes};

use crate::cursor::{Cursor, CursorError, CursorPlace, Found, Parked, RestartCause, SinkFailure};
use crate::lease::{Lease, LeaseError, LeaseHolder};
use crate::place::Place;
use crate::sink::{EventSink, SinkName};
use crate::watch::Watch;
use crate::{DataDir, Head, JournalError, Position, Record};

mod backoff;
mod call;
mod options;
mod source;
mod status;
mod turn;
mod window;

pub use backoff::Backoff;
pub use options::RelayOptions;
#[cfg(test)]
pub(crate) use status::status_on;
pub use status::{RetryRequest, SinkStatus, request_retry, sink_status, sink_statuses};

use call::Until;
use turn::Turn;
use window::{Settled, Window};

/// Why a relay could not start, or not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The sink's name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// Another relay feeds the sink, or that could not be found out.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The cursor could not be read or saved.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What [`Relay::drain`] did, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Records delivered by this call.
    pub delivered: u64,
    /// Records that are still to be delivered.
    pub remaining: u64,
    /// Records that are parked, from this call or before.
    pub parked: usize,
}

/// Feeds one sink from one stream. Holds the lease on the sink's cursor from [`Self::open`] until it is dropped.
///
/// # Cancellation
/// Every method may be dropped at any await. What was handed to the sink and is not in the saved cursor is handed over
/// again, with the same ids, by the next run or relay; nothing is lost.
#[derive(Debug)]
pub struct Relay {
    sink: Arc<dyn EventSink>,
    options: RelayOptions,
    skip: Arc<[Arc<str>]>,
    journal: Place,
    place: CursorPlace,
    cursor: Cursor,
    window: Window,
    /// Up to where records were taken in.
    read: Position,
    first: Option<source::First>,
    head: Head,
    retrying: Retrying,
    saving: Saving,
    /// Records delivered by this relay, whatever became of the cursor meanwhile.
    delivered: u64,
    problem: Option<Arc<RelayError>>,
    /// After a journal that could not be read: not before this.
    read_after: Option<Instant>,
    wake: Wake,
    shared: Arc<Shared>,
    lease: Arc<Lease>,
}

/// Parked records on their way to be sent again.
#[derive(Debug, Default)]
struct Retrying {
    /// Whether a request is being worked on.
    active: bool,
    /// Those that are not in memory yet.
    queue: Vec<Parked>,
}

/// When the cursor was saved, and whether it changed since.
#[derive(Debug, Default)]
struct Saving {
    dirty: bool,
    last: Option<Instant>,
}

/// What tells that the journal grew.
#[derive(Debug)]
struct Wake {
    changed: Arc<Notify>,
    watcher: Option<Watch>,
}

/// What a relay shares with its handles.
#[derive(Debug)]
struct Shared {
    status: watch::Sender<SinkStatus>,
    retry: AtomicBool,
    changed: Arc<Notify>,
}

/// A view of a relay, for those who do not run it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RelayHandle(Arc<Shared>);

impl RelayHandle {
    /// How the sink is doing.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        self.0.status.borrow().clone()
    }

    /// The status as it changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<SinkStatus> {
        self.0.status.subscribe()
    }

    /// Asks that the parked records be sent again.
    pub fn retry_parked(&self) {
        self.0.retry.store(true, Ordering::SeqCst);
        self.0.changed.notify_one();
    }

    /// Lets the relay look for new records now, where it would otherwise wait to be told by the file system.
    pub fn wake(&self) {
        self.0.changed.notify_one();
    }
}

impl Relay {
    /// Takes the lease on the sink's cursor for `stream` and reads it. The stream need not have a journal yet.
    ///
    /// # Errors
    /// [`LeaseError::Held`] if another relay feeds the sink from this stream, in this or another process; else as the
    /// system says. A cursor that cannot be read is no error: it is kept aside, reported in [`Cursor::restarted`], and
    /// everything is delivered again.
    pub async fn open(
        dir: &DataDir,
        stream: StreamId,
        sink: Arc<dyn EventSink>,
        options: RelayOptions,
    ) -> Result<Self, RelayError> {
        let place = CursorPlace::new(dir, &stream, &SinkName::new(sink.name())?);
        Self::begin(Place::on_disk(dir, &stream), place, sink, options).await
    }

    pub(crate) async fn begin(
        journal: Place,
        place: CursorPlace,
        sink: Arc<dyn EventSink>,
        options: RelayOptions,
    ) -> Result<Self, RelayError> {
        let options = options.paced(sink.pace());
        let now = options.clock.now();
        let at = place.clone();
        let (lease, cursor) = call::blocking(move || -> Result<_, RelayError> {
            let lease = Lease::take(&at)?;
            let mut cursor = Cursor::new(at.stream.clone(), at.sink.clone(), now);
            match at.load()? {
                Found::Nothing => {}
                Found::Cursor(found) => cursor = *found,
                Found::Corrupt { reason } => {
                    let kept_as = at.set_aside(now)?;
                    cursor.restart(RestartCause::Corrupt { kept_as, reason }, now);
                    at.save(&cursor)?;
                }
            }
            Ok((lease, cursor))
        })
        .await?;
        let changed = Arc::new(Notify::new());
        let status = SinkStatus {
            stream: place.stream.clone(),
            sink: place.sink.clone(),
            holder: Some(LeaseHolder {
                pid: Some(std::process::id()),
            }),
            cursor: cursor.clone(),
            head: None,
            lag: 0,
            problem: None,
        };
        Ok(Self {
            skip: options.skip_kinds.iter().cloned().chain(sink.skips()).collect(),
            sink,
            window: Window::new(options.seed),
            options,
            journal,
            place,
            read: cursor.position(),
            head: cursor.position().head,
            cursor,
            first: None,
            retrying: Retrying::default(),
            saving: Saving::default(),
            delivered: 0,
            problem: None,
            read_after: None,
            wake: Wake {
                changed: Arc::clone(&changed),
                watcher: None,
            },
            shared: Arc::new(Shared {
                status: watch::Sender::new(status),
                retry: AtomicBool::new(false),
                changed,
            }),
            lease: Arc::new(lease),
        })
    }

    /// A view of this relay to keep while it runs.
    #[must_use]
    pub fn handle(&self) -> RelayHandle {
        RelayHandle(Arc::clone(&self.shared))
    }

    /// How far the sink got, as known to this relay; the saved cursor may be a little behind.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Delivers what is there and what comes until `cancel` is cancelled. A call that is then in flight may go on for
    /// [`RelayOptions::stop_grace`]. Failures of the sink, the journal or the cursor's file do not end it: it tries
    /// again and shows them in its status.
    ///
    /// # Errors
    /// [`RelayError::Cursor`] if the cursor cannot be saved at the end; what it does not say is delivered again.
    pub async fn run(&mut self, cancel: &CancellationToken) -> Result<(), RelayError> {
        let until = Until::Cancelled {
            cancel,
            grace: self.options.stop_grace,
        };
        while !until.reached() {
            if let Turn::Idle { due } = self.turn(&until, false).await {
                self.idle(due, &until).await;
            }
        }
        Ok(self.save().await?)
    }

    /// Delivers what is there, for at most `deadline`, and tells what is left: for programs that end.
    ///
    /// # Errors
    /// [`RelayError::Journal`] if the journal cannot be read, [`RelayError::Cursor`] if the cursor cannot be saved.
    pub async fn drain(&mut self, deadline: Duration) -> Result<DrainReport, RelayError> {
        let until = Until::Deadline(Instant::now() + deadline);
        let before = self.delivered;
        loop {
            let turn = self.turn(&until, true).await;
            if let Some(JournalError::Damaged(damage)) = self.journal_problem() {
                let damage = JournalError::Damaged(damage.clone());
                self.save().await?;
                return Err(damage.into());
            }
            match turn {
                _ if until.reached() => break,
                Turn::Worked => {}
                Turn::Idle { .. } if self.is_caught_up() => break,
                Turn::Idle { due } => self.idle(due, &until).await,
            }
        }
        self.save().await?;
        if let Some(error) = self.journal_problem() {
            return Err(error.clone().into());
        }
        Ok(DrainReport {
            delivered: self.delivered - before,
            remaining: self.lag(),
            parked: self.cursor.parked.len(),
        })
    }

    fn journal_problem(&self) -> Option<&JournalError> {
        match self.problem.as_deref() {
            Some(RelayError::Journal(error)) => Some(error),
            _ => None,
        }
    }

    fn is_caught_up(&self) -> bool {
        self.problem.is_none()
            && self.window.len() == 0
            && self.retrying.queue.is_empty()
            && self.head.seq <= self.read.head.seq
    }

    fn lag(&self) -> u64 {
        self.window.pending() as u64 + self.head.seq.saturating_sub(self.read.head.seq)
    }

    /// Saves the cursor if it changed since it was saved.
    async fn save(&mut self) -> Result<(), CursorError> {
        if !self.saving.dirty {
            return Ok(());
        }
        self.cursor.updated_at = self.options.clock.now();
        self.saving.last = Some(Instant::now());
        let (lease, place, cursor) = (Arc::clone(&self.lease), self.place.clone(), self.cursor.clone());
        call::blocking(move || lease.save(&place, &cursor)).await?;
        self.saving.dirty = false;
        if matches!(self.problem.as_deref(), Some(RelayError::Cursor(_))) {
            self.problem = None;
        }
        Ok(())
    }

    /// Takes over what a call changed.
    fn account(&mut self, settled: Settled) {
        let now = self.options.clock.now();
        self.delivered += settled.delivered;
        self.cursor.delivered += settled.delivered;
        self.cursor.ignored += settled.ignored;
        for seq in settled.unparked {
            self.cursor.unpark(seq);
        }
        for parked in settled.parked {
            let Record { seq, id, kind, .. } = parked.record;
            tracing::warn!(stream = %self.place.stream, sink = %self.place.sink, seq, %id, kind, reason = parked.reason,
                "a record is parked");
            let (offset, reason, attempts) = (parked.offset, parked.reason, parked.attempts);
            self.cursor.park(Parked {
                seq,
                id,
                kind,
                offset,
                reason,
                at: now,
                attempts,
            });
        }
        self.cursor.last_error = settled.failure.map(|fault| SinkFailure {
            at: now,
            cause: fault.cause,
            reason: fault.reason,
            attempts: self.window.failures,
        });
        self.cursor.next_retry_at = self
            .window
            .next_retry()
            .map(|due| now + Span::from(due - Instant::now()));
        self.cursor.move_to(self.window.prefix(self.read));
        self.saving.dirty = true;
    }

    fn show(&self) {
        let status = SinkStatus {
            stream: self.place.stream.clone(),
            sink: self.place.sink.clone(),
            holder: Some(LeaseHolder {
                pid: Some(std::process::id()),
            }),
            cursor: self.cursor.clone(),
            head: Some(self.head).filter(|head| !head.is_empty()),
            lag: self.lag(),
            problem: self.problem.as_deref().map(|error| with_causes(error)),
        };
        self.shared.status.send_if_modified(|shown| {
            let differs = *shown != status;
            if differs {
                *shown = status;
            }
            differs
        });
    }
}
