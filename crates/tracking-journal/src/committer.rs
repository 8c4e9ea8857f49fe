//! What writes a stream: it takes all commands that wait, checks them, writes what they cause in one piece, syncs once,
//! and answers. Whoever has the committer's seat does that: its own thread, or a caller that would only wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use tracking_model::{Fold, Timestamp};

use crate::checkpoint::Checkpoints;
use crate::draft::{Draft, Drafter, Verdict};
use crate::journal::Shared;
use crate::log::{AppendError, Log, LogFiles, LogLock};
use crate::pending::{self, Answer};
use crate::published::Published;
use crate::queue::{Submission, Wake};
use crate::recovery::State;
use crate::watch::{Watch, watch};
use crate::{Commit, JournalError, Receipt, SubmitError};

/// How long a writer must be idle before it asks to be told of other writers: being told of its own commits is work.
const SETTLE: Duration = Duration::from_millis(20);
/// How often an idle writer looks for records of other processes, where nothing tells it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the committer of a journal sits, until the journal is closed. Who takes commands from the queue holds the
/// seat, so that they are committed in the order of the queue.
pub(crate) type Seat<F> = Mutex<Option<Committer<F>>>;

/// The writing side of a journal.
#[derive(Debug)]
pub(crate) struct Committer<F: Fold> {
    shared: Arc<Shared<F>>,
    log: Log,
    /// The state as it will be once everything checked so far is durable.
    working: State<F>,
    /// Why nothing can be written any more.
    broken: Option<JournalError>,
    /// Whether the end of the file has been looked at under the lock.
    settled: bool,
    drafter: Drafter,
    batch: VecDeque<Submission<F>>,
    checkpoints: Checkpoints<F>,
    watcher: Option<Watch>,
    /// While there is nothing to watch, or no way to, looking once a second has to do.
    unwatchable: bool,
    last_commit: Instant,
}

/// What the committer's thread does: serves the queue until it is closed and empty, then leaves the seat.
pub(crate) fn run<F: Fold>(shared: &Shared<F>, seat: &Seat<F>) {
    let _closed = CloseOnExit(shared);
    let mut patience = SETTLE;
    loop {
        let wake = shared.queue.wait(patience);
        // A seat is poisoned when the model panics in a caller's hands: what it left is not to be trusted any more.
        let mut seat = match (wake, seat.try_lock()) {
            (_, Ok(seat)) => seat,
            // Who has the seat looks at the file anyway.
            (Wake::Look, Err(TryLockError::WouldBlock)) => continue,
            (Wake::Work | Wake::Close, Err(TryLockError::WouldBlock)) => match seat.lock() {
                Ok(seat) => seat,
                Err(_) => break,
            },
            (_, Err(TryLockError::Poisoned(_))) => break,
        };
        let Some(committer) = &mut *seat else { break };
        match wake {
            Wake::Work => committer.serve(),
            Wake::Look => committer.look_around(),
            Wake::Close => {
                let committer = seat.take();
                drop(seat);
                committer.into_iter().for_each(Committer::finish);
                break;
            }
        }
        patience = committer.patience();
    }
}

impl<F: Fold> Committer<F> {
    pub(crate) fn new(shared: Arc<Shared<F>>, log: Log, working: State<F>) -> Self {
        let (seq, offset) = match working.report.checkpoint_seq {
            0 => (0, 0),
            seq => (seq, working.chain.offset),
        };
        let checkpoints = Checkpoints::new(log.place.clone(), shared.options.checkpoint, seq, offset);
        let drafter = Drafter::new(shared.stream.clone());
        Self {
            shared,
            log,
            working,
            broken: None,
            settled: false,
            drafter,
            batch: VecDeque::new(),
            checkpoints,
            watcher: None,
            unwatchable: false,
            last_commit: Instant::now(),
        }
    }

