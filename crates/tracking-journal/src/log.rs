//! The writer's hold on a journal's files: the lock between processes, the append, the sync and the roll-back.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::io::{FileId, IoFile, OpenMode, read_full, write_full};
use crate::place::Place;
use crate::sidecar::DurableLength;
use crate::{JournalError, lock_owner};

/// At the end of a journal of which nothing was announced, as much as this is taken for its last commit.
const LAST_COMMIT: u64 = 64 << 20;

/// So many times in a row a writer takes the free journal without passing the turnstile; so many commits of each other
/// writer, at most, does one who waits at the turnstile wait for.
const DIRECT_COMMITS: u32 = 7;

/// The files of a stream that exists.
#[derive(Debug, Clone)]
pub(crate) struct LogFiles {
    pub(crate) journal: Arc<dyn IoFile>,
    pub(crate) id: FileId,
    pub(crate) sidecar: Arc<dyn IoFile>,
}

/// A journal's file that was read.
#[derive(Debug, Clone)]
pub(crate) struct KnownFile {
    pub(crate) id: FileId,
    #[expect(dead_code, reason = "while it is open, no other file gets its number")]
    pub(crate) file: Arc<dyn IoFile>,
}

/// The stream's lock, held for one commit.
#[derive(Debug)]
pub(crate) struct LogLock {
    pub(crate) held: Arc<dyn IoFile>,
    /// The files, `None` while the stream has none: then the directory is what is locked.
    pub(crate) files: Option<LogFiles>,
    /// The journal's length when it was locked.
    pub(crate) size: u64,
}

impl Drop for LogLock {
    fn drop(&mut self) {
        if let Err(error) = self.held.unlock() {
            tracing::warn!(%error, "cannot unlock a journal; its lock ends with this process");
        }
    }
}

/// Opens, locks and writes the files of one stream.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) place: Place,
    lock_timeout: Duration,
    files: Option<LogFiles>,
    /// The file that the writer's state was read from, `None` if there was none. Kept open, so that no other file can
    /// get its number.
    known: Option<KnownFile>,
    /// Commits since the turnstile was passed.
    direct: u32,
}

impl Log {
    /// Works on the file `known`, `None` if the stream has none as far as the caller knows.
    pub(crate) const fn new(place: Place, lock_timeout: Duration, known: Option<KnownFile>) -> Self {
        Self {
            place,
            lock_timeout,
            files: None,
            known,
            direct: 0,
        }
    }

    fn error(&self, operation: &'static str, error: io::Error) -> JournalError {
        JournalError::io(operation, &self.place.journal, error)
    }

    /// Whether `files` are other ones than the writer's state was read from.
    pub(crate) fn is_replaced_by(&self, files: &LogFiles) -> bool {
        self.known.as_ref().is_some_and(|known| known.id != files.id)
    }

    /// The writer's state is now that of `files`.
    pub(crate) fn has_read(&mut self, files: &LogFiles) {
        if self.known.is_none() || self.is_replaced_by(files) {
            self.known = Some(KnownFile {
                id: files.id,
                file: Arc::clone(&files.journal),
            });
        }
    }

    /// Whether the journal may be longer than `offset`, or another file; errors are met when it is locked.
    pub(crate) fn grown(&self, offset: u64) -> bool {
        let named = self.place.io.identity(&self.place.journal).ok().flatten();
        match &self.files {
            Some(files) if named == Some(files.id) => files.journal.size().is_ok_and(|size| size != offset),
            _ => named.is_some(),
        }
    }

    /// Takes the stream's lock, waiting for other writers as long as the timeout allows. What the lock gives may be
    /// another file than before: ask [`Self::is_replaced_by`], and tell [`Self::has_read`] once it was read.
    pub(crate) fn lock(&mut self) -> Result<LogLock, JournalError> {
        let deadline = Deadline::after(self.lock_timeout);
        loop {
            let files = match self.files.take() {
                Some(files) => Some(files),
                None => self.find()?,
            };
            let lock = match files {
                Some(files) => self.lock_files(files, &deadline)?,
                None => self.lock_absence(&deadline)?,
            };
            if let Some(lock) = lock {
                self.files.clone_from(&lock.files);
                return Ok(lock);
            }
        }
    }

    /// Opens the files that the path names now, `None` if there are none and never were.
    fn find(&self) -> Result<Option<LogFiles>, JournalError> {
        let found = self.place.io.identity(&self.place.journal);
        match found.map_err(|error| self.error("look at", error))? {
            None if self.known.is_some() => Err(JournalError::Removed {
                path: self.place.journal.clone(),
            }),
            None => Ok(None),
            Some(_) => match self.open_files() {
                Ok(files) => Ok(Some(files)),
                // Removed since; the next look tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.error("open", error)),
            },
        }
    }

