//! What somebody deleted from the bucket, put there again: bytes of artifacts, records, and summaries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use artifact_core::{ArtifactError, TestArtifactsManager};
use futures_util::StreamExt;
use storage_s3::{Delivered, ObjectKey, SegmentOptions, SegmentSink};
use tracking_journal::{EventSink, SinkStatus, storage};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, SessionId, StreamId};

use super::SharedBucket;
use super::deletions::{Others, TakenOver};
use super::documents::DocumentSink;
use super::sync::{SyncReport, UploadFailure, of_status};
use super::uploads::AT_ONCE;
use crate::error::reason;
use crate::relays::SKIPPED;
use crate::{Archive, TrackingError};

/// A stream of which it could not be found out whether all is there that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unchecked {
    /// The stream.
    pub stream: StreamId,
    /// Why not.
    pub reason: String,
}

/// The folders of sessions, as they were listed.
type Folders = HashMap<SessionId, HashMap<ObjectKey, u64>>;

/// Looks for what is gone.
pub(super) struct Search<'a> {
    bucket: &'a SharedBucket,
    archive: &'a Archive,
    artifacts: &'a TestArtifactsManager,
    session: Option<&'a SessionId>,
    folders: Folders,
    /// Artifacts that others deleted, those of pinned sessions too, which stay here.
    deleted: HashSet<ArtifactId>,
    /// Sessions of which it is not known what others deleted: nothing of them is put back.
    unsure: HashSet<SessionId>,
}

impl<'a> Search<'a> {
    /// In everything of a data directory, or in one session.
    pub(super) fn new(
        bucket: &'a SharedBucket,
        archive: &'a Archive,
        artifacts: &'a TestArtifactsManager,
        session: Option<&'a SessionId>,
    ) -> Self {
        Self {
            bucket,
            archive,
            artifacts,
            session,
            folders: Folders::new(),
            deleted: HashSet::new(),
            unsure: HashSet::new(),
        }
    }

    /// Takes over what others deleted and completed: a LIST for each session.
    pub(super) async fn deletions(&mut self, report: &mut SyncReport) -> Result<(), TrackingError> {
        let sessions: Vec<SessionId> = match self.session {
            Some(session) => vec![session.clone()],
            None => self.archive.sessions()?,
        };
        let (bucket, dir) = (self.bucket, self.archive.data_dir());
        let reading = sessions.into_iter().map(|session| async move {
            let others = bucket.others(dir, &session).await;
            (session, others)
        });
        let mut reading = futures_util::stream::iter(reading).buffer_unordered(AT_ONCE);
        while let Some((session, others)) = reading.next().await {
            let why = match others {
                Ok(others) => {
                    let taken = self.take_over(&session, &others, &mut report.taken_over).await;
                    self.deleted.extend(others.deleted.into_keys());
                    others.unknown.or(taken.err().map(|error| reason(&error)))
                }
                Err(error) => Some(reason(&error)),
            };
            if let Some(reason) = why {
                self.unsure.insert(session.clone());
                report.unchecked.push(Unchecked {
                    stream: StreamId::Session(session),
                    reason: format!("what others deleted is not known: {reason}"),
                });
            }
        }
        Ok(())
    }

    async fn take_over(
        &self,
        session: &SessionId,
        others: &Others,
        taken: &mut TakenOver,
    ) -> Result<(), TrackingError> {
        let (bucket, artifacts) = (self.bucket, self.artifacts);
        bucket
            .take_over_deletions(artifacts, session, others, taken)
            .await?;
        bucket
            .take_over_completion(artifacts, session, others, taken)
            .await
    }

    /// True if somebody else deleted it.
    pub(super) fn is_deleted(&self, artifact: &Artifact) -> bool {
        self.deleted.contains(&artifact.artifact_id)
    }

    /// Looks whether the artifacts that were uploaded are there, and puts those that are gone there again; counts those that
    /// are in another place, and names those that are archived, so that nothing of them is left here.
    pub(super) async fn artifacts(&mut self, report: &mut SyncReport) -> Result<(), TrackingError> {
        let statuses = vec![ArtifactStatus::Uploaded, ArtifactStatus::Archived];
        let uploaded = of_status(self.artifacts, self.session, statuses).await?;
        for artifact in uploaded {
            if self.is_deleted(&artifact) || self.unsure.contains(&artifact.session_id) {
                continue;
            }
            let is_archived = artifact.status == ArtifactStatus::Archived;
            let Ok(key) = self.bucket.key_of(&artifact) else {
                report.elsewhere += u64::from(!is_archived);
                continue;
            };
            let is_here = || {
                self.artifacts
                    .local_path(&artifact)
                    .is_some_and(|path| storage::exists(&path))
            };
            let size = self.folder(&artifact.session_id).await?.get(&key).copied();
            match (size, artifact.file_size) {
                (None, _) if is_archived && !is_here() => report.lost.push(UploadFailure::new(
                    &artifact,
                    format!("somebody deleted {key}, the only copy"),
                )),
                (Some(size), Some(recorded)) if size != recorded && is_archived => {
                    let why =
                        format!("somebody altered {key}, the only copy: it has {size} bytes of {recorded}");
                    report.lost.push(UploadFailure::new(&artifact, why));
                }
                (Some(size), Some(recorded)) if size != recorded => report.uploads.fail(
                    &artifact,
                    format!("somebody altered {key}: delete that object, and sync again"),
                ),
                (Some(_), _) => {}
                (None, _) => {
                    let dir = self.archive.data_dir();
                    let put = self.bucket.put_at(self.artifacts, dir, &artifact, &key).await;
                    match put {
                        Ok(()) => {
                            report.uploads.sent += 1;
                            report.uploads.sent_bytes += artifact.file_size.unwrap_or(0);
                            report.uploads.artifacts.push(artifact);
                        }
                        Err(error) => report.uploads.fail(&artifact, reason(&error)),
                    }
                }
            }
        }
        Ok(())
    }

