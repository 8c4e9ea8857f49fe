//! Whether a long-lived writer of a stream is alive, as told by a lock that the system frees when a process dies.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracking_model::StreamId;

use crate::io::{IoFile, OpenMode, write_full};
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
    /// The journal is a copy of one that is written elsewhere.
    Unknown,
}

impl Liveness {
    /// Looks at a stream's marker.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the marker cannot be opened or locked.
    pub fn of(dir: &DataDir, stream: &StreamId) -> Result<Self, JournalError> {
        if dir.is_copy() {
            return Ok(Self::Unknown);
        }
        let place = Place::on_disk(dir, stream);
        let mut seen = Seen::InMotion(Self::Live);
        for _ in 0..LOOK_TRIES {
            seen = Self::look(&place)?;
            match seen {
                Seen::Settled(found) => return Ok(found),
                Seen::InMotion(_) => thread::sleep(PAUSE),
            }
        }
        let (Seen::Settled(found) | Seen::InMotion(found)) = seen;
        Ok(found)
    }

    fn look(place: &Place) -> Result<Seen, JournalError> {
        let io = |operation, error| JournalError::io(operation, &place.agent, error);
        let marker = match place.io.open(&place.agent, OpenMode::Read) {
            Ok(marker) => marker,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Seen::Settled(Self::Unmarked));
            }
            Err(error) => return Err(io("open", error)),
        };
        let id = marker.identity().map_err(|error| io("look at", error))?;
        if !marker.try_lock().map_err(|error| io("lock", error))? {
            // Writers share the lock; whoever has it alone only looks, or leaves, and may have let go meanwhile.
            return Ok(match lock_owner::is_exclusive(id) {
                Some(false) => Seen::Settled(Self::Live),
                _ => Seen::InMotion(Self::Live),
            });
        }
        let named = place.io.named(&place.agent);
        let named = named.map_err(|error| io("look at", error))?;
        marker.unlock().map_err(|error| io("unlock", error))?;
        Ok(match named {
            Some(named) if named.id == id && named.size > 0 => Seen::Settled(Self::Gone),
            // An empty one is about to be locked, or its writer died before that and so before it wrote any record; if it
            // has another name, or none, the last writer removed it since it was opened.
            _ => Seen::InMotion(Self::Unmarked),
        })
    }
}

/// What a marker says at one moment.
enum Seen {
    Settled(Liveness),
    /// Somebody is changing it; if that does not end, this is what to make of it.
    InMotion(Liveness),
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
const LEAVE_TRIES: u32 = 50;
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
                    let marker = Self {
                        place: place.clone(),
                        file,
                    };
                    marker.sign();
                    return Ok(marker);
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

    /// Only a marker with content says that its writer died: one that is empty was never held.
    fn sign(&self) {
        let signed = self.file.size().and_then(|size| match size {
            0 => write_full(&*self.file, format!("{}\n", std::process::id()).as_bytes(), 0),
            _ => Ok(()),
        });
        if let Err(error) = signed {
            // Without it, this writer's death is only noticed by its silence.
            tracing::warn!(%error, path = %self.place.agent.display(), "cannot sign the marker of a live writer");
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tracking_model::UpgradeId;

    use super::*;

    #[test]
    fn writers_that_leave_properly_never_look_dead() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let stream = StreamId::Upgrade(UpgradeId::new("u").unwrap());
        let place = Place::on_disk(&dir, &stream);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let looker = scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) {
                    assert_ne!(Liveness::of(&dir, &stream).unwrap(), Liveness::Gone);
                    looks += 1;
                }
                looks
            });
            for _ in 0..500 {
                AliveMarker::hold(&place, Duration::from_secs(5))
                    .unwrap()
                    .release();
            }
            done.store(true, Ordering::Relaxed);
            assert!(looker.join().unwrap() > 0);
        });
        assert_eq!(Liveness::of(&dir, &stream).unwrap(), Liveness::Unmarked);
    }
}
