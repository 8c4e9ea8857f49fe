//! Contents that are stored once, however many artifacts have them.
//!
//! `<root>/.content/<sha-256>` is one more hard link to a stored file. It is made when the file is durable and has its name,
//! so concurrent writers of equal bytes share one inode. A content whose only link is its own is garbage, which a crash leaves
//! and a clean-up removes. If the link is missing, the bytes are stored once more.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use tracking_model::FileHash;

use super::incoming::StagedName;
use super::{ArtifactDir, CollectionDir, IfMissing, StagedKind, names_in};
use crate::store::{CHUNK_BYTES, StoreError};

/// No session is called so, for ids begin with a letter or digit.
pub(super) const CONTENT: &str = ".content";
/// Permissions of stored files. What has others may have been put there by somebody who can still write it.
const STORED_MODE: u32 = 0o400;

/// The result of looking up a content.
pub(super) enum Found {
    /// The same bytes.
    Same(File),
    /// Nothing.
    Nothing,
    /// Something else, though it has the name of this content.
    Unusable,
}

/// Decides about a file that has a content's name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// It stays.
    Keep,
    /// It cannot be used: the new file takes its place.
    Replace,
}

/// Contents that no artifact used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SweptContent {
    /// Files that were removed.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl CollectionDir {
    fn content(&self) -> io::Result<&OwnedFd> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let opened = self.artifacts.directory(&[CONTENT], IfMissing::Create)?;
        Ok(self.content.get_or_init(|| opened))
    }

    /// Looks for the bytes of `staged`, which hash to `hash`. The stored file is compared with them byte for byte: one that
    /// rotted never stands for good bytes.
    pub(super) fn find(&self, hash: &FileHash, size: u64, staged: &File) -> Found {
        // Empty files use no space.
        if size == 0 {
            return Found::Nothing;
        }
        let compare = || -> io::Result<Option<File>> {
            let found = open(self.content()?, hash)?;
            let is_same = is_ours(&found, size)? && same(&found, staged, size)?;
            Ok(is_same.then_some(found))
        };
        match compare() {
            Ok(Some(found)) => Found::Same(found),
            Ok(None) => Found::Unusable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(error) => {
                tracing::debug!(%hash, %error, "cannot use what is stored of this content");
                Found::Unusable
            }
        }
    }

    /// Links a stored file under `.incoming`, as if it were staged, and locks it.
    pub(super) fn stage_content(&self, hash: &FileHash, stored: &File) -> io::Result<StagedName> {
        // A recovery needs the exclusive lock: the shared one keeps it away while this writer lives.
        stored.lock_shared()?;
        let content = self.content()?;
        let name = self.in_incoming(StagedKind::Copy, |directory, name| {
            rustix::fs::linkat(content, hash.to_string(), directory, name, AtFlags::empty())?;
            Ok(())
        })?;
        // The content may have been replaced since it was opened.
        if name.stat()?.st_ino == rustix::fs::fstat(stored)?.st_ino {
            Ok(name)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Gives a file whose bytes are durable the name of its content, by `link`, so that others may use it.
    pub(super) fn link_content(
        &self,
        hash: &FileHash,
        on_conflict: OnConflict,
        link: impl Fn(&OwnedFd, &str) -> io::Result<()>,
    ) -> io::Result<()> {
        let (content, entry) = (self.content()?, hash.to_string());
        match link(content, &entry) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && on_conflict == OnConflict::Replace =>
            {
                rustix::fs::unlinkat(content, entry.as_str(), AtFlags::empty())?;
                link(content, &entry)
            }
            linked => linked,
        }
    }
}

impl ArtifactDir {
    /// Removes a content if no artifact uses it any more; `file` is what was its last one.
    pub(super) fn release(&self, hash: &FileHash, file: &Stat) -> io::Result<()> {
        let content = self.directory(&[CONTENT], IfMissing::Fail)?;
        let entry = hash.to_string();
        let kept = rustix::fs::statat(&content, entry.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if (kept.st_dev, kept.st_ino, kept.st_nlink) == (file.st_dev, file.st_ino, 1) {
            // A writer that links to it at this moment has it open, and keeps the bytes by the link or by a copy.
            rustix::fs::unlinkat(&content, entry.as_str(), AtFlags::empty())?;
        }
        Ok(())
    }

    /// Removes all contents that no artifact uses, which interrupted removals left. Other files in `.content` stay.
    pub(crate) fn sweep_content(&self) -> Result<SweptContent, StoreError> {
        self.sweep()
            .map_err(|source| StoreError::io("clean up", ".content", source))
    }

    fn sweep(&self) -> io::Result<SweptContent> {
        let content = match self.directory(&[CONTENT], IfMissing::Fail) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SweptContent::default()),
            content => content?,
        };
        let mut swept = SweptContent::default();
        for name in names_in(&content)? {
            if !name.to_str().is_ok_and(is_content) {
                continue;
            }
            let stat = match rustix::fs::statat(&content, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat?,
            };
            if stat.st_nlink > 1 || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            match rustix::fs::unlinkat(&content, &name, AtFlags::empty()) {
                Ok(()) => {
                    swept.files += 1;
                    swept.bytes += u64::try_from(stat.st_size).unwrap_or(0);
                }
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(swept)
    }
}

/// True if a content can have this name: a SHA-256 in lower case.
pub(crate) fn is_content(name: &str) -> bool {
    name.parse::<FileHash>()
        .is_ok_and(|hash| hash.to_string() == name)
}

fn open(content: &OwnedFd, hash: &FileHash) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(content, hash.to_string(), flags, Mode::empty())?;
    Ok(File::from(file))
}

/// True if the file has the owner and mode of stored files.
fn is_ours(file: &File, size: u64) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(metadata.is_file()
        && metadata.len() == size
        && metadata.mode() & 0o7777 == STORED_MODE
        && metadata.uid() == rustix::process::geteuid().as_raw())
}

fn same(one: &File, other: &File, size: u64) -> io::Result<bool> {
    let piece = usize::try_from(size).map_or(CHUNK_BYTES, |size| size.clamp(1, CHUNK_BYTES));
    let (mut left, mut right) = (vec![0; piece], vec![0; piece]);
    let mut offset = 0;
    loop {
        let read = one.read_at(&mut left, offset)?;
        let left = left.get(..read).unwrap_or_default();
        let right = right.get_mut(..read).unwrap_or_default();
        other.read_exact_at(right, offset)?;
        if left != right {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        offset += read as u64;
    }
}
