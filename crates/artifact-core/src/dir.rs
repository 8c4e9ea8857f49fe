//! The directory that keeps the bytes of artifacts.
//!
//! Bytes are at `<root>/<session>/<collection>/<file name>`. They get there by one path: staged in
//! `<root>/<session>/.incoming/`, locked by their writer, synced, linked under their final name; the name in `.incoming` goes
//! when the record is durable. Unlocked files there are leftovers of writers that died: the next writer of the session
//! removes them, or makes artifacts of those that exist nowhere else.
//! `<root>/.content/` has one more link to each stored file, under its SHA-256, for others with the same bytes.
//! Every directory below the root is opened by itself and never through a symbolic link.

mod bytes;
mod collection;
mod content;
mod incoming;
mod staged;
mod walk;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use tracking_model::{CollectionId, FileHash, SessionId};

use crate::FileKind;
use crate::executor::{detach, run_blocking};
use crate::store::{
    ArtifactKey, ArtifactStore, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutOptions, PutOutcome,
    StoreError, StoreErrorKind,
};

pub(crate) use bytes::{has_bytes, hash_of_file, key_of, read_pieces};
pub(crate) use collection::CollectionDir;
pub(crate) use content::is_content;
pub(crate) use incoming::{InFlight, Interrupted};
pub(crate) use staged::{CopyError, FinishedFile, LinkedFile, StagedFile, StagedKind};
pub(crate) use walk::{Entry, FileAge};

/// No collection is called so, for ids begin with a letter or digit.
const INCOMING: &str = ".incoming";

/// Keeps bytes in files. Clones are the same store; any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct ArtifactDir {
    root: PathBuf,
    capabilities: Arc<FsCapabilities>,
}

/// Abilities of the file system below the root, as far as they were tried.
#[derive(Debug, Default)]
struct FsCapabilities {
    no_reflink: AtomicBool,
}

impl FsCapabilities {
    /// True if files may share blocks.
    fn reflink(&self) -> bool {
        !self.no_reflink.load(Ordering::Relaxed)
    }

    fn no_reflink(&self) {
        self.no_reflink.store(true, Ordering::Relaxed);
    }
}

/// Decides about a directory that is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    Create,
    Fail,
}

/// The directory of a collection, kept open by who reads one object of it after the other.
#[derive(Debug)]
pub(crate) struct OpenCollection {
    session: SessionId,
    collection: CollectionId,
    directory: OwnedFd,
}

impl OpenCollection {
    fn has(&self, key: &ArtifactKey) -> bool {
        self.session == *key.session_id() && self.collection == *key.collection_id()
    }
}