    /// Takes the lock of the directory, for a stream without files; `None` if it has some.
    fn lock_absence(&self, deadline: &Deadline) -> Result<Option<LogLock>, JournalError> {
        let directory = self.place.io.open_dir(&self.place.directory());
        let directory = directory.map_err(|error| self.error("open the directory of", error))?;
        self.wait_for(&directory, deadline)?;
        let lock = LogLock {
            held: directory,
            files: None,
            size: 0,
        };
        let found = self.place.io.identity(&self.place.journal);
        let found = found.map_err(|error| self.error("look at", error))?;
        let absent = found.is_none() && self.known.is_none();
        Ok(absent.then_some(lock))
    }

    /// Takes the lock of the journal's file; `None` if the path names another, or none.
    fn lock_files(&mut self, files: LogFiles, deadline: &Deadline) -> Result<Option<LogLock>, JournalError> {
        let passes = self.direct < DIRECT_COMMITS && self.try_lock(&files.journal)?;
        self.direct = if passes { self.direct + 1 } else { 0 };
        if !passes {
            // Whoever waits for the journal holds the turnstile meanwhile, so that one who has just let go of the
            // journal, and passes here, cannot take it again before the waiter had its turn.
            self.wait_for(&files.sidecar, deadline)?;
            let turnstile = LogLock {
                held: Arc::clone(&files.sidecar),
                files: None,
                size: 0,
            };
            self.wait_for(&files.journal, deadline)?;
            drop(turnstile);
        }
        let mut lock = LogLock {
            held: Arc::clone(&files.journal),
            files: Some(files),
            size: 0,
        };
        let named = self.place.io.named(&self.place.journal);
        let named = named.map_err(|error| self.error("look at", error))?;
        let ours = lock.files.as_ref().map(|files| files.id);
        Ok(named.filter(|named| Some(named.id) == ours).map(|named| {
            lock.size = named.size;
            lock
        }))
    }

    fn open_files(&self) -> io::Result<LogFiles> {
        let journal = self.place.io.open(&self.place.journal, OpenMode::Write)?;
        let sidecar = self.place.io.open(&self.place.sidecar, OpenMode::Create)?;
        Ok(LogFiles {
            id: journal.identity()?,
            journal,
            sidecar,
        })
    }

    fn try_lock(&self, file: &Arc<dyn IoFile>) -> Result<bool, JournalError> {
        file.try_lock().map_err(|error| self.error("lock", error))
    }

