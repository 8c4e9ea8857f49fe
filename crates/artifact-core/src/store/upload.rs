//! Storing in one pass: bytes are hashed while they are written, and appear under their key only when all are there.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracking_model::{CollectionId, FileHash, SessionId};

use super::local::{Draft, Interrupted, Mark, Shelf, UploadKind};
use super::pump::{FillError, INLINE_BYTES, copy_overlapped, read_piece};
use super::{ArtifactKey, CHUNK_BYTES, LocalStore, PutBody, PutMode};
use super::{PutOptions, PutOutcome, StoreError, StoreErrorKind};

/// A smaller buffer is not worth a thought.
const SMALLEST_BUFFER: usize = 4096;
/// Bytes from the beginning of what is stored that tell its type.
const HEAD_BYTES: usize = 1024;

impl Shelf {
    fn failed(&self) -> impl Fn(io::Error) -> StoreError + use<> {
        let prefix = self.prefix();
        move |source| StoreError::io("put", &prefix, source)
    }

    /// Begins to store something. Dropped before it is published, nothing stays.
    pub(crate) fn begin(
        self: &Arc<Self>,
        max_bytes: Option<u64>,
        kind: UploadKind,
    ) -> Result<Upload, StoreError> {
        let draft = self.draft(kind).map_err(self.failed())?;
        Ok(Upload::new(draft, max_bytes))
    }

    /// Makes the bytes of all of `files` durable, which are of this shelf and were begun after it was opened. On error
    /// none of them may be published.
    pub(crate) fn make_durable(&self, files: &[&Sealed]) -> Result<(), StoreError> {
        if files.len() >= SYNCED_TOGETHER && self.sync_tells_errors() {
            return self.sync_file_system().map_err(self.failed());
        }
        files.iter().try_for_each(|file| file.make_durable())
    }

    /// Makes the names of what was published durable.
    pub(crate) fn sync_names(&self) -> Result<(), StoreError> {
        self.sync_directory().map_err(self.failed())
    }
}

impl LocalStore {
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

    /// Output of a live writer that died, to be committed, with its collection; output that exists elsewhere too is
    /// removed.
    pub(crate) fn live_output(
        interrupted: Interrupted,
    ) -> Result<Option<(CollectionId, Upload)>, StoreError> {
        let Some((collection, draft)) = interrupted.live() else {
            return Ok(None);
        };
        let mut upload = Upload::new(draft, None);
        upload
            .take_what_is_there(&|_| {})
            .map_err(|source| StoreError::io("recover", upload.draft.shelf().prefix(), source))?;
        Ok(Some((collection, upload)))
    }

    /// Stores a whole body.
    pub(crate) fn store(
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
    draft: Draft,
}

impl Upload {
    fn new(draft: Draft, max_bytes: Option<u64>) -> Self {
        Self {
            hasher: Sha256::new(),
            size: 0,
            max_bytes,
            head: Vec::new(),
            draft,
        }
    }

    fn failed(&self) -> impl Fn(io::Error) -> StoreError + use<> {
        self.draft.shelf().failed()
    }

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
                self.draft.shelf().prefix(),
            ));
        }
        self.draft.write(bytes).map_err(self.failed())?;
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
            self.draft.skip(piece.len() as u64).map_err(self.failed())?;
            self.note(piece);
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
        self.draft.clone_blocks(source)
    }

    /// Hashes what is in the file already: so the hash is that of the bytes that are stored, whatever their source is now.
    pub(crate) fn take_what_is_there(&mut self, copied: &dyn Fn(u64)) -> io::Result<()> {
        let (mut hasher, mut size, mut head) = (Sha256::new(), 0, Vec::new());
        self.draft.read_back(|bytes| {
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
        self.draft.share(&hash, self.size);
        Sealed {
            size: self.size,
            hash,
            head: self.head,
            draft: self.draft,
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
    mark: Mark,
}

impl Stored {
    /// Leaves it to whoever adds to the session next to find out whether they are recorded.
    pub(crate) fn leave(self) {
        self.mark.leave();
    }
}

/// Bytes that are all written, without a name yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) size: u64,
    pub(crate) hash: FileHash,
    /// The first bytes.
    pub(crate) head: Vec<u8>,
    draft: Draft,
}

impl Sealed {
    /// Uses the bytes of `other`, which has the same hash, and gives its own up.
    pub(crate) fn share_with(&mut self, other: &Self) -> Result<(), StoreError> {
        if self.size > 0
            && let Some(twin) = other.draft.twin().map_err(self.draft.shelf().failed())?
        {
            self.draft = twin;
        }
        Ok(())
    }

    /// Makes the bytes durable.
    pub(crate) fn make_durable(&self) -> Result<(), StoreError> {
        self.draft.sync().map_err(self.draft.shelf().failed())
    }

    /// Gives the bytes, which must be durable, a name, which must be safe. [`Shelf::sync_names`] makes it durable.
    pub(crate) fn publish(self, file_name: &str, mode: PutMode) -> Result<Stored, StoreError> {
        let wanted = self.draft.shelf().key(file_name).map_err(|error| {
            StoreError::new(StoreErrorKind::UnsafePath, "put", file_name).with_source(error)
        })?;
        let published = self.draft.publish(&wanted, mode, &self.hash, self.size);
        let (key, mark) = published.map_err(|source| StoreError::io("put", &wanted, source))?;
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
        let shelf = Arc::clone(self.draft.shelf());
        let put = self.publish(file_name, mode)?;
        shelf.sync_names()?;
        Ok(put)
    }
}
