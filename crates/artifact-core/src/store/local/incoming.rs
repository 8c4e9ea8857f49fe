//! `.incoming`: files on their way, and marks of files that have their name and may have no record yet. Whoever writes
//! holds a shared lock of the file; whoever takes up what died has it alone.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tracking_model::{CollectionId, SessionId};

use super::draft::{Draft, Shelf, UploadKind};
use super::{INCOMING, LocalStore, Missing, names_in};
use crate::store::{ArtifactKey, Entry, KeyPrefix, StoreError};

/// Begins the names of files that are worth keeping when their writer dies; `<collection>~<uuid>` follows.
const LIVE: &str = "live~";
/// Begins the names of files whose source is still there; the same follows.
const COPY: &str = "copy~";

/// A name in `.incoming`, which is removed at the end.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: String,
    /// True if it stays, to be recovered.
    pub(super) stays: bool,
}

impl Incoming {
    pub(super) fn is_live(&self) -> bool {
        self.name.starts_with(LIVE)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = rustix::fs::unlinkat(&*self.directory, self.name.as_str(), AtFlags::empty()) {
            // It is unlocked with this process, so the next one that adds to the session removes it.
            tracing::debug!(name = self.name, %error, "leaving an unfinished file behind");
        }
    }
}

/// Says, for as long as it lives, that a file may have its name and no record. When the process dies before, whoever
/// adds to the session next looks whether there is one.
#[derive(Debug)]
pub(crate) struct Mark {
    // Before the file, whose handle has the lock: a name that is there is locked.
    incoming: Option<Incoming>,
    _file: File,
}

impl Mark {
    pub(super) fn new(incoming: Option<Incoming>, file: File) -> Self {
        let mut mark = Self {
            incoming,
            _file: file,
        };
        mark.stay(false);
        mark
    }

    /// Leaves it there, for it is not known whether there is a record, or there will be one later.
    pub(crate) fn leave(mut self) {
        self.stay(true);
    }

    fn stay(&mut self, stays: bool) {
        if let Some(incoming) = &mut self.incoming {
            incoming.stays = stays;
        }
    }
}

/// An entry of `.incoming`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    /// The number of its file.
    pub(crate) inode: u64,
    /// True if it has no other name.
    pub(crate) alone: bool,
    /// True if whoever wrote it died.
    pub(crate) dead: bool,
}

/// A file that a writer left that died, which nobody else can take up meanwhile.
#[derive(Debug)]
pub(crate) struct Interrupted {
    shelf: Option<Arc<Shelf>>,
    collection: Option<CollectionId>,
    file: File,
    incoming: Incoming,
    size: u64,
    /// Its names in its collection.
    pub(crate) named: Vec<ArtifactKey>,
}

impl Interrupted {
    /// The collection and the bytes, if they exist nowhere else and are to be kept; else it is removed.
    pub(in crate::store) fn live(mut self) -> Option<(CollectionId, Draft)> {
        let (collection, shelf) = self.collection.take().zip(self.shelf.take())?;
        if !self.incoming.is_live() || self.size == 0 {
            return None;
        }
        self.incoming.stays = true;
        Some((collection, Draft::take_over(shelf, self.file, self.incoming)))
    }
}

impl Shelf {
    /// A file in `.incoming`, locked for as long as its writer lives.
    pub(super) fn begin_incoming(&self, kind: UploadKind) -> io::Result<(File, Incoming)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let mut opened = None;
            let incoming = self.in_incoming(kind, |directory, name| {
                let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
                opened = Some(File::from(file));
                Ok(())
            })?;
            // Between its creation and its lock the file looks like a leftover; whoever sweeps may have taken it.
            if let Some(file) = opened
                && file.try_lock_shared().is_ok()
                && rustix::fs::fstat(&file)?.st_nlink > 0
            {
                return Ok((file, incoming));
            }
        }
    }

    /// Gives a file that is locked a name in `.incoming`, by `link`.
    pub(super) fn mark(&self, link: impl FnMut(&OwnedFd, &str) -> io::Result<()>) -> io::Result<Incoming> {
        self.in_incoming(UploadKind::Copy, link)
    }

    fn in_incoming(
        &self,
        kind: UploadKind,
        mut create: impl FnMut(&OwnedFd, &str) -> io::Result<()>,
    ) -> io::Result<Incoming> {
        let prefix = match kind {
            UploadKind::Copy => COPY,
            UploadKind::Live => LIVE,
        };
        let name = format!("{prefix}{}~{}", self.collection, tracking_model::new_uuid());
        let mut known = self
            .incoming
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        loop {
            let was_known = known.is_some();
            let directory = match known.take() {
                Some(directory) => directory,
                None => {
                    let opened = self
                        .store
                        .directory(&[&self.session, INCOMING], Missing::Create)?;
                    let opened = Arc::new(opened);
                    *self.incoming.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&opened));
                    opened
                }
            };
            match create(&directory, &name) {
                // It was tidied away since it was opened.
                Err(error) if was_known && error.kind() == io::ErrorKind::NotFound => {}
                created => {
                    created?;
                    return Ok(Incoming {
                        directory,
                        name,
                        stays: false,
                    });
                }
            }
        }
    }
}

