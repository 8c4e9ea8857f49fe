//! Storing in one pass: bytes are hashed while they are written, and appear under their key only when all are there.

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};
use tracking_model::{CollectionId, FileHash, SessionId};

use super::local::{LocalUpload, UploadKind};
use super::{ArtifactKey, CHUNK_BYTES, KeyPrefix, LocalStore, MemoryStore, PutBody, PutMode};
use super::{PutOptions, PutOutcome, StoreError, StoreErrorKind};

/// The store that a manager keeps its bytes in. It blocks, so it is used off the executor.
#[derive(Debug, Clone)]
pub(crate) enum Vault {
    Local(LocalStore),
    Memory(MemoryStore),
}

impl Vault {
    /// Begins to store something in a collection. Dropped before its commit, nothing stays.
    pub(crate) fn begin(
        &self,
        session: &SessionId,
        collection: &CollectionId,
        max_bytes: Option<u64>,
        kind: UploadKind,
    ) -> Result<Upload, StoreError> {
        let sink = match self {
            Self::Local(store) => Sink::Local(store.begin(session, collection, kind)?),
            Self::Memory(store) => Sink::Memory(store.clone(), Vec::new()),
        };
        let place = KeyPrefix::Collection(session.clone(), collection.clone());
        Ok(Upload {
            hasher: Sha256::new(),
            size: 0,
            max_bytes,
            place,
            sink,
        })
    }

    /// Opens an object to read, with its size.
    pub(crate) fn read(&self, key: &ArtifactKey) -> Result<(Box<dyn Read + Send>, u64), StoreError> {
        match self {
            Self::Local(store) => {
                let (file, size) = store.read(key)?;
                Ok((Box::new(file), size))
            }
            Self::Memory(store) => {
                let bytes = store.read(key)?;
                let size = bytes.len() as u64;
                Ok((Box::new(std::io::Cursor::new(bytes)), size))
            }
        }
    }

    pub(crate) fn remove(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.remove(key),
            Self::Memory(store) => {
                store.remove(key);
                Ok(())
            }
        }
    }

    /// Makes the place of a session, which people look into before anything is in it.
    pub(crate) fn prepare(&self, session: &SessionId) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.prepare(session),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Removes what writers that died left unfinished in a session; tells how many files.
    pub(crate) fn sweep(&self, session: &SessionId) -> Result<u64, StoreError> {
        match self {
            Self::Local(store) => store.sweep(session),
            Self::Memory(_) => Ok(0),
        }
    }

    /// What live writers that died had written in a session, to be committed or dropped, each with its collection.
    pub(crate) fn orphans(&self, session: &SessionId) -> Result<Vec<(CollectionId, Upload)>, StoreError> {
        let Self::Local(store) = self else {
            return Ok(Vec::new());
        };
        let orphans = store.orphans(session)?.into_iter();
        let uploads = orphans.map(|(collection, orphan)| {
            let place = KeyPrefix::Collection(session.clone(), collection.clone());
            let (size, hash) =
                digest(orphan.content()).map_err(|source| StoreError::io("recover", &place, source))?;
            let upload = Upload {
                hasher: hash,
                size,
                max_bytes: None,
                place,
                sink: Sink::Local(orphan),
            };
            Ok((collection, upload))
        });
        uploads.collect()
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
            PutBody::File(file) => upload.write_all_of(file)?,
            PutBody::Chunks(mut chunks) => {
                while let Some(chunk) = chunks.next_blocking().map_err(failed)? {
                    upload.write(&chunk)?;
                }
            }
        }
        upload.commit(key.file_name(), options.mode)
    }
}

fn digest(content: std::io::Result<File>) -> std::io::Result<(u64, Sha256)> {
    let (mut content, mut hasher, mut size) = (content?, Sha256::new(), 0);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok((size, hasher)),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                size += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes being stored, hashed on the way.
#[derive(Debug)]
pub(crate) struct Upload {
    hasher: Sha256,
    size: u64,
    max_bytes: Option<u64>,
    place: KeyPrefix,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Local(LocalUpload),
    Memory(MemoryStore, Vec<u8>),
}

impl Upload {
    /// How many bytes were written so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let size = self.size + bytes.len() as u64;
        if self.max_bytes.is_some_and(|max| size > max) {
            return Err(StoreError::new(StoreErrorKind::TooLarge, "put", &self.place));
        }
        match &mut self.sink {
            Sink::Local(upload) => upload
                .write(bytes)
                .map_err(|source| StoreError::io("put", &self.place, source))?,
            Sink::Memory(_, all) => all.extend_from_slice(bytes),
        }
        self.hasher.update(bytes);
        self.size = size;
        Ok(())
    }

    fn write_all_of(&mut self, mut file: File) -> Result<(), StoreError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.write(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(StoreError::new(StoreErrorKind::Body, "put", &self.place).with_source(source));
                }
            }
        }
    }

    /// Makes the bytes durable and gives them a name, which must be safe.
    pub(crate) fn commit(self, file_name: &str, mode: PutMode) -> Result<PutOutcome, StoreError> {
        let (session, collection) = match &self.place {
            KeyPrefix::Collection(session, collection) => (session.clone(), collection.clone()),
            KeyPrefix::Session(_) => unreachable!("`begin` makes the prefix of a collection"),
        };
        let wanted = ArtifactKey::new(session, collection, file_name).map_err(|error| {
            StoreError::new(StoreErrorKind::UnsafePath, "put", file_name).with_source(error)
        })?;
        let hash = FileHash::new(self.hasher.finalize().into());
        let key = match self.sink {
            Sink::Local(upload) => upload.commit(&wanted, mode)?,
            Sink::Memory(store, bytes) => store.insert(&wanted, mode, bytes)?,
        };
        Ok(PutOutcome {
            key,
            size: self.size,
            hash,
        })
    }
}
