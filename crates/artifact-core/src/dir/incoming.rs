//! `.incoming`: staged files, and second names of files that are linked and may have no record yet. A writer holds a shared
//! lock of its file; a recovery takes the exclusive lock.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tracking_model::{CollectionId, SessionId};

use super::{ArtifactDir, CollectionDir, Entry, INCOMING, IfMissing, StagedFile, StagedKind, names_in};
use crate::store::{ArtifactKey, KeyPrefix, StoreError};

/// Begins the names of files that are worth keeping when their writer dies; `<collection>~<uuid>` follows.
const LIVE: &str = "live~";
/// Begins the names of files whose source is still there; the same follows.
const COPY: &str = "copy~";

/// A name in `.incoming`, removed on drop.
#[derive(Debug)]
pub(super) struct StagedName {
    directory: Arc<OwnedFd>,
    name: String,
    /// True if the name stays, for a recovery.
    pub(super) stays: bool,
}

impl StagedName {
    pub(super) fn is_live(&self) -> bool {
        self.name.starts_with(LIVE)
    }

    /// Gives the file one more name.
    pub(super) fn link(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        rustix::fs::linkat(
            &*self.directory,
            self.name.as_str(),
            directory,
            name,
            AtFlags::empty(),
        )?;
        Ok(())
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(
            &*self.directory,
            self.name.as_str(),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

impl Drop for StagedName {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = rustix::fs::unlinkat(&*self.directory, self.name.as_str(), AtFlags::empty()) {
            // Its lock ends with this process, so the next writer of the session removes it.
            tracing::debug!(name = self.name, %error, "leaving a staged file behind");
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
    collection: Option<Arc<CollectionDir>>,
    name: StagedName,
    file: File,
    size: u64,
    /// Its names in its collection.
    pub(crate) named: Vec<ArtifactKey>,
}

impl Interrupted {
    /// The collection and the bytes of output that exists nowhere else; everything else is removed, except for its names in
    /// its collection.
    pub(crate) fn live(mut self) -> Result<Option<(CollectionId, StagedFile)>, StoreError> {
        let Some(collection) = self.collection.take() else {
            return Ok(None);
        };
        if !self.name.is_live() || self.size == 0 {
            return Ok(None);
        }
        self.name.stays = true;
        let (id, prefix) = (collection.collection.clone(), collection.prefix());
        let mut staged = StagedFile::new(collection, self.name, self.file, None);
        staged
            .hash_file(&|_| {})
            .map_err(|source| StoreError::io("recover", prefix, source))?;
        Ok(Some((id, staged)))
    }
}

impl CollectionDir {
    /// Begins to store bytes.
    pub(crate) fn stage(
        self: &Arc<Self>,
        max_bytes: Option<u64>,
        kind: StagedKind,
    ) -> Result<StagedFile, StoreError> {
        let (file, name) = self.create_staged(kind).map_err(self.failed())?;
        Ok(StagedFile::new(Arc::clone(self), name, file, max_bytes))
    }

    /// A file in `.incoming`, locked for as long as its writer lives.
    fn create_staged(&self, kind: StagedKind) -> io::Result<(File, StagedName)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let mut opened = None;
            let staged = self.in_incoming(kind, |directory, name| {
                let file = rustix::fs::openat(directory, name, flags, Mode::RUSR)?;
                opened = Some(File::from(file));
                Ok(())
            })?;
            // Between its creation and its lock the file looks like a leftover: a recovery may have taken it.
            if let Some(file) = opened
                && file.try_lock_shared().is_ok()
                && rustix::fs::fstat(&file)?.st_nlink > 0
            {
                return Ok((file, staged));
            }
        }
    }

    /// Creates a name in `.incoming` by `create`.
    pub(super) fn in_incoming(
        &self,
        kind: StagedKind,
        mut create: impl FnMut(&OwnedFd, &str) -> io::Result<()>,
    ) -> io::Result<StagedName> {
        let prefix = match kind {
            StagedKind::Copy => COPY,
            StagedKind::Live => LIVE,
        };
        let name = format!(
            "{prefix}{}~{}",
            self.collection.encoded(),
            tracking_model::new_uuid()
        );
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
                    let names = [&*self.session.encoded(), INCOMING];
                    let opened = self.artifacts.directory(&names, IfMissing::Create)?;
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
                    return Ok(StagedName {
                        directory,
                        name,
                        stays: false,
                    });
                }
            }
        }
    }
}

impl ArtifactDir {
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
        let directory = Arc::new(self.directory(&[&session.encoded(), INCOMING], IfMissing::Fail)?);
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
            let (mut opened, mut named) = (None, Vec::new());
            if let Some(collection) = &collection {
                if stat.st_nlink > 1 {
                    named = self.names_of(session, collection, stat.st_ino)?;
                }
                opened = Some(CollectionDir::open(self, session, collection)?);
            }
            taken.push(Interrupted {
                collection: opened,
                file,
                name: StagedName {
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
        let opened = self.directory(&[&session.encoded(), &collection.encoded()], IfMissing::Fail);
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

    /// Passes what is in a session's `.incoming` to `each`: staged files, and second names of files that may have no record.
    pub(crate) fn each_in_flight(
        &self,
        session: &SessionId,
        each: &mut dyn FnMut(Entry, InFlight),
    ) -> Result<(), StoreError> {
        match self.walk_in_flight(session, each) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            looked => {
                looked.map_err(|source| StoreError::io("list", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    fn walk_in_flight(&self, session: &SessionId, each: &mut dyn FnMut(Entry, InFlight)) -> io::Result<()> {
        let directory = self.directory(&[&session.encoded(), INCOMING], IfMissing::Fail)?;
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