impl ArtifactDir {
    /// A store in the directory `root`, which must exist when something is put.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            capabilities: Arc::default(),
        }
    }

    /// The directory that it keeps its files in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the directory at `path` below the root, one component after the other, never through a symbolic link.
    fn directory(&self, path: &[&str], if_missing: IfMissing) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = rustix::fs::open(&self.root, flags, Mode::empty())?;
        for name in path {
            let next = match rustix::fs::openat(&directory, *name, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) if if_missing == IfMissing::Create => {
                    match rustix::fs::mkdirat(&directory, *name, Mode::RWXU) {
                        // Another process that created it may not have synced it yet.
                        Ok(()) | Err(rustix::io::Errno::EXIST) => rustix::fs::fsync(&directory)?,
                        Err(error) => return Err(error.into()),
                    }
                    rustix::fs::openat(&directory, *name, flags, Mode::empty())?
                }
                opened => opened?,
            };
            directory = next;
        }
        Ok(directory)
    }

    fn directory_of(&self, key: &ArtifactKey) -> io::Result<OwnedFd> {
        let (session, collection) = (key.session_id().encoded(), key.collection_id().encoded());
        self.directory(&[&session, &collection], IfMissing::Fail)
    }

    pub(crate) fn prepare(&self, session: &SessionId) -> Result<(), StoreError> {
        match self.directory(&[&session.encoded()], IfMissing::Create) {
            Ok(_) => Ok(()),
            Err(source) => Err(StoreError::io(
                "create",
                KeyPrefix::Session(session.clone()),
                source,
            )),
        }
    }

    /// Opens a collection's directory to add files to it.
    pub(crate) fn collection(
        &self,
        session: &SessionId,
        collection: &CollectionId,
    ) -> Result<Arc<CollectionDir>, StoreError> {
        CollectionDir::open(self, session, collection).map_err(|source| {
            let place = KeyPrefix::Collection(session.clone(), collection.clone());
            StoreError::io("put", place, source)
        })
    }

    fn put_blocking(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let collection = self.collection(key.session_id(), key.collection_id())?;
        let mut staged = collection.stage(options.max_bytes, StagedKind::Copy)?;
        let failed = |source| StoreError::new(StoreErrorKind::Body, "put", key).with_source(source);
        match body {
            PutBody::Bytes(bytes) => staged.write(&bytes)?,
            PutBody::File(mut file) => match staged.copy_and_hash(&mut file, None, &|_| {}) {
                Ok(()) => {}
                Err(CopyError::Read(error)) => return Err(failed(error)),
                Err(CopyError::Store(error)) => return Err(error),
            },
            PutBody::Chunks(mut chunks) => {
                while let Some(chunk) = chunks.next_blocking().map_err(failed)? {
                    staged.write(&chunk)?;
                }
            }
        }
        Ok(staged.finish().commit(key.file_name(), options.mode)?.put.clone())
    }

    /// Opens an object, with its size.
    pub(crate) fn read(&self, key: &ArtifactKey) -> Result<(File, u64), StoreError> {
        self.read_near(key, &mut None)
    }

    /// As [`Self::read`], by the directory of the object that was read last if it is of the same collection.
    pub(crate) fn read_near(
        &self,
        key: &ArtifactKey,
        last: &mut Option<OpenCollection>,
    ) -> Result<(File, u64), StoreError> {
        if let Some(open) = last.as_ref().filter(|open| open.has(key)) {
            match open_in(&open.directory, key) {
                // The collection may have been made anew.
                Err(error) if matches!(error.kind(), StoreErrorKind::NotFound) => {}
                read => return read,
            }
        }
        let directory = self
            .directory_of(key)
            .map_err(|source| StoreError::io("get", key, source))?;
        let open = last.insert(OpenCollection {
            session: key.session_id().clone(),
            collection: key.collection_id().clone(),
            directory,
        });
        open_in(&open.directory, key)
    }

    /// Deletes an object, and its content if nothing else uses that. Telling its hash saves reading it.
    pub(crate) fn remove(&self, key: &ArtifactKey, hash: Option<&FileHash>) -> Result<(), StoreError> {
        match self.remove_file(key, hash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| StoreError::io("delete", key, source)),
        }
    }

    fn remove_file(&self, key: &ArtifactKey, hash: Option<&FileHash>) -> io::Result<()> {
        let directory = self.directory_of(key)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let stat = rustix::fs::statat(&directory, key.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        // A file that cannot be opened can still be removed.
        let file = is_file
            .then(|| rustix::fs::openat(&directory, key.file_name(), flags, Mode::empty()).ok())
            .flatten();
        rustix::fs::unlinkat(&directory, key.file_name(), AtFlags::empty())?;
        rustix::fs::fsync(&directory)?;
        if let Some(file) = file
            && let Err(error) = self.release_file(&File::from(file), hash)
            && error.kind() != io::ErrorKind::NotFound
        {
            // The artifact is gone; its content goes with the next sweep.
            tracing::debug!(%key, %error, "leaving a content that nothing uses");
        }
        Ok(())
    }

    fn release_file(&self, file: &File, hash: Option<&FileHash>) -> io::Result<()> {
        let stat = rustix::fs::fstat(file)?;
        // One link is left: the content's, if it has one.
        if stat.st_nlink != 1 {
            return Ok(());
        }
        let hash = match hash {
            Some(hash) => *hash,
            None => hash_of_file(file, |_| {})?,
        };
        self.release(&hash, &stat)
    }

    fn objects(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = match prefix {
            KeyPrefix::Collection(session, collection) => self.objects_of(session, collection),
            KeyPrefix::Session(session) => self.collections_of(session).and_then(|collections| {
                let mut all = Vec::new();
                for collection in collections {
                    all.extend(self.objects_of(session, &collection)?);
                }
                Ok(all)
            }),
        };
        match listed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|source| StoreError::io("list", prefix, source)),
        }
    }

    fn collections_of(&self, session: &SessionId) -> io::Result<Vec<CollectionId>> {
        let names = names_in(&self.directory(&[&session.encoded()], IfMissing::Fail)?)?;
        let ids = names.iter().filter_map(|name| name.to_str().ok());
        Ok(ids
            .filter_map(|name| CollectionId::from_encoded(name).ok())
            .collect())
    }

    fn objects_of(&self, session: &SessionId, collection: &CollectionId) -> io::Result<Vec<ObjectMeta>> {
        let directory = self.directory(&[&session.encoded(), &collection.encoded()], IfMissing::Fail)?;
        let mut objects = Vec::new();
        for name in names_in(&directory)? {
            // An entry with another name, or of another kind, was not put here by a store.
            let key = name
                .to_str()
                .ok()
                .and_then(|name| ArtifactKey::new(session.clone(), collection.clone(), name).ok());
            let Some(key) = key else { continue };
            let stat = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                objects.push(ObjectMeta { key, size });
            }
        }
        Ok(objects)
    }
}

/// Opens an object in the directory of its collection, with its size.
fn open_in(directory: &OwnedFd, key: &ArtifactKey) -> Result<(File, u64), StoreError> {
    let failed = |source| StoreError::io("get", key, source);
    let not_a_file = |kind| StoreError::new(StoreErrorKind::NotAFile(kind), "get", key);
    // Opening a device may do something.
    let stat = rustix::fs::statat(directory, key.file_name(), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed(error.into()))?;
    if let Some(kind) = FileKind::of(&stat) {
        return Err(not_a_file(kind));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, key.file_name(), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(not_a_file(FileKind::Symlink)),
        Err(error) => return Err(failed(error.into())),
    };
    // It may have been replaced since it was looked at.
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    match FileKind::of(&stat) {
        None => Ok((file, u64::try_from(stat.st_size).unwrap_or(0))),
        Some(kind) => Err(not_a_file(kind)),
    }
}

