//! What writers that died left in `.incoming`.

use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Mode, OFlags};
use tracking_model::{CollectionId, SessionId};

use super::draft::{Draft, Shelf};
use super::{INCOMING, LIVE, LocalStore, Missing, names_in};
use crate::store::{KeyPrefix, StoreError};

impl LocalStore {
    /// Takes over what live writers that died left in a session's `.incoming`, each with its collection. What is empty is
    /// removed.
    pub(in crate::store) fn orphans(
        &self,
        session: &SessionId,
    ) -> Result<Vec<(CollectionId, Draft)>, StoreError> {
        match self.take_orphans(session) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            taken => {
                taken.map_err(|source| StoreError::io("recover", KeyPrefix::Session(session.clone()), source))
            }
        }
    }

    fn take_orphans(&self, session_id: &SessionId) -> io::Result<Vec<(CollectionId, Draft)>> {
        let session = session_id.encoded();
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
            let shelf = Shelf::open(self, session_id, &collection_id)?;
            let stat = rustix::fs::fstat(&file)?;
            // What is empty, has its final name already, or was taken by another process, goes with its handle.
            let wanted = stat.st_size > 0 && stat.st_nlink == 1;
            let name = name.to_string_lossy().into_owned();
            let orphan = Draft::take_over(shelf, file, incoming, name, wanted);
            if wanted {
                orphans.push((collection_id, orphan));
            }
        }
        Ok(orphans)
    }

    /// Removes what writers that died left in a session's `.incoming`; tells how many files.
    pub(in crate::store) fn sweep(&self, session: &SessionId) -> Result<u64, StoreError> {
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
