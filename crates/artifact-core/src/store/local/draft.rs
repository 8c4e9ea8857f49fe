//! Files on their way into a collection: written without a name, made durable, then named.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::num::NonZero;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags};
use tracking_model::{CollectionId, FileHash, SessionId};

use super::content::{Found, Taken};
use super::incoming::{Incoming, Mark};
use super::names::take_numbered;
use super::{LocalStore, Missing, read_pieces};
use crate::store::{ArtifactKey, KeyError, KeyPrefix, PutMode};

/// So many bytes are handed on to the disk at a time while more are written.
const HANDED_ON_BYTES: u64 = 8 << 20;

/// What becomes of an upload whose writer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadKind {
    /// The source is still there: it is removed.
    Copy,
    /// It exists nowhere else: it is recovered.
    Live,
}

/// A collection's directory, opened to add files to it.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(super) store: LocalStore,
    session_id: SessionId,
    collection_id: CollectionId,
    pub(super) session: String,
    pub(super) collection: String,
    pub(super) directory: OwnedFd,
    /// The directory of contents, opened when it is first needed.
    pub(super) content: OnceLock<OwnedFd>,
    /// `.incoming`, opened when it is first needed. It may be tidied away while it is empty.
    pub(super) incoming: Mutex<Option<Arc<OwnedFd>>>,
}

impl Shelf {
    pub(super) fn open(
        store: &LocalStore,
        session_id: &SessionId,
        collection_id: &CollectionId,
    ) -> io::Result<Arc<Self>> {
        let (session, collection) = (session_id.encoded(), collection_id.encoded());
        let directory = store.directory(&[&session, &collection], Missing::Create)?;
        Ok(Arc::new(Self {
            store: store.clone(),
            session_id: session_id.clone(),
            collection_id: collection_id.clone(),
            session,
            collection,
            directory,
            content: OnceLock::new(),
            incoming: Mutex::new(None),
        }))
    }

    pub(in crate::store) fn prefix(&self) -> KeyPrefix {
        KeyPrefix::Collection(self.session_id.clone(), self.collection_id.clone())
    }

    /// The key of a file in the directory.
    pub(in crate::store) fn key(&self, file_name: &str) -> Result<ArtifactKey, KeyError> {
        ArtifactKey::new(self.session_id.clone(), self.collection_id.clone(), file_name)
    }

    /// An empty file to write.
    pub(in crate::store) fn draft(self: &Arc<Self>, kind: UploadKind) -> io::Result<Draft> {
        let unnamed = match kind {
            UploadKind::Copy => self.unnamed()?,
            UploadKind::Live => None,
        };
        let (file, place) = match unnamed {
            Some(file) => (file, Place::Unnamed),
            None => {
                let (file, incoming) = self.begin_incoming(kind)?;
                (file, Place::Incoming(incoming))
            }
        };
        Ok(Draft {
            shelf: Arc::clone(self),
            file,
            place,
            content: Taken::Leave,
            written: 0,
            handed_on: 0,
        })
    }

    /// A file without a name, which ends with its last handle, also when the process is killed. `None` where the file
    /// system has none, or nothing could be named through `/proc`.
    fn unnamed(&self) -> io::Result<Option<File>> {
        if !self.store.abilities.unnamed() {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, ".", flags, Mode::RUSR) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
                self.store.abilities.no_unnamed();
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes everything durable that was written to this file system since the shelf was opened, or fails if any of it
    /// could not be written.
    pub(in crate::store) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.directory)?)
    }

    /// Whether [`Self::sync_file_system`] says what could not be written: older kernels keep that to themselves.
    pub(in crate::store) fn sync_tells_errors(&self) -> bool {
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map_while(|part| part.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(5), Some(8))
    }

    /// Makes the names of files durable.
    pub(in crate::store) fn sync_directory(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.directory)?)
    }
}

/// A file on its way into a collection. Dropped before it has a name, nothing of it stays.
#[derive(Debug)]
pub(in crate::store) struct Draft {
    shelf: Arc<Shelf>,
    // Before the file, whose handle has the lock: a name that is there is locked.
    place: Place,
    file: File,
    /// What becomes of the stored content of its bytes, if there is one.
    content: Taken,
    /// Bytes written through this handle, and how many of them the kernel was asked to write to the disk.
    written: u64,
    handed_on: u64,
}

