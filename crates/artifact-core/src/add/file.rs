//! Files to add, with their properties, and the progress of adding.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tracking_model::{ArtifactName, NewArtifact};

use crate::Symlinks;

/// A file to be added.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewFile {
    /// Where it is.
    pub path: PathBuf,
    /// The properties of the artifact.
    pub artifact: NewArtifact,
    /// The treatment of a symbolic link.
    pub symlinks: Symlinks,
}

impl NewFile {
    /// A file of which nothing is said.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            artifact: NewArtifact::new(),
            symlinks: Symlinks::Refuse,
        }
    }

    /// Says what it is.
    #[must_use]
    pub fn with_artifact(self, artifact: NewArtifact) -> Self {
        Self { artifact, ..self }
    }

    /// Sets what is done if it is a symbolic link.
    #[must_use]
    pub fn with_symlinks(self, symlinks: Symlinks) -> Self {
        Self { symlinks, ..self }
    }

    /// Gives it its file's name, unless it has one.
    pub(super) fn name_by_path(&mut self) {
        if self.artifact.name.is_none() {
            let name = self.path.file_name().map(OsStr::as_bytes);
            self.artifact.name = name.map(ArtifactName::from_bytes);
        }
    }
}

/// How far adding got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AddProgress {
    /// Files that are done with, those that failed included.
    pub files: u64,
    /// Files in all.
    pub total_files: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// Bytes in all, as the files had them at the beginning.
    pub total_bytes: u64,
}

/// Counts, and tells.
pub(super) struct Meter<'a> {
    progress: &'a (dyn Fn(AddProgress) + Sync),
    files: AtomicU64,
    bytes: AtomicU64,
    total_files: u64,
    total_bytes: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(
        progress: &'a (dyn Fn(AddProgress) + Sync),
        total_files: usize,
        total_bytes: u64,
    ) -> Self {
        Self {
            progress,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_files: total_files as u64,
            total_bytes,
        }
    }

    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell();
    }

    pub(super) fn file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        (self.progress)(AddProgress {
            files: self.files.load(Ordering::Relaxed),
            total_files: self.total_files,
            bytes: self.bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes,
        });
    }
}
