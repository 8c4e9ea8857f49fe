//! A store on the local file system.
//!
//! Bytes are at `<root>/<session>/<collection>/<file name>`. What is being written is in `<root>/<session>/.incoming/`,
//! locked by its writer, and gets its name by a hard link that fails where the name is taken. So a crash leaves either
//! nothing or a whole file; the unlocked leftovers in `.incoming` are what writers that died had not finished.
//! Every directory below the root is opened by itself and never through a symbolic link.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use tracking_model::{CollectionId, SessionId, numbered_file_name};

use super::{
    ArtifactKey, ArtifactStore, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutMode, PutOptions,
    PutOutcome, StoreError, StoreErrorKind, Vault,
};
use crate::executor::{detach, off_executor};

/// No collection is called so, for ids begin with a letter or digit.
pub(super) const INCOMING: &str = ".incoming";
/// Begins the names of files in `.incoming` that are worth keeping when their writer dies; the collection follows.
const LIVE: &str = "live~";
/// Up to this number names are tried one by one; from there on the free one is searched for.
const TRIED_IN_TURN: u64 = 4;

/// Keeps bytes in files. Clones are the same store; any number of processes may use one directory.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: PathBuf,
}

/// Whether a directory is created where it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Fail,
}

impl LocalStore {
    /// A store in the directory `root`, which must exist when something is put.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
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
                        Ok(()) => rustix::fs::fsync(&directory)?,
                        Err(rustix::io::Errno::EXIST) => {}
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

    pub(super) fn prepare(&self, session: &SessionId) -> Result<(), StoreError> {
        match self.directory(&[&session.encoded()], Missing::Create) {
            Ok(_) => Ok(()),
            Err(source) => Err(StoreError::io(
                "create",
                KeyPrefix::Session(session.clone()),
                source,
            )),
        }
    }

    pub(super) fn begin(
        &self,
        session: &SessionId,
        collection: &CollectionId,
        kind: UploadKind,
    ) -> Result<LocalUpload, StoreError> {
        let place = KeyPrefix::Collection(session.clone(), collection.clone());
        let failed = |source| StoreError::io("put", &place, source);
        let (session, encoded) = (session.encoded(), collection.encoded());
        let collection = self
            .directory(&[&session, &encoded], Missing::Create)
            .map_err(failed)?;
        let incoming = self
            .directory(&[&session, INCOMING], Missing::Create)
            .map_err(failed)?;
        let prefix = match kind {
            UploadKind::Copy => String::new(),
            UploadKind::Live => format!("{LIVE}{encoded}~"),
        };
        LocalUpload::create(incoming, collection, &prefix).map_err(failed)
    }

