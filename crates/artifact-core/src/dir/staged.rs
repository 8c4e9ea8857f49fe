//! The write path of all bytes: they are staged under `.incoming`, hashed while they are copied, made durable, and linked
//! under their final name. The name in `.incoming` stays until their record is durable.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Advice, Mode};
use sha2::{Digest, Sha256};
use tracking_model::FileHash;

use super::content::{Found, OnConflict};
use super::incoming::StagedName;
use super::{CollectionDir, read_pieces};
use crate::store::{ArtifactKey, CHUNK_BYTES, PutMode, PutOutcome, StoreError, StoreErrorKind};

const SMALLEST_BUFFER: usize = 4096;
/// Bytes from the beginning of a file that tell its type.
const HEAD_BYTES: usize = 1024;
/// Bytes after which the kernel is asked to begin writing them to the disk.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// Decides what becomes of a staged file whose writer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StagedKind {
    /// It is removed: its source exists.
    Copy,
    /// It is recovered: it exists nowhere else.
    Live,
}

/// Why a copy ended before its source did.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// Reading the source failed.
    Read(io::Error),
    /// Storing it failed.
    Store(StoreError),
}

impl From<StoreError> for CopyError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A file under `.incoming` that is being written. Dropped, it is removed, and the same if its process is killed: the next
/// writer of the session removes it.
#[derive(Debug)]
pub(crate) struct StagedFile {
    collection: Arc<CollectionDir>,
    // Dropped before the file, whose handle has the lock: a name that is there is locked.
    name: StagedName,
    file: File,
    hasher: Sha256,
    size: u64,
    max_bytes: Option<u64>,
    head: Vec<u8>,
    /// Bytes that the kernel was asked to write to the disk.
    written_back: u64,
}

impl StagedFile {
    pub(super) fn new(
        collection: Arc<CollectionDir>,
        name: StagedName,
        file: File,
        max_bytes: Option<u64>,
    ) -> Self {
        Self {
            collection,
            name,
            file,
            hasher: Sha256::new(),
            size: 0,
            max_bytes,
            head: Vec::new(),
            written_back: 0,
        }
    }

