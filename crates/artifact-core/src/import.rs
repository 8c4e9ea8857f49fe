//! Importing sessions of the Python implementation: its `session_<id>.json` files and the bytes of their artifacts.
//!
//! One commit holds all of a session, so a session is imported whole or not at all. The next import uses the bytes that an
//! interrupted one has copied.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tracking_journal::{DataDir, keep_original, storage};
use tracking_model::{
    Artifact, ArtifactStatus, FileHash, ImportSession, ReferenceArtifact, ReferenceError, ReferenceSession,
    SessionCommand, SessionCommandError, SessionId, StreamId, stored_file_name,
};

use crate::add::source::{SourceFile, Symlinks};
use crate::dir::{StagedKind, hash_of_file};
use crate::manager::Inner;
use crate::store::PutMode;
use crate::{ArtifactError, ArtifactKey, StoreErrorKind, TestArtifactsManager};

/// The largest file of a session that is read: about a million artifacts.
const LARGEST_FILE: u64 = 1 << 30;

/// Options of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Directories beside the imported one from which bytes may be copied. Bytes in none of them are missing.
    pub copy_from: Vec<PathBuf>,
}

impl ImportOptions {
    /// Lets bytes be copied from below `root` too.
    #[must_use]
    pub fn with_copy_from(mut self, root: impl Into<PathBuf>) -> Self {
        self.copy_from.push(root.into());
        self
    }
}

/// The result of an import.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// Sessions that were imported.
    pub sessions: Vec<ImportedSession>,
    /// Sessions that exist already; they were not changed.
    pub existing: Vec<SessionId>,
    /// Files that could not be imported.
    pub failures: Vec<ImportFailure>,
}

/// A session that was imported.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportedSession {
    /// The session.
    pub session_id: SessionId,
    /// Its file.
    pub file: PathBuf,
    /// Number of its artifacts.
    pub artifacts: usize,
    /// Number of its artifacts without bytes here.
    pub missing: usize,
    /// Impossible values of the file, in words.
    pub warnings: Vec<String>,
}

/// A file that could not be imported.
#[derive(Debug, thiserror::Error)]
#[error("cannot import {}", file.display())]
pub struct ImportFailure {
    /// The file.
    pub file: PathBuf,
    /// The reason.
    #[source]
    pub error: ImportError,
}

/// The reason why a file could not be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is no session's file.
    #[error("it is not a file of a session of artifacts")]
    Reference(#[from] ReferenceError),
    /// The file could not be read, or its session not be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

impl TestArtifactsManager {
    /// Imports the sessions of the Python implementation in `root`: its base directory, with `session_<id>.json` files and the
    /// sessions' directories in it, or one such file. Each session is imported whole or not at all; the files are kept.
    ///
    /// Bytes are copied from below `root` and the directories of the options. A path below the file's own `base_directory` is
    /// looked for below `root`. Bytes that are in none of these directories are recorded as missing.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] if `root`, or a directory to copy from, cannot be listed. Files that cannot be imported are in the report.
    ///
    /// # Cancellation
    /// An import that has begun goes on when the future is dropped.
    pub async fn import_reference_sessions(
        &self,
        root: impl Into<PathBuf>,
        options: ImportOptions,
    ) -> Result<ImportReport, ArtifactError> {
        let (root, inner) = (root.into(), Arc::clone(&self.inner));
        self.run(move |_| Importer { inner: &inner }.import(&root, &options))
            .await
    }

    /// Imports the sessions without a journal whose files the Python implementation, or a backup, left in the data directory.
    ///
    /// # Errors
    /// As [`Self::import_reference_sessions`].
    pub async fn adopt_sessions(&self) -> Result<ImportReport, ArtifactError> {
        let inner = Arc::clone(&self.inner);
        self.run(move |_| {
            let root = inner.sessions.data_dir().artifacts_dir();
            Importer { inner: &inner }.import(&root, &ImportOptions::default())
        })
        .await
    }
}

/// Imports sessions of the Python implementation.
struct Importer<'a> {
    inner: &'a Arc<Inner>,
}

