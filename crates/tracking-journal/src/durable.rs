//! How much of a journal is durable, for those who only read it.

use std::io;
use std::sync::Arc;

use crate::JournalError;
use crate::io::{IoFile, OpenMode};
use crate::place::Place;
use crate::sidecar::DurableLength;

/// Tells the durable length of one journal's file, so that readers never show what a crash could take back.
#[derive(Debug)]
pub(crate) struct DurableEnd {
    place: Place,
    journal: Arc<dyn IoFile>,
    sidecar: Option<Arc<dyn IoFile>>,
    /// The longest length known to be durable.
    known: u64,
}

impl DurableEnd {
    pub(crate) fn new(place: &Place, journal: Arc<dyn IoFile>) -> Self {
        Self {
            place: place.clone(),
            journal,
            sidecar: None,
            known: 0,
        }
    }

    /// The durable length now. Without a writer at work it is the file's length, synced once if no writer has vouched
    /// for it; else what the writers announced last.
    pub(crate) fn end(&mut self) -> Result<u64, JournalError> {
        let announced = self.announced()?.map_or(0, |durable| durable.length);
        self.known = self.known.max(announced);
        let io = |operation, error| JournalError::io(operation, &self.place.journal, error);
        if self
            .journal
            .try_lock_shared()
            .map_err(|error| io("lock", error))?
        {
            let size = self.journal.size();
            self.journal.unlock().map_err(|error| io("unlock", error))?;
            let size = size.map_err(|error| io("look at", error))?;
            if size > self.known {
                self.journal.sync_data().map_err(|error| io("sync", error))?;
            }
            self.known = size;
        }
        Ok(self.known)
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
