//! Objects of sessions whose first records are missing in the bucket. Nobody knows when such a session was completed, or if
//! it was pinned: its objects are removed only if the session is named, and only if none of them is young.

use artifact_core::ArtifactError;
use storage_s3::{Catalogue, ObjectInfo, ObjectKey, RefreshScope};
use tracking_model::{DEFAULT_RETENTION_DAYS, SessionId, Span, StreamId};

use super::retention::{Expiry, Run};
use crate::TrackingError;

const SECONDS_A_DAY: i64 = 86_400;

/// Objects of a session whose first records are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrphanedObjects {
    /// The session.
    pub session_id: SessionId,
    /// Objects of its artifacts, and its `session.json`.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Segments of its journals.
    pub segments: u64,
}

impl Run<'_> {
    /// Removes the orphaned objects of a session. Objects of artifacts go first: while a segment is there, the session is
    /// reported as incomplete, and the next run finishes the rest.
    pub(super) async fn remove_orphaned_objects(&mut self, id: &SessionId) -> Result<(), TrackingError> {
        let stream = StreamId::Session(id.clone());
        let places = [format!("{}/", id.encoded()), Catalogue::folder(&stream)];
        let [objects, segments] = [self.there(&places[0]).await?, self.there(&places[1]).await?];
        if let Some(why) = self.why_left(&objects, &segments) {
            self.refuse(id, why);
            return Ok(());
        }
        self.report.orphaned.push(OrphanedObjects {
            session_id: id.clone(),
            objects: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
            segments: segments.len() as u64,
        });
        if self.options.dry_run {
            return Ok(());
        }
        for (found, place) in [objects, segments].into_iter().zip(&places) {
            if !self.remove(id, found, place).await? {
                return Ok(());
            }
        }
        let refreshed = self
            .remote
            .catalogue()
            .refresh(RefreshScope::Stream(stream), None);
        refreshed.await.map_err(ArtifactError::from)?;
        Ok(())
    }

    async fn there(&self, place: &str) -> Result<Vec<ObjectInfo>, TrackingError> {
        let objects = self.remote.bucket().store().objects();
        Ok(objects.all(place).await.map_err(ArtifactError::from)?)
    }

    /// The reason to keep the orphaned objects.
    fn why_left(&self, objects: &[ObjectInfo], segments: &[ObjectInfo]) -> Option<String> {
        if objects.is_empty() && segments.is_empty() {
            return Some("there is nothing of it in the bucket".to_owned());
        }
        if self.options.expiry != Expiry::Delete {
            return Some("its beginning is gone, so it can be deleted and not archived".to_owned());
        }
        let days = i64::from(self.policy.retention_days.unwrap_or(DEFAULT_RETENTION_DAYS));
        // Perhaps its upgrade failed.
        let days = days * i64::from(self.policy.failed_factor.max(1));
        let kept = Span::from_secs(days * SECONDS_A_DAY).max(self.policy.min_age);
        let now = self.remote.archive().clock().now();
        // An object without a time may be young.
        let times = objects.iter().chain(segments);
        let youngest = times.map(|found| found.modified.unwrap_or(now)).max()?;
        let until = youngest + kept;
        (until > now).then(|| {
            format!(
                "its beginning is gone, so it is kept until {until}, by the age of what of it is youngest"
            )
        })
    }

    /// Removes the objects below a prefix; returns true if a listing shows none of them any more.
    async fn remove(
        &mut self,
        id: &SessionId,
        found: Vec<ObjectInfo>,
        place: &str,
    ) -> Result<bool, TrackingError> {
        let keys: Vec<ObjectKey> = found.into_iter().map(|object| object.key).collect();
        let objects = self.remote.bucket().store().objects();
        let deleted = objects.delete_many(&keys).await;
        for (key, error) in &deleted.failed {
            self.fail(Some(id), Some(key), error);
        }
        let left = self.there(place).await?;
        let left = left.iter().filter(|object| keys.contains(&object.key));
        let left: Vec<String> = left.map(|object| object.key.to_string()).collect();
        let is_gone = left.is_empty();
        self.report.remaining.extend(left);
        Ok(is_gone)
    }
}