impl Importer<'_> {
    fn import(&self, root: &Path, options: &ImportOptions) -> Result<ImportReport, ArtifactError> {
        for root in &options.copy_from {
            storage::read_named_dir(root).map_err(|error| ArtifactError::io("list", root, error))?;
        }
        let mut report = ImportReport::default();
        for file in session_files(root)? {
            // A snapshot beside its journal has nothing new.
            if self.has_journal_beside(&file) {
                continue;
            }
            match self.import_file(&file, options) {
                Ok(imported) => {
                    self.inner.snapshot_later(&imported.session_id);
                    report.sessions.push(imported);
                }
                Err(ImportError::Artifact(ArtifactError::Refused(SessionCommandError::SessionExists {
                    session_id,
                    ..
                }))) => report.existing.push(session_id),
                Err(error) => report.failures.push(ImportFailure { file, error }),
            }
        }
        Ok(report)
    }

    fn has_journal_beside(&self, file: &Path) -> bool {
        file.parent() == Some(&self.inner.sessions.data_dir().artifacts_dir())
            && storage::exists(&file.with_extension("jsonl"))
    }

    fn import_file(&self, file: &Path, options: &ImportOptions) -> Result<ImportedSession, ImportError> {
        let content = SourceFile::open(file, Symlinks::Refuse)
            .map_err(ArtifactError::from)?
            .read_bounded(LARGEST_FILE)
            .map_err(|error| ArtifactError::io("read", file, error))?;
        let read = ReferenceSession::read(&content)?;
        let session_id = read.session.created.session_id.clone();
        if let Ok(session) = self.inner.sessions.session(&session_id) {
            let upgrade_id = session.upgrade_id.expect("sessions that are found exist");
            let exists = SessionCommandError::SessionExists {
                session_id,
                upgrade_id,
            };
            return Err(ArtifactError::Refused(exists).into());
        }
        let mut bytes = Bytes::new(self.inner, file, &read, options);
        let imported = self.import_read(file, &content, read, &mut bytes)?;
        if let Err(error) = self.inner.adder().remove_unrecorded(&imported.session_id) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(session = %imported.session_id, error, "cannot remove what an interrupted import left");
        }
        Ok(imported)
    }

    /// Stores the bytes of a session that was read, then records the whole.
    fn import_read(
        &self,
        file: &Path,
        content: &[u8],
        read: ReferenceSession,
        bytes: &mut Bytes<'_>,
    ) -> Result<ImportedSession, ImportError> {
        let session_id = read.session.created.session_id.clone();
        let home = self.inner.sessions.data_dir();
        announce(home, &session_id).map_err(|error| ArtifactError::io("begin the import of", file, error))?;
        let mut session = read.session;
        let mut artifacts = Vec::with_capacity(read.artifacts.len());
        for artifact in read.artifacts {
            artifacts.push(Arc::new(bytes.place(artifact, &mut session.warnings)?));
        }
        let imported = ImportedSession {
            session_id: session_id.clone(),
            file: file.to_owned(),
            artifacts: artifacts.len(),
            missing: bytes.missing,
            warnings: session.warnings.clone(),
        };
        let import = ImportSession {
            session,
            collections: read.collections,
            artifacts,
        };
        let snapshot = home.snapshot_path(&StreamId::Session(session_id.clone()));
        keep_original(file, &snapshot, content)
            .map_err(|error| ArtifactError::io("keep a copy of", file, error))?;
        let entry = self.inner.sessions.entry(&session_id);
        self.inner
            .sessions
            .submit(&entry, SessionCommand::Import(Box::new(import)))?;
        Ok(imported)
    }
}

