//! Storing in one pass: bytes are hashed while they are written, and appear under their key only when all are there.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracking_model::{CollectionId, FileHash, SessionId};

use super::local::{self, Draft, InFlight, Interrupted, Mark, OpenCollection, SweptContent, UploadKind};
use super::pump::{FillError, INLINE_BYTES, copy_overlapped, read_piece};
use super::{ArtifactKey, CHUNK_BYTES, Entry, KeyPrefix, LocalStore, MemoryStore, PutBody, PutMode};
use super::{PutOptions, PutOutcome, StoreError, StoreErrorKind};

/// A smaller buffer is not worth a thought.
const SMALLEST_BUFFER: usize = 4096;
/// Bytes from the beginning of what is stored that tell its type.
const HEAD_BYTES: usize = 1024;

/// The store that a manager keeps its bytes in. It blocks, so it is used off the executor.
#[derive(Debug, Clone)]
pub(crate) enum Vault {
    Local(LocalStore),
    Memory(MemoryStore),
}

/// A collection, opened to add to it.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    session: SessionId,
    collection: CollectionId,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Local(Arc<local::Shelf>),
    Memory(MemoryStore),
}

impl Shelf {
    fn prefix(&self) -> KeyPrefix {
        KeyPrefix::Collection(self.session.clone(), self.collection.clone())
    }

    fn failed(&self) -> impl Fn(io::Error) -> StoreError + use<> {
        let prefix = self.prefix();
        move |source| StoreError::io("put", &prefix, source)
    }

    /// Begins to store something. Dropped before it is published, nothing stays.
    pub(crate) fn begin(&self, max_bytes: Option<u64>, kind: UploadKind) -> Result<Upload, StoreError> {
        let sink = match &self.place {
            Place::Local(shelf) => Sink::Local(shelf.draft(kind).map_err(self.failed())?),
            Place::Memory(store) => Sink::Memory(store.clone(), Vec::new()),
        };
        Ok(Upload {
            hasher: Sha256::new(),
            size: 0,
            max_bytes,
            head: Vec::new(),
            shelf: self.clone(),
            sink,
        })
    }

    /// Makes the bytes of all of `files` durable, which are of this shelf and were begun after it was opened. On error
    /// none of them may be published.
    pub(crate) fn make_durable(&self, files: &[&Sealed]) -> Result<(), StoreError> {
        let Place::Local(shelf) = &self.place else {
            return Ok(());
        };
        if files.len() >= SYNCED_TOGETHER && shelf.sync_tells_errors() {
            return shelf.sync_file_system().map_err(self.failed());
        }
        files.iter().try_for_each(|file| file.make_durable())
    }

    /// Makes the names of what was published durable.
    pub(crate) fn sync_names(&self) -> Result<(), StoreError> {
        match &self.place {
            Place::Local(shelf) => shelf.sync_names().map_err(self.failed()),
            Place::Memory(_) => Ok(()),
        }
    }
}

impl Vault {
    /// Opens a collection to add to it.
    pub(crate) fn shelf(&self, session: &SessionId, collection: &CollectionId) -> Result<Shelf, StoreError> {
        let place = match self {
            Self::Local(store) => Place::Local(store.shelf(session, collection)?),
            Self::Memory(store) => Place::Memory(store.clone()),
        };
        Ok(Shelf {
            session: session.clone(),
            collection: collection.clone(),
            place,
        })
    }

    /// Begins to store something in a collection. Dropped before its commit, nothing stays.
    pub(crate) fn begin(
        &self,
        session: &SessionId,
        collection: &CollectionId,
        max_bytes: Option<u64>,
        kind: UploadKind,
    ) -> Result<Upload, StoreError> {
        self.shelf(session, collection)?.begin(max_bytes, kind)
    }

