//! Verifying: every byte that is there against what its record says, and every file against the records.

use std::collections::HashSet;
use std::io::Read;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, FileHash, SessionId};

use crate::manager::Inner;
use crate::store::CHUNK_BYTES;
use crate::{
    ArtifactError, ArtifactKey, ArtifactQuery, KeyPrefix, StoreErrorKind, TestArtifactsManager, Unreadable,
};

/// Most files that are read at once.
const MAX_READERS: usize = 8;

/// What is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VerifyScope {
    /// Everything in the data directory.
    #[default]
    All,
    /// One session, with what is on disk beside its artifacts.
    Session(SessionId),
    /// One artifact.
    Artifact(ArtifactId),
}

/// How far verifying got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Artifacts that were looked at.
    pub artifacts: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A record speaks of it and it is not there.
    Missing,
    /// Its bytes are not those that were added.
    Altered {
        /// The SHA-256 that the record has.
        expected: FileHash,
        /// The SHA-256 of what is there.
        found: FileHash,
    },
    /// It is there and no record speaks of it: the rest of an add that was interrupted, or put there by hand. An add that
    /// runs at this moment may look so too.
    Extra,
    /// It cannot be read.
    Unreadable {
        /// Why not.
        reason: String,
    },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Altered { expected, found } => write!(f, "altered: {expected} was added, {found} is there"),
            Self::Extra => f.write_str("extra: no record speaks of it"),
            Self::Unreadable { reason } => write!(f, "unreadable: {reason}"),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The file, relative to the data directory.
    pub local_path: Arc<str>,
    /// The artifact whose bytes it should be; `None` for extra files.
    pub artifact: Option<Arc<Artifact>>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What verifying found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Artifacts whose bytes were compared.
    pub artifacts: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Artifacts without bytes here, as their records say: deleted, archived, or taken over without them.
    pub without_bytes: u64,
    /// What is wrong, in the order of files.
    pub findings: Vec<Finding>,
    /// Sessions that could not be read, so that nothing of them was verified.
    pub unreadable: Vec<Unreadable>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.unreadable.is_empty()
    }
}

