//! Opens files by name: the one place where a path becomes an open file.
//!
//! A data directory may hold anything that somebody put there. So a file in it is opened only if it is a regular file:
//! a symbolic link could lead outside, opening a FIFO waits for its other end, and a device may do anything. The
//! directory that holds the file must not be a symbolic link either. Reads take a limit, so that no file decides how
//! much memory it costs.
//!
//! A file that an operator names (a configuration, a certificate) may be a symbolic link, as Kubernetes mounts them; it
//! is read by [`read_named`], which has the other protections.

use std::fs::{self, DirBuilder, File, FileType, Metadata, OpenOptions, ReadDir, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::blocking;

/// Opens a regular file to read.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if the name is a symbolic link or no regular file; else as the system says.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true))
}

/// Opens a regular file with `options`, which may create it (mode 0600) and truncate it.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    blocking::note("open");
    require_real_parent(path)?;
    match path.symlink_metadata() {
        Ok(metadata) => require_regular(&metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    open_checked(path, options, OFlags::NOFOLLOW)
}

/// Creates a file (mode 0600) to write, in place of anything but a directory that has its name. Only for files that
/// are derived, by their only writer.
///
/// # Errors
/// As the system says.
pub fn create_anew(path: &Path) -> io::Result<File> {
    require_real_parent(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Looks at a regular file without opening it.
///
/// # Errors
/// As [`open`].
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    blocking::note("look at");
    require_real_parent(path)?;
    let metadata = path.symlink_metadata()?;
    require_regular(&metadata)?;
    Ok(metadata)
}

/// Tells whether anything has this name, be it a link that leads nowhere.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Creates a directory (mode 0700) unless it exists.
///
/// # Errors
/// [`io::ErrorKind::NotADirectory`] if the name is a symbolic link or no directory; else as the system says.
pub fn create_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => require_directory(path),
        created => created,
    }
}

