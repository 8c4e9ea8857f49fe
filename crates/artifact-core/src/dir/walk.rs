//! Looking at what is on disk, one entry after the other: for those who compare it with the records. Nothing is opened but
//! directories, and no symbolic link is followed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use tracking_model::{CollectionId, SessionId, Timestamp};

use super::content::CONTENT;
use super::{ArtifactDir, INCOMING, IfMissing};
use crate::FileKind;
use crate::store::{ArtifactKey, KeyPrefix, StoreError};

/// Directories that are deeper are named and not entered, for each is open while what is in it is looked at. Artifacts
/// are at a depth of two.
const MAX_DEPTH: usize = 32;

/// A directory of the store: the names that lead to it from the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    names: Vec<CString>,
}

impl Place {
    fn below(&self, name: &CStr) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        Self { names }
    }
}

/// Something that is in the store, whoever put it there.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The directory that it is in.
    pub(crate) place: Arc<Place>,
    name: CString,
    /// The kind of entry; `None` for a regular file.
    pub(crate) kind: Option<FileKind>,
    /// The key whose file is there, if one can be.
    pub(crate) key: Option<ArtifactKey>,
    /// The number of the file.
    pub(crate) inode: u64,
}

impl Entry {
    /// Its path relative to the data directory, to be shown: bytes that are not UTF-8 are escaped.
    pub(crate) fn local_path(&self) -> String {
        let mut path = "artifacts".to_owned();
        for name in self.place.names.iter().chain([&self.name]) {
            path.push('/');
            match name.to_str() {
                Ok(name) => path.push_str(name),
                Err(_) => path.push_str(&name.to_bytes().escape_ascii().to_string()),
            }
        }
        path
    }

    /// How many directories of the store it is in.
    pub(crate) fn depth(&self) -> usize {
        self.place.names.len()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.to_str().ok()
    }

    /// True for a directory that can be a collection's.
    pub(crate) fn is_collection(&self) -> bool {
        self.depth() == 1
            && self.kind == Some(FileKind::Directory)
            && self
                .name()
                .is_some_and(|name| CollectionId::from_encoded(name).is_ok())
    }
}

/// How large a file is, and since when it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileAge {
    /// Size in bytes.
    pub(crate) size: u64,
    /// When its content, its names or its mode were changed last.
    pub(crate) changed: Timestamp,
}

/// The result of removing entries.
#[derive(Debug)]
pub(crate) struct Unlinked {
    /// For each entry whether it is gone.
    pub(crate) each: Vec<Result<(), StoreError>>,
    /// The result of making the removal durable.
    pub(crate) durable: Result<(), StoreError>,
}

