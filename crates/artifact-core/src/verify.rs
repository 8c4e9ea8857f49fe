//! Verification: the bytes of artifacts against their records, and the files against the records.

mod extras;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tracking_model::{Artifact, ArtifactId, FileHash, SessionId};

use crate::dir::{has_bytes, hash_of_file};
use crate::manager::Inner;
use crate::path_set::PathSet;
use crate::{ArtifactError, FileKind, StoreErrorKind, TestArtifactsManager, Unreadable};
use extras::{InFlightFiles, Unexplained};

/// Most files that are read at once, each with a buffer of a quarter of a MiB.
const MAX_READERS: usize = 8;
/// Most artifacts that wait to be read.
const WAITING: usize = 256;
/// Progress is told after every artifact, and within one after so many bytes.
const TELL_EVERY: u64 = 16 << 20;

/// The scope of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VerifyScope {
    /// Everything in the data directory.
    #[default]
    All,
    /// One session, with what is on disk beside its artifacts.
    Session(SessionId),
    /// The entries beside the directories of sessions: files of sessions and contents belong there, nothing else.
    Beside,
    /// One artifact.
    Artifact(ArtifactId),
}

/// Progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Artifacts that were compared.
    pub artifacts: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// A problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The file of a record is missing.
    Missing,
    /// The bytes are not those that were added.
    Altered {
        /// The SHA-256 that the record has.
        expected: FileHash,
        /// The SHA-256 of the bytes in the file.
        found: FileHash,
    },
    /// The file has no record and belongs to no unfinished add: somebody put it there, or removed its record.
    Extra {
        /// The kind of entry; `None` for a regular file.
        kind: Option<FileKind>,
    },
    /// The file cannot be read.
    Unreadable {
        /// The reason.
        reason: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Altered { expected, found } => write!(f, "altered: {expected} was added, {found} is there"),
            Self::Extra { kind: None } => f.write_str("extra: no record speaks of it"),
            Self::Extra { kind: Some(kind) } => write!(f, "extra: {kind} that no record speaks of"),
            Self::Unreadable { reason } => write!(f, "unreadable: {reason}"),
        }
    }
}

/// A file with a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The file, or directory, relative to the data directory.
    pub local_path: Arc<str>,
    /// The artifact of the file; `None` for extra files, and for directories that cannot be listed.
    pub artifact: Option<Arc<Artifact>>,
    /// The problem.
    pub problem: Problem,
}

impl Finding {
    /// True if the file exists and has no record.
    #[must_use]
    pub const fn is_extra(&self) -> bool {
        matches!(self.problem, Problem::Extra { .. })
    }
}

/// The result of a verification.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Artifacts whose bytes were compared.
    pub artifacts: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Artifacts without bytes here, as their records say: deleted, archived, or taken over without them.
    pub without_bytes: u64,
    /// Number of files, directories and other entries without a record. The first ten thousand of each scope are among the
    /// findings.
    pub extras: u64,
    /// The problems, in the order of files.
    pub findings: Vec<Finding>,
    /// Files of adds that were interrupted before their record was written. The next add to the session removes them, or
    /// records them if they exist nowhere else.
    pub unfinished: Vec<Arc<str>>,
    /// Sessions that could not be read: nothing of them was verified.
    pub unreadable: Vec<Unreadable>,
}

impl VerifyReport {
    /// True if no problem was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.extras == 0 && self.unreadable.is_empty()
    }
}

impl TestArtifactsManager {
    /// Reads artifacts and compares them with their records, several at once. `progress` is called after each.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`], [`ArtifactError::UnknownArtifact`]; if the sessions cannot be listed. Problems of
    /// artifacts and of their directories are in the report.
    ///
    /// # Cancellation
    /// Verifying goes on when the future is dropped.
    pub async fn verify_artifacts(
        &self,
        scope: VerifyScope,
        progress: impl Fn(VerifyProgress) + Send + Sync + 'static,
    ) -> Result<VerifyReport, ArtifactError> {
        self.run(move |inner| {
            let mut run = Verification::new(inner, &progress);
            match scope {
                VerifyScope::Artifact(id) => {
                    let artifact = inner.searcher().recorded(&id)?;
                    run.read_all(|each| {
                        each(artifact);
                        Ok(())
                    })?;
                    let now = inner.searcher().recorded(&id)?;
                    let mut deleted = PathSet::new();
                    extras::note_deleted(&mut deleted, &now);
                    run.forget_deleted(0, &deleted);
                }
                VerifyScope::Session(id) => run.session(&id)?,
                VerifyScope::Beside => run.beside(),
                VerifyScope::All => {
                    for session_id in inner.sessions.ids()? {
                        match run.session(&session_id) {
                            // Its first record is not there yet.
                            Ok(()) | Err(ArtifactError::UnknownSession(_)) => {}
                            Err(error) => run.report.unreadable.push(Unreadable { session_id, error }),
                        }
                    }
                    run.beside();
                }
            }
            Ok(run.finish())
        })
        .await
    }
}

struct Verification<'a> {
    inner: &'a Inner,
    progress: &'a (dyn Fn(VerifyProgress) + Send + Sync),
    report: VerifyReport,
    artifacts: AtomicU64,
    bytes: AtomicU64,
    /// Bytes at which progress is reported next, within a large file too.
    tell_at: AtomicU64,
}

impl<'a> Verification<'a> {
    fn new(inner: &'a Inner, progress: &'a (dyn Fn(VerifyProgress) + Send + Sync)) -> Self {
        Self {
            inner,
            progress,
            report: VerifyReport::default(),
            artifacts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            tell_at: AtomicU64::new(TELL_EVERY),
        }
    }

