//! A store on the local file system.
//!
//! Bytes are at `<root>/<session>/<collection>/<file name>`. What is being copied has no name at all until its bytes are
//! durable, so that nothing of it stays when its writer dies. What exists nowhere else, as the output of something that
//! runs, is written to `<root>/<session>/.incoming/`, locked by its writer, and so is what is copied where the file
//! system knows no files without names. Each file has a name there, too, from before it gets its own until it is recorded.
//! The unlocked leftovers there are what writers that died had not finished.
//! `<root>/.content/` has one more link to each stored file, under its SHA-256, for others with the same bytes.
//! Every directory below the root is opened by itself and never through a symbolic link.

mod content;
mod draft;
mod incoming;
mod names;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use sha2::{Digest, Sha256};
use tracking_model::{CollectionId, FileHash, SessionId};

use super::{
    ArtifactKey, ArtifactStore, CHUNK_BYTES, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutOptions,
    PutOutcome, StoreError, StoreErrorKind,
};

use crate::FileKind;
use crate::executor::{detach, off_executor};
pub(super) use content::CONTENT;
pub(crate) use content::is_content;
pub(super) use draft::Draft;
pub(crate) use draft::Shelf;
pub(crate) use draft::UploadKind;
pub(crate) use incoming::{InFlight, Interrupted, Mark};

/// No collection is called so, for ids begin with a letter or digit.
pub(super) const INCOMING: &str = ".incoming";

/// Keeps bytes in files. Clones are the same store; any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
    abilities: Arc<Abilities>,
}

/// What the file system below the root cannot do, as far as it was tried.
#[derive(Debug, Default)]
struct Abilities {
    no_unnamed: AtomicBool,
    no_reflink: AtomicBool,
    links_open_files: OnceLock<bool>,
}

impl Abilities {
    /// Whether files may be written before they have a name.
    fn unnamed(&self) -> bool {
        !self.no_unnamed.load(Ordering::Relaxed) && self.links_open_files()
    }

    fn no_unnamed(&self) {
        self.no_unnamed.store(true, Ordering::Relaxed);
    }

    /// Whether files may share blocks.
    fn reflink(&self) -> bool {
        !self.no_reflink.load(Ordering::Relaxed)
    }

    fn no_reflink(&self) {
        self.no_reflink.store(true, Ordering::Relaxed);
    }

    /// Whether an open file can be given a name, which goes through `/proc`.
    fn links_open_files(&self) -> bool {
        *self
            .links_open_files
            .get_or_init(|| Path::new("/proc/self/fd").is_dir())
    }
}

/// Whether a directory is created where it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
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