/// Where the bytes of a draft are.
#[derive(Debug)]
enum Place {
    /// In a file that has no name yet.
    Unnamed,
    /// In a file in `.incoming`.
    Incoming(Incoming),
    /// Stored already, for another artifact.
    Stored,
}

impl Draft {
    /// Takes over a locked file in `.incoming` whose writer is dead.
    pub(super) fn take_over(shelf: Arc<Shelf>, file: File, incoming: Incoming) -> Self {
        Self {
            shelf,
            file,
            place: Place::Incoming(incoming),
            content: Taken::Leave,
            written: 0,
            handed_on: 0,
        }
    }

    /// Another one with the same bytes, to be named too.
    pub(in crate::store) fn twin(&self) -> io::Result<Option<Self>> {
        if !self.shelf.store.abilities.links_open_files() {
            return Ok(None);
        }
        Ok(Some(Self {
            shelf: Arc::clone(&self.shelf),
            file: self.file.try_clone()?,
            place: Place::Stored,
            content: Taken::Leave,
            written: 0,
            handed_on: 0,
        }))
    }

    pub(in crate::store) const fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    pub(in crate::store) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.written - self.handed_on >= HANDED_ON_BYTES {
            self.hand_on();
        }
        Ok(())
    }

    /// Leaves a hole, which reads as zeros.
    pub(in crate::store) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.written += bytes;
        self.file.set_len(self.written)?;
        self.file.seek(io::SeekFrom::Start(self.written))?;
        Ok(())
    }

    /// Has the kernel begin to write to the disk what was written here, without waiting for it, so that little is left to the
    /// sync at the end, which also tells what failed. Linux does that with pages that are said not to be needed (before it
    /// forgets them, if they are on the disk already); where it is not done, only that sync takes longer.
    fn hand_on(&mut self) {
        let range = NonZero::new(self.written - self.handed_on);
        if let Err(error) = rustix::fs::fadvise(&self.file, self.handed_on, range, Advice::DontNeed) {
            tracing::trace!(%error, "leaving all writing to the sync at the end");
        }
        self.handed_on = self.written;
    }

    /// Reads what was written so far, piece by piece, from its beginning.
    pub(in crate::store) fn read_back(&self, piece: impl FnMut(&[u8])) -> io::Result<()> {
        read_pieces(&self.file, piece)
    }

    /// Becomes a copy of `source` that shares its blocks until either is written. `false`, with nothing done, where the
    /// file system cannot do that.
    pub(in crate::store) fn clone_blocks(&mut self, source: &File) -> bool {
        let abilities = &self.shelf.store.abilities;
        if !abilities.reflink() {
            return false;
        }
        match rustix::fs::ioctl_ficlone(&self.file, source) {
            Ok(()) => true,
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOTTY) => {
                abilities.no_reflink();
                false
            }
            // The source is on another file system, or its blocks are of a kind that cannot be shared.
            Err(error) => {
                tracing::trace!(%error, "copying byte by byte");
                false
            }
        }
    }

    /// Ends writing: uses bytes that are stored already, where there are the same. Live output keeps its own file, whose
    /// names tell whether it was recorded.
    pub(in crate::store) fn share(&mut self, hash: &FileHash, size: u64) {
        match &mut self.place {
            Place::Incoming(incoming) if incoming.is_live() => incoming.stays = true,
            _ => self.adopt(hash, size),
        }
    }

    /// Uses what is stored of these bytes, if there is any.
    fn adopt(&mut self, hash: &FileHash, size: u64) {
        match self.shelf.find(hash, size, &self.file) {
            Found::Same(file) => {
                self.place = Place::Stored;
                self.file = file;
            }
            Found::Nothing => {}
            Found::Unusable => self.content = Taken::Replace,
        }
    }

    /// Makes the bytes durable.
    pub(in crate::store) fn sync(&self) -> io::Result<()> {
        match self.place {
            // What has a name is durable.
            Place::Stored => Ok(()),
            Place::Unnamed => self.file.sync_all(),
            Place::Incoming(_) => {
                rustix::fs::fchmod(&self.file, Mode::RUSR)?;
                self.file.sync_all()
            }
        }
    }

    /// Gives the bytes, which must be durable, their name; the name is durable after [`Shelf::sync_names`]. The mark says
    /// in `.incoming` that the name may have no record, and is to be dropped once it has.
    pub(in crate::store) fn publish(
        mut self,
        wanted: &ArtifactKey,
        mode: PutMode,
        hash: &FileHash,
        size: u64,
    ) -> io::Result<(ArtifactKey, Mark)> {
        let is_content = size > 0 && self.become_content(hash, size);
        let (name, mark) = match self.mark_and_name(wanted, mode) {
            Err(error) if matches!(self.place, Place::Stored) && is_of_links(&error) => {
                let copy = self.copied()?;
                let named = copy.mark_and_name(wanted, mode)?;
                copy.link_as_content(hash);
                self = copy;
                named
            }
            Err(error) => {
                if is_content {
                    self.release_content(hash);
                }
                return Err(error);
            }
            Ok(named) => named,
        };
        // Only now: links of what is in `.incoming` tell whether it has its name.
        if size > 0 && matches!(self.place, Place::Incoming(_)) {
            self.link_as_content(hash);
        }
        let mark = match self.place {
            Place::Incoming(incoming) => Some(incoming),
            Place::Unnamed | Place::Stored => mark,
        };
        Ok((wanted.with_file_name(name), Mark::new(mark, self.file)))
    }

    /// Marks the file in `.incoming`, unless it is there, then names it.
    fn mark_and_name(&self, wanted: &ArtifactKey, mode: PutMode) -> io::Result<(String, Option<Incoming>)> {
        let mark = match self.place {
            Place::Incoming(_) => None,
            Place::Unnamed | Place::Stored => {
                // Recovery needs the exclusive lock; the shared one keeps it away while the writer lives.
                self.file.lock_shared()?;
                Some(self.shelf.mark(|directory, name| self.link(directory, name))?)
            }
        };
        Ok((self.name(wanted, mode)?, mark))
    }

    /// Lets others use the bytes, which must be durable, or uses what another has stored of them meanwhile. Tells whether
    /// they are the ones that others will use.
    fn become_content(&mut self, hash: &FileHash, size: u64) -> bool {
        match &self.place {
            Place::Stored => false,
            Place::Incoming(incoming) => {
                if !incoming.is_live() {
                    self.adopt(hash, size);
                }
                false
            }
            Place::Unnamed => {
                let linked = self.link_as_content(hash);
                if linked {
                    self.place = Place::Stored;
                } else {
                    self.adopt(hash, size);
                }
                linked
            }
        }
    }

    /// Lets others use the bytes, which must be durable, unless they use others already. Failing costs only space.
    fn link_as_content(&self, hash: &FileHash) -> bool {
        let link = |directory: &OwnedFd, name: &str| self.link(directory, name);
        match self.shelf.link_content(hash, self.content, link) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    tracing::debug!(%hash, %error, "this content is not shared with others");
                }
                false
            }
        }
    }

    /// Takes back what [`Self::link_as_content`] did, if nobody uses it.
    fn release_content(&self, hash: &FileHash) {
        let stat = rustix::fs::fstat(&self.file).map_err(io::Error::from);
        if let Err(error) = stat.and_then(|stat| self.shelf.store.release(hash, &stat)) {
            tracing::debug!(%hash, %error, "leaving a content that nothing uses");
        }
    }

    fn name(&self, wanted: &ArtifactKey, mode: PutMode) -> io::Result<String> {
        let (directory, wanted) = (&self.shelf.directory, wanted.file_name());
        match mode {
            PutMode::Create => self.link(directory, wanted).map(|()| wanted.to_owned()),
            PutMode::Numbered => take_numbered(directory, wanted, |name| self.link(directory, name)),
        }
    }

    fn link(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        match &self.place {
            Place::Incoming(incoming) => rustix::fs::linkat(
                &*incoming.directory,
                incoming.name.as_str(),
                directory,
                name,
                AtFlags::empty(),
            )?,
            Place::Unnamed | Place::Stored => {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, file, directory, name, AtFlags::SYMLINK_FOLLOW)?;
            }
        }
        Ok(())
    }

    /// The same bytes in a file of their own, durable.
    fn copied(&self) -> io::Result<Self> {
        let mut copy = self.shelf.draft(UploadKind::Copy)?;
        let mut written = Ok(());
        self.read_back(|bytes| {
            if written.is_ok() {
                written = copy.write(bytes);
            }
        })?;
        written?;
        copy.sync()?;
        copy.content = Taken::Replace;
        Ok(copy)
    }
}

/// Whether a file has no name any more, or as many as it can have: all who shared it were removed meanwhile, or they are as
/// many as the file system can count.
fn is_of_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::TooManyLinks | io::ErrorKind::PermissionDenied
    )
}
