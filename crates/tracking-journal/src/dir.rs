//! The data directory and the names in it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tracking_model::StreamId;

use crate::storage;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Nothing is there.
    #[error("there is no data directory {}; give the one that the upgrade was started with", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// Something that is no directory.
    #[error("{} is not a directory; a data directory is needed", path.display())]
    NotADirectory {
        /// What was given, or the part of it.
        path: PathBuf,
    },
    /// A part of the data directory is a symbolic link, which could lead anywhere.
    #[error("{} is a symbolic link; parts of a data directory must be real directories", path.display())]
    Symlink {
        /// The part.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A directory that holds journals and what belongs to them. Cheap to clone.
///
/// ```text
/// progress/upgrade_<id>.jsonl      journals of upgrades
/// progress/upgrade_<id>.json       their snapshots
/// artifacts/session_<id>.jsonl     journals of sessions
/// cursors/                         how far each sink got
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: std::sync::Arc<Path>,
}

/// In a directory of copies.
const COPY: &str = "COPY";
const PARTS: [&str; 3] = ["progress", "artifacts", "cursors"];

impl DataDir {
    /// Opens a data directory to write, creating what is missing with mode 0700.
    ///
    /// # Errors
    /// [`DataDirError`] if it is a file, has symbolic links for parts, or cannot be read and entered.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        let path = path.as_ref();
        create(path, true)?;
        let dir = Self::existing(path)?;
        for part in PARTS {
            create(&dir.path.join(part), false)?;
        }
        dir.check_parts()?;
        Ok(dir)
    }

    /// Opens a data directory to read; nothing is created.
    ///
    /// # Errors
    /// [`DataDirError`] if it is missing, a file, has symbolic links for parts, or cannot be read and entered.
    pub fn existing(path: impl AsRef<Path>) -> Result<Self, DataDirError> {
        let path = path.as_ref();
        let io = |operation, source| DataDirError::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        match storage::named_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(DataDirError::NotADirectory {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::Missing {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(DataDirError::NotADirectory {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(io("look at", error)),
        }
        let path = path.canonicalize().map_err(|error| io("resolve", error))?;
        storage::read_dir(&path).map_err(|error| io("list", error))?;
        let dir = Self { path: path.into() };
        dir.check_parts()?;
        Ok(dir)
    }

    /// Says that the journals here are copies of ones that are written elsewhere, so that nothing here tells whether
    /// anybody is at work on them.
    ///
    /// # Errors
    /// [`DataDirError::Io`] if that cannot be noted.
    pub fn mark_as_copy(&self) -> Result<(), DataDirError> {
        let path = self.path.join(COPY);
        let text = "The journals here are copies; deleting all of this loses nothing.\n";
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let written =
            storage::open_with(&path, &mut options).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| DataDirError::Io {
            operation: "write",
            path,
            source,
        })
    }

    /// Whether the journals here are copies of ones that are written elsewhere.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        storage::exists(&self.path.join(COPY))
    }

    fn check_parts(&self) -> Result<(), DataDirError> {
        for part in PARTS {
            let path = self.path.join(part);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) if metadata.is_symlink() => return Err(DataDirError::Symlink { path }),
                Ok(_) => return Err(DataDirError::NotADirectory { path }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(DataDirError::Io {
                        operation: "look at",
                        path,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// The directory, as an absolute path without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self, stream: &StreamId, suffix: &str) -> PathBuf {
        let part = match stream {
            StreamId::Upgrade(_) => "progress",
            StreamId::Session(_) => "artifacts",
        };
        self.path
            .join(part)
            .join(format!("{}{suffix}", stream.file_stem()))
    }

    /// The stream's journal.
    #[must_use]
    pub fn journal_path(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".jsonl")
    }

    /// The stream's snapshot, in the reference's form.
    #[must_use]
    pub fn snapshot_path(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".json")
    }

    /// The stream's checkpoint; derived, may be deleted.
    #[must_use]
    pub fn checkpoint_path(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".checkpoint")
    }

    /// The stream's sidecar: the turnstile of its writers, and its durable length.
    #[must_use]
    pub fn sidecar_path(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".lock")
    }

    /// The stream's marker of long-lived writers.
    #[must_use]
    pub fn agent_path(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".agent")
    }

    /// Where those who run tasks of the stream hold their locks.
    #[must_use]
    pub fn runs_dir(&self, stream: &StreamId) -> PathBuf {
        self.beside(stream, ".runs")
    }

    /// Where sinks keep how far they got.
    #[must_use]
    pub fn cursors_dir(&self) -> PathBuf {
        self.path.join("cursors")
    }

    /// Where journals and snapshots of upgrades are.
    #[must_use]
    pub fn progress_dir(&self) -> PathBuf {
        self.path.join("progress")
    }

    /// Where journals of sessions and the bytes of artifacts are.
    #[must_use]
    pub fn artifacts_dir(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// The streams that have a journal, upgrades first, each kind in the order of ids. Names that are no
    /// stream's are passed over.
    ///
    /// # Errors
    /// [`DataDirError::Io`] if a directory cannot be listed.
    pub fn streams(&self) -> Result<Vec<StreamId>, DataDirError> {
        crate::blocking::note("list");
        let mut streams = Vec::new();
        for (dir, prefix) in [
            (self.progress_dir(), "upgrade_"),
            (self.artifacts_dir(), "session_"),
        ] {
            let listing = |source| DataDirError::Io {
                operation: "list",
                path: dir.clone(),
                source,
            };
            let entries = match storage::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(listing(error)),
            };
            for entry in entries {
                let entry = entry.map_err(listing)?;
                let name = entry.file_name();
                let stem = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
                let stem = stem.filter(|stem| stem.starts_with(prefix));
                streams.extend(stem.and_then(|stem| StreamId::from_file_stem(stem).ok()));
            }
        }
        streams.sort();
        Ok(streams)
    }
}

fn create(path: &Path, recursive: bool) -> Result<(), DataDirError> {
    match DirBuilder::new().recursive(recursive).mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
            ) =>
        {
            // What is there is looked at next, and refused by name if it is no directory.
            Ok(())
        }
        Err(source) => Err(DataDirError::Io {
            operation: "create",
            path: path.to_owned(),
            source,
        }),
    }
}
