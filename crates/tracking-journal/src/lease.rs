//! The right to feed one sink from one stream, held by one process at a time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracking_model::StreamId;

use crate::cursor::{Cursor, CursorError, CursorPlace};
use crate::io::{IoFile, OpenMode, read_full, write_full};
use crate::sink::SinkName;

/// How often, and after which pause, a lease that is taken is tried again: whoever asks whether it is taken holds it
/// for some microseconds.
const TRIES: u32 = 5;
/// The same where this process has it: a relay that was dropped while its cursor was being saved gives it back when
/// that is done.
const TRIES_OWN: u32 = 50;
const PAUSE: Duration = Duration::from_millis(4);

/// Another relay feeds this sink from this stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHeld {
    /// The stream.
    pub stream: StreamId,
    /// The sink.
    pub sink: SinkName,
    /// The process that holds the lease, where it can be told.
    pub pid: Option<u32>,
}

impl std::error::Error for LeaseHeld {}

impl fmt::Display for LeaseHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, sink, pid } = self;
        write!(f, "sink {sink} of {stream} is fed by ")?;
        match pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => write!(f, "another relay")?,
        }
        write!(f, "; leave it to that one, or stop it first")
    }
}

/// Why a lease could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else has it.
    #[error(transparent)]
    Held(#[from] LeaseHeld),
    /// Its file could not be created or locked.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// Whoever feeds a sink from a stream at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseHolder {
    /// The process, where it can be told.
    pub pid: Option<u32>,
}

/// Held while a relay runs; given back when it is dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lease {
    file: Arc<dyn IoFile>,
    path: PathBuf,
    saving: Mutex<()>,
}

impl Lease {
    /// Takes the lease, or tells who has it. Blocks for some milliseconds where another process has it, and at most 0.2 s where
    /// this one has.
    pub(crate) fn take(place: &CursorPlace) -> Result<Self, LeaseError> {
        let path = place.lease_path();
        let failed = |operation| {
            let path = path.clone();
            move |source| CursorError::Io {
                operation,
                path,
                source,
            }
        };
        place.create_dirs()?;
        let file = place.io.open(&path, OpenMode::Create).map_err(failed("open"))?;
        let mut tries = 0;
        loop {
            tries += 1;
            if file.try_lock().map_err(failed("lock"))? {
                let saving = Mutex::new(());
                let lease = Self { file, path, saving };
                lease.sign().map_err(|source| CursorError::Io {
                    operation: "write to",
                    path: lease.path.clone(),
                    source,
                })?;
                return Ok(lease);
            }
            let own = signature(&*file) == Some(std::process::id());
            if tries >= if own { TRIES_OWN } else { TRIES } {
                break;
            }
            thread::sleep(PAUSE);
        }
        Err(LeaseHeld {
            stream: place.stream.clone(),
            sink: place.sink.clone(),
            pid: signature(&*file),
        }
        .into())
    }

    /// Saves the cursor of `place`, whose lease this is. One saving at a time: one that its caller no longer waits for
    /// may still be under way, and keeps the lease until it is done.
    pub(crate) fn save(&self, place: &CursorPlace, cursor: &Cursor) -> Result<(), CursorError> {
        let _one_at_a_time = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        place.save(cursor)
    }

    /// Writes this process's id where those who are refused can read it.
    fn sign(&self) -> std::io::Result<()> {
        let text = format!("{}\n", std::process::id());
        write_full(&*self.file, text.as_bytes(), 0)?;
        self.file.set_size(text.len() as u64)
    }

    /// Who holds the lease of `place` now, `None` if nobody does.
    pub(crate) fn holder(place: &CursorPlace) -> Result<Option<LeaseHolder>, CursorError> {
        let path = place.lease_path();
        let failed = |operation| {
            let path = path.clone();
            move |source| CursorError::Io {
                operation,
                path,
                source,
            }
        };
        let file = match place.io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open")(error)),
        };
        if file.try_lock_shared().map_err(failed("lock"))? {
            file.unlock().map_err(failed("unlock"))?;
            Ok(None)
        } else {
            Ok(Some(LeaseHolder {
                pid: signature(&*file),
            }))
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Closing the file would do the same; only a descriptor that a child process inherited would keep it.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "cannot give a lease back; it ends with this process");
        }
    }
}

fn signature(file: &dyn IoFile) -> Option<u32> {
    let mut buffer = [0; 16];
    let read = read_full(file, &mut buffer, 0).ok()?;
    std::str::from_utf8(&buffer[..read]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::testing;

    #[test]
    fn one_holder_at_a_time_and_the_other_is_told_who() {
        let (_dir, place) = testing::place();
        assert_eq!(Lease::holder(&place).unwrap(), None);
        let lease = Lease::take(&place).unwrap();
        let LeaseError::Held(held) = Lease::take(&place).unwrap_err() else {
            panic!("not held")
        };
        assert_eq!(held.pid, Some(std::process::id()));
        let pid = Some(std::process::id());
        assert_eq!(Lease::holder(&place).unwrap(), Some(LeaseHolder { pid }));
        assert!(
            held.to_string()
                .contains("sink bus of upgrade:u is fed by process"),
            "{held}"
        );
        drop(lease);
        assert_eq!(Lease::holder(&place).unwrap(), None);
        Lease::take(&place).unwrap();
    }
}
