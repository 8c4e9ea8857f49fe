//! A stream's state kept up to date from its journal, whoever writes it.

use std::future::pending;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracking_model::{Fold, RecordMeta, StreamId, Timestamp};

use crate::chain::Chain;
use crate::durable::DurableEnd;
use crate::io::IoFile;
use crate::place::Place;
use crate::reader::{open_journal, read_steadily, same_file};
use crate::recovery::State;
use crate::watch::{Watch, watch};
use crate::{Commit, Committed, DataDir, Head, JournalError, Position, RecoveryReport};

/// How often a follower looks where nothing tells it, as on network file systems.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A stream's state, read from its journal without writing anything.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded<F> {
    /// The state.
    pub state: F,
    /// Where it stands.
    pub head: Head,
    /// The same, with the place in the file from which reading goes on.
    pub position: Position,
    /// What reading found.
    pub recovery: RecoveryReport,
}

/// Reads a stream's present state. Nothing is written, locked for long, or kept open.
///
/// # Errors
/// [`JournalError::NoSuchStream`] if it has no journal; `Damaged` or `Undecodable` for what is in it; else as the
/// system says.
pub fn load<F: Fold>(dir: &DataDir, stream: &StreamId) -> Result<Loaded<F>, JournalError> {
    let follower = Follower::<F>::open(dir, stream)?;
    let State { fold, chain, report } = follower.state;
    Ok(Loaded {
        state: fold,
        head: chain.head,
        position: Position {
            head: chain.head,
            offset: chain.offset,
        },
        recovery: report,
    })
}

/// A stream's state that follows its journal, in this or another process. Reads only.
#[derive(Debug)]
pub struct Follower<F: Fold> {
    place: Place,
    file: Arc<dyn IoFile>,
    durable: Arc<Mutex<DurableEnd>>,
    state: State<F>,
    changed: Arc<Notify>,
    watcher: Option<Watch>,
    /// A look at the files from `state` on, whose caller may have gone away.
    looking: Option<JoinHandle<Look<F>>>,
}

/// Result of a look at the files.
#[derive(Debug)]
struct Look<F: Fold> {
    found: Result<Found<F>, JournalError>,
    watcher: Option<Watch>,
}

/// Records that have become durable, and where they lead.
type Found<F> = (Vec<Committed<<F as Fold>::Event>>, Chain);

