//! Files that are to become artifacts: only regular ones, and only if they hold still while they are read.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use tracking_journal::storage;

use crate::ArtifactError;
use crate::dir::{CopyError, StagedFile};

/// Smaller files are copied: sharing a block or two costs more than it saves.
const SMALLEST_CLONE: u64 = 64 * 1024;

/// The treatment of a symbolic link that is given as a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// It is refused: what it leads to may not be what was meant.
    #[default]
    Refuse,
    /// The target is added, if it is a regular file.
    Follow,
}

/// The kind of an entry that is not a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Something else.
    Other,
}

impl FileKind {
    /// One word for scripts: `symlink`, `directory`, `fifo`, `socket`, `device`, `other`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::Directory => "directory",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Device => "device",
            Self::Other => "other",
        }
    }

    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        Self::of_type(FileType::from_raw_mode(stat.st_mode))
    }

    /// `None` for a regular file.
    pub(crate) const fn of_type(file_type: FileType) -> Option<Self> {
        match file_type {
            FileType::RegularFile => None,
            FileType::Symlink => Some(Self::Symlink),
            FileType::Directory => Some(Self::Directory),
            FileType::Fifo => Some(Self::Fifo),
            FileType::Socket => Some(Self::Socket),
            FileType::BlockDevice | FileType::CharacterDevice => Some(Self::Device),
            FileType::Unknown => Some(Self::Other),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symlink => "a symbolic link",
            Self::Directory => "a directory",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "no regular file",
        })
    }
}

/// Why a file cannot become an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing is there.
    #[error("there is no file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is no regular file.
    #[error("{} is {kind}, and only regular files become artifacts{}", path.display(), hint(*kind))]
    NotAFile {
        /// The given path.
        path: PathBuf,
        /// The kind of entry.
        kind: FileKind,
    },
    /// It was written while it was read; nothing was kept.
    #[error("{} changed while it was added: {change}; add it again once nothing writes it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The change.
        change: String,
    },
    /// Its name was taken from it while it was read; nothing was kept.
    #[error("{} {how} while it was added; nothing of it was kept", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
        /// The change in words, such as `was deleted`.
        how: &'static str,
    },
    /// It cannot be read.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The attempted operation.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A stream failed before its end; nothing was kept.
    #[error("reading a stream failed after {bytes} bytes; nothing of it was kept")]
    Stream {
        /// How many bytes had come.
        bytes: u64,
        /// The error of the stream.
        #[source]
        source: io::Error,
    },
    /// A stream was longer than the caller allows; nothing was kept.
    #[error("the stream is longer than the {limit} bytes that are allowed; nothing of it was kept")]
    TooLong {
        /// The most bytes that are allowed.
        limit: u64,
    },
}

const fn hint(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Symlink => ": give the file that it leads to, or let links be followed",
        FileKind::Directory => ": give the files in it",
        FileKind::Fifo | FileKind::Socket | FileKind::Device => ": pass what it delivers as a stream",
        FileKind::Other => "",
    }
}

/// A regular file, opened to be read once.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    file: File,
    before: Fingerprint,
    /// True if its size says how many bytes it has.
    has_size: bool,
    /// True if fewer blocks are kept than it has bytes.
    is_sparse: bool,
}

/// The properties that change when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, u64),
    /// Set by the system alone, so that a file whose time of writing was set back is noticed too.
    changed: (i64, u64),
    /// How many names it has. What was deleted has none, whether or not the clock has gone on since.
    links: u64,
}

impl Fingerprint {
    fn of(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec().unsigned_abs()),
            changed: (metadata.ctime(), metadata.ctime_nsec().unsigned_abs()),
            links: metadata.nlink(),
        })
    }
}