impl LocalStore {
    /// A store in the directory `root`, which must exist when something is put.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            abilities: Arc::default(),
        }
    }

    /// The directory that it keeps its files in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the directory at `path` below the root, one component after the other, never through a symbolic link.
    pub(super) fn directory(&self, path: &[&str], missing: Missing) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = rustix::fs::open(&self.root, flags, Mode::empty())?;
        for name in path {
            let next = match rustix::fs::openat(&directory, *name, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) if missing == Missing::Create => {
                    match rustix::fs::mkdirat(&directory, *name, Mode::RWXU) {
                        // Whoever was faster may not have got so far.
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

    pub(super) fn directory_of(&self, key: &ArtifactKey) -> io::Result<OwnedFd> {
        let (session, collection) = (key.session_id().encoded(), key.collection_id().encoded());
        self.directory(&[&session, &collection], Missing::Fail)
    }

    /// Makes the directory of a session, which people look into before anything is in it.
    pub(crate) fn prepare(&self, session: &SessionId) -> Result<(), StoreError> {
        match self.directory(&[&session.encoded()], Missing::Create) {
            Ok(_) => Ok(()),
            Err(source) => Err(StoreError::io(
                "create",
                KeyPrefix::Session(session.clone()),
                source,
            )),
        }
    }

    /// Opens a collection's directory to add files to it.
    pub(crate) fn shelf(
        &self,
        session: &SessionId,
        collection: &CollectionId,
    ) -> Result<Arc<Shelf>, StoreError> {
        Shelf::open(self, session, collection).map_err(|source| {
            let place = KeyPrefix::Collection(session.clone(), collection.clone());
            StoreError::io("put", place, source)
        })
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
        // What cannot be opened can be removed all the same.
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
            None => hash_of(file)?,
        };
        self.release(&hash, &stat)
    }

    pub(super) fn objects(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
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

    pub(super) fn collections_of(&self, session: &SessionId) -> io::Result<Vec<CollectionId>> {
        let names = names_in(&self.directory(&[&session.encoded()], Missing::Fail)?)?;
        let ids = names.iter().filter_map(|name| name.to_str().ok());
        Ok(ids
            .filter_map(|name| CollectionId::from_encoded(name).ok())
            .collect())
    }

    fn objects_of(&self, session: &SessionId, collection: &CollectionId) -> io::Result<Vec<ObjectMeta>> {
        let directory = self.directory(&[&session.encoded(), &collection.encoded()], Missing::Fail)?;
        let mut objects = Vec::new();
        for name in names_in(&directory)? {
            // What has another name, or is no file, was not put here by a store.
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

fn hash_of(file: &File) -> io::Result<FileHash> {
    let mut hasher = Sha256::new();
    read_pieces(file, |bytes| hasher.update(bytes))?;
    Ok(FileHash::new(hasher.finalize().into()))
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

/// Reads a file piece by piece from its beginning, wherever it stands.
fn read_pieces(file: &File, mut piece: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut buffer, mut offset) = (vec![0; CHUNK_BYTES], 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                piece(buffer.get(..read).unwrap_or_default());
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
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
impl ArtifactStore for LocalStore {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let (store, key, options) = (self.clone(), key.clone(), options.clone());
        off_executor(move || store.store(&key, body, &options)).await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        let (store, wanted) = (self.clone(), key.clone());
        let (file, size) = off_executor(move || store.read(&wanted)).await?;
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
        off_executor(move || store.objects(&prefix)).await
    }

    async fn delete(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        let (store, key) = (self.clone(), key.clone());
        off_executor(move || store.remove(&key, None)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    /// File systems without files that have no name, and systems without `/proc`.
    #[tokio::test]
    async fn it_conforms_where_the_file_system_can_less() {
        for links_open_files in [true, false] {
            let dir = tempfile::TempDir::new().expect("a temporary directory");
            let store = LocalStore::new(dir.path());
            store.abilities.no_unnamed();
            store.abilities.no_reflink();
            assert!(store.abilities.links_open_files.set(links_open_files).is_ok());
            conformance::store(&store).await;
            let session = SessionId::new("s1").expect("a valid id");
            let incoming = store.directory(&[&session.encoded(), INCOMING], Missing::Fail);
            let left = names_in(&incoming.expect("it was used")).expect("it can be listed");
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// Neither finds the other's bytes when its own are all there.
    #[test]
    fn the_same_bytes_of_two_at_the_same_time_are_stored_once() {
        use std::os::unix::fs::MetadataExt;

        let dir = tempfile::TempDir::new().unwrap();
        let vault = LocalStore::new(dir.path());
        let (session, collection) = (SessionId::new("s1").unwrap(), CollectionId::new("c1").unwrap());
        let kinds = [
            UploadKind::Copy,
            UploadKind::Live,
            UploadKind::Copy,
            UploadKind::Live,
        ];
        let sealed = kinds.map(|kind| {
            let mut upload = vault.begin(&session, &collection, None, kind).unwrap();
            upload.write(b"the same").unwrap();
            upload.seal()
        });
        let put = sealed.map(|sealed| {
            let stored = sealed.commit("a.log", crate::store::PutMode::Numbered).unwrap();
            stored.put.key.file_name().to_owned()
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
        let vault = LocalStore::new(dir.path());
        let key = ArtifactKey::from_local_path("artifacts/s1/c1/a.log").unwrap();
        let put = |bytes: &[u8]| vault.store(&key, bytes.to_vec().into(), &PutOptions::default());
        put(b"the first").unwrap();
        assert!(matches!(
            put(b"the second").unwrap_err().kind(),
            StoreErrorKind::AlreadyExists
        ));
        assert_eq!(std::fs::read_dir(dir.path().join(CONTENT)).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_open_hides_none_that_was_made_anew() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = LocalStore::new(dir.path());
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