/// Lists a directory.
///
/// # Errors
/// As [`create_directory`], and [`io::ErrorKind::NotFound`] if there is none.
pub fn read_dir(path: &Path) -> io::Result<ReadDir> {
    require_directory(path)?;
    fs::read_dir(path)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`], and [`io::ErrorKind::FileTooLarge`] if the file has more than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_bounded(&open(path)?, limit)
}

/// As [`read`], for UTF-8.
///
/// # Errors
/// As [`read`], and [`io::ErrorKind::InvalidData`] if the file is not UTF-8.
pub fn read_to_string(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// Reads a file of at most `limit` bytes that an operator named: symbolic links are followed, but their target must be
/// a regular file.
///
/// # Errors
/// As [`read`].
pub fn read_named(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    blocking::note("open");
    require_regular(&path.metadata()?)?;
    let file = open_checked(path, OpenOptions::new().read(true), OFlags::empty())?;
    read_bounded(&file, limit)
}

/// As [`read_named`], for UTF-8.
///
/// # Errors
/// As [`read_to_string`].
pub fn read_named_to_string(path: &Path, limit: u64) -> io::Result<String> {
    text(read_named(path, limit)?)
}

/// Looks at what a path that an operator named leads to, whatever it is.
///
/// # Errors
/// As the system says.
pub fn named_metadata(path: &Path) -> io::Result<Metadata> {
    path.metadata()
}

/// Lists a directory that an operator named, which may be a symbolic link to one.
///
/// # Errors
/// As the system says.
pub fn read_named_dir(path: &Path) -> io::Result<ReadDir> {
    fs::read_dir(path)
}

/// Tells whether a path that an operator named is a directory, or a symbolic link to one.
#[must_use]
pub fn is_named_directory(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// As the system says; not every file system can.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Reads an open file from its position to its end, at most `limit` bytes.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] if more follow; else as the system says.
pub fn read_bounded(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let why = format!("it has more than {limit} bytes, the most that is read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(content)
}

/// How long [`lock`] waits for the process that has the lock.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often [`lock`] looks.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// Locks a file exclusively, waiting at most [`LOCK_TIMEOUT`]: a process that is stopped keeps its locks for as long as
/// somebody likes. Blocks.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if another process keeps the lock; else as the system says.
pub fn lock(file: &File) -> io::Result<()> {
    lock_within(file, LOCK_TIMEOUT)
}

fn lock_within(file: &File, limit: Duration) -> io::Result<()> {
    blocking::note("lock");
    let deadline = Instant::now() + limit;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => {
                let why = format!(
                    "another process has kept the lock for {} s; is it stopped?",
                    limit.as_secs_f64()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
    }
}

/// Opens without waiting for the other end of a FIFO, and checks what was opened: the name may have changed its
/// meaning since somebody looked.
fn open_checked(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK;
    let file = options
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

fn require_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let why = format!("it is {}; a regular file is needed", in_words(kind));
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn require_directory(path: &Path) -> io::Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_dir() {
        return Ok(());
    }
    let why = format!("it is {}; a directory is needed", in_words(kind));
    Err(io::Error::new(io::ErrorKind::NotADirectory, why))
}

/// A path without a directory is one in the working directory.
fn require_real_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.map(Path::symlink_metadata) {
        Some(Ok(metadata)) if metadata.is_symlink() => {
            let why = "its directory is a symbolic link, which is not followed";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
        // The system says what is wrong when the file is opened.
        _ => Ok(()),
    }
}

fn in_words(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a file"
    } else if kind.is_symlink() {
        "a symbolic link, which is not followed"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn links_fifos_and_directories_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, fifo) = (
            folder.path().join("file"),
            folder.path().join("link"),
            folder.path().join("fifo"),
        );
        fs::write(&file, "content").unwrap();
        symlink(&file, &link).unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        assert_eq!(read_to_string(&file, 7).unwrap(), "content");
        assert_eq!(read_named_to_string(&link, 7).unwrap(), "content");
        for path in [&link, &fifo, &folder.path().to_owned()] {
            let refused = |result: io::Result<()>| result.unwrap_err().kind();
            assert_eq!(refused(read(path, 100).map(drop)), io::ErrorKind::InvalidInput);
            assert_eq!(refused(metadata(path).map(drop)), io::ErrorKind::InvalidInput);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true);
            assert_eq!(
                refused(open_with(path, &mut options).map(drop)),
                io::ErrorKind::InvalidInput
            );
        }
        for path in [&fifo, &"/dev/zero".into()] {
            assert_eq!(
                read_named(path, 100).unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
        }
        assert_eq!(
            read(&folder.path().join("none"), 1).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn directories_are_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link, file) = (
            folder.path().join("real"),
            folder.path().join("link"),
            folder.path().join("file"),
        );
        create_directory(&real).unwrap();
        create_directory(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::write(real.join("file"), "content").unwrap();
        fs::write(&file, "content").unwrap();
        assert_eq!(read_dir(&real).unwrap().count(), 1);
        for path in [&link, &file] {
            for refused in [create_directory(path), read_dir(path).map(drop)] {
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotADirectory);
            }
        }
        for refused in [
            open(&link.join("file")).map(drop),
            metadata(&link.join("file")).map(drop),
            create_anew(&link.join("file")).map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(read_to_string(&real.join("file"), 7).unwrap(), "content");
    }

    #[test]
    fn a_derived_file_takes_the_place_of_links_and_fifos() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link, fifo) = (
            folder.path().join("target"),
            folder.path().join("link"),
            folder.path().join("fifo"),
        );
        fs::write(&target, "content").unwrap();
        symlink(&target, &link).unwrap();
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for path in [&link, &fifo, &folder.path().join("new")] {
            create_anew(path).unwrap().write_all(b"new").unwrap();
            assert_eq!(read_to_string(path, 3).unwrap(), "new");
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "content");
        create_anew(folder.path()).unwrap_err();
    }

    #[test]
    fn a_lock_that_another_keeps_is_not_awaited_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (kept, other) = (create_anew(&path).unwrap(), open(&path).unwrap());
        lock(&kept).unwrap();
        let refused = lock_within(&other, Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(kept);
        lock(&other).unwrap();
    }

    #[test]
    fn a_file_larger_than_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "12345678").unwrap();
        assert_eq!(read(&file, 8).unwrap().len(), 8);
        let refused = read(&file, 7).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            refused.to_string(),
            "it has more than 7 bytes, the most that is read"
        );
    }
}