    /// Commits all commands that wait.
    pub(crate) fn serve(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.shared.queue.drain(&mut batch);
        if batch.is_empty() {
            return;
        }
        if self.last_commit.elapsed() < SETTLE {
            self.watcher = None;
        }
        while !batch.is_empty() {
            self.commit(&mut batch);
        }
        self.batch = batch;
        self.last_commit = Instant::now();
        self.unwatchable = false;
        self.checkpoints.consider(&self.working);
    }

    /// Looks what other processes wrote, and sees to it that it is told of what they write.
    fn look_around(&mut self) {
        if self.is_settling() && self.last_commit.elapsed() >= SETTLE {
            self.watch();
            self.unwatchable = self.watcher.is_none();
        }
        self.look();
    }

    /// Ends the committer's work.
    fn finish(mut self) {
        if self.broken.is_none() {
            self.checkpoints.finish(&self.working);
        }
    }

    fn is_settling(&self) -> bool {
        self.watcher.is_none() && self.follows()
    }

    /// How long to wait for commands before looking for other writers.
    fn patience(&self) -> Duration {
        if self.is_settling() && !self.unwatchable {
            SETTLE
        } else {
            LOOK_AGAIN
        }
    }

    /// Whether what other processes write is of interest before this one writes again.
    fn follows(&self) -> bool {
        self.log.place.is_shared() && (self.shared.options.long_lived || self.published().has_subscribers())
    }

    fn watch(&mut self) {
        let queue = Arc::clone(&self.shared);
        match watch(&self.log.place.sidecar, move || queue.queue.nudge()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => tracing::debug!(%error, "no notification of other writers; looking every second"),
        }
    }

    fn published(&self) -> RwLockWriteGuard<'_, Published<F>> {
        self.shared
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what other processes wrote, if anything.
    fn look(&mut self) {
        if self.broken.is_some() || !self.log.grown(self.working.chain.offset) {
            return;
        }
        match self.lock_and_catch_up() {
            Ok(lock) => drop(lock),
            Err(error) => tracing::warn!(%error, "cannot follow other writers of a journal"),
        }
    }

    /// Takes one commit's worth of commands from `batch`, at least one.
    fn commit(&mut self, batch: &mut VecDeque<Submission<F>>) {
        let now = self.shared.options.clock.now();
        let lock = match self.broken.clone() {
            Some(error) => Err(error),
            None if now < Timestamp::EPOCH => Err(JournalError::ClockBefore1970 { at: now }),
            None => self.lock_and_catch_up(),
        };
        let mut lock = match lock {
            Ok(lock) => lock,
            Err(error) => {
                for submission in batch.drain(..) {
                    submission.answer.send(Err(error.clone().into()));
                }
                return;
            }
        };
        let draft = self.drafter.draft(&mut self.working, now, batch);
        if draft.records.is_empty() {
            drop(lock);
            answer(draft.answers, None);
            return;
        }
        match self.write(&mut lock, &draft) {
            Ok(()) => {
                drop(lock);
                let commit = Arc::new(Commit {
                    records: draft.records,
                    head: draft.head,
                });
                self.published().apply(&commit);
                answer(draft.answers, Some(&commit));
            }
            Err(error) => {
                self.roll_back();
                drop(lock);
                for (waiting, _) in draft.answers {
                    waiting.send(Err(error.clone().into()));
                }
            }
        }
    }

    /// Takes the lock and reads what other writers appended, so that commands are checked against all of it.
    fn lock_and_catch_up(&mut self) -> Result<LogLock, JournalError> {
        let lock = self.log.lock().inspect_err(|error| {
            if matches!(error, JournalError::Removed { .. }) {
                self.broken = Some(error.clone());
            }
        })?;
        if let Some(files) = &lock.files {
            let caught_up = if self.log.is_replaced_by(files) {
                self.start_over(files, lock.size)
            } else {
                self.catch_up(files, lock.size)
            };
            caught_up.inspect_err(|error| {
                if matches!(error, JournalError::Poisoned { .. }) {
                    self.broken = Some(error.clone());
                }
            })?;
            self.log.has_read(files);
        }
        if let Some(found) = self.working.newer_version() {
            return Err(JournalError::NewerVersion {
                path: self.log.place.journal.clone(),
                found,
            });
        }
        Ok(lock)
    }

