//! Everything that one data directory holds, for those who look at it or look after it.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use progress_core::{Agent, Estimate, History, ProgressError, UpgradeEntry, UpgradeHeader, estimate_upgrade};
use tracking_journal::{
    ChainHash, Clock, DataDir, Follower, Head, JournalError, JournalReader, Liveness, RecoveryReport,
    RetryRequest, Salvage, SinkName, SinkStatus, SystemClock, Verification, load, request_retry,
    sink_statuses,
};
use tracking_model::{
    EventHistory, Fold, Snapshot, Status, StreamId, Timestamp, UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::TrackingError;

/// The upgrades, sessions and artifacts of one data directory.
///
/// Everything here reads what is durable, by whatever process it was written, and blocks while it does; in async code
/// call it on a blocking thread. What changes something says so.
#[derive(Debug, Clone)]
pub struct Archive {
    dir: DataDir,
    clock: Arc<dyn Clock>,
    /// What it is a copy of, for messages; its own directory if it is none.
    place: Arc<Path>,
}

/// An upgrade as it stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpgradeView {
    /// Its state.
    pub progress: UpgradeProgress,
    /// Where its journal stands.
    pub head: Head,
    /// What reading it found.
    pub recovery: RecoveryReport,
    /// Whether somebody is at work on it.
    pub agent: Agent,
    /// The time as of which this is so: when it was read, or, in a copy of an upgrade that goes on elsewhere, when its
    /// last record was made.
    pub at: Timestamp,
}

/// The upgrade that somebody who names none most likely means.
#[derive(Debug)]
#[non_exhaustive]
pub struct LatestUpgrade {
    /// The upgrade, `None` if none can be read.
    pub upgrade_id: Option<UpgradeId>,
    /// Upgrades that cannot be read, and why.
    pub unreadable: Vec<(UpgradeId, ProgressError)>,
}