impl LocalStore {
    /// Takes over what writers that died left in a session's `.incoming`.
    pub(crate) fn interrupted(&self, session: &SessionId) -> Result<Vec<Interrupted>, StoreError> {
        match self.take_interrupted(session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            taken => {
                taken.map_err(|source| StoreError::io("recover", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    fn take_interrupted(&self, session: &SessionId) -> io::Result<Vec<Interrupted>> {
        let directory = Arc::new(self.directory(&[&session.encoded(), INCOMING], Missing::Fail)?);
        let mut taken = Vec::new();
        for name in names_in(&directory)? {
            let Some((file, stat)) = open(&directory, &name)? else {
                continue;
            };
            // A file that cannot be locked has a live writer; one that has lost its name was taken up meanwhile.
            if file.try_lock().is_err() || !still_there(&directory, &name, &stat)? {
                continue;
            }
            let stat = rustix::fs::fstat(&file)?;
            let collection = collection_of(&name);
            let (mut shelf, mut named) = (None, Vec::new());
            if let Some(collection) = &collection {
                if stat.st_nlink > 1 {
                    named = self.names_of(session, collection, stat.st_ino)?;
                }
                shelf = Some(Shelf::open(self, session, collection)?);
            }
            taken.push(Interrupted {
                shelf,
                collection,
                file,
                incoming: Incoming {
                    directory: Arc::clone(&directory),
                    name: name.to_string_lossy().into_owned(),
                    stays: false,
                },
                size: u64::try_from(stat.st_size).unwrap_or(0),
                named,
            });
        }
        Ok(taken)
    }

    /// The keys of a collection whose file has that number.
    fn names_of(
        &self,
        session: &SessionId,
        collection: &CollectionId,
        inode: u64,
    ) -> io::Result<Vec<ArtifactKey>> {
        let opened = self.directory(&[&session.encoded(), &collection.encoded()], Missing::Fail);
        let directory = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut keys = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if entry.ino() != inode {
                continue;
            }
            let name = entry.file_name().to_str().ok();
            keys.extend(
                name.and_then(|name| ArtifactKey::new(session.clone(), collection.clone(), name).ok()),
            );
        }
        Ok(keys)
    }

    /// Passes what is in a session's `.incoming` to `each`: files on their way, and marks of those that may have no record.
    pub(crate) fn each_in_flight(
        &self,
        session: &SessionId,
        each: impl FnMut(Entry, InFlight),
    ) -> Result<(), StoreError> {
        match self.look_in_flight(session, each) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            looked => {
                looked.map_err(|source| StoreError::io("list", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    fn look_in_flight(&self, session: &SessionId, mut each: impl FnMut(Entry, InFlight)) -> io::Result<()> {
        let directory = self.directory(&[&session.encoded(), INCOMING], Missing::Fail)?;
        for name in names_in(&directory)? {
            let Some((file, stat)) = open(&directory, &name)? else {
                continue;
            };
            let dead = file.try_lock().is_ok();
            if still_there(&directory, &name, &stat)? {
                each(
                    Entry::in_flight(session, &name, stat.st_ino),
                    InFlight {
                        inode: stat.st_ino,
                        alone: stat.st_nlink == 1,
                        dead,
                    },
                );
            }
        }
        Ok(())
    }
}

/// Opens a regular file; `None` if it is gone, or something else.
fn open(directory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<Option<(File, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => {
            let stat = rustix::fs::fstat(&file)?;
            Ok(Some((File::from(file), stat)))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn still_there(directory: &OwnedFd, name: &std::ffi::CStr, opened: &Stat) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(found.st_ino == opened.st_ino),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The collection to which a file in `.incoming` belongs.
fn collection_of(name: &std::ffi::CStr) -> Option<CollectionId> {
    let name = name.to_str().ok()?;
    let rest = name.strip_prefix(LIVE).or_else(|| name.strip_prefix(COPY))?;
    let (collection, _) = rest.rsplit_once('~')?;
    CollectionId::from_encoded(collection).ok()
}