/// Creates the lock of a session's journal: it tells an unfinished import from a directory that somebody made.
fn announce(home: &DataDir, id: &SessionId) -> io::Result<()> {
    storage::create_directory(&home.artifacts_dir())?;
    let lock = home.sidecar_path(&StreamId::Session(id.clone()));
    storage::open_with(&lock, File::options().create(true).append(true)).map(drop)
}

/// The session files in a directory, in the order of names; a file stands for itself.
fn session_files(root: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    if !storage::is_named_directory(root) {
        return Ok(vec![root.to_owned()]);
    }
    let listing = |error| ArtifactError::io("list", root, error);
    let mut files = Vec::new();
    for entry in storage::read_named_dir(root).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_session = name.starts_with(b"session_") && name.ends_with(b".json");
        if is_session {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Finds and stores the bytes of one session's artifacts.
struct Bytes<'a> {
    inner: &'a Inner,
    /// Directories below which bytes are looked for, each with its path in the session's file.
    roots: Vec<(PathBuf, PathBuf)>,
    /// True if the imported directory is the data directory's own: bytes are used in place.
    in_place: bool,
    used: HashSet<ArtifactKey>,
    missing: usize,
}

impl<'a> Bytes<'a> {
    fn new(inner: &'a Inner, file: &Path, read: &ReferenceSession, options: &ImportOptions) -> Self {
        let root = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let in_place = inner.sessions.data_dir().artifacts_dir() == root;
        let mut roots = Vec::new();
        // The Python implementation names the session's own directory, other writers its parent. Either may be relative to
        // the writer's working directory, and may have been moved since.
        if let Some(named) = read.base_directory.as_deref().map(without_dots) {
            let known_as = [named.parent(), Some(&*named)].into_iter().flatten();
            roots.extend(known_as.map(|known_as| (root.clone(), known_as.to_owned())));
        }
        // A session's file may name a directory as the caller does, as an absolute path, or without symbolic links.
        for given in std::iter::once(&root).chain(&options.copy_from) {
            let root = given.canonicalize().unwrap_or_else(|_| given.clone());
            let names = [
                Some(given.clone()),
                std::path::absolute(given).ok(),
                Some(root.clone()),
            ];
            for known_as in names.into_iter().flatten() {
                roots.push((root.clone(), without_dots(known_as)));
            }
        }
        Self {
            inner,
            roots,
            in_place,
            used: HashSet::new(),
            missing: 0,
        }
    }

    /// The artifact's record, with the path of its bytes if they are found.
    fn place(
        &mut self,
        read: ReferenceArtifact,
        warnings: &mut Vec<String>,
    ) -> Result<Artifact, ArtifactError> {
        let ReferenceArtifact { mut artifact, path } = read;
        if matches!(
            artifact.status,
            ArtifactStatus::Deleted | ArtifactStatus::Archived
        ) {
            return Ok(artifact);
        }
        let found = match &path {
            Some(path) => self.find(&without_dots(&**path)),
            None => None,
        };
        let Some((source, relative)) = found else {
            self.missing += 1;
            let shown = path.as_deref().unwrap_or("no path");
            warnings.push(format!(
                "the bytes of artifact {} ({}) are missing: {shown} is not below the imported directory or one to copy from",
                artifact.artifact_id, artifact.name
            ));
            note(&mut artifact, "original_local_path", path.as_deref());
            return Ok(artifact);
        };
        let (key, size, hash) = self.store(&artifact, source, &relative)?;
        if artifact.file_hash.is_some_and(|claimed| claimed != hash) {
            let claimed = artifact.file_hash.map(|hash| hash.to_string());
            warnings.push(format!(
                "artifact {} ({}) was altered before the import: its file says {}, its bytes hash to {hash}",
                artifact.artifact_id,
                artifact.name,
                claimed.as_deref().unwrap_or_default()
            ));
            note(&mut artifact, "original_file_hash", claimed.as_deref());
        }
        note(&mut artifact, "original_local_path", path.as_deref());
        artifact.local_path = Some(key.local_path().into());
        artifact.file_size = Some(size);
        artifact.file_hash = Some(hash);
        self.used.insert(key);
        Ok(artifact)
    }

    /// Opens the file below one of the roots, with its path relative to that.
    fn find(&self, path: &Path) -> Option<(SourceFile, Vec<OsString>)> {
        self.roots.iter().find_map(|(root, known_as)| {
            let relative = match path.strip_prefix(known_as) {
                Ok(relative) => relative,
                Err(_) if path.is_relative() => path,
                Err(_) => return None,
            };
            let names: Option<Vec<OsString>> = relative
                .components()
                .map(|component| match component {
                    Component::Normal(name) => Some(name.to_owned()),
                    _ => None,
                })
                .collect();
            let names = names.filter(|names| !names.is_empty())?;
            let source = SourceFile::open_below(root, &names).ok()?;
            Some((source, names))
        })
    }

    fn store(
        &self,
        artifact: &Artifact,
        source: SourceFile,
        relative: &[OsString],
    ) -> Result<(ArtifactKey, u64, FileHash), ArtifactError> {
        if self.in_place
            && let Some(key) = key_of(artifact, relative)
            && !self.used.contains(&key)
        {
            let (size, hash) = self.digest(&key)?;
            return Ok((key, size, hash));
        }
        let original = relative.last().and_then(|name| name.to_str());
        let name = stored_file_name(original.unwrap_or(&artifact.name).as_bytes());
        let wanted = ArtifactKey::new(
            artifact.session_id.clone(),
            artifact.collection_id.clone(),
            &*name,
        )
        .expect("stored file names are safe");
        if !self.used.contains(&wanted)
            && let Some(claimed) = artifact.file_hash
        {
            match self.digest(&wanted) {
                // An interrupted import has copied it.
                Ok((size, hash)) if hash == claimed => return Ok((wanted, size, hash)),
                Ok(_) => {}
                Err(ArtifactError::Store(error)) if error.kind() == StoreErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let artifacts = &self.inner.artifacts;
        let collection = artifacts.collection(&artifact.session_id, &artifact.collection_id)?;
        let mut staged = collection.stage(None, StagedKind::Copy)?;
        source.copy_to(&mut staged, &|_| {})?;
        let stored = staged.finish().commit(&name, PutMode::Numbered)?;
        let put = stored.put.clone();
        // The name in `.incoming` shows that the file has no record yet. It needs no lock: nobody can add to the session.
        stored.leave();
        Ok((put.key, put.size, put.hash))
    }

    fn digest(&self, key: &ArtifactKey) -> Result<(u64, FileHash), ArtifactError> {
        let (file, size) = self.inner.artifacts.read(key)?;
        let hash = hash_of_file(&file, |_| {});
        Ok((
            size,
            hash.map_err(|error| ArtifactError::io("read", key.local_path(), error))?,
        ))
    }
}

/// The path without components that are `.`.
fn without_dots(path: impl AsRef<Path>) -> PathBuf {
    let components = path.as_ref().components();
    components
        .filter(|component| *component != Component::CurDir)
        .collect()
}

/// The key of a file that is in the artifact's own collection.
fn key_of(artifact: &Artifact, relative: &[OsString]) -> Option<ArtifactKey> {
    let [session, collection, file_name] = relative else {
        return None;
    };
    let belongs = session.to_str() == Some(&artifact.session_id.encoded())
        && collection.to_str() == Some(&artifact.collection_id.encoded());
    let key = || {
        let (session, collection) = (artifact.session_id.clone(), artifact.collection_id.clone());
        ArtifactKey::new(session, collection, file_name.to_str()?).ok()
    };
    belongs.then(key).flatten()
}

/// Adds an entry to an artifact's metadata.
fn note(artifact: &mut Artifact, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        let mut metadata = artifact.metadata.to_map();
        metadata.insert(key.to_owned(), value.into());
        artifact.metadata = metadata.into();
    }
}