impl Archive {
    /// Opens a data directory that exists. Nothing is created.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if it is missing, no directory, or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrackingError> {
        Ok(Self::new(DataDir::existing(path)?, Arc::new(SystemClock)))
    }

    pub(crate) fn new(dir: DataDir, clock: Arc<dyn Clock>) -> Self {
        Self {
            place: dir.path().into(),
            dir,
            clock,
        }
    }

    /// Names what it is a copy of.
    #[cfg(feature = "s3")]
    pub(crate) fn copied_from(mut self, place: &str) -> Self {
        self.place = Path::new(place).into();
        self
    }

    /// The directory.
    #[must_use]
    pub const fn data_dir(&self) -> &DataDir {
        &self.dir
    }

    /// Where times come from.
    #[must_use]
    pub const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The streams that have a journal: upgrades first, each kind in the order of ids.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the directory cannot be listed.
    pub fn streams(&self) -> Result<Vec<StreamId>, TrackingError> {
        Ok(self.dir.streams()?)
    }

    /// The sessions that have a journal, in the order of their ids.
    #[cfg(feature = "s3")]
    pub(crate) fn sessions(&self) -> Result<Vec<tracking_model::SessionId>, TrackingError> {
        let sessions = self.streams()?.into_iter().filter_map(|stream| match stream {
            StreamId::Session(id) => Some(id),
            StreamId::Upgrade(_) => None,
        });
        Ok(sessions.collect())
    }

    /// The upgrades, in the order of their ids. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`TrackingError::Progress`] if the directory cannot be listed.
    pub fn upgrades(&self) -> Result<Vec<UpgradeEntry>, TrackingError> {
        Ok(progress_core::upgrades(&self.dir, self.clock.now())?)
    }

    /// An upgrade as it stands.
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if there is none of this id, or why its journal cannot be read.
    pub fn upgrade(&self, id: &UpgradeId) -> Result<UpgradeView, TrackingError> {
        let stream = StreamId::Upgrade(id.clone());
        let loaded = load::<UpgradeProgress>(&self.dir, &stream);
        let loaded = loaded.map_err(|error| self.or_unknown(id, error))?;
        if !loaded.state.exists() {
            return Err(self.unknown(id));
        }
        let now = self.clock.now();
        let agent = Agent::of(&loaded.state, Liveness::of(&self.dir, &stream)?, now);
        let at = match agent {
            // What came after the last record that was copied is not known: nothing is older or slower for that.
            Agent::Elsewhere => loaded.state.last_report_at.unwrap_or(now),
            _ => now,
        };
        Ok(UpgradeView {
            agent,
            progress: loaded.state,
            head: loaded.head,
            recovery: loaded.recovery,
            at,
        })
    }

    /// The upgrade that started last and is not finished, else the one that ended last, among those that can be read;
    /// with it those that cannot, which might be the one.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the directory cannot be listed.
    pub fn latest_upgrade(&self) -> Result<LatestUpgrade, TrackingError> {
        let rank = |header: &UpgradeHeader| {
            let finished = header.completed_at.is_some();
            (
                !finished,
                if finished {
                    header.completed_at
                } else {
                    header.started_at
                },
            )
        };
        let (mut headers, mut unreadable) = (Vec::new(), Vec::new());
        for entry in self.upgrades()? {
            match entry.header {
                Ok(header) => headers.push(header),
                Err(error) => unreadable.push((entry.upgrade_id, error)),
            }
        }
        let latest = headers.into_iter().max_by_key(rank);
        Ok(LatestUpgrade {
            upgrade_id: latest.map(|header| header.upgrade_id),
            unreadable,
        })
    }

    /// When an upgrade will be complete, learned from how it goes and from the others of this directory.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the directory cannot be listed.
    pub fn estimate(&self, view: &UpgradeView) -> Result<Estimate, TrackingError> {
        if view.progress.status != Status::InProgress {
            return Ok(Estimate::UNKNOWN);
        }
        let history = History::learn(&self.dir, &view.progress.upgrade_id)?;
        Ok(estimate_upgrade(&view.progress, &history, view.at))
    }

    /// What the other upgrades of this directory teach about how long tasks take, for estimates of `id`.
    ///
    /// # Errors
    /// [`TrackingError::Progress`] if the directory cannot be listed.
    pub fn history(&self, id: &UpgradeId) -> Result<History, TrackingError> {
        Ok(History::learn(&self.dir, id)?)
    }

    /// Follows an upgrade from its present state on, whoever writes it.
    ///
    /// # Errors
    /// As [`Self::upgrade`].
    pub fn follow(&self, id: &UpgradeId) -> Result<Follower<UpgradeProgress>, TrackingError> {
        let stream = StreamId::Upgrade(id.clone());
        let follower = Follower::<UpgradeProgress>::open(&self.dir, &stream);
        let follower = follower.map_err(|error| self.or_unknown(id, error))?;
        if !follower.state().exists() {
            return Err(self.unknown(id));
        }
        Ok(follower)
    }

    /// Writes an upgrade as the reference does, with all events that its journal has, as indented JSON. Memory grows
    /// with its number of events.
    ///
    /// # Errors
    /// As [`Self::upgrade`]; [`TrackingError::Output`] if `out` fails.
    pub fn export(&self, id: &UpgradeId, out: impl io::Write) -> Result<(), TrackingError> {
        let stream = StreamId::Upgrade(id.clone());
        let reader = JournalReader::open(&self.dir, &stream).map_err(|error| self.or_unknown(id, error))?;
        let mut progress = UpgradeProgress::empty(&stream);
        let mut history = EventHistory::default();
        for record in reader {
            let record = record?;
            let event: UpgradeEvent = record.decode().map_err(|source| JournalError::Undecodable {
                path: self.dir.journal_path(&stream),
                seq: record.seq,
                source: Arc::new(source),
            })?;
            let meta = record.meta();
            progress.apply(&meta, &event);
            history.push(&meta, &event);
        }
        if !progress.exists() {
            return Err(self.unknown(id));
        }
        let mut out = io::BufWriter::new(out);
        let written = Snapshot::of(&progress).with_history(&history).write_to(&mut out);
        written
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(TrackingError::Output)
    }

    /// Verifies the whole chain of a stream's journal; `expected` is the hash of any of its records, kept elsewhere.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] with the place of the first flaw, or why it cannot be read.
    pub fn verify_journal(
        &self,
        stream: &StreamId,
        expected: Option<ChainHash>,
    ) -> Result<Verification, TrackingError> {
        Ok(tracking_journal::verify(&self.dir, stream, expected)?)
    }

    /// Replaces a damaged journal by one with all of its records that can still be read. The damaged file is kept.
    ///
    /// # Errors
    /// [`TrackingError::Journal`] if there is no such stream, a writer keeps it locked for longer than `lock_timeout`,
    /// or as the system says.
    pub fn repair(&self, stream: &StreamId, lock_timeout: Duration) -> Result<Salvage, TrackingError> {
        Ok(tracking_journal::repair(
            &self.dir,
            stream,
            lock_timeout,
            &*self.clock,
        )?)
    }

    /// How far each sink got with each stream, by stream and sink.
    ///
    /// # Errors
    /// [`TrackingError::Cursor`] if the cursors cannot be listed. What is wrong with one sink is in its status.
    pub fn sinks(&self) -> Result<Vec<SinkStatus>, TrackingError> {
        Ok(sink_statuses(&self.dir)?)
    }

    /// Asks that the parked records of a sink be sent again, by the relay that runs or the next one that does.
    ///
    /// # Errors
    /// [`TrackingError::Cursor`] if the sink has no cursor for the stream; else as the system says.
    pub fn retry_parked(&self, stream: &StreamId, sink: &SinkName) -> Result<RetryRequest, TrackingError> {
        Ok(request_retry(&self.dir, stream, sink)?)
    }

    /// Removes an upgrade: its journal, its snapshot, and how far sinks got with it. Its sessions and artifacts stay.
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if there is none of this id; [`ProgressError::AgentAtWork`] while a long-lived
    /// writer has it open; [`TrackingError::Journal`] if another process keeps it locked for longer than
    /// `lock_timeout`, or as the system says.
    pub fn remove_upgrade(&self, id: &UpgradeId, lock_timeout: Duration) -> Result<(), TrackingError> {
        Ok(progress_core::remove_upgrade(&self.dir, id, lock_timeout)?)
    }

    fn or_unknown(&self, id: &UpgradeId, error: JournalError) -> TrackingError {
        match error {
            JournalError::NoSuchStream { .. } => self.unknown(id),
            error => error.into(),
        }
    }

    /// There is no such upgrade, or nothing but the file of one whose first record could not be written.
    fn unknown(&self, id: &UpgradeId) -> TrackingError {
        TrackingError::Progress(ProgressError::UnknownUpgrade {
            upgrade_id: id.clone(),
            data_dir: self.place.to_path_buf(),
        })
    }
}
