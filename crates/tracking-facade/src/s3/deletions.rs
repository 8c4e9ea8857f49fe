//! Deletions and completions that others recorded in the bucket. They hold here too, so nothing that somebody deleted on
//! purpose is sent again.
//!
//! Others' records of a session are copied below `cursors/bucket/` of the data directory; that copy may be deleted at any
//! time.

use std::collections::HashMap;
use std::sync::Arc;

use artifact_core::{ArtifactError, DeleteOptions, DeletedBytes, StoreErrorKind, TestArtifactsManager};
use storage_s3::{Catalogue, CatalogueOptions, RefreshScope};
use tracking_journal::{DataDir, JournalError, JournalReader, Record};
use tracking_model::{
    ArtifactChangeKind, ArtifactId, SessionCommandError, SessionEvent, SessionId, SessionOutcome, StreamId,
};

use super::SharedBucket;
use crate::TrackingError;
use crate::error::reason;

/// Records of a session that others wrote.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// The artifacts that they deleted.
    pub(super) deleted: HashMap<ArtifactId, Tombstone>,
    /// How the upgrade ended, if they completed the session.
    completed: Option<Option<SessionOutcome>>,
    /// Why some of what they recorded is not known.
    pub(super) unknown: Option<String>,
}

/// A deletion by somebody else.
#[derive(Debug)]
pub(super) struct Tombstone {
    by: Arc<str>,
    reason: Option<Arc<str>>,
}

/// An artifact that somebody else deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedElsewhere {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// Its session.
    pub session_id: SessionId,
    /// Its name.
    pub name: Arc<str>,
    /// Actor who deleted it.
    pub by: Arc<str>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// Why it, or its file, is still here; `None` if it is gone.
    pub left: Option<String>,
}

/// Deletions and completions of others that were taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenOver {
    /// Artifacts that they deleted: these are deleted here too, unless the entry says why not. None of them is sent.
    pub deleted: Vec<DeletedElsewhere>,
    /// Sessions that they completed: these are completed here too.
    pub completed: Vec<SessionId>,
}

impl SharedBucket {
    /// Reads what others recorded of a session of this data directory: one LIST for each 1,000 segments, one GET for each
    /// segment of theirs that was not read before.
    pub(super) async fn others(&self, dir: &DataDir, session: &SessionId) -> Result<Others, TrackingError> {
        let stream = StreamId::Session(session.clone());
        let (here, of) = (dir.clone(), stream.clone());
        let Some(first) = blocking(move || first_record(&here, &of)).await? else {
            return Ok(Others::default());
        };
        let copy = dir.cursors_dir().join("bucket").join(self.cache_name());
        let objects = self.store().objects().clone();
        let opened = blocking(move || Catalogue::open(objects, copy, CatalogueOptions::default())).await;
        let catalogue = opened.map_err(ArtifactError::from)?;
        let scope = RefreshScope::Others {
            stream: stream.clone(),
            own: first.epoch,
        };
        let mut report = catalogue
            .refresh(scope, None)
            .await
            .map_err(ArtifactError::from)?;
        if let Some((_, error)) = report.failed.pop() {
            return Err(ArtifactError::from(error).into());
        }
        let mut others = blocking(move || read(catalogue.data_dir(), &stream)).await?;
        others.unknown = report.unreadable.first().map(ToString::to_string);
        Ok(others)
    }

    /// Deletes here what others deleted. An artifact of a pinned session stays, and is not sent.
    pub(super) async fn take_over_deletions(
        &self,
        artifacts: &TestArtifactsManager,
        session: &SessionId,
        others: &Others,
        taken: &mut TakenOver,
    ) -> Result<(), TrackingError> {
        for (id, tombstone) in &others.deleted {
            let artifact = match artifacts.artifact(id).await {
                Ok(artifact) => artifact,
                // It is another machine's.
                Err(ArtifactError::UnknownArtifact(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let options = DeleteOptions::default().with_reason(tombstone.told());
            let left = match artifacts.delete_artifact(id, options).await {
                Ok(deletion) => match deletion.bytes {
                    DeletedBytes::Removed => None,
                    DeletedBytes::Shared => Some("other records name the same file".to_owned()),
                    DeletedBytes::LeftBehind(error) => Some(reason(&error)),
                },
                Err(ArtifactError::Refused(SessionCommandError::ArtifactDeleted(_))) => continue,
                Err(ArtifactError::Refused(pinned @ SessionCommandError::SessionPinned(_))) => {
                    Some(pinned.to_string())
                }
                Err(error) => return Err(error.into()),
            };
            taken.deleted.push(DeletedElsewhere {
                artifact_id: id.clone(),
                session_id: session.clone(),
                name: Arc::clone(&artifact.name),
                by: Arc::clone(&tombstone.by),
                reason: tombstone.reason.clone(),
                left,
            });
        }
        Ok(())
    }

    /// Completes a session here that somebody else completed.
    pub(super) async fn take_over_completion(
        &self,
        artifacts: &TestArtifactsManager,
        session: &SessionId,
        others: &Others,
        taken: &mut TakenOver,
    ) -> Result<(), TrackingError> {
        let Some(outcome) = others.completed else {
            return Ok(());
        };
        if artifacts.session(session).await?.is_open() {
            match artifacts.complete_session(session, outcome).await {
                Ok(_) => taken.completed.push(session.clone()),
                // Somebody here was faster.
                Err(ArtifactError::Refused(SessionCommandError::SessionCompleted { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Tombstone {
    fn told(&self) -> String {
        let why = self
            .reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(": {reason}"));
        format!("deleted in the bucket by {}{why}", self.by)
    }
}

/// True if the bucket does not let its catalogue be read.
pub(super) fn is_denied(error: &TrackingError) -> bool {
    matches!(
        error,
        TrackingError::Artifacts(ArtifactError::Store(error)) if error.kind() == StoreErrorKind::PermissionDenied
    )
}

/// The first record of the journal that is here.
fn first_record(dir: &DataDir, stream: &StreamId) -> Result<Option<Record>, JournalError> {
    match JournalReader::open(dir, stream) {
        Ok(mut reader) => reader.next_record(),
        Err(JournalError::NoSuchStream { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the copy of others' records.
fn read(copy: &DataDir, stream: &StreamId) -> Result<Others, JournalError> {
    let mut others = Others::default();
    let mut reader = match JournalReader::open(copy, stream) {
        Ok(reader) => reader,
        Err(JournalError::NoSuchStream { .. }) => return Ok(others),
        Err(error) => return Err(error),
    };
    while let Some(record) = reader.next_record()? {
        // The catalogue takes no record that cannot be decoded.
        match record.decode::<SessionEvent>() {
            Ok(SessionEvent::Artifact(ArtifactChangeKind::Deleted, change)) => {
                let tombstone = Tombstone {
                    by: Arc::clone(&record.actor),
                    reason: change.reason,
                };
                others.deleted.entry(change.artifact_id).or_insert(tombstone);
            }
            Ok(SessionEvent::Completed(completed)) => {
                others.completed.get_or_insert(completed.outcome);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(others)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