impl TestArtifactsManager {
    /// Reads artifacts and compares them with their records, several at once. `progress` is called after each.
    ///
    /// # Errors
    /// [`ArtifactError::UnknownSession`], [`ArtifactError::UnknownArtifact`]; if the data directory cannot be listed.
    /// What is wrong with artifacts is in the report.
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
                VerifyScope::Artifact(id) => run.artifacts(&[inner.artifact(&id)?]),
                VerifyScope::Session(id) => run.session(&id)?,
                VerifyScope::All => {
                    for session_id in inner.catalogue.ids()? {
                        match run.session(&session_id) {
                            // Its first record is not there yet.
                            Ok(()) | Err(ArtifactError::UnknownSession(_)) => {}
                            Err(error) => run.report.unreadable.push(Unreadable { session_id, error }),
                        }
                    }
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
}

impl<'a> Verification<'a> {
    fn new(inner: &'a Inner, progress: &'a (dyn Fn(VerifyProgress) + Send + Sync)) -> Self {
        Self {
            inner,
            progress,
            report: VerifyReport::default(),
            artifacts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn session(&mut self, id: &SessionId) -> Result<(), ArtifactError> {
        let catalogue = &self.inner.catalogue;
        catalogue.look(id, |_| ())?;
        let files = catalogue.vault().objects(&KeyPrefix::Session(id.clone()))?;
        let recorded = self.all_of(id)?;
        self.artifacts(&recorded);
        // What was added while the files were read has a record by now.
        catalogue.refresh(id)?;
        let known: HashSet<Arc<str>> = self
            .all_of(id)?
            .iter()
            .filter_map(|artifact| artifact.local_path.clone())
            .collect();
        for file in files {
            let local_path: Arc<str> = file.key.local_path().into();
            if !known.contains(&local_path) {
                self.report.findings.push(Finding {
                    local_path,
                    artifact: None,
                    problem: Problem::Extra,
                });
            }
        }
        Ok(())
    }

    fn all_of(&self, id: &SessionId) -> Result<Vec<Arc<Artifact>>, ArtifactError> {
        let mut query = ArtifactQuery::new().in_session(id.clone());
        query.statuses = ArtifactStatus::ALL.to_vec();
        let mut all = Vec::new();
        self.inner.each_artifact(query, |artifact| {
            all.push(artifact);
            Ok(())
        })?;
        Ok(all)
    }

    /// Compares some artifacts, several at once.
    fn artifacts(&mut self, artifacts: &[Arc<Artifact>]) {
        let readers = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (next, findings) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let without_bytes = AtomicU64::new(0);
        let work = || {
            while let Some(artifact) = artifacts.get(next.fetch_add(1, Ordering::Relaxed)) {
                if has_bytes(artifact) {
                    if let Some(problem) = self.problem_of(artifact) {
                        let finding = Finding {
                            local_path: artifact.local_path.clone().unwrap_or_default(),
                            artifact: Some(Arc::clone(artifact)),
                            problem,
                        };
                        findings
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(finding);
                    }
                    let artifacts = self.artifacts.fetch_add(1, Ordering::Relaxed) + 1;
                    let bytes = self.bytes.load(Ordering::Relaxed);
                    (self.progress)(VerifyProgress { artifacts, bytes });
                } else {
                    without_bytes.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..readers.min(MAX_READERS).min(artifacts.len()) {
                scope.spawn(work);
            }
            work();
        });
        self.report
            .findings
            .extend(findings.into_inner().unwrap_or_else(PoisonError::into_inner));
        self.report.without_bytes += without_bytes.into_inner();
    }

    fn problem_of(&self, artifact: &Artifact) -> Option<Problem> {
        let mut reader = match self.inner.read_artifact(artifact) {
            Ok((reader, _)) => reader,
            Err(ArtifactError::Store(error)) if error.kind() == StoreErrorKind::NotFound => {
                return Some(Problem::Missing);
            }
            Err(error) => return Some(unreadable(&error)),
        };
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(buffer.get(..read).unwrap_or_default());
                    self.bytes.fetch_add(read as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Some(unreadable(&error)),
            }
        }
        let found = FileHash::new(hasher.finalize().into());
        let expected = artifact.file_hash?;
        (found != expected).then_some(Problem::Altered { expected, found })
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

/// Whether its record says that its bytes are here.
fn has_bytes(artifact: &Artifact) -> bool {
    artifact.local_path.is_some()
        && match artifact.status {
            ArtifactStatus::Created | ArtifactStatus::Uploaded | ArtifactStatus::Failed => true,
            ArtifactStatus::Archived | ArtifactStatus::Deleted => false,
        }
}

impl Inner {
    /// Opens an artifact's bytes, with their number. The place in the record is trusted only as far as it names a session,
    /// a collection and a file.
    pub(crate) fn read_artifact(
        &self,
        artifact: &Artifact,
    ) -> Result<(Box<dyn Read + Send>, u64), ArtifactError> {
        let Some(local_path) = &artifact.local_path else {
            return Err(ArtifactError::BytesMissing {
                artifact_id: artifact.artifact_id.clone(),
                name: Arc::clone(&artifact.name),
                reason: "the record was taken over without them",
            });
        };
        let key = ArtifactKey::from_local_path(local_path)
            .and_then(|key| {
                if *key.session_id() == artifact.session_id && *key.collection_id() == artifact.collection_id
                {
                    Ok(key)
                } else {
                    Err(crate::KeyError {
                        text: local_path.to_string(),
                    })
                }
            })
            .map_err(|source| ArtifactError::UnsafePath {
                artifact_id: artifact.artifact_id.clone(),
                source,
            })?;
        Ok(self.catalogue.vault().read(&key)?)
    }
}