    /// Bytes that were written so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let size = self.size + bytes.len() as u64;
        let failed = self.collection.failed();
        if self.max_bytes.is_some_and(|max| size > max) {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                "put",
                self.collection.prefix(),
            ));
        }
        self.file.write_all(bytes).map_err(failed)?;
        self.note(bytes);
        if self.size - self.written_back >= WRITE_BACK_BYTES {
            self.write_back();
        }
        Ok(())
    }

    /// As writing so many zeros; where files may have holes, they take no space.
    pub(crate) fn write_hole(&mut self, bytes: u64, copied: &dyn Fn(u64)) -> Result<(), StoreError> {
        let failed = self.collection.failed();
        let end = self.size + bytes;
        self.file.set_len(end).map_err(&failed)?;
        self.file.seek(io::SeekFrom::Start(end)).map_err(&failed)?;
        let zeros = vec![0; CHUNK_BYTES];
        while self.size < end {
            let piece = usize::try_from(end - self.size)
                .unwrap_or(CHUNK_BYTES)
                .min(CHUNK_BYTES);
            self.note(zeros.get(..piece).unwrap_or_default());
            copied(piece as u64);
        }
        Ok(())
    }

    /// Hashes and counts bytes that are in the file, and keeps the first ones.
    fn note(&mut self, bytes: &[u8]) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head
            .extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Has the kernel begin to write to the disk without waiting, so that little is left to the sync, which reports errors.
    /// Linux does so for pages that are said not to be needed.
    fn write_back(&mut self) {
        let range = NonZero::new(self.size - self.written_back);
        if let Err(error) = rustix::fs::fadvise(&self.file, self.written_back, range, Advice::DontNeed) {
            tracing::trace!(%error, "leaving all writing to the sync");
        }
        self.written_back = self.size;
    }

    /// Copies `source` to its end, which should come after `expected` bytes, and hashes it. `copied` is told the bytes of
    /// each piece.
    pub(crate) fn copy_and_hash(
        &mut self,
        source: &mut dyn Read,
        expected: Option<u64>,
        copied: &dyn Fn(u64),
    ) -> Result<(), CopyError> {
        let piece = expected.and_then(|bytes| usize::try_from(bytes).ok());
        let piece = piece.map_or(CHUNK_BYTES, |bytes| bytes.clamp(SMALLEST_BUFFER, CHUNK_BYTES));
        let mut buffer = vec![0; piece];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.write(buffer.get(..read).unwrap_or_default())?;
                    copied(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CopyError::Read(error)),
            }
        }
    }

    /// Becomes a copy of `source` that shares its blocks. `false`, with nothing done, where the file system cannot do that.
    /// The bytes still have to be [hashed](Self::hash_file).
    pub(crate) fn clone_blocks(&mut self, source: &File) -> bool {
        let capabilities = &self.collection.artifacts.capabilities;
        if !capabilities.reflink() {
            return false;
        }
        match rustix::fs::ioctl_ficlone(&self.file, source) {
            Ok(()) => true,
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOTTY) => {
                capabilities.no_reflink();
                false
            }
            // The source is on another file system, or its blocks cannot be shared.
            Err(error) => {
                tracing::trace!(%error, "copying byte by byte");
                false
            }
        }
    }

    /// Hashes the bytes that are in the file: a clone, or output of a writer that died.
    pub(crate) fn hash_file(&mut self, copied: &dyn Fn(u64)) -> io::Result<()> {
        let file = self.file.try_clone()?;
        read_pieces(&file, |bytes| {
            self.note(bytes);
            copied(bytes.len() as u64);
            Ok(())
        })
    }

    /// Ends writing. Bytes that are stored already are shared, except for live output, whose names tell whether it has a
    /// record.
    pub(crate) fn finish(mut self) -> FinishedFile {
        if self.name.is_live() {
            self.name.stays = true;
        }
        let mut finished = FinishedFile {
            size: self.size,
            hash: FileHash::new(self.hasher.finalize().into()),
            head: self.head,
            collection: self.collection,
            name: self.name,
            file: self.file,
            is_shared: false,
            on_conflict: OnConflict::Keep,
        };
        finished.share();
        finished
    }
}

/// A file under `.incoming` whose bytes are complete.
#[derive(Debug)]
pub(crate) struct FinishedFile {
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    /// The first bytes.
    pub(crate) head: Vec<u8>,
    collection: Arc<CollectionDir>,
    name: StagedName,
    file: File,
    /// True if other artifacts have the same file.
    is_shared: bool,
    on_conflict: OnConflict,
}

impl FinishedFile {
    /// Takes the stored file with the same bytes, if there is one, in place of its own.
    fn share(&mut self) {
        if self.is_shared || self.name.is_live() {
            return;
        }
        match self.collection.find(&self.hash, self.size, &self.file) {
            Found::Same(stored) => match self.collection.stage_content(&self.hash, &stored) {
                Ok(name) => {
                    // The old name goes before the old file, whose handle has its lock.
                    self.name = name;
                    self.file = stored;
                    self.is_shared = true;
                }
                // Removed meanwhile, or it has as many links as a file can have.
                Err(error) => {
                    tracing::debug!(hash = %self.hash, %error, "storing the same bytes again");
                    self.on_conflict = OnConflict::Replace;
                }
            },
            Found::Nothing => {}
            Found::Unusable => self.on_conflict = OnConflict::Replace,
        }
    }

