//! Looking at what is on disk, one file after the other: for those who compare it with the records.

use std::io;

use rustix::fs::{AtFlags, Dir, FileType};
use tracking_model::{CollectionId, SessionId, Timestamp};

use super::local::{INCOMING, Missing};
use super::{ArtifactKey, KeyPrefix, LocalStore, StoreError, Vault};

/// How large a file is, and since when it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileAge {
    /// How many bytes it has.
    pub(crate) size: u64,
    /// When its content, its names or its mode were changed last.
    pub(crate) changed: Timestamp,
}

impl Vault {
    /// Passes the key of every file of a session to `each`, in no particular order and without holding them all.
    pub(crate) fn each_key(
        &self,
        session: &SessionId,
        each: &mut dyn FnMut(ArtifactKey),
    ) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => match store.each_key(session, each) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                walked => walked
                    .map_err(|source| StoreError::io("list", KeyPrefix::Session(session.clone()), source)),
            },
            Self::Memory(store) => {
                for object in store.objects(&KeyPrefix::Session(session.clone())) {
                    each(object.key);
                }
                Ok(())
            }
        }
    }

    /// How large a file is, and since when it is there; `None` if it is gone, or in memory, where nothing is old.
    pub(crate) fn age(&self, key: &ArtifactKey) -> Result<Option<FileAge>, StoreError> {
        let Self::Local(store) = self else { return Ok(None) };
        match store.age(key) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            age => age
                .map(Some)
                .map_err(|source| StoreError::io("look at", key, source)),
        }
    }

    /// Removes the directories of a session that are empty; tells how many. What is put into one meanwhile keeps it.
    pub(crate) fn tidy(&self, session: &SessionId) -> Result<u64, StoreError> {
        match self {
            Self::Local(store) => match store.tidy(session) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                tidied => tidied
                    .map_err(|source| StoreError::io("tidy", KeyPrefix::Session(session.clone()), source)),
            },
            Self::Memory(_) => Ok(0),
        }
    }
}

impl LocalStore {
    fn each_key(&self, session: &SessionId, each: &mut dyn FnMut(ArtifactKey)) -> io::Result<()> {
        for collection in self.collections_of(session)? {
            match self.each_key_of(session, &collection, each) {
                // It was tidied away meanwhile, or is no directory.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                walked => walked?,
            }
        }
        Ok(())
    }

    fn each_key_of(
        &self,
        session: &SessionId,
        collection: &CollectionId,
        each: &mut dyn FnMut(ArtifactKey),
    ) -> io::Result<()> {
        let directory = self.directory(&[&session.encoded(), &collection.encoded()], Missing::Fail)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            // What has another name was not put here by a store.
            let key = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|name| ArtifactKey::new(session.clone(), collection.clone(), name).ok());
            let Some(key) = key else { continue };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            if kind == FileType::RegularFile {
                each(key);
            }
        }
        Ok(())
    }

    fn age(&self, key: &ArtifactKey) -> io::Result<FileAge> {
        let directory = self.directory_of(key)?;
        let stat = rustix::fs::statat(&directory, key.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = stat.st_mtime.max(stat.st_ctime);
        Ok(FileAge {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            // Rounded up, so that nothing looks older than it is.
            changed: Timestamp::from_micros(seconds.saturating_add(1).saturating_mul(1_000_000)),
        })
    }

    fn tidy(&self, session: &SessionId) -> io::Result<u64> {
        let encoded = session.encoded();
        let collections = self.collections_of(session)?;
        let mut names: Vec<String> = collections.iter().map(CollectionId::encoded).collect();
        names.push(INCOMING.to_owned());
        let directory = self.directory(&[&encoded], Missing::Fail)?;
        let mut removed = 0;
        for name in &names {
            removed += u64::from(remove_if_empty(&directory, name)?);
        }
        drop(directory);
        removed += u64::from(remove_if_empty(&self.directory(&[], Missing::Fail)?, &encoded)?);
        Ok(removed)
    }
}

fn remove_if_empty(parent: &std::os::fd::OwnedFd, name: &str) -> io::Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