    /// The path names another file: a repaired journal took the place of the one known so far.
    fn start_over(&mut self, files: &LogFiles, size: u64) -> Result<(), JournalError> {
        let place = &self.log.place;
        tracing::warn!(path = %place.journal.display(), "the journal was replaced; reading it anew");
        self.working = State::load(place, &files.journal, size)?;
        self.settled = false;
        self.checkpoints.start_over();
        self.published()
            .reset(self.working.fold.clone(), self.working.chain.head);
        self.catch_up(files, size)
    }

    /// Under the lock: reads what other writers appended, cuts off what one of them did not finish, and makes sure
    /// that the rest is durable.
    fn catch_up(&mut self, files: &LogFiles, size: u64) -> Result<(), JournalError> {
        let place = &self.log.place;
        if self.settled && size == self.working.chain.offset {
            return Ok(());
        }
        let before = self.working.chain.clone();
        let mut records = Vec::new();
        let advanced = self
            .working
            .advance(place, &files.journal, size, |record| records.push(record));
        let head = self.working.chain.head;
        let settled = advanced.and_then(|torn| {
            self.log
                .settle(files, head.epoch, self.working.chain.offset, torn)
        });
        if let Err(error) = settled {
            // What was read is read again, when whatever stood in the way is gone.
            self.roll_back();
            self.working.chain = before;
            return Err(error);
        }
        self.settled = true;
        if !records.is_empty() {
            self.published().apply(&Arc::new(Commit { records, head }));
        }
        Ok(())
    }

    /// Writes and syncs the drafted records.
    fn write(&mut self, lock: &mut LogLock, draft: &Draft<F>) -> Result<(), JournalError> {
        let files = match &lock.files {
            Some(files) => files.clone(),
            None => self.log.create(lock)?,
        };
        let batch = self.working.chain.head.seq + 1;
        match self
            .log
            .append(&files, &self.drafter.buffer, self.working.chain.offset)
        {
            Ok(()) => {
                self.working
                    .chain
                    .wrote(draft.head, batch, self.drafter.buffer.len() as u64);
                self.log
                    .announce(&files, draft.head.epoch, self.working.chain.offset);
                Ok(())
            }
            Err(AppendError::RolledBack(error)) => Err(error),
            Err(AppendError::Unknown { error, reason }) => {
                let path = self.log.place.journal.clone();
                self.broken = Some(JournalError::Poisoned { path, reason });
                Err(error)
            }
        }
    }

    /// Makes the working state the durable one again.
    fn roll_back(&mut self) {
        let durable = self
            .shared
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.working.fold = durable.state.clone();
    }
}

fn answer<F: Fold>(answers: Vec<(Answer<F>, Verdict<F>)>, commit: Option<&Arc<Commit<F::Event>>>) {
    let mut waiting = Vec::new();
    for (answer, verdict) in answers {
        let outcome = match (verdict, commit) {
            (Verdict::Refused(refusal), _) => Err(SubmitError::Refused(refusal)),
            (Verdict::Failed(error), _) => Err(error.into()),
            (Verdict::Recorded(range), Some(commit)) if !range.is_empty() => {
                Ok(Receipt::new(Arc::clone(commit), range))
            }
            (Verdict::Recorded(_), _) => Ok(Receipt::unchanged()),
        };
        waiting.extend(answer.send_quietly(outcome));
    }
    waiting.into_iter().for_each(pending::Wake::wake);
}

/// Closes queue and subscriptions when the committer ends, be it by a panic of the model.
struct CloseOnExit<'a, F: Fold>(&'a Shared<F>);

impl<F: Fold> Drop for CloseOnExit<'_, F> {
    fn drop(&mut self) {
        self.0.queue.abandon();
        self.0
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .close();
    }
}