impl SourceFile {
    /// Opens `path` if it is a regular file, or leads to one where links are to be followed. Nothing else is ever opened:
    /// opening a pipe would block, and opening a device can have effects.
    pub(crate) fn open(path: &Path, symlinks: Symlinks) -> Result<Self, SourceError> {
        let io = |operation, source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing {
                path: path.to_owned(),
            },
            _ => SourceError::Io {
                operation,
                path: path.to_owned(),
                source,
            },
        };
        let refuse = |kind| SourceError::NotAFile {
            path: path.to_owned(),
            kind,
        };
        let (stat, no_follow) = match symlinks {
            Symlinks::Refuse => (rustix::fs::lstat(path), OFlags::NOFOLLOW),
            Symlinks::Follow => (rustix::fs::stat(path), OFlags::empty()),
        };
        let stat = stat.map_err(|error| match error {
            // Links that lead round in circles lead to no file.
            rustix::io::Errno::LOOP => refuse(FileKind::Other),
            error => io("look at", error.into()),
        })?;
        if let Some(kind) = FileKind::of(&stat) {
            return Err(refuse(kind));
        }
        // The file may have been replaced by a pipe: open without waiting, and check the kind again.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | no_follow;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP) if symlinks == Symlinks::Refuse => {
                return Err(refuse(FileKind::Symlink));
            }
            opened => File::from(opened.map_err(|error| io("open", error.into()))?),
        };
        Self::of(path.to_owned(), file)
    }

    /// How many bytes it had when it was opened.
    pub(crate) const fn size(&self) -> u64 {
        self.before.size
    }

    /// Opens a file below `root`, never through a symbolic link on the way.
    pub(crate) fn open_below(root: &Path, names: &[OsString]) -> Result<Self, SourceError> {
        let mut path = root.to_owned();
        let io = |path: &Path, error: rustix::io::Errno| SourceError::Io {
            operation: "open",
            path: path.to_owned(),
            source: error.into(),
        };
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut opened =
            rustix::fs::open(root, directory, Mode::empty()).map_err(|error| io(&path, error))?;
        for (index, name) in names.iter().enumerate() {
            path.push(name);
            let flags = if index + 1 == names.len() {
                OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
            } else {
                directory
            };
            opened = rustix::fs::openat(&opened, name, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| io(&path, error))?;
        }
        Self::of(path, File::from(opened))
    }

    fn of(path: PathBuf, file: File) -> Result<Self, SourceError> {
        let failed = |path: &Path, source| SourceError::Io {
            operation: "look at",
            path: path.to_owned(),
            source,
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| failed(&path, error.into()))?;
        if let Some(kind) = FileKind::of(&stat) {
            return Err(SourceError::NotAFile { path, kind });
        }
        let before = Fingerprint::of(&file).map_err(|error| failed(&path, error))?;
        let made_when_read = is_made_when_read(&file).map_err(|error| failed(&path, error.into()))?;
        let kept = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
        Ok(Self {
            path,
            has_size: before.size > 0 && !made_when_read,
            is_sparse: !made_when_read && kept < before.size,
            file,
            before,
        })
    }

    /// Reads all of it into memory, at most `limit` bytes.
    pub(crate) fn read_bounded(&self, limit: u64) -> io::Result<Vec<u8>> {
        storage::read_bounded(&self.file, limit)
    }

    /// Copies it to its end, then makes sure that it held still; `copied` is told how many bytes came each time. Where the
    /// file system can, the copy shares the source's blocks.
    pub(crate) fn copy_to(
        mut self,
        staged: &mut StagedFile,
        copied: &dyn Fn(u64),
    ) -> Result<(), ArtifactError> {
        if self.before.size >= SMALLEST_CLONE && staged.clone_blocks(&self.file) {
            // From here on the source may change: the clone does not.
            self.check_unchanged(self.before.size)?;
            let taken = staged.hash_file(copied);
            taken.map_err(|error| self.io("read the copy of", error))?;
            return Ok(());
        }
        let filled = if self.is_sparse {
            self.fill_sparse(staged, copied)
        } else {
            staged.copy_and_hash(&mut self.file, Some(self.before.size), copied)
        };
        match filled {
            Ok(()) => Ok(self.check_unchanged(staged.size())?),
            Err(CopyError::Read(error)) => Err(self.io("read", error).into()),
            Err(CopyError::Store(error)) => Err(error.into()),
        }
    }

    /// Copies what is not a hole, and leaves the holes out.
    fn fill_sparse(&mut self, staged: &mut StagedFile, copied: &dyn Fn(u64)) -> Result<(), CopyError> {
        let size = self.before.size;
        let mut at = 0;
        while at < size {
            let Some((from, to)) = data_after(&self.file, at, size).map_err(CopyError::Read)? else {
                break;
            };
            staged.write_hole(from - at, copied)?;
            self.file
                .seek(io::SeekFrom::Start(from))
                .map_err(CopyError::Read)?;
            let mut data = (&self.file).take(to - from);
            staged.copy_and_hash(&mut data, Some(to - from), copied)?;
            at = to;
        }
        staged.write_hole(size - at, copied)?;
        // Bytes beyond the size came after the file was opened.
        self.file
            .seek(io::SeekFrom::Start(size))
            .map_err(CopyError::Read)?;
        staged.copy_and_hash(&mut self.file, Some(0), copied)
    }

    fn check_unchanged(&self, copied: u64) -> Result<(), SourceError> {
        let after = Fingerprint::of(&self.file).map_err(|error| self.io("look at", error))?;
        if after != self.before
            && let Some(how) = self.lost_its_name(&after)
        {
            let path = self.path.clone();
            return Err(SourceError::Replaced { path, how });
        }
        let change = if after.size != self.before.size {
            format!("it had {} bytes and has {}", self.before.size, after.size)
        } else if copied != after.size && self.has_size {
            format!("it has {} bytes and {copied} were read", after.size)
        } else if after.modified != self.before.modified {
            "it was written".to_owned()
        } else if after != self.before {
            "its links, owner or permissions were changed, or it was written unnoticed".to_owned()
        } else {
            return Ok(());
        };
        Err(SourceError::Changed {
            path: self.path.clone(),
            change,
        })
    }

    /// Describes the change of a file whose path leads elsewhere now.
    fn lost_its_name(&self, after: &Fingerprint) -> Option<&'static str> {
        use std::os::unix::fs::MetadataExt;
        match storage::named_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (after.device, after.inode) => None,
            Ok(_) => Some("was replaced by another file"),
            Err(error) if error.kind() != io::ErrorKind::NotFound => None,
            Err(_) if after.links < self.before.links => Some("was deleted"),
            Err(_) => Some("was moved away"),
        }
    }

    fn io(&self, operation: &'static str, source: io::Error) -> SourceError {
        SourceError::Io {
            operation,
            path: self.path.clone(),
            source,
        }
    }
}