    async fn folder(&mut self, session: &SessionId) -> Result<&HashMap<ObjectKey, u64>, TrackingError> {
        if !self.folders.contains_key(session) {
            let objects = self.bucket.store().objects();
            let all = objects.all(&format!("{}/", session.encoded())).await;
            let all = all.map_err(ArtifactError::from)?.into_iter();
            let sizes = all.map(|object| (object.key, object.size)).collect();
            self.folders.insert(session.clone(), sizes);
        }
        Ok(&self.folders[session])
    }

    /// What a sink was given of each stream that is looked at.
    fn delivered_to(&self, sink: &str) -> Result<Vec<SinkStatus>, TrackingError> {
        let only = self.session.map(|session| StreamId::Session(session.clone()));
        let mut statuses = self.archive.sinks()?;
        statuses.retain(|status| {
            status.sink.as_str() == sink
                && status.cursor.seq > 0
                && only.as_ref().is_none_or(|only| *only == status.stream)
        });
        Ok(statuses)
    }

    /// Looks whether the records that were delivered are there, a LIST for each stream.
    pub(super) async fn records(&self, report: &mut SyncReport) -> Result<(), TrackingError> {
        let objects = self.bucket.store().objects().clone();
        let sink = SegmentSink::new(objects, SegmentOptions::default());
        let skipped_kinds: Arc<[Arc<str>]> = Arc::new([SKIPPED.into()]);
        // What was delivered is read before what is there is listed, so that all of it must be.
        let looking = self.delivered_to(sink.name())?.into_iter().map(|status| {
            let delivered = Delivered {
                stream: status.stream,
                epoch: status.cursor.epoch,
                seq: status.cursor.seq,
                skipped_kinds: Arc::clone(&skipped_kinds),
            };
            let sink = &sink;
            async move {
                let put_back = sink.put_back(self.archive.data_dir(), &delivered).await;
                (delivered.stream, put_back)
            }
        });
        let mut looking = futures_util::stream::iter(looking).buffer_unordered(AT_ONCE);
        while let Some((stream, put_back)) = looking.next().await {
            match put_back {
                Ok(records) => report.records_put_back += records,
                Err(error) => report.unchecked.push(Unchecked {
                    stream,
                    reason: reason(&error),
                }),
            }
        }
        report.unchecked.sort_by(|a, b| a.stream.cmp(&b.stream));
        Ok(())
    }

    /// Looks whether the documents that were delivered are there: a LIST for those of upgrades, one for each session.
    pub(super) async fn documents(&mut self, report: &mut SyncReport) -> Result<(), TrackingError> {
        let sink = DocumentSink::new(self.bucket, self.archive.data_dir().clone());
        let statuses = self.delivered_to(sink.name())?;
        let upgrades = if self.session.is_none() {
            let listed = self.bucket.store().objects().all(DocumentSink::UPGRADES).await;
            let listed = listed.map_err(ArtifactError::from)?.into_iter();
            listed.map(|object| object.key).collect()
        } else {
            HashSet::new()
        };
        for status in statuses.iter().filter(|status| status.cursor.delivered > 0) {
            let key = DocumentSink::key(&status.stream);
            let (is_there, ended) = match &status.stream {
                StreamId::Upgrade(_) => (upgrades.contains(&key), false),
                StreamId::Session(id) => {
                    let is_there = self.folder(id).await?.contains_key(&key);
                    let ended = !is_there && !self.artifacts.session(id).await?.is_open();
                    (is_there, ended)
                }
            };
            if is_there {
                continue;
            }
            match sink.put_again(&status.stream, ended).await {
                Ok(true) => report.documents_put_back += 1,
                Ok(false) => {}
                Err(reason) => report.unchecked.push(Unchecked {
                    stream: status.stream.clone(),
                    reason,
                }),
            }
        }
        Ok(())
    }
}