    /// Opens an object to read, with its size.
    pub(crate) fn read(&self, key: &ArtifactKey) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        self.read_near(key, &mut None)
    }

    /// As [`Self::read`]; faster where `last` is of the same collection.
    pub(crate) fn read_near(
        &self,
        key: &ArtifactKey,
        last: &mut Option<OpenCollection>,
    ) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        match self {
            Self::Local(store) => {
                let (file, size) = store.read_near(key, last)?;
                Ok((Box::new(file), size))
            }
            Self::Memory(store) => {
                let bytes = store.read(key)?;
                let size = bytes.len() as u64;
                Ok((Box::new(std::io::Cursor::new(bytes)), size))
            }
        }
    }

    /// Opens an object to put it into another store.
    pub(crate) fn body(&self, key: &ArtifactKey) -> Result<PutBody, StoreError> {
        match self {
            Self::Local(store) => Ok(PutBody::File(store.read(key)?.0)),
            Self::Memory(store) => Ok(PutBody::Bytes(store.read(key)?.to_vec())),
        }
    }

    /// Deletes an object; what is not there is deleted already. Telling the hash of its record saves reading it.
    pub(crate) fn remove(&self, key: &ArtifactKey, hash: Option<&FileHash>) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.remove(key, hash),
            Self::Memory(store) => {
                store.remove(key);
                Ok(())
            }
        }
    }

    /// Removes stored contents that no object uses, which removals that were interrupted left.
    pub(crate) fn sweep_content(&self) -> Result<SweptContent, StoreError> {
        match self {
            Self::Local(store) => store
                .sweep_content()
                .map_err(|source| StoreError::io("clean up", ".content", source)),
            Self::Memory(_) => Ok(SweptContent::default()),
        }
    }

    /// Makes the place of a session, which people look into before anything is in it.
    pub(crate) fn prepare(&self, session: &SessionId) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.prepare(session),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Takes over what writers that died left unfinished in a session. What is dropped is removed, but for the names that
    /// it has in its collection.
    pub(crate) fn interrupted(&self, session: &SessionId) -> Result<Vec<Interrupted>, StoreError> {
        match self {
            Self::Local(store) => store.interrupted(session),
            Self::Memory(_) => Ok(Vec::new()),
        }
    }

    /// Output of a live writer that died, to be committed, with its collection; output that exists elsewhere too is
    /// removed.
    pub(crate) fn live_output(
        &self,
        session: &SessionId,
        interrupted: Interrupted,
    ) -> Result<Option<(CollectionId, Upload)>, StoreError> {
        let Some((collection, draft)) = interrupted.live() else {
            return Ok(None);
        };
        let shelf = Shelf {
            session: session.clone(),
            collection: collection.clone(),
            place: Place::Local(Arc::clone(draft.shelf())),
        };
        let mut upload = Upload {
            hasher: Sha256::new(),
            size: 0,
            max_bytes: None,
            head: Vec::new(),
            shelf,
            sink: Sink::Local(draft),
        };
        upload
            .take_what_is_there(&|_| {})
            .map_err(|source| StoreError::io("recover", upload.shelf.prefix(), source))?;
        Ok(Some((collection, upload)))
    }

    /// Passes what is in a session's `.incoming` to `each`: files on their way, and marks of those that may have no record.
    pub(crate) fn each_in_flight(
        &self,
        session: &SessionId,
        each: &mut dyn FnMut(Entry, InFlight),
    ) -> Result<(), StoreError> {
        let Self::Local(store) = self else { return Ok(()) };
        match store.each_in_flight(session, |name, found| {
            each(Entry::in_flight(session, name, found.inode), found)
        }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            looked => {
                looked.map_err(|source| StoreError::io("list", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    /// Stores a whole body.
    pub(crate) fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let mut upload = self.begin(
            key.session_id(),
            key.collection_id(),
            options.max_bytes,
            UploadKind::Copy,
        )?;
        let failed = |source| StoreError::new(StoreErrorKind::Body, "put", key).with_source(source);
        match body {
            PutBody::Bytes(bytes) => upload.write(&bytes)?,
            PutBody::File(mut file) => match upload.fill_from(&mut file, None, &|_| {}) {
                Ok(()) => {}
                Err(FillError::Read(error)) => return Err(failed(error)),
                Err(FillError::Store(error)) => return Err(error),
            },
            PutBody::Chunks(mut chunks) => {
                while let Some(chunk) = chunks.next_blocking().map_err(failed)? {
                    upload.write(&chunk)?;
                }
            }
        }
        Ok(upload.commit(key.file_name(), options.mode)?.put)
    }
}

/// So many files are made durable by one sync of their file system, which may have to write what others have left to be
/// written; fewer are synced one by one.
const SYNCED_TOGETHER: usize = 8;

/// Bytes being stored, hashed on the way.
#[derive(Debug)]
pub(crate) struct Upload {
    hasher: Sha256,
    size: u64,
    max_bytes: Option<u64>,
    head: Vec<u8>,
    shelf: Shelf,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Local(Draft),
    Memory(MemoryStore, Vec<u8>),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Local(draft) => draft.write(bytes),
            Self::Memory(_, all) => {
                all.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl Upload {
    /// How many bytes were written so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_unhashed(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn write_unhashed(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let size = self.size + bytes.len() as u64;
        if self.max_bytes.is_some_and(|max| size > max) {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                "put",
                self.shelf.prefix(),
            ));
        }
        self.sink.write(bytes).map_err(self.shelf.failed())?;
        self.note(bytes);
        Ok(())
    }

    /// As writing so many zeros; where files may have holes, they take no space.
    pub(crate) fn write_hole(&mut self, bytes: u64, copied: &dyn Fn(u64)) -> Result<(), StoreError> {
        let zeros = vec![0; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let piece = zeros.get(..piece).unwrap_or_default();
            if let Sink::Local(draft) = &mut self.sink {
                draft.skip(piece.len() as u64).map_err(self.shelf.failed())?;
                self.note(piece);
            } else {
                self.write_unhashed(piece)?;
            }
            self.hasher.update(piece);
            copied(piece.len() as u64);
            left -= piece.len() as u64;
        }
        Ok(())
    }

    /// Counts bytes that were written, and keeps the first ones.
    fn note(&mut self, bytes: &[u8]) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head
            .extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        self.size += bytes.len() as u64;
    }

    /// Writes what `source` delivers, up to its end, which should come after `expected` bytes; `copied` is told how many
    /// bytes came each time. What is long is hashed in a second thread.
    pub(crate) fn fill_from(
        &mut self,
        source: &mut dyn Read,
        expected: Option<u64>,
        copied: &dyn Fn(u64),
    ) -> Result<(), FillError> {
        let piece = expected.and_then(|bytes| usize::try_from(bytes).ok());
        let piece = piece.map_or(CHUNK_BYTES, |bytes| bytes.clamp(SMALLEST_BUFFER, CHUNK_BYTES));
        let mut buffer = vec![0; piece];
        let inline_until = self.size + INLINE_BYTES;
        while self.size < inline_until {
            let read = read_piece(source, &mut buffer).map_err(FillError::Read)?;
            if read == 0 {
                return Ok(());
            }
            self.write(buffer.get(..read).unwrap_or_default())?;
            copied(read as u64);
        }
        let mut hasher = std::mem::take(&mut self.hasher);
        let write = |bytes: &[u8]| {
            self.write_unhashed(bytes)?;
            copied(bytes.len() as u64);
            Ok(())
        };
        let overlapped = copy_overlapped(source, &mut hasher, write);
        self.hasher = hasher;
        if overlapped? {
            return Ok(());
        }
        loop {
            let read = read_piece(source, &mut buffer).map_err(FillError::Read)?;
            if read == 0 {
                return Ok(());
            }
            self.write(buffer.get(..read).unwrap_or_default())?;
            copied(read as u64);
        }
    }

    /// Shares the blocks of `source`, all of it, where the file system can. The bytes still have to be
    /// [taken](Self::take_what_is_there).
    pub(crate) fn clone_blocks(&mut self, source: &File) -> bool {
        match &mut self.sink {
            Sink::Local(draft) => draft.clone_blocks(source),
            Sink::Memory(..) => false,
        }
    }

    /// Hashes what is in the file already: so the hash is that of the bytes that are stored, whatever their source is now.
    pub(crate) fn take_what_is_there(&mut self, copied: &dyn Fn(u64)) -> io::Result<()> {
        let Sink::Local(draft) = &self.sink else {
            return Ok(());
        };
        let (mut hasher, mut size, mut head) = (Sha256::new(), 0, Vec::new());
        draft.read_back(|bytes| {
            hasher.update(bytes);
            if head.is_empty() {
                head.extend_from_slice(bytes.get(..HEAD_BYTES).unwrap_or(bytes));
            }
            size += bytes.len() as u64;
            copied(bytes.len() as u64);
        })?;
        (self.hasher, self.size, self.head) = (hasher, size, head);
        Ok(())
    }

    /// Ends it: nothing more is written.
    pub(crate) fn seal(mut self) -> Sealed {
        let hash = FileHash::new(self.hasher.finalize().into());
        if let Sink::Local(draft) = &mut self.sink {
            draft.share(&hash, self.size);
        }
        Sealed {
            size: self.size,
            hash,
            head: self.head,
            shelf: self.shelf,
            sink: self.sink,
        }
    }

    /// Makes the bytes durable and gives them a name, which must be safe.
    pub(crate) fn commit(self, file_name: &str, mode: PutMode) -> Result<Stored, StoreError> {
        self.seal().commit(file_name, mode)
    }
}

/// Bytes that have their name. Dropped, they count as recorded, or as what nobody records.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) put: PutOutcome,
    mark: Option<Mark>,
}