/// The unit of the blocks that `stat` counts.
const BLOCK: u64 = 512;

/// File systems whose files are made when they are read, and whose sizes say nothing.
const MADE_WHEN_READ: [u32; 7] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x0027_e0eb, // cgroup
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
];

/// True if a file's content is made when it is read, as of `/proc` and `/sys`.
#[cfg(target_os = "linux")]
fn is_made_when_read(file: &File) -> rustix::io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(MADE_WHEN_READ
        .iter()
        .any(|known| i128::from(*known) == i128::from(kind)))
}

#[cfg(not(target_os = "linux"))]
fn is_made_when_read(_: &File) -> rustix::io::Result<bool> {
    Ok(false)
}

/// Where the next bytes from `at` on are that are not in a hole, before `size`; all of them where nobody knows.
#[cfg(target_os = "linux")]
fn data_after(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::fs::{SeekFrom, seek};

    let from = match seek(file, SeekFrom::Data(at)) {
        Ok(from) => from,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(error) => return Err(error.into()),
    };
    let to = seek(file, SeekFrom::Hole(from))?;
    // It may be longer by now.
    Ok((from < size).then(|| (from, to.min(size))))
}

#[cfg(not(target_os = "linux"))]
fn data_after(_: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    Ok(Some((at, size)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The error for a source to which `happens` something between its opening and its end.
    fn said_of(happens: impl FnOnce(&Path)) -> String {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.log");
        fs::write(&path, "bytes").unwrap();
        let source = SourceFile::open(&path, Symlinks::Refuse).unwrap();
        happens(&path);
        source.check_unchanged(5).map_or_else(
            |error| error.to_string().replace(&path.display().to_string(), "a.log"),
            |()| "unchanged".to_owned(),
        )
    }

    #[test]
    fn what_happens_to_a_source_is_told() {
        assert_eq!(said_of(|_| {}), "unchanged");
        assert_eq!(
            said_of(|path| fs::remove_file(path).unwrap()),
            "a.log was deleted while it was added; nothing of it was kept"
        );
        assert_eq!(
            said_of(|path| {
                let other = path.with_extension("new");
                fs::write(&other, "other").unwrap();
                fs::rename(other, path).unwrap();
            }),
            "a.log was replaced by another file while it was added; nothing of it was kept"
        );
        assert!(said_of(|path| fs::write(path, "longer").unwrap()).contains("it had 5 bytes and has 6"));
        let rewritten = said_of(|path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        });
        assert!(rewritten.contains("it was written"), "{rewritten}");
        let linked = said_of(|path| fs::hard_link(path, path.with_extension("link")).unwrap());
        assert!(
            linked.contains("its links, owner or permissions were changed"),
            "{linked}"
        );
    }
}
