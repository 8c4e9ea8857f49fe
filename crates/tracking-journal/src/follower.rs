//! A stream's state kept up to date from its journal, whoever writes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracking_model::{Fold, StreamId};

use crate::durable::DurableEnd;
use crate::io::IoFile;
use crate::place::Place;
use crate::reader::{open_journal, read_steadily, same_file};
use crate::recovery::State;
use crate::watch::{Watch, watch};
use crate::{Commit, DataDir, Head, JournalError, Position, RecoveryReport};

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
pub struct Follower<F> {
    place: Place,
    file: Arc<dyn IoFile>,
    durable: DurableEnd,
    state: State<F>,
    changed: Arc<Notify>,
    watcher: Option<Watch>,
}

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
            durable,
            state,
            changed: Arc::new(Notify::new()),
            watcher: None,
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

    /// Waits until more is durable and returns it; several commits may come as one.
    ///
    /// # Errors
    /// As [`load`].
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Commit<F::Event>, JournalError> {
        self.watch();
        loop {
            let changed = Arc::clone(&self.changed);
            if let Some(commit) = self.try_next()? {
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

    /// What has become durable since the last call, if anything.
    ///
    /// # Errors
    /// As [`load`]; [`JournalError::Removed`] and [`JournalError::Replaced`] if the path names no file or another one.
    pub fn try_next(&mut self) -> Result<Option<Commit<F::Event>>, JournalError> {
        same_file(&self.place, &*self.file)?;
        let mut records = Vec::new();
        let advanced = read_steadily(|| {
            let end = self.durable.end(self.state.chain.offset)?;
            if end == self.state.chain.offset {
                return Ok(());
            }
            self.state
                .advance(&self.place, &self.file, end, |record| records.push(record))
                .map(drop)
        });
        match advanced {
            // What could be read is returned first; the next call meets the error again.
            Err(error) if records.is_empty() => Err(error),
            _ if records.is_empty() => Ok(None),
            _ => Ok(Some(Commit {
                records,
                head: self.state.chain.head,
            })),
        }
    }

    fn watch(&mut self) {
        if self.watcher.is_none() {
            let changed = Arc::clone(&self.changed);
            match watch(&self.place.sidecar, move || changed.notify_one()) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => tracing::debug!(%error, "no notification of changes; looking every second"),
            }
        }
    }
}