    /// Memory holds eight bytes a file, and the artifacts that are being read.
    fn session(&mut self, id: &SessionId) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let (stored, mut unexplained) = (&inner.artifacts, Unexplained::new());
        // A directory that cannot be listed does not hide other problems.
        let mut listed = stored.each_entry(id, &mut |entry| unexplained.found(&entry));
        let before = self.report.findings.len();
        self.read_all(|each| {
            inner.sessions.each_recorded(id, |artifact| {
                unexplained.explain(&artifact);
                each(artifact);
            })
        })?;
        unexplained.explain_collections(self, id)?;
        let mut found = self.report.findings.iter().skip(before);
        let any_missing = found.any(|finding| finding.problem == Problem::Missing);
        // Before the records are read again: a file that has no record then was being added.
        let mut in_flight = InFlightFiles::new();
        listed = listed.and(stored.each_in_flight(id, &mut |entry, found| in_flight.found(&entry, found)));
        self.report.unfinished.append(&mut in_flight.unfinished);
        if listed.is_ok() && unexplained.is_empty() && !any_missing {
            return Ok(());
        }
        // Artifacts added while the files were read have records by now, and deleted ones are not missing.
        let mut deleted = PathSet::new();
        inner.sessions.each_recorded(id, |artifact| {
            unexplained.explain(&artifact);
            extras::note_deleted(&mut deleted, &artifact);
        })?;
        unexplained.explain_collections(self, id)?;
        self.forget_deleted(before, &deleted);
        let report = &mut self.report;
        listed = listed.and(stored.each_entry(id, &mut |entry| {
            if unexplained.contains(&entry) {
                match in_flight.of(&entry) {
                    Some(true) => report.unfinished.push(entry.local_path().into()),
                    Some(false) => {}
                    None => report.extra(&entry),
                }
            }
        }));
        report.note_unlisted(&format!("artifacts/{}", id.encoded()), listed);
        Ok(())
    }

    /// Compares the artifacts that `source` hands over, several at once, and never holds more than a few of them.
    fn read_all(
        &mut self,
        source: impl FnOnce(&mut dyn FnMut(Arc<Artifact>)) -> Result<(), ArtifactError>,
    ) -> Result<(), ArtifactError> {
        let readers = thread::available_parallelism().map_or(1, NonZero::get);
        let readers = readers.min(MAX_READERS);
        let (findings, without_bytes) = (Mutex::new(Vec::new()), AtomicU64::new(0));
        let (sender, receiver) = sync_channel::<Arc<Artifact>>(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let check = |artifact: Arc<Artifact>| {
            if !has_bytes(&artifact) {
                without_bytes.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if let Some(problem) = self.problem_of(&artifact) {
                let finding = Finding {
                    local_path: artifact.local_path.clone().unwrap_or_default(),
                    artifact: Some(artifact),
                    problem,
                };
                findings
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(finding);
            }
            self.artifacts.fetch_add(1, Ordering::Relaxed);
            self.tell();
        };
        let work = |receiver: Arc<Mutex<Receiver<Arc<Artifact>>>>| {
            loop {
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(artifact) = next else { return };
                check(artifact);
            }
        };
        let handed_over = thread::scope(|scope| {
            let mut alone = true;
            for _ in 0..readers {
                let receiver = Arc::clone(&receiver);
                let builder = thread::Builder::new().name("artifact-verify".to_owned());
                match builder.spawn_scoped(scope, || work(receiver)) {
                    Ok(_) => alone = false,
                    Err(error) => {
                        tracing::debug!(%error, "verifying with fewer threads");
                        break;
                    }
                }
            }
            // Held by the readers alone: should they all die, the last one closes it, and their panic is passed on.
            drop(receiver);
            let handed_over = source(&mut |artifact| {
                if alone {
                    check(artifact);
                } else if sender.send(artifact).is_err() {
                    tracing::debug!("the threads that verify have died");
                }
            });
            drop(sender);
            handed_over
        });
        self.report
            .findings
            .extend(findings.into_inner().unwrap_or_else(PoisonError::into_inner));
        self.report.without_bytes += without_bytes.into_inner();
        handed_over
    }

    fn tell(&self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.tell_at.fetch_max(bytes + TELL_EVERY, Ordering::Relaxed);
        let artifacts = self.artifacts.load(Ordering::Relaxed);
        (self.progress)(VerifyProgress { artifacts, bytes });
    }

    fn problem_of(&self, artifact: &Artifact) -> Option<Problem> {
        let file = match self.inner.artifacts.open_artifact(artifact) {
            Ok((file, _)) => file,
            Err(ArtifactError::Store(error)) if error.kind() == StoreErrorKind::NotFound => {
                return Some(Problem::Missing);
            }
            Err(error) => return Some(unreadable(&error)),
        };
        let found = hash_of_file(&file, |read| {
            let bytes = self.bytes.fetch_add(read, Ordering::Relaxed) + read;
            if bytes >= self.tell_at.load(Ordering::Relaxed) {
                self.tell();
            }
        });
        match (found, artifact.file_hash) {
            (Err(error), _) => Some(unreadable(&error)),
            (Ok(found), Some(expected)) if found != expected => Some(Problem::Altered { expected, found }),
            (Ok(_), _) => None,
        }
    }

    fn finish(mut self) -> VerifyReport {
        self.report.artifacts = self.artifacts.into_inner();
        self.report.bytes = self.bytes.into_inner();
        self.report
            .findings
            .sort_by(|a, b| a.local_path.cmp(&b.local_path));
        self.report
    }
}

fn unreadable(error: &dyn std::error::Error) -> Problem {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    Problem::Unreadable { reason }
}
