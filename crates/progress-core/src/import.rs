//! Taking over what the reference left: its `upgrade_<id>.json` files.
//!
//! An import writes one record that holds the file's state as it is, and from then on the journal is the truth. Our
//! snapshots have the name of the reference's files, so a file that is taken over in its place is first copied to
//! `upgrade_<id>.json.reference`, which nothing ever changes. A crash between these steps leaves a directory that the
//! next opening takes over again, with the same result.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use tracking_journal::{DataDir, Journal, keep_original, storage};
use tracking_model::{CommandError, StreamId, UpgradeCommand, UpgradeId, UpgradeImported, UpgradeProgress};

use crate::snapshot::FileSystem;
use crate::{ProgressError, ProgressTracker, ProgressTrackerOptions};

/// What an import did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ImportReport {
    /// Upgrades that were taken over.
    pub imported: Vec<ImportedUpgrade>,
    /// Files that were not, and why.
    pub skipped: Vec<SkippedFile>,
}

/// An upgrade that was taken over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportedUpgrade {
    /// Its id; where the file had one that is not valid, a valid one made of it.
    pub upgrade_id: UpgradeId,
    /// The file.
    pub source: PathBuf,
    /// What was impossible in it, in words. It is kept under the upgrade's `metadata.imported`.
    pub warnings: Vec<String>,
}

/// A file that was not taken over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SkippedFile {
    /// The file.
    pub source: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

/// Why a file was not taken over.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The upgrade is in the data directory already.
    #[error("upgrade {0} is in the data directory already")]
    Exists(UpgradeId),
    /// A journal lies beside it, so it is a snapshot of ours.
    #[error("it is a snapshot: the journal beside it is the truth")]
    Snapshot,
    /// It is a symbolic link, a directory, a device or a FIFO.
    #[error("it is not a regular file")]
    NotAFile,
    /// It could not be read or written down.
    #[error("it cannot be imported")]
    Failed(#[from] ProgressError),
}

/// Takes over files of the reference into `dir`.
///
/// Each source is a file, or a directory of one of its two layouts: one that contains `progress/`, or one with the files
/// directly in it; `dir` itself may be among them. A file that cannot be imported does not keep the others from it, and
/// importing twice changes nothing. Blocks; in async code call it on a blocking thread.
///
/// # Errors
/// [`ProgressError::Io`] if a source does not exist or cannot be listed.
pub fn import_reference(
    dir: &DataDir,
    sources: &[PathBuf],
    options: &ProgressTrackerOptions,
) -> Result<ImportReport, ProgressError> {
    let mut report = ImportReport::default();
    for source in sources {
        for file in reference_files(source)? {
            match import_file(dir, &file, options) {
                Ok(imported) => report.imported.push(imported),
                Err(reason) => report.skipped.push(SkippedFile { source: file, reason }),
            }
        }
    }
    Ok(report)
}

/// Takes over what the reference left in `dir` itself and nobody has opened yet, so that lists and views show it.
/// Costs a look at the names in the directory where there is nothing to do. As [`import_reference`] otherwise.
///
/// # Errors
/// As [`import_reference`].
pub fn import_in_place(
    dir: &DataDir,
    options: &ProgressTrackerOptions,
) -> Result<ImportReport, ProgressError> {
    let mut report = import_reference(dir, &[dir.path().to_owned()], options)?;
    report
        .skipped
        .retain(|file| !matches!(file.reason, SkipReason::Snapshot | SkipReason::Exists(_)));
    Ok(report)
}