    /// Opens an object, with its size.
    pub(crate) fn read(&self, key: &ArtifactKey) -> Result<(File, u64), StoreError> {
        let failed = |source| StoreError::io("get", key, source);
        let directory = self.directory_of(key).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, key.file_name(), flags, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StoreError::new(StoreErrorKind::UnsafePath, "get", key));
        }
        Ok((file, metadata.len()))
    }

    pub(super) fn remove(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        let removed = self.directory_of(key).and_then(|directory| {
            rustix::fs::unlinkat(&directory, key.file_name(), AtFlags::empty())?;
            Ok(rustix::fs::fsync(&directory)?)
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| StoreError::io("delete", key, source)),
        }
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

    /// Takes over what live writers that died left in a session's `.incoming`, each with its collection. What is empty is
    /// removed.
    pub(super) fn orphans(
        &self,
        session: &SessionId,
    ) -> Result<Vec<(CollectionId, LocalUpload)>, StoreError> {
        match self.take_orphans(session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            taken => {
                taken.map_err(|source| StoreError::io("recover", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    fn take_orphans(&self, session: &SessionId) -> io::Result<Vec<(CollectionId, LocalUpload)>> {
        let session = session.encoded();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut orphans = Vec::new();
        for name in names_in(&self.directory(&[&session, INCOMING], Missing::Fail)?)? {
            let Some(collection_id) = live_collection(&name) else {
                continue;
            };
            let incoming = self.directory(&[&session, INCOMING], Missing::Fail)?;
            let file = match rustix::fs::openat(&incoming, &name, flags, Mode::empty()) {
                Ok(file) => File::from(file),
                // Another process was faster.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if file.try_lock().is_err() {
                continue;
            }
            let upload = LocalUpload {
                incoming,
                collection: self.directory(&[&session, &collection_id.encoded()], Missing::Create)?,
                name: name.to_string_lossy().into_owned(),
                file,
            };
            // What is empty, has its final name already, or was taken by another process, goes with its handle.
            let stat = rustix::fs::fstat(&upload.file)?;
            if stat.st_size > 0 && stat.st_nlink == 1 {
                orphans.push((collection_id, upload));
            }
        }
        Ok(orphans)
    }

    /// Removes what writers that died left in a session's `.incoming`; tells how many files.
    pub(super) fn sweep(&self, session: &SessionId) -> Result<u64, StoreError> {
        match self.sweep_incoming(session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            swept => swept
                .map_err(|source| StoreError::io("clean up", KeyPrefix::Session(session.clone()), source)),
        }
    }

    fn sweep_incoming(&self, session: &SessionId) -> io::Result<u64> {
        let incoming = self.directory(&[&session.encoded(), INCOMING], Missing::Fail)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut swept = 0;
        for name in names_in(&incoming)? {
            if live_collection(&name).is_some() {
                continue;
            }
            let file = match rustix::fs::openat(&incoming, &name, flags, Mode::empty()) {
                Ok(file) => File::from(file),
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            // A file that cannot be locked has a live writer.
            if file.try_lock().is_ok() {
                match rustix::fs::unlinkat(&incoming, &name, AtFlags::empty()) {
                    Ok(()) => swept += 1,
                    Err(rustix::io::Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(swept)
    }
}

/// The collection of a file in `.incoming` that is worth keeping.
fn live_collection(name: &std::ffi::CStr) -> Option<CollectionId> {
    let (collection, _) = name.to_str().ok()?.strip_prefix(LIVE)?.rsplit_once('~')?;
    CollectionId::from_encoded(collection).ok()
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

/// What becomes of an upload whose writer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadKind {
    /// The source is still there: it is removed.
    Copy,
    /// It exists nowhere else: it is recovered.
    Live,
}

/// A file in `.incoming`; dropped before its commit, it is removed.
#[derive(Debug)]
pub(super) struct LocalUpload {
    incoming: OwnedFd,
    collection: OwnedFd,
    name: String,
    file: File,
}

impl LocalUpload {
    fn create(incoming: OwnedFd, collection: OwnedFd, prefix: &str) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = format!("{prefix}{}", uuid::Uuid::now_v7());
            let file = rustix::fs::openat(&incoming, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
            let file = File::from(file);
            // Between its creation and its lock the file looks like a leftover; whoever sweeps may have taken it.
            let ours = file.try_lock().is_ok() && rustix::fs::fstat(&file)?.st_nlink > 0;
            if ours {
                return Ok(Self {
                    incoming,
                    collection,
                    name,
                    file,
                });
            }
        }
    }

    /// What was written so far, to be read from its beginning.
    pub(super) fn content(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the bytes durable, then gives them their name, then makes that durable.
    pub(super) fn commit(self, wanted: &ArtifactKey, mode: PutMode) -> Result<ArtifactKey, StoreError> {
        let failed = |source: io::Error| StoreError::io("put", wanted, source);
        rustix::fs::fchmod(&self.file, Mode::RUSR).map_err(|error| failed(error.into()))?;
        self.file.sync_all().map_err(failed)?;
        let key = match mode {
            PutMode::Create => {
                self.link(wanted.file_name()).map_err(failed)?;
                wanted.clone()
            }
            PutMode::Numbered => {
                let name = self.link_numbered(wanted.file_name()).map_err(failed)?;
                wanted.with_file_name(name)
            }
        };
        rustix::fs::fsync(&self.collection).map_err(|error| failed(error.into()))?;
        Ok(key)
    }

    fn link(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            &self.incoming,
            self.name.as_str(),
            &self.collection,
            name,
            AtFlags::empty(),
        )?)
    }

    fn is_taken(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.collection, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the first free name, or a free one in logarithmic time where many are taken.
    fn link_numbered(&self, wanted: &str) -> io::Result<String> {
        let mut number = 1;
        loop {
            let name = numbered_file_name(wanted, number);
            match self.link(&name) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            number = if number < TRIED_IN_TURN {
                number + 1
            } else {
                self.free_number_after(wanted, number)?
            };
        }
    }

    /// A number above `taken` that is free and whose predecessor is not.
    fn free_number_after(&self, wanted: &str, mut taken: u64) -> io::Result<u64> {
        let mut step = 1;
        while self.is_taken(&numbered_file_name(wanted, taken + step))? {
            taken += step;
            step *= 2;
        }
        let mut free = taken + step;
        while free - taken > 1 {
            let middle = taken + (free - taken) / 2;
            if self.is_taken(&numbered_file_name(wanted, middle))? {
                taken = middle;
            } else {
                free = middle;
            }
        }
        Ok(free)
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::unlinkat(&self.incoming, self.name.as_str(), AtFlags::empty()) {
            // It is unlocked with this process, so the next one that opens the session removes it.
            tracing::debug!(name = self.name, %error, "leaving an unfinished file behind");
        }
    }
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
        let (vault, key, options) = (Vault::Local(self.clone()), key.clone(), options.clone());
        off_executor(move || vault.put(&key, body, &options)).await
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
        off_executor(move || store.remove(&key)).await
    }
}
