//! The directory of a collection, opened to add files to it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::AtFlags;
use tracking_model::{CollectionId, SessionId, numbered_file_name};

use super::{ArtifactDir, FinishedFile, IfMissing};
use crate::store::{KeyPrefix, PutMode, StoreError};

/// From so many files on, one sync of the file system is faster than one sync for each file.
const SYNCED_TOGETHER: usize = 8;
/// Up to this number, names are tried one by one; above it, a search finds the free one.
const TRIED_IN_TURN: u64 = 4;

/// The directory of a collection, opened to add files to it.
#[derive(Debug)]
pub(crate) struct CollectionDir {
    pub(super) artifacts: ArtifactDir,
    pub(super) session: SessionId,
    pub(super) collection: CollectionId,
    pub(super) directory: OwnedFd,
    /// `.content`, opened when it is first needed.
    pub(super) content: OnceLock<OwnedFd>,
    /// `.incoming`, opened when it is first needed. A clean-up may remove it while it is empty.
    pub(super) incoming: Mutex<Option<Arc<OwnedFd>>>,
}

impl CollectionDir {
    pub(super) fn open(
        artifacts: &ArtifactDir,
        session: &SessionId,
        collection: &CollectionId,
    ) -> io::Result<Arc<Self>> {
        let names = [&*session.encoded(), &*collection.encoded()];
        Ok(Arc::new(Self {
            directory: artifacts.directory(&names, IfMissing::Create)?,
            artifacts: artifacts.clone(),
            session: session.clone(),
            collection: collection.clone(),
            content: OnceLock::new(),
            incoming: Mutex::new(None),
        }))
    }

    pub(super) fn prefix(&self) -> KeyPrefix {
        KeyPrefix::Collection(self.session.clone(), self.collection.clone())
    }

    pub(super) fn failed(&self) -> impl Fn(io::Error) -> StoreError + use<> {
        let prefix = self.prefix();
        move |source| StoreError::io("put", &prefix, source)
    }

    /// Makes the bytes of `files`, which were begun after the directory was opened, durable. On error none of them may be
    /// linked.
    pub(crate) fn make_durable(&self, files: &[&FinishedFile]) -> Result<(), StoreError> {
        if files.len() >= SYNCED_TOGETHER && sync_reports_errors() {
            return rustix::fs::syncfs(&self.directory).map_err(|error| self.failed()(error.into()));
        }
        files.iter().try_for_each(|file| file.make_durable())
    }

    /// Makes the names of linked files durable.
    pub(crate) fn sync_names(&self) -> Result<(), StoreError> {
        rustix::fs::fsync(&self.directory).map_err(|error| self.failed()(error.into()))
    }

    /// Names a file by `link`, which must fail with `AlreadyExists` for a name that is taken; tells the name.
    pub(super) fn take_name(
        &self,
        wanted: &str,
        mode: PutMode,
        link: impl Fn(&OwnedFd, &str) -> io::Result<()>,
    ) -> io::Result<String> {
        let mut number = 1;
        loop {
            let name = numbered_file_name(wanted, number);
            match link(&self.directory, &name) {
                Err(error) if mode == PutMode::Numbered && error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => return linked.map(|()| name),
            }
            number = if number < TRIED_IN_TURN {
                number + 1
            } else {
                self.free_number_after(wanted, number)?
            };
        }
    }

    /// A number above `taken` that is free and whose predecessor is not, in logarithmic time.
    fn free_number_after(&self, wanted: &str, mut taken: u64) -> io::Result<u64> {
        let is_taken = |number| {
            let name = numbered_file_name(wanted, number);
            match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Ok(true),
                Err(rustix::io::Errno::NOENT) => Ok(false),
                Err(error) => Err(io::Error::from(error)),
            }
        };
        let mut step = 1;
        while is_taken(taken + step)? {
            taken += step;
            step *= 2;
        }
        let mut free = taken + step;
        while free - taken > 1 {
            let middle = taken + (free - taken) / 2;
            if is_taken(middle)? {
                taken = middle;
            } else {
                free = middle;
            }
        }
        Ok(free)
    }
}

/// Linux reports write errors from `syncfs` since 5.8.
fn sync_reports_errors() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(8))
}