    fn wait_for(&self, file: &Arc<dyn IoFile>, deadline: &Deadline) -> Result<(), JournalError> {
        let mut pause = Duration::from_micros(20);
        loop {
            if self.try_lock(file)? {
                return Ok(());
            }
            if deadline.passed() {
                return Err(JournalError::Locked {
                    path: self.place.journal.clone(),
                    holder: self.holder(file),
                    waited: deadline.timeout,
                });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }

    /// The process that holds the journal's lock, else the one that holds what was waited for.
    fn holder(&self, waited_for: &Arc<dyn IoFile>) -> Option<u32> {
        if !self.place.is_shared() {
            return None;
        }
        let journal = self.place.io.identity(&self.place.journal).ok().flatten();
        journal
            .and_then(lock_owner::of)
            .or_else(|| lock_owner::of(waited_for.identity().ok()?))
    }

    /// Creates the files of a stream that has none, under the directory's lock, and moves the lock to the journal.
    ///
    /// The file gets its name only once it is locked: a writer that finds it must not come before this one, whose
    /// commands were checked against a stream without records.
    pub(crate) fn create(&mut self, lock: &mut LogLock) -> Result<LogFiles, JournalError> {
        let failed = |operation| {
            let path = self.place.journal.clone();
            move |error| JournalError::io(operation, &path, error)
        };
        let io = &self.place.io;
        let unnamed = self.place.journal.with_extension("jsonl.new");
        let journal = io.open(&unnamed, OpenMode::Replace).map_err(failed("create"))?;
        self.wait_for(&journal, &Deadline::after(self.lock_timeout))?;
        // What an earlier life of the stream left behind would vouch for bytes that this one never had.
        io.remove(&self.place.checkpoint)
            .map_err(failed("remove the checkpoint of"))?;
        let sidecar = io.open(&self.place.sidecar, OpenMode::Replace);
        let sidecar = sidecar.map_err(failed("open the sidecar of"))?;
        io.rename(&unnamed, &self.place.journal).map_err(failed("name"))?;
        let synced = io.sync_dir(&self.place.directory());
        synced.map_err(failed("sync the directory of"))?;
        let id = journal.identity().map_err(failed("look at"))?;
        let files = LogFiles { id, sidecar, journal };
        *lock = LogLock {
            held: Arc::clone(&files.journal),
            files: Some(files.clone()),
            size: 0,
        };
        self.has_read(&files);
        self.files = Some(files.clone());
        Ok(files)
    }

    /// Writes `bytes` at `offset` and makes them durable.
    pub(crate) fn append(&self, files: &LogFiles, bytes: &[u8], offset: u64) -> Result<(), AppendError> {
        if let Err(error) = write_full(&*files.journal, bytes, offset) {
            let error = self.error("write", error);
            return match files.journal.set_size(offset) {
                Ok(()) => Err(AppendError::RolledBack(error)),
                Err(rollback) => Err(AppendError::Unknown {
                    error,
                    reason: format!("a failed write could not be undone: {rollback}"),
                }),
            };
        }
        if let Err(error) = files.journal.sync_data() {
            let reason = format!("a sync failed: {error}");
            // What is not durable should not be found by the next reader either; whether this works changes nothing.
            if let Err(rollback) = files.journal.set_size(offset) {
                tracing::warn!(%rollback, path = %self.place.journal.display(), "cannot cut what was not synced");
            }
            return Err(AppendError::Unknown {
                error: self.error("sync", error),
                reason,
            });
        }
        Ok(())
    }

    /// Brings the file to a known end at `length`: cuts the `torn` bytes after it, and makes what is before it durable,
    /// as a writer that died may not have come to that. What no writer announced as durable is written again, for
    /// the system may have given up on it after a failed sync, and another sync alone would not notice. Where nothing
    /// was announced, that may be the last commit, and the file's name may not be durable either.
    pub(crate) fn settle(
        &self,
        files: &LogFiles,
        epoch: Uuid,
        length: u64,
        torn: u64,
    ) -> Result<(), JournalError> {
        if torn > 0 {
            files
                .journal
                .set_size(length)
                .map_err(|error| self.error("cut the torn tail of", error))?;
            tracing::warn!(path = %self.place.journal.display(), length, torn, "cut off an unfinished commit");
        }
        let announced =
            DurableLength::read(&*files.sidecar).map_err(|error| self.error("look beside", error))?;
        let announced = announced
            .filter(|durable| durable.epoch == epoch)
            .map(|durable| durable.length);
        if torn == 0 && announced == Some(length) {
            return Ok(());
        }
        let from = announced.unwrap_or_else(|| length.saturating_sub(LAST_COMMIT));
        self.write_again(files, from, length)?;
        if announced.is_none() {
            let synced = self.place.io.sync_dir(&self.place.directory());
            synced.map_err(|error| self.error("sync the directory of", error))?;
        }
        files
            .journal
            .sync_data()
            .map_err(|error| JournalError::Poisoned {
                path: self.place.journal.clone(),
                reason: format!("a sync failed: {error}"),
            })?;
        self.announce(files, epoch, length);
        Ok(())
    }

    fn write_again(&self, files: &LogFiles, from: u64, to: u64) -> Result<(), JournalError> {
        let mut buffer = vec![0; 1 << 20];
        let mut offset = from;
        while offset < to {
            let wanted = usize::try_from(to - offset)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let read = read_full(&*files.journal, &mut buffer[..wanted], offset);
            let read = read.map_err(|error| self.error("read", error))?;
            if read == 0 {
                break;
            }
            let written = write_full(&*files.journal, &buffer[..read], offset);
            written.map_err(|error| self.error("write", error))?;
            offset += read as u64;
        }
        Ok(())
    }

    /// Tells readers in other processes how much is durable.
    pub(crate) fn announce(&self, files: &LogFiles, epoch: Uuid, length: u64) {
        let durable = DurableLength { epoch, length };
        if let Err(error) = durable.write(&*files.sidecar) {
            // The records are durable; readers find them once no writer holds the lock.
            tracing::warn!(%error, path = %self.place.sidecar.display(), "cannot announce the durable length");
        }
    }
}

/// What is left of a failed append.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The file is as it was before.
    RolledBack(JournalError),
    /// What is on disk is unknown.
    Unknown {
        /// What failed.
        error: JournalError,
        /// For those who come later.
        reason: String,
    },
}

#[derive(Debug)]
struct Deadline {
    timeout: Duration,
    start: Instant,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self {
            timeout,
            start: Instant::now(),
        }
    }

    fn passed(&self) -> bool {
        self.start.elapsed() >= self.timeout
    }
}