fn names_in(directory: &OwnedFd) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[async_trait]
impl ArtifactStore for ArtifactDir {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let (dir, key, options) = (self.clone(), key.clone(), options.clone());
        run_blocking(move || dir.put_blocking(&key, body, &options)).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        let (store, wanted) = (self.clone(), key.clone());
        let (file, size) = run_blocking(move || store.read(&wanted)).await?;
        let (sender, body) = Chunks::channel();
        detach(move || sender.send_file(file));
        let meta = ObjectMeta {
            key: key.clone(),
            size,
        };
        Ok(Object { meta, body })
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
        let (store, prefix) = (self.clone(), prefix.clone());
        run_blocking(move || store.objects(&prefix)).await
    }

    async fn delete(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        let (store, key) = (self.clone(), key.clone());
        run_blocking(move || store.remove(&key, None)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn it_conforms_where_the_file_system_cannot_clone() {
        let dir = tempfile::TempDir::new().expect("a temporary directory");
        let store = ArtifactDir::new(dir.path());
        store.capabilities.no_reflink();
        conformance::store(&store).await;
        let session = SessionId::new("s1").expect("a valid id");
        let incoming = store.directory(&[&session.encoded(), INCOMING], IfMissing::Fail);
        let left = names_in(&incoming.expect("it was used")).expect("it can be listed");
        assert!(left.is_empty(), "{left:?}");
    }

    /// Neither finds the other's bytes when its own are all there.
    #[test]
    fn the_same_bytes_of_two_at_the_same_time_are_stored_once() {
        use std::os::unix::fs::MetadataExt;

        let dir = tempfile::TempDir::new().unwrap();
        let store = ArtifactDir::new(dir.path());
        let (session, collection) = (SessionId::new("s1").unwrap(), CollectionId::new("c1").unwrap());
        let opened = store.collection(&session, &collection).unwrap();
        let kinds = [
            StagedKind::Copy,
            StagedKind::Live,
            StagedKind::Copy,
            StagedKind::Live,
        ];
        let finished = kinds.map(|kind| {
            let mut staged = opened.stage(None, kind).unwrap();
            staged.write(b"the same").unwrap();
            staged.finish()
        });
        let put = finished.map(|finished| {
            let linked = finished.commit("a.log", crate::store::PutMode::Numbered).unwrap();
            linked.put.key.file_name().to_owned()
        });
        let files = put.map(|name| dir.path().join("s1/c1").join(name).metadata().unwrap());
        assert_eq!((files[0].ino(), files[0].nlink()), (files[2].ino(), 3));
        // Live output keeps its own file.
        assert_eq!((files[1].nlink(), files[3].nlink()), (1, 1));
        assert_eq!(
            std::fs::read_dir(dir.path().join("s1").join(INCOMING))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn a_name_that_is_taken_leaves_no_bytes_behind() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = ArtifactDir::new(dir.path());
        let key = ArtifactKey::from_local_path("artifacts/s1/c1/a.log").unwrap();
        let put = |bytes: &[u8]| store.put_blocking(&key, bytes.to_vec().into(), &PutOptions::default());
        put(b"the first").unwrap();
        assert!(matches!(
            put(b"the second").unwrap_err().kind(),
            StoreErrorKind::AlreadyExists
        ));
        assert_eq!(
            std::fs::read_dir(dir.path().join(content::CONTENT))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn a_directory_that_is_open_hides_none_that_was_made_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = ArtifactDir::new(dir.path());
        let key = |collection: &str| {
            let path = format!("artifacts/s1/{collection}/a.log");
            ArtifactKey::from_local_path(&path).unwrap()
        };
        let write = |collection: &str, text: &str| {
            let place = dir.path().join("s1").join(collection);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("a.log"), text).unwrap();
        };
        let mut last = None;
        let mut read = |collection: &str| {
            let (file, _) = store.read_near(&key(collection), &mut last)?;
            Ok::<String, StoreError>(std::io::read_to_string(file).unwrap())
        };
        write("one", "first");
        write("two", "other");
        assert_eq!(read("one").unwrap(), "first");
        assert_eq!(read("two").unwrap(), "other");
        assert_eq!(read("one").unwrap(), "first");
        std::fs::remove_dir_all(dir.path().join("s1/one")).unwrap();
        assert_eq!(read("one").unwrap_err().kind(), StoreErrorKind::NotFound);
        write("one", "second");
        assert_eq!(read("one").unwrap(), "second");
        std::fs::remove_dir_all(dir.path().join("s1/one")).unwrap();
        write("one", "third");
        assert_eq!(read("one").unwrap(), "third");
    }
}
