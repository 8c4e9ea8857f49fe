//! Taking over what the reference left: upgrades and sessions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact_core::{ImportOptions, ManagerOptions};
use progress_core::{ImportReport as UpgradeImport, ProgressTrackerOptions, import_reference};
use tracking_journal::{DataDir, JournalOptions, storage};
use tracking_model::ReferenceKind;

use crate::{Archive, TrackingError};

/// What an import does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportSources {
    /// Directories and files of the reference; the archive's own directory may be among them.
    pub paths: Vec<PathBuf>,
    /// Directories beside them from which the bytes of artifacts may be copied.
    pub copy_from: Vec<PathBuf>,
    /// Who is named in the records.
    pub actor: Arc<str>,
    /// How long to wait for other processes that write the same streams.
    pub lock_timeout: Duration,
}

impl ImportSources {
    /// These directories and files, in the name of `import`.
    #[must_use]
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            paths: paths.into_iter().collect(),
            copy_from: Vec::new(),
            actor: "import".into(),
            lock_timeout: Duration::from_secs(5),
        }
    }
}

/// What an import did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ArchiveImport {
    /// Upgrades.
    pub upgrades: UpgradeImport,
    /// Sessions, one report for each source that could hold some.
    pub sessions: Vec<artifact_core::ImportReport>,
}

impl Archive {
    /// Takes over files of the reference. Each upgrade and session is taken over whole or not at all, importing twice
    /// changes nothing, and the files are kept.
    ///
    /// # Errors
    /// If a source does not exist or cannot be listed. A file that cannot be imported is in the report.
    pub fn import(&self, sources: &ImportSources) -> Result<ArchiveImport, TrackingError> {
        let (mut upgrades, mut sessions) = (Vec::new(), Vec::new());
        for path in &sources.paths {
            let is_session = storage::exists(path) && !storage::is_named_directory(path) && is_session(path);
            if is_session || storage::is_named_directory(path) {
                sessions.push(path.clone());
            }
            if !is_session {
                upgrades.push(path.clone());
            }
        }
        let options = ProgressTrackerOptions::default()
            .with_actor(Arc::clone(&sources.actor))
            .with_lock_timeout(sources.lock_timeout)
            .with_long_lived(false);
        Ok(ArchiveImport {
            upgrades: import_reference(self.data_dir(), &upgrades, &options)?,
            sessions: self.import_sessions(&sessions, sources)?,
        })
    }

    /// Takes over what the reference left in this directory itself and has no journal yet; `None` if there is nothing.
    /// Cheap where there is not.
    ///
    /// # Errors
    /// As [`Self::import`].
    pub fn adopt(
        &self,
        actor: Arc<str>,
        lock_timeout: Duration,
    ) -> Result<Option<ArchiveImport>, TrackingError> {
        let dir = self.data_dir();
        let (progress, artifacts) = (dir.progress_dir(), dir.artifacts_dir());
        // The reference's older layout, and its base directory, have the files directly in them.
        let places = [
            (progress.as_path(), "upgrade_", &progress),
            (artifacts.as_path(), "session_", &artifacts),
            (dir.path(), "upgrade_", &progress),
            (dir.path(), "session_", &artifacts),
        ];
        if !places
            .iter()
            .any(|(folder, prefix, journals)| has_more_than_journals(folder, prefix, journals))
        {
            return Ok(None);
        }
        DataDir::open(dir.path())?;
        let mut sources = ImportSources::new([dir.path().to_owned(), dir.artifacts_dir()]);
        sources.actor = actor;
        sources.lock_timeout = lock_timeout;
        sources.paths.retain(|path| storage::is_named_directory(path));
        self.import(&sources).map(Some)
    }

    fn import_sessions(
        &self,
        roots: &[PathBuf],
        sources: &ImportSources,
    ) -> Result<Vec<artifact_core::ImportReport>, TrackingError> {
        if roots.is_empty() {
            return Ok(Vec::new());
        }
        let journal = JournalOptions::default()
            .with_actor(Arc::clone(&sources.actor))
            .with_lock_timeout(sources.lock_timeout);
        let manager = crate::open_artifacts(
            self.data_dir().clone(),
            ManagerOptions::default().with_journal(journal),
        );
        let options = sources
            .copy_from
            .iter()
            .fold(ImportOptions::default(), ImportOptions::with_copy_from);
        let runtime = crate::runtime::on_this_thread().map_err(TrackingError::Runtime)?;
        runtime.block_on(async {
            let mut reports = Vec::new();
            for root in roots {
                reports.push(manager.import_reference_sessions(root, options.clone()).await?);
            }
            manager.close().await?;
            Ok(reports)
        })
    }
}

/// The largest file of the reference that is looked into.
const LARGEST_FILE: u64 = 1 << 30;

/// Tells whether a file is a session's, by what it holds; by its name if it holds nothing that says so.
fn is_session(file: &Path) -> bool {
    match storage::read_named(file, LARGEST_FILE).map(|content| ReferenceKind::of(&content)) {
        Ok(Ok(kind)) => kind == ReferenceKind::Session,
        _ => file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"session_")),
    }
}

/// Whether a directory has a JSON file of that prefix without the journal that would make it a snapshot, or show that it
/// was taken over.
fn has_more_than_journals(dir: &Path, prefix: &str, journals: &Path) -> bool {
    let Ok(entries) = storage::read_dir(dir) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let stem = name
            .as_encoded_bytes()
            .strip_suffix(b".json")
            .filter(|stem| stem.starts_with(prefix.as_bytes()));
        stem.is_some_and(|stem| {
            let mut journal = OsStr::from_bytes(stem).to_owned();
            journal.push(".jsonl");
            !storage::exists(&journals.join(journal))
        })
    })
}
