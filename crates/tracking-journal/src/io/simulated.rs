//! A disk in memory that knows what is durable: it can fail where told, and shows every state in which a crash could
//! leave it.

mod crash;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracking_model::StreamId;

use super::{FileId, IoFile, JournalIo, MemoryIo, Named, OpenMode};
use crate::place::Place;
pub use crash::CrashStates;
use crash::Survivors;

/// The operation at which a simulated disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultAt {
    /// Opening the journal.
    Open,
    /// Reading the journal.
    Read,
    /// Writing the journal: a part is written, then no more.
    Write,
    /// Cutting the journal.
    SetSize,
    /// Syncing the journal: what was not synced is dropped, and another sync does not notice.
    Sync,
    /// Syncing the names in the directory.
    SyncNames,
}

/// What fails, once.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The operation.
    pub at: FaultAt,
    /// How many such operations succeed before.
    pub after: u32,
    /// The error of the system, such as 5 (EIO) or 28 (ENOSPC).
    pub errno: i32,
    /// Of a write, how many bytes are written before it fails.
    pub written: usize,
}

impl Fault {
    /// The next `at` fails with `errno`, having written nothing.
    #[must_use]
    pub const fn next(at: FaultAt, errno: i32) -> Self {
        Self {
            at,
            after: 0,
            errno,
            written: 0,
        }
    }
}

/// A disk in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {
    files: MemoryIo,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    /// What was there at the beginning: by name the inode, by inode the content.
    names: BTreeMap<PathBuf, u64>,
    contents: HashMap<u64, Vec<u8>>,
    events: Vec<Event>,
    faults: Vec<Fault>,
}

#[derive(Debug, Clone)]
enum Event {
    Name(NameChange),
    Write {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    SetSize {
        inode: u64,
        size: usize,
    },
    Sync {
        inode: u64,
    },
    /// A sync failed: the system takes for written what is not.
    GiveUp {
        inode: u64,
    },
    SyncNames,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl SimulatedDisk {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        self.log().events.push(event);
    }

    fn with(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        let disk = Self::default();
        for (path, content) in files {
            disk.files.put(&path, content);
        }
        {
            let mut log = disk.log();
            for (path, inode, content) in disk.files.all() {
                log.names.insert(path, inode);
                log.contents.insert(inode, content);
            }
        }
        disk
    }

    /// A disk on which `stream` has a journal of this content, durable, and nothing beside it.
    #[must_use]
    pub fn with_journal(stream: &StreamId, content: &[u8]) -> Self {
        Self::with_files(stream, &[(".jsonl", content)])
    }

    /// A disk on which `stream` has these files, named by their suffixes (`.jsonl`, `.checkpoint`, `.lock`), durable.
    #[must_use]
    pub fn with_files(stream: &StreamId, files: &[(&str, &[u8])]) -> Self {
        let named = |suffix: &str| {
            Place::in_memory(stream)
                .journal
                .with_file_name(format!("{}{suffix}", stream.file_stem()))
        };
        Self::with(
            files
                .iter()
                .map(|(suffix, content)| (named(suffix), (*content).to_owned())),
        )
    }

    /// Makes an operation fail once.
    pub fn inject(&self, fault: Fault) {
        self.log().faults.push(fault);
    }

    /// The content of the file whose name ends in `suffix`, if there is one.
    #[must_use]
    pub fn content(&self, suffix: &str) -> Option<Vec<u8>> {
        let found = self
            .files
            .all()
            .into_iter()
            .find(|(path, ..)| path.to_string_lossy().ends_with(suffix));
        found.and_then(|(path, ..)| self.files.read(&path))
    }

    /// How many changes the disk has seen: a crash may come after each.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.log().events.len()
    }

    /// The states in which a crash after the first `changes` changes could leave the disk, each as a disk of its own.
    #[must_use]
    pub fn crash_states(&self, changes: usize) -> CrashStates {
        let log = self.log();
        let mut survivors = Survivors::new(log.names.clone(), &log.contents);
        log.events
            .iter()
            .take(changes)
            .for_each(|event| survivors.pass(event));
        survivors.states()
    }

    /// Whether an operation on the journal is to fail, and how.
    fn fault(&self, at: FaultAt) -> Option<Fault> {
        let mut log = self.log();
        let index = log.faults.iter().position(|fault| fault.at == at)?;
        if log.faults[index].after > 0 {
            log.faults[index].after -= 1;
            return None;
        }
        Some(log.faults.remove(index))
    }

    fn check(&self, at: FaultAt) -> io::Result<()> {
        self.fault(at)
            .map_or(Ok(()), |fault| Err(io::Error::from_raw_os_error(fault.errno)))
    }
}

/// Whether a file is the journal, be it before it has its name.
fn is_journal(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".jsonl") || name.ends_with(".jsonl.new")
}

impl JournalIo for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn IoFile>> {
        if is_journal(path) {
            self.check(FaultAt::Open)?;
        }
        let before = self.files.identity(path)?;
        let file = self.files.open(path, mode)?;
        let inode = file.identity()?.inode;
        if before.is_none() {
            self.record(Event::Name(NameChange::Add(path.to_owned(), inode)));
        } else if mode == OpenMode::Replace {
            self.record(Event::SetSize { inode, size: 0 });
        }
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            file,
            inode,
            journal: is_journal(path),
        }))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn IoFile>> {
        self.files.open_dir(path)
    }

    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        self.files.named(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)?;
        self.record(Event::Name(NameChange::Rename(from.to_owned(), to.to_owned())));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.link(from, to)?;
        if let Some(id) = self.files.identity(to)? {
            self.record(Event::Name(NameChange::Add(to.to_owned(), id.inode)));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.files.identity(path)?.is_some() {
            self.files.remove(path)?;
            self.record(Event::Name(NameChange::Remove(path.to_owned())));
        }
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.check(FaultAt::SyncNames)?;
        self.record(Event::SyncNames);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: Arc<dyn IoFile>,
    inode: u64,
    journal: bool,
}

impl SimulatedFile {
    fn fault(&self, at: FaultAt) -> Option<Fault> {
        if self.journal { self.disk.fault(at) } else { None }
    }

    fn check(&self, at: FaultAt) -> io::Result<()> {
        self.fault(at)
            .map_or(Ok(()), |fault| Err(io::Error::from_raw_os_error(fault.errno)))
    }

    fn position(offset: u64) -> io::Result<usize> {
        usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.file.write_at(bytes, offset)?;
        let (inode, offset, bytes) = (self.inode, Self::position(offset)?, bytes[..written].to_vec());
        self.disk.record(Event::Write { inode, offset, bytes });
        Ok(written)
    }
}

impl IoFile for SimulatedFile {
    fn identity(&self) -> io::Result<FileId> {
        self.file.identity()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(FaultAt::Read)?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match self.fault(FaultAt::Write) {
            None => self.write(bytes, offset),
            Some(fault) if fault.written == 0 => Err(io::Error::from_raw_os_error(fault.errno)),
            Some(fault) => {
                // A short write; the next one says why.
                self.disk.inject(Fault { written: 0, ..fault });
                self.write(&bytes[..fault.written.min(bytes.len())], offset)
            }
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.check(FaultAt::SetSize)?;
        self.file.set_size(size)?;
        self.disk.record(Event::SetSize {
            inode: self.inode,
            size: Self::position(size)?,
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let inode = self.inode;
        let failed = self.check(FaultAt::Sync);
        self.disk.record(match failed {
            Ok(()) => Event::Sync { inode },
            Err(_) => Event::GiveUp { inode },
        });
        failed
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        self.file.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