    /// Makes the bytes durable. A shared file is durable.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        if self.is_shared {
            return Ok(());
        }
        let synced = rustix::fs::fchmod(&self.file, Mode::RUSR)
            .map_err(io::Error::from)
            .and_then(|()| self.file.sync_all());
        synced.map_err(self.collection.failed())
    }

    /// Links the file, whose bytes must be durable, under its final name. [`CollectionDir::sync_names`] makes the name
    /// durable. The name in `.incoming` stays until the answer is dropped.
    pub(crate) fn link(mut self, file_name: &str, mode: PutMode) -> Result<LinkedFile, StoreError> {
        let (session, collection) = (
            self.collection.session.clone(),
            self.collection.collection.clone(),
        );
        let wanted = ArtifactKey::new(session, collection, file_name).map_err(|error| {
            StoreError::new(StoreErrorKind::UnsafePath, "put", file_name).with_source(error)
        })?;
        let failed = |source| StoreError::io("put", &wanted, source);
        // Another writer may have stored the same bytes since.
        self.share();
        let mut name = self.take_name(file_name, mode);
        if self.is_shared && name.as_ref().is_err_and(has_no_more_links) {
            self = self.own_copy()?;
            name = self.take_name(file_name, mode);
        }
        let name = name.map_err(failed)?;
        // After the name: the links of a file in `.incoming` tell whether it has its name.
        if self.size > 0 && !self.is_shared {
            self.link_content();
        }
        self.name.stays = false;
        let put = PutOutcome {
            key: wanted.with_file_name(name),
            size: self.size,
            hash: self.hash,
        };
        Ok(LinkedFile {
            put,
            name: self.name,
            _file: self.file,
        })
    }

    fn take_name(&self, wanted: &str, mode: PutMode) -> io::Result<String> {
        let link = |directory: &OwnedFd, name: &str| self.name.link(directory, name);
        self.collection.take_name(wanted, mode, link)
    }

    /// Lets other artifacts share the file. Failing costs only space.
    fn link_content(&self) {
        let link = |directory: &OwnedFd, name: &str| self.name.link(directory, name);
        match self.collection.link_content(&self.hash, self.on_conflict, link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::debug!(hash = %self.hash, %error, "this content is not shared");
            }
            _ => {}
        }
    }

    /// The same bytes in a file of its own, durable.
    fn own_copy(self) -> Result<Self, StoreError> {
        let mut copy = self.collection.stage(None, StagedKind::Copy)?;
        read_pieces(&self.file, |bytes| copy.write(bytes).map_err(io::Error::other))
            .map_err(self.collection.failed())?;
        let copy = Self {
            size: copy.size,
            hash: self.hash,
            head: self.head,
            collection: copy.collection,
            name: copy.name,
            file: copy.file,
            is_shared: false,
            on_conflict: OnConflict::Replace,
        };
        copy.make_durable()?;
        Ok(copy)
    }

    /// Makes the bytes durable, links them, and makes the name durable.
    pub(crate) fn commit(self, file_name: &str, mode: PutMode) -> Result<LinkedFile, StoreError> {
        self.make_durable()?;
        let collection = Arc::clone(&self.collection);
        let linked = self.link(file_name, mode)?;
        collection.sync_names()?;
        Ok(linked)
    }
}

/// True if a file has no name any more, or as many as the file system can count.
fn has_no_more_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::TooManyLinks | io::ErrorKind::PermissionDenied
    )
}

/// A file that has its final name. Its name in `.incoming` says that it may have no record, and goes when this is dropped.
#[derive(Debug)]
pub(crate) struct LinkedFile {
    pub(crate) put: PutOutcome,
    // Dropped before the file, whose handle has the lock.
    name: StagedName,
    _file: File,
}

impl LinkedFile {
    /// True if the bytes exist nowhere else.
    pub(crate) fn is_live(&self) -> bool {
        self.name.is_live()
    }

    /// Leaves the name in `.incoming`: the next writer of the session finds out whether there is a record.
    pub(crate) fn leave(mut self) {
        self.name.stays = true;
    }
}
