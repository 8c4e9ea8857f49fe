//! Options, progress and report of a cleanup.

use std::sync::Arc;

use tracking_model::{ArtifactId, SessionCommandError, SessionId, Timestamp};

use crate::{ArtifactError, FileKind, RetentionPlan};

/// Most failures and orphans that a report names one by one.
const NAMED: usize = 1000;

/// Chooses between deleting and a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CleanupMode {
    /// Artifacts that the policy selects are deleted.
    #[default]
    Delete,
    /// Nothing is changed.
    DryRun,
}

/// Chooses the treatment of files without a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrphanMode {
    /// They are reported.
    #[default]
    Report,
    /// Regular files, symbolic links and named pipes are removed, and directories that are empty then, in sessions that
    /// are completed. Elsewhere one may belong to an artifact that is being added. What is left is reported.
    Remove,
}

/// Options of a cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CleanupOptions {
    /// Chooses between deleting and a dry run.
    pub mode: CleanupMode,
    /// Chooses the treatment of files without a record.
    pub orphans: OrphanMode,
}

impl CleanupOptions {
    /// Deletes nothing: the report says what a run would delete.
    #[must_use]
    pub const fn dry_run(mut self) -> Self {
        self.mode = CleanupMode::DryRun;
        self
    }

    /// Sets the treatment of files without a record.
    #[must_use]
    pub const fn with_orphans(mut self, orphans: OrphanMode) -> Self {
        self.orphans = orphans;
        self
    }
}

/// Progress of a cleanup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupProgress {
    /// Sessions that are done.
    pub sessions: u64,
    /// Artifacts whose records say that they are deleted.
    pub artifacts: u64,
    /// Files that were removed.
    pub files: u64,
}

/// Report of a cleanup.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "it says what could not be deleted"]
pub struct CleanupReport {
    /// The plan of the run.
    pub plan: RetentionPlan,
    /// Tells a dry run from a run that deleted.
    pub mode: CleanupMode,
    /// Number of deleted artifacts.
    pub deleted_artifacts: u64,
    /// Bytes of the deleted artifacts.
    pub deleted_bytes: u64,
    /// Number of removed files: of deleted artifacts, of earlier runs, and orphans.
    pub removed_files: u64,
    /// Number of empty directories that were removed.
    pub removed_directories: u64,
    /// Files of deleted artifacts that are still there: in a dry run all of them, else those in sessions that are open.
    pub leftover_files: u64,
    /// Entries of any kind that have no record and are older than a day; the first thousand.
    pub orphans: Vec<OrphanFile>,
    /// Number of entries without a record.
    pub orphan_files: u64,
    /// Sessions of the plan that somebody pinned or opened meanwhile: their artifacts stay.
    pub spared_meanwhile: Vec<SparedMeanwhile>,
    /// The failures; the first thousand.
    pub failures: Vec<CleanupFailure>,
    /// Number of failures.
    pub failed: u64,
}

/// An entry of a session's directory, of any kind, without a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrphanFile {
    /// The file, relative to the data directory.
    pub local_path: Arc<str>,
    /// The kind of entry; `None` for a regular file.
    pub kind: Option<FileKind>,
    /// Size in bytes.
    pub size: u64,
    /// Time of its last change.
    pub since: Timestamp,
    /// True if the entry was removed.
    pub removed: bool,
    /// The reason why it was not.
    pub left: Option<LeftBecause>,
}

/// The reason why an entry without a record was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftBecause {
    /// The options do not ask to remove orphans.
    NotAsked,
    /// A dry run changes nothing.
    DryRun,
    /// Its session is open: it may belong to an artifact that is being added.
    SessionOpen,
    /// It is a directory, and something is left in it.
    NotEmpty,
    /// It is in the place of a collection's directory, which somebody may have moved.
    InPlaceOfCollection,
    /// It is a socket or a device, which are left to those who made them.
    Special,
    /// It could not be removed: the failure is in the report.
    Failed,
}

impl std::fmt::Display for LeftBecause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "removing was not asked for",
            Self::DryRun => "this is a dry run",
            Self::SessionOpen => "its session is open",
            Self::NotEmpty => "something is left in it",
            Self::InPlaceOfCollection => "it is in the place of a collection's directory",
            Self::Special => "sockets and devices are left to those who made them",
            Self::Failed => "it could not be removed",
        })
    }
}

/// A session of the plan whose artifacts stay.
#[derive(Debug)]
#[non_exhaustive]
pub struct SparedMeanwhile {
    /// The session.
    pub session_id: SessionId,
    /// The reason.
    pub reason: SessionCommandError,
}

/// A deletion that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct CleanupFailure {
    /// The session.
    pub session_id: SessionId,
    /// The artifact; `None` if it is about the session as a whole.
    pub artifact_id: Option<ArtifactId>,
    /// The reason.
    pub error: ArtifactError,
}

impl CleanupReport {
    pub(super) const fn new(plan: RetentionPlan, mode: CleanupMode) -> Self {
        Self {
            plan,
            mode,
            deleted_artifacts: 0,
            deleted_bytes: 0,
            removed_files: 0,
            removed_directories: 0,
            leftover_files: 0,
            orphans: Vec::new(),
            orphan_files: 0,
            spared_meanwhile: Vec::new(),
            failures: Vec::new(),
            failed: 0,
        }
    }

    /// True if the whole plan was carried out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.failed == 0
    }

    pub(super) fn fail(
        &mut self,
        session_id: &SessionId,
        artifact: Option<&ArtifactId>,
        error: ArtifactError,
    ) {
        self.failed += 1;
        if self.failures.len() < NAMED {
            self.failures.push(CleanupFailure {
                session_id: session_id.clone(),
                artifact_id: artifact.cloned(),
                error,
            });
        }
    }

    pub(super) fn spare(&mut self, session_id: &SessionId, reason: SessionCommandError) {
        self.spared_meanwhile.push(SparedMeanwhile {
            session_id: session_id.clone(),
            reason,
        });
    }

    pub(super) fn orphan(&mut self, orphan: OrphanFile) {
        self.orphan_files += 1;
        if self.orphans.len() < NAMED {
            self.orphans.push(orphan);
        }
    }
}
