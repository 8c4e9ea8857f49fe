//! Everything that one data directory holds, for those who look at it or look after it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use progress_core::ProgressError;
use tracking_journal::{Clock, DataDir, Head, JournalError, RecoveryReport, SystemClock, load};
use tracking_model::{StreamId, Timestamp, UpgradeId, UpgradeProgress};

use crate::TrackingError;

/// The upgrades, sessions and artifacts of one data directory.
///
/// Everything here reads what is durable, by whatever process it was written, and blocks while it does; in async code
/// call it on a blocking thread. What changes something says so.
#[derive(Debug, Clone)]
pub struct Archive {
    dir: DataDir,
    clock: Arc<dyn Clock>,
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
    /// When this was read.
    pub at: Timestamp,
}

/// One of the upgrades of an archive: its view, or why it cannot be read.
pub type UpgradeEntry = (UpgradeId, Result<UpgradeView, TrackingError>);

impl Archive {
    /// Opens a data directory that exists. Nothing is created.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if it is missing, no directory, or cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrackingError> {
        Ok(Self::new(DataDir::existing(path)?, Arc::new(SystemClock)))
    }

    pub(crate) const fn new(dir: DataDir, clock: Arc<dyn Clock>) -> Self {
        Self { dir, clock }
    }

    /// The directory.
    #[must_use]
    pub const fn data_dir(&self) -> &DataDir {
        &self.dir
    }

    /// The streams that have a journal: upgrades first, each kind in the order of ids.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the directory cannot be listed.
    pub fn streams(&self) -> Result<Vec<StreamId>, TrackingError> {
        Ok(self.dir.streams()?)
    }

    /// The upgrades, in the order of their ids. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`TrackingError::DataDir`] if the directory cannot be listed.
    pub fn upgrades(&self) -> Result<Vec<UpgradeEntry>, TrackingError> {
        let ids = self.streams()?.into_iter().filter_map(|stream| match stream {
            StreamId::Upgrade(id) => Some(id),
            StreamId::Session(_) => None,
        });
        Ok(ids
            .map(|id| {
                let view = self.upgrade(&id);
                (id, view)
            })
            .collect())
    }

    /// An upgrade as it stands.
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if there is none of this id, or why its journal cannot be read.
    pub fn upgrade(&self, id: &UpgradeId) -> Result<UpgradeView, TrackingError> {
        let loaded = load::<UpgradeProgress>(&self.dir, &StreamId::Upgrade(id.clone()));
        let loaded = loaded.map_err(|error| self.or_unknown(id, error))?;
        Ok(UpgradeView {
            progress: loaded.state,
            head: loaded.head,
            recovery: loaded.recovery,
            at: self.clock.now(),
        })
    }

    /// Removes an upgrade: its journal, its snapshot, and how far sinks got with it. Its sessions and artifacts stay.
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if there is none of this id; [`TrackingError::Journal`] if another process keeps it locked for longer than
    /// `lock_timeout`, or as the system says.
    pub fn remove_upgrade(&self, id: &UpgradeId, lock_timeout: Duration) -> Result<(), TrackingError> {
        let stream = StreamId::Upgrade(id.clone());
        tracking_journal::remove(&self.dir, &stream, lock_timeout).map_err(|error| self.or_unknown(id, error))
    }

    fn or_unknown(&self, id: &UpgradeId, error: JournalError) -> TrackingError {
        match error {
            JournalError::NoSuchStream { .. } => TrackingError::Progress(ProgressError::UnknownUpgrade {
                upgrade_id: id.clone(),
                data_dir: self.dir.path().to_owned(),
            }),
            error => error.into(),
        }
    }
}