impl ArtifactDir {
    /// Passes everything that is below a session's directory to `each`, in no particular order and without holding it all;
    /// only a directory comes after what is in it. What is in `.incoming` is left out.
    pub(crate) fn each_entry(
        &self,
        session: &SessionId,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), StoreError> {
        match self.walk_session(session, each) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            walked => {
                walked.map_err(|source| StoreError::io("list", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    /// Passes everything that is beside the directories of sessions to `each`: what is at the root, those directories
    /// included, and what is among the contents.
    pub(crate) fn each_beside(&self, each: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        match self.walk_beside(each) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            walked => walked.map_err(|source| StoreError::io("list", "artifacts", source)),
        }
    }

    /// How large something is, and since when it is there; `None` if it is gone.
    pub(crate) fn age(&self, entry: &Entry) -> Result<Option<FileAge>, StoreError> {
        match self.age_of(entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            age => age
                .map(Some)
                .map_err(|source| StoreError::io("look at", entry.local_path(), source)),
        }
    }

    /// Removes entries of one directory that are no directories, and makes that durable once for all of them. `removed` is
    /// called after each. The content that one may have shared with others is left to [`Self::sweep_content`].
    pub(crate) fn unlink_all(&self, entries: &[Entry], removed: &dyn Fn()) -> Unlinked {
        let failed = |entry: &Entry, source| StoreError::io("delete", entry.local_path(), source);
        let Some(first) = entries.first() else {
            return Unlinked {
                each: Vec::new(),
                durable: Ok(()),
            };
        };
        let directory = match self.open_place(&first.place) {
            Ok(directory) => directory,
            Err(error) => {
                let error = failed(first, error);
                return Unlinked {
                    each: entries.iter().map(|_| Err(error.repeated())).collect(),
                    durable: Ok(()),
                };
            }
        };
        let unlink = |entry: &Entry| match rustix::fs::unlinkat(&directory, &entry.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                removed();
                Ok(())
            }
            Err(error) => Err(failed(entry, error.into())),
        };
        let each = entries.iter().map(unlink).collect();
        let durable = rustix::fs::fsync(&directory).map_err(|error| failed(first, error.into()));
        Unlinked { each, durable }
    }

    /// Removes a directory if it is empty; tells whether it was.
    pub(crate) fn remove_directory(&self, entry: &Entry) -> Result<bool, StoreError> {
        let place = self.open_place(&entry.place);
        let removed = place.and_then(|place| remove_if_empty(&place, &entry.name));
        removed.map_err(|source| StoreError::io("remove", entry.local_path(), source))
    }

    /// Removes the directories of a session that are empty; tells how many. What is put into one meanwhile keeps it.
    pub(crate) fn tidy(&self, session: &SessionId) -> Result<u64, StoreError> {
        match self.tidy_session(session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            tidied => {
                tidied.map_err(|source| StoreError::io("tidy", KeyPrefix::Session(session.clone()), source))
            }
        }
    }
}

impl Entry {
    /// A file in a session's `.incoming`.
    pub(super) fn in_flight(session: &SessionId, name: &CStr, inode: u64) -> Self {
        let directory = |text: &str| CString::new(text).unwrap_or_default();
        Self {
            place: Arc::new(Place {
                names: vec![directory(&session.encoded()), directory(INCOMING)],
            }),
            name: name.to_owned(),
            kind: None,
            key: None,
            inode,
        }
    }
}

/// A directory that is being looked at.
struct Directory {
    opened: OwnedFd,
    place: Arc<Place>,
    /// The collection whose directory it is.
    collection: Option<(SessionId, CollectionId)>,
}

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl ArtifactDir {
    fn walk_session(&self, session: &SessionId, each: &mut dyn FnMut(Entry)) -> io::Result<()> {
        let encoded = session.encoded();
        let top = Directory {
            opened: self.directory(&[&encoded], IfMissing::Fail)?,
            place: Arc::new(Place::default().below(&c_name(&encoded)?)),
            collection: None,
        };
        each_in(&top, &mut |entry| {
            let is_directory = entry.kind == Some(FileKind::Directory);
            if is_directory && entry.name.to_bytes() == INCOMING.as_bytes() {
                return Ok(());
            }
            if is_directory {
                let collection = entry
                    .name()
                    .and_then(|name| CollectionId::from_encoded(name).ok());
                descend(
                    &top,
                    &entry,
                    collection.map(|collection| (session.clone(), collection)),
                    each,
                )?;
            }
            each(entry);
            Ok(())
        })
    }

    fn walk_beside(&self, each: &mut dyn FnMut(Entry)) -> io::Result<()> {
        let root = Directory {
            opened: self.directory(&[], IfMissing::Fail)?,
            place: Arc::default(),
            collection: None,
        };
        each_in(&root, &mut |entry| {
            let is_contents = entry.name.to_bytes() == CONTENT.as_bytes();
            if is_contents && entry.kind == Some(FileKind::Directory) {
                return descend(&root, &entry, None, each);
            }
            each(entry);
            Ok(())
        })
    }

    fn open_place(&self, place: &Place) -> io::Result<OwnedFd> {
        let mut directory = self.directory(&[], IfMissing::Fail)?;
        for name in &place.names {
            directory = rustix::fs::openat(&directory, name, OPEN_DIRECTORY, Mode::empty())?;
        }
        Ok(directory)
    }

    fn age_of(&self, entry: &Entry) -> io::Result<FileAge> {
        let directory = self.open_place(&entry.place)?;
        let stat = rustix::fs::statat(&directory, &entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let seconds = stat.st_mtime.max(stat.st_ctime);
        Ok(FileAge {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            // Rounded up, so that nothing looks older than it is.
            changed: Timestamp::from_micros(seconds.saturating_add(1).saturating_mul(1_000_000)),
        })
    }

    fn tidy_session(&self, session: &SessionId) -> io::Result<u64> {
        let encoded = session.encoded();
        let collections = self.collections_of(session)?;
        let mut names: Vec<String> = collections.iter().map(CollectionId::encoded).collect();
        names.push(INCOMING.to_owned());
        let directory = self.directory(&[&encoded], IfMissing::Fail)?;
        let mut removed = 0;
        for name in &names {
            removed += u64::from(remove_if_empty(&directory, &c_name(name)?)?);
        }
        drop(directory);
        let root = self.directory(&[], IfMissing::Fail)?;
        removed += u64::from(remove_if_empty(&root, &c_name(&encoded)?)?);
        Ok(removed)
    }
}

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Passes what is in a directory itself to `each`.
fn each_in(directory: &Directory, each: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
    for entry in Dir::read_from(&directory.opened)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                match rustix::fs::statat(&directory.opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    // It was removed meanwhile.
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            kind => kind,
        };
        let key = directory.collection.as_ref().and_then(|(session, collection)| {
            let name = name.to_str().ok()?;
            ArtifactKey::new(session.clone(), collection.clone(), name).ok()
        });
        each(Entry {
            place: Arc::clone(&directory.place),
            name: name.to_owned(),
            kind: FileKind::of_type(kind),
            key,
            inode: entry.ino(),
        })?;
    }
    Ok(())
}

/// Passes all that is below the directory `entry` of `parent` to `each`.
fn descend(
    parent: &Directory,
    entry: &Entry,
    collection: Option<(SessionId, CollectionId)>,
    each: &mut dyn FnMut(Entry),
) -> io::Result<()> {
    if entry.depth() >= MAX_DEPTH {
        return Ok(());
    }
    let opened = match rustix::fs::openat(&parent.opened, &entry.name, OPEN_DIRECTORY, Mode::empty()) {
        Ok(opened) => opened,
        // It was tidied away meanwhile, or is no directory any more.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        // Somebody else's, who is named by the directory itself.
        Err(Errno::ACCESS) if collection.is_none() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let directory = Directory {
        opened,
        place: Arc::new(entry.place.below(&entry.name)),
        collection,
    };
    each_in(&directory, &mut |entry| {
        if entry.kind == Some(FileKind::Directory) {
            descend(&directory, &entry, None, each)?;
        }
        each(entry);
        Ok(())
    })
}

fn remove_if_empty(parent: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
