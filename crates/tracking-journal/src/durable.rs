//! How much of a journal is durable, for those who only read it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::io::{IoFile, OpenMode};
use crate::place::Place;
use crate::sidecar::DurableLength;
use crate::{JournalError, lock_owner};

/// How long a reader waits for a writer at work where nothing tells how much was durable before.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_micros(200);

/// Tells the durable length of one journal's file, so that readers never show what a crash could take back.
#[derive(Debug)]
pub(crate) struct DurableEnd {
    place: Place,
    journal: Arc<dyn IoFile>,
    sidecar: Option<Arc<dyn IoFile>>,
}

impl DurableEnd {
    pub(crate) fn new(place: &Place, journal: Arc<dyn IoFile>) -> Self {
        Self {
            place: place.clone(),
            journal,
            sidecar: None,
        }
    }

    /// The durable length now, for one who has read the records up to `read`. Without a writer at work it is the
    /// file's length, synced where no writer has vouched for it; else what the writers announced last.
    pub(crate) fn end(&mut self, read: u64) -> Result<u64, JournalError> {
        let start = Instant::now();
        loop {
            let announced = self.announced()?.map_or(0, |durable| durable.length);
            let vouched = announced.max(read);
            if let Some(size) = self.size_at_rest()? {
                if size > vouched {
                    self.journal
                        .sync_data()
                        .map_err(|error| self.error("sync", error))?;
                }
                return Ok(size);
            }
            // Nothing vouched for means the first commit of all, an announcement that is just being written, or a
            // sidecar that was deleted: to show no record would be wrong for all but the first.
            if vouched > 0 || self.size()? == 0 {
                return Ok(vouched);
            }
            if start.elapsed() >= PATIENCE {
                return Err(JournalError::Locked {
                    path: self.place.journal.clone(),
                    holder: self.journal.identity().ok().and_then(lock_owner::of),
                    waited: PATIENCE,
                });
            }
            thread::sleep(PAUSE);
        }
    }

    fn error(&self, operation: &'static str, error: io::Error) -> JournalError {
        JournalError::io(operation, &self.place.journal, error)
    }

    fn size(&self) -> Result<u64, JournalError> {
        self.journal.size().map_err(|error| self.error("look at", error))
    }

    /// The file's length while no writer is at work, `None` if one is.
    fn size_at_rest(&self) -> Result<Option<u64>, JournalError> {
        let locked = self.journal.try_lock_shared();
        if !locked.map_err(|error| self.error("lock", error))? {
            return Ok(None);
        }
        let size = self.size();
        self.journal
            .unlock()
            .map_err(|error| self.error("unlock", error))?;
        size.map(Some)
    }

    fn announced(&mut self) -> Result<Option<DurableLength>, JournalError> {
        let io = |error| JournalError::io("read", &self.place.sidecar, error);
        if self.sidecar.is_none() {
            match self.place.io.open(&self.place.sidecar, OpenMode::Read) {
                Ok(file) => self.sidecar = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        }
        match &self.sidecar {
            Some(file) => DurableLength::read(&**file).map_err(io),
            None => Ok(None),
        }
    }
}
