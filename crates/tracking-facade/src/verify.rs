//! Verification of everything: the chain of every journal, the digest of every artifact.

use std::path::PathBuf;
use std::sync::Arc;

use artifact_core::{ManagerOptions, TestArtifactsManager, VerifyReport, VerifyScope};
use tracking_journal::{
    ChainHash, CheckpointVerification, ExpectedHead, JournalError, Verification, verify_checkpoint,
};
use tracking_model::{Session, StreamId, UpgradeProgress};

use crate::{Archive, TrackingError};

/// What verifying an archive found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// Each journal that was verified.
    pub streams: Vec<StreamReport>,
    /// The artifacts of the sessions among them.
    pub artifacts: VerifyReport,
}

/// One journal, and what became of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct StreamReport {
    /// The stream.
    pub stream: StreamId,
    /// Its records and head, or the place of its first flaw.
    pub result: Result<Verification, TrackingError>,
    /// Its checkpoint, if that says something else than the journal. `None` too where the journal itself is not
    /// intact.
    pub checkpoint: Option<WrongCheckpoint>,
}

/// A checkpoint that says something else than its journal. Deleting it loses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongCheckpoint {
    /// The file.
    pub path: PathBuf,
    /// Why it is not believed.
    pub reason: String,
}

impl StreamReport {
    /// True if the journal and its checkpoint are in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.result.is_ok() && self.checkpoint.is_none()
    }
}

/// How far verifying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveProgress {
    /// Records whose hashes were compared.
    pub records: u64,
    /// Artifacts that were read.
    pub artifacts: u64,
    /// Bytes of artifacts that were read.
    pub bytes: u64,
}

impl ArchiveReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.streams.iter().all(StreamReport::is_clean) && self.artifacts.is_clean()
    }

    /// In which stream the hash that was asked for is, and at which sequence.
    #[must_use]
    pub fn head_found(&self) -> Option<(&StreamId, u64)> {
        self.streams.iter().find_map(|report| match report.result {
            Ok(Verification {
                expected: ExpectedHead::Found { seq },
                ..
            }) => Some((&report.stream, seq)),
            _ => None,
        })
    }
}

impl Archive {
    /// Verifies the whole chain of the journals named, of all if none is, their checkpoints, and the bytes of every artifact of the
    /// sessions among them; of all, also what lies beside the sessions and belongs to none. `expected` is the hash of a record of any of them, kept elsewhere. `progress` is called
    /// now and then, from several threads.
    ///
    /// # Errors
    /// If the directory cannot be listed. What is wrong with a journal or an artifact is in the report.
    pub fn verify(
        &self,
        streams: &[StreamId],
        expected: Option<ChainHash>,
        progress: impl Fn(ArchiveProgress) + Send + Sync + 'static,
    ) -> Result<ArchiveReport, TrackingError> {
        let all = streams.is_empty();
        let streams = if all { self.streams()? } else { streams.to_vec() };
        let mut report = ArchiveReport::default();
        let mut records = 0;
        for stream in streams {
            let result = self.verify_journal(&stream, expected);
            records += result.as_ref().map_or(0, |verified| verified.head.seq);
            progress(ArchiveProgress {
                records,
                artifacts: 0,
                bytes: 0,
            });
            // The file of a stream whose first record could not be written is no stream yet.
            let begun = |verified: &Verification| verified.head.seq > 0 || verified.torn_bytes > 0;
            if !all || result.as_ref().map_or(true, begun) {
                let (result, checkpoint) = match result.and_then(|verified| {
                    let wrong = self.wrong_checkpoint(&stream)?;
                    Ok((verified, wrong))
                }) {
                    Ok((verified, wrong)) => (Ok(verified), wrong),
                    Err(error) => (Err(error), None),
                };
                report.streams.push(StreamReport {
                    stream,
                    result,
                    checkpoint,
                });
            }
        }
        // A session whose beginning was interrupted has no record yet, and so no artifacts.
        let readable = report
            .streams
            .iter()
            .filter(|report| matches!(&report.result, Ok(verified) if verified.head.seq > 0));
        let sessions = readable.filter_map(|report| match &report.stream {
            StreamId::Session(id) => Some(VerifyScope::Session(id.clone())),
            StreamId::Upgrade(_) => None,
        });
        let mut scopes: Vec<VerifyScope> = sessions.collect();
        if all {
            scopes.push(VerifyScope::Beside);
        }
        report.artifacts = self.verify_artifacts(scopes, records, progress)?;
        Ok(report)
    }

    /// The checkpoint of a stream, if it is not to be believed.
    fn wrong_checkpoint(&self, stream: &StreamId) -> Result<Option<WrongCheckpoint>, JournalError> {
        let dir = self.data_dir();
        let verified = match stream {
            StreamId::Upgrade(_) => verify_checkpoint::<UpgradeProgress>(dir, stream)?,
            StreamId::Session(_) => verify_checkpoint::<Session>(dir, stream)?,
        };
        Ok(match verified {
            CheckpointVerification::Wrong { path, reason } => Some(WrongCheckpoint { path, reason }),
            CheckpointVerification::NotUsed | CheckpointVerification::Agrees { .. } => None,
        })
    }

    fn verify_artifacts(
        &self,
        scopes: Vec<VerifyScope>,
        records: u64,
        progress: impl Fn(ArchiveProgress) + Send + Sync + 'static,
    ) -> Result<VerifyReport, TrackingError> {
        let mut total = VerifyReport::default();
        if scopes.is_empty() {
            return Ok(total);
        }
        // Records are read from the journals: an index could have been altered along with the bytes.
        let options = ManagerOptions::default().with_text_bytes(0);
        let manager = TestArtifactsManager::new(self.data_dir().clone(), options);
        let runtime = crate::runtime::on_this_thread().map_err(TrackingError::Runtime)?;
        let progress = Arc::new(progress);
        for scope in scopes {
            let progress = Arc::clone(&progress);
            let (artifacts, bytes) = (total.artifacts, total.bytes);
            let each = move |now: artifact_core::VerifyProgress| {
                progress(ArchiveProgress {
                    records,
                    artifacts: artifacts + now.artifacts,
                    bytes: bytes + now.bytes,
                });
            };
            let report = runtime.block_on(manager.verify_artifacts(scope, each))?;
            total.artifacts += report.artifacts;
            total.bytes += report.bytes;
            total.without_bytes += report.without_bytes;
            total.extras += report.extras;
            total.findings.extend(report.findings);
            total.unfinished.extend(report.unfinished);
            total.unreadable.extend(report.unreadable);
        }
        Ok(total)
    }
}