impl Stored {
    /// Leaves it to whoever adds to the session next to find out whether they are recorded.
    pub(crate) fn leave(self) {
        self.mark.into_iter().for_each(Mark::leave);
    }
}

/// Bytes that are all written, without a name yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    /// The first bytes.
    pub(crate) head: Vec<u8>,
    shelf: Shelf,
    sink: Sink,
}

impl Sealed {
    /// Uses the bytes of `other`, which has the same hash, and gives its own up.
    pub(crate) fn share_with(&mut self, other: &Self) -> Result<(), StoreError> {
        if self.size > 0
            && let (Sink::Local(own), Sink::Local(other)) = (&mut self.sink, &other.sink)
            && let Some(twin) = other.twin().map_err(self.shelf.failed())?
        {
            *own = twin;
        }
        Ok(())
    }

    /// Makes the bytes durable.
    pub(crate) fn make_durable(&self) -> Result<(), StoreError> {
        match &self.sink {
            Sink::Local(draft) => draft.sync().map_err(self.shelf.failed()),
            Sink::Memory(..) => Ok(()),
        }
    }

    /// Gives the bytes, which must be durable, a name, which must be safe. [`Shelf::sync_names`] makes it durable.
    pub(crate) fn publish(self, file_name: &str, mode: PutMode) -> Result<Stored, StoreError> {
        let (session, collection) = (self.shelf.session.clone(), self.shelf.collection.clone());
        let wanted = ArtifactKey::new(session, collection, file_name).map_err(|error| {
            StoreError::new(StoreErrorKind::UnsafePath, "put", file_name).with_source(error)
        })?;
        let (key, mark) = match self.sink {
            Sink::Local(draft) => {
                let published = draft.publish(&wanted, mode, &self.hash, self.size);
                let (key, mark) = published.map_err(|source| StoreError::io("put", &wanted, source))?;
                (key, Some(mark))
            }
            Sink::Memory(store, bytes) => (store.insert(&wanted, mode, bytes)?, None),
        };
        let put = PutOutcome {
            key,
            size: self.size,
            hash: self.hash,
        };
        Ok(Stored { put, mark })
    }

    /// Makes the bytes durable, gives them a name, and makes that durable.
    pub(crate) fn commit(self, file_name: &str, mode: PutMode) -> Result<Stored, StoreError> {
        self.make_durable()?;
        let shelf = self.shelf.clone();
        let put = self.publish(file_name, mode)?;
        shelf.sync_names()?;
        Ok(put)
    }
}
