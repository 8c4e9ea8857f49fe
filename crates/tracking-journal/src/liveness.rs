//! Whether a long-lived writer of a stream is alive, as told by a lock that the system frees when a process dies.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracking_model::StreamId;

use crate::io::{IoFile, OpenMode};
use crate::place::Place;
use crate::{DataDir, JournalError, lock_owner};

/// What the marker beside a journal says of its long-lived writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// One is running.
    Live,
    /// There was one, and it died without closing the stream.
    Gone,
    /// There never was one, or all closed the stream properly.
    Unmarked,
}

impl Liveness {
    /// Looks at a stream's marker.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the marker cannot be opened or locked.
    pub fn of(dir: &DataDir, stream: &StreamId) -> Result<Self, JournalError> {
        let place = Place::on_disk(dir, stream);
        let io = |operation, error| JournalError::io(operation, &place.agent, error);
        let marker = match place.io.open(&place.agent, OpenMode::Read) {
            Ok(marker) => marker,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Unmarked),
            Err(error) => return Err(io("open", error)),
        };
        let id = marker.identity().map_err(|error| io("look at", error))?;
        for _ in 0..LOOK_TRIES {
            if marker.try_lock().map_err(|error| io("lock", error))? {
                marker.unlock().map_err(|error| io("unlock", error))?;
                return Ok(Self::Gone);
            }
            // Writers share the lock; whoever has it alone only looks, and may have let go meanwhile.
            if lock_owner::is_exclusive(id) == Some(false) {
                return Ok(Self::Live);
            }
            thread::sleep(PAUSE);
        }
        Ok(Self::Live)
    }
}

/// Says that a long-lived writer is alive until it is released or its process dies.
#[derive(Debug)]
pub(crate) struct AliveMarker {
    place: Place,
    file: Arc<dyn IoFile>,
}

/// How often one who looks tries to get past others who do.
const LOOK_TRIES: u32 = 50;
/// How long the last writer to leave tries to get past those who only look.
const LEAVE_TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(1);

impl AliveMarker {
    /// Marks the stream, waiting at most `timeout` for those who look at the marker or remove it.
    pub(crate) fn hold(place: &Place, timeout: Duration) -> Result<Self, JournalError> {
        let io = |operation, error| JournalError::io(operation, &place.agent, error);
        let start = Instant::now();
        loop {
            let file = place
                .io
                .open(&place.agent, OpenMode::Create)
                .map_err(|error| io("create", error))?;
            if file.try_lock_shared().map_err(|error| io("lock", error))? {
                let named = place
                    .io
                    .identity(&place.agent)
                    .map_err(|error| io("look at", error))?;
                if named == Some(file.identity().map_err(|error| io("look at", error))?) {
                    return Ok(Self {
                        place: place.clone(),
                        file,
                    });
                }
            }
            if start.elapsed() >= timeout {
                return Err(JournalError::Locked {
                    path: place.agent.clone(),
                    holder: None,
                    waited: timeout,
                });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Leaves properly; the last one out removes the marker.
    pub(crate) fn release(self) {
        if let Err(error) = self.remove_if_last() {
            tracing::warn!(%error, path = %self.place.agent.display(), "cannot remove the marker of a live writer");
        }
    }

    fn remove_if_last(&self) -> io::Result<()> {
        for _ in 0..LEAVE_TRIES {
            // Failing to get the exclusive lock may cost the shared one, which no longer matters.
            if self.file.try_lock()? {
                // Another one may have been the last before, and the name may be a newcomer's.
                let named = self.place.io.identity(&self.place.agent)?;
                return if named == Some(self.file.identity()?) {
                    self.place.io.remove(&self.place.agent)
                } else {
                    Ok(())
                };
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