/// The files that a source names, in the order of their names.
fn reference_files(source: &Path) -> Result<Vec<PathBuf>, ProgressError> {
    let cannot = |operation, path: &Path, error| ProgressError::io(operation, path.to_owned(), error);
    let kind = storage::named_metadata(source).map_err(|error| cannot("look at", source, error))?;
    if !kind.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let mut files = Vec::new();
    for directory in [source.to_owned(), source.join("progress")] {
        let entries = match storage::read_named_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory != source => continue,
            Err(error) => return Err(cannot("list", &directory, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| cannot("list", &directory, error))?;
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(b"upgrade_") && name.ends_with(b".json") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn import_file(
    dir: &DataDir,
    file: &Path,
    options: &ProgressTrackerOptions,
) -> Result<ImportedUpgrade, SkipReason> {
    if !is_regular(file)? {
        return Err(SkipReason::NotAFile);
    }
    if has_records(&file.with_extension("jsonl"))? {
        return Err(SkipReason::Snapshot);
    }
    let (content, imported) = read(file)?;
    let upgrade_id = imported.upgrade_id.clone();
    if has_records(&dir.journal_path(&StreamId::Upgrade(upgrade_id.clone())))? {
        return Err(SkipReason::Exists(upgrade_id));
    }
    let report = ImportedUpgrade {
        upgrade_id: upgrade_id.clone(),
        source: file.to_owned(),
        warnings: imported.warnings.clone(),
    };
    let options = options.clone().with_long_lived(false);
    let tracker = ProgressTracker::start(
        Some(dir),
        &upgrade_id,
        &options,
        Box::new(FileSystem),
        |journal| take_over_file(dir, journal, file, &content, imported),
    );
    match tracker {
        Ok(tracker) => tracker.close_blocking().map_err(SkipReason::from)?,
        Err(ProgressError::Refused(CommandError::UpgradeExists { .. })) => {
            return Err(SkipReason::Exists(upgrade_id));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(report)
}

/// Whether a journal has a first record. A crash may have left one without.
fn has_records(journal: &Path) -> Result<bool, ProgressError> {
    let cannot = |error| ProgressError::io("read", journal.to_owned(), error);
    let mut lines = match storage::open(journal) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(cannot(error)),
    };
    loop {
        let read = lines.fill_buf().map_err(cannot)?;
        if read.contains(&b'\n') {
            return Ok(true);
        }
        match read.len() {
            0 => return Ok(false),
            read => lines.consume(read),
        }
    }
}

/// Whether the upgrade has a journal, or a file of the reference's that can be taken over.
pub(crate) fn is_known(dir: &DataDir, upgrade_id: &UpgradeId) -> Result<bool, ProgressError> {
    let stream = StreamId::Upgrade(upgrade_id.clone());
    let [usual, older] = candidates(dir, &stream);
    for path in [dir.journal_path(&stream), usual, older] {
        match path.symlink_metadata() {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A path that cannot be looked at may exist.
            Err(error) => return Err(ProgressError::io("look at", path, error)),
        }
    }
    Ok(false)
}

/// Where the reference's file of an upgrade may be in a data directory that it wrote itself, in its two layouts.
fn candidates(dir: &DataDir, stream: &StreamId) -> [PathBuf; 2] {
    let usual = dir.snapshot_path(stream);
    let older = dir.path().join(format!("{}.json", stream.file_stem()));
    [usual, older]
}

/// Takes over the reference's file of an upgrade whose journal is empty, if there is one in the data directory.
pub(crate) fn take_over(
    dir: &DataDir,
    journal: &Journal<UpgradeProgress>,
    upgrade_id: &UpgradeId,
) -> Result<(), ProgressError> {
    if journal.read(|state, _| state.exists()) {
        return Ok(());
    }
    for file in candidates(dir, journal.stream()) {
        if !file.exists() || !is_regular(&file)? {
            continue;
        }
        let (content, mut imported) = read(&file)?;
        if imported.upgrade_id != *upgrade_id {
            let other = &imported.upgrade_id;
            imported.warnings.push(format!(
                "the file is named after {upgrade_id} and is about {other}"
            ));
            imported.upgrade_id = upgrade_id.clone();
        }
        for warning in &imported.warnings {
            tracing::warn!(%upgrade_id, warning, "importing the reference's file");
        }
        return match take_over_file(dir, journal, &file, &content, imported) {
            // Another process was faster.
            Err(ProgressError::Refused(CommandError::UpgradeExists { .. })) => Ok(()),
            outcome => outcome,
        };
    }
    Ok(())
}

fn take_over_file(
    dir: &DataDir,
    journal: &Journal<UpgradeProgress>,
    file: &Path,
    content: &[u8],
    imported: UpgradeImported,
) -> Result<(), ProgressError> {
    keep_original(file, &dir.snapshot_path(journal.stream()), content)
        .map_err(|error| ProgressError::io("keep a copy of", file.to_owned(), error))?;
    journal.submit_blocking(UpgradeCommand::Import(imported))?;
    Ok(())
}

/// The largest file that is read: indented, it may be twice the record that it makes.
const MAX_FILE_BYTES: u64 = 2 * tracking_journal::MAX_LINE_BYTES as u64;

/// Whether it is a file, and no link to one.
fn is_regular(file: &Path) -> Result<bool, ProgressError> {
    match storage::metadata(file) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(ProgressError::io("look at", file.to_owned(), error)),
    }
}

fn read(file: &Path) -> Result<(Vec<u8>, UpgradeImported), ProgressError> {
    let content = storage::read(file, MAX_FILE_BYTES)
        .map_err(|error| ProgressError::io("read", file.to_owned(), error))?;
    let imported =
        UpgradeImported::from_reference(&content).map_err(|source| ProgressError::NotReference {
            path: file.to_owned(),
            source,
        })?;
    Ok((content, imported))
}