impl<F: Fold> Follower<F> {
    /// Reads the stream's present state; [`Self::next`] goes on from there.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(dir: &DataDir, stream: &StreamId) -> Result<Self, JournalError> {
        let place = Place::on_disk(dir, stream);
        let file = open_journal(&place)?;
        let mut durable = DurableEnd::new(&place, Arc::clone(&file));
        let state = read_steadily(|| State::load(&place, &file, durable.end(0)?))?;
        Ok(Self {
            place,
            file,
            durable: Arc::new(Mutex::new(durable)),
            state,
            changed: Arc::new(Notify::new()),
            watcher: None,
            looking: None,
        })
    }

    /// The stream.
    #[must_use]
    pub const fn stream(&self) -> &StreamId {
        &self.place.stream
    }

    /// The state up to the last commit that was returned.
    #[must_use]
    pub const fn state(&self) -> &F {
        &self.state.fold
    }

    /// Where the state stands.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.state.chain.head
    }

    /// Waits until more is durable and returns it; several commits may come as one. Files are read on a thread that may
    /// block.
    ///
    /// # Errors
    /// As [`load`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Commit<F::Event>, JournalError> {
        loop {
            let changed = Arc::clone(&self.changed);
            if let Some(commit) = self.advance().await? {
                return Ok(commit);
            }
            // Where file systems do not notify, the time-out makes it look again.
            if tokio::time::timeout(LOOK_AGAIN, changed.notified())
                .await
                .is_err()
            {
                tracing::trace!(stream = %self.place.stream, "looking without a notification");
            }
        }
    }

    /// Returns records that became durable since the last call, if any. Files are read on a thread that may block.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn advance(&mut self) -> Result<Option<Commit<F::Event>>, JournalError> {
        if self.looking.is_none() {
            self.looking = Some(self.begin_to_look());
        }
        // It stays where the future is dropped, and the next call goes on with it.
        let ended = match &mut self.looking {
            Some(looking) => looking.await,
            None => return Ok(None),
        };
        self.looking = None;
        let look = match ended {
            Ok(look) => look,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down, and this task with it.
                Err(_) => pending().await,
            },
        };
        if look.watcher.is_some() {
            self.watcher = look.watcher;
        }
        self.take_in(look.found)
    }

    fn begin_to_look(&self) -> JoinHandle<Look<F>> {
        let (place, file) = (self.place.clone(), Arc::clone(&self.file));
        let (durable, chain) = (Arc::clone(&self.durable), self.state.chain.clone());
        let changed = self.watcher.is_none().then(|| Arc::clone(&self.changed));
        tokio::task::spawn_blocking(move || Look {
            // Before the look, so that what is written after it is noticed.
            watcher: changed.and_then(|changed| watch_for(&place, changed)),
            found: look::<F>(&place, &file, &durable, chain),
        })
    }

    /// Returns records that became durable since the last call, if any. Blocks.
    ///
    /// # Errors
    /// As [`load`]; [`JournalError::Removed`] and [`JournalError::Replaced`] if the path names no file or another one.
    pub fn try_next(&mut self) -> Result<Option<Commit<F::Event>>, JournalError> {
        // It began where the state stood before.
        self.looking = None;
        let found = look::<F>(&self.place, &self.file, &self.durable, self.state.chain.clone());
        self.take_in(found)
    }

    fn take_in(
        &mut self,
        found: Result<Found<F>, JournalError>,
    ) -> Result<Option<Commit<F::Event>>, JournalError> {
        let (records, chain) = found?;
        if records.is_empty() {
            return Ok(None);
        }
        for record in &records {
            self.state.fold.apply(&record.meta, &record.event);
        }
        let head = chain.head;
        self.state.chain = chain;
        Ok(Some(Commit { records, head }))
    }
}

fn watch_for(place: &Place, changed: Arc<Notify>) -> Option<Watch> {
    watch(&place.sidecar, move || changed.notify_one())
        .inspect_err(|error| tracing::debug!(%error, "no notification of changes; looking every second"))
        .ok()
}

/// Reads on from `chain`. Blocks.
fn look<F: Fold>(
    place: &Place,
    file: &Arc<dyn IoFile>,
    durable: &Mutex<DurableEnd>,
    chain: Chain,
) -> Result<Found<F>, JournalError> {
    same_file(place, &**file)?;
    let mut durable = durable.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = State {
        fold: Nothing::<F>(PhantomData),
        chain,
        report: RecoveryReport::default(),
    };
    let mut records = Vec::new();
    let advanced = read_steadily(|| {
        let end = durable.end(state.chain.offset)?;
        if end == state.chain.offset {
            return Ok(());
        }
        state
            .advance(place, file, end, |record| records.push(record))
            .map(drop)
    });
    match advanced {
        // Records that could be read are returned first; the next look meets the error again.
        Err(error) if records.is_empty() => Err(error),
        _ => Ok((records, state.chain)),
    }
}

/// The state of a stream whose records are only passed on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Nothing<F>(PhantomData<fn() -> F>);

impl<F: Fold> Fold for Nothing<F> {
    type Command = F::Command;
    type Event = F::Event;
    type Refusal = F::Refusal;

    const CHECKPOINT_VERSION: u32 = 0;

    fn empty(_: &StreamId) -> Self {
        Self(PhantomData)
    }

    fn check(&self, _: F::Command, _: Timestamp) -> Result<Vec<F::Event>, F::Refusal> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: &RecordMeta, _: &F::Event) {}
}
