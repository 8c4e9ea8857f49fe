//! The page that was asked for, as matches are offered to it.

use std::sync::Arc;

use artifact_core::{ArtifactQuery, Matches, PageCursor};
use tracking_model::Artifact;

/// The first matches after the cursor, and one more if there is one.
pub(crate) struct Page<'q> {
    query: &'q ArtifactQuery,
    kept: Vec<(PageCursor, Arc<Artifact>)>,
}

impl<'q> Page<'q> {
    pub(crate) const fn new(query: &'q ArtifactQuery) -> Self {
        Self {
            query,
            kept: Vec::new(),
        }
    }

    /// Takes a match if it belongs here. They come nearly in order.
    pub(crate) fn offer(&mut self, artifact: Arc<Artifact>) {
        let place = PageCursor::of(self.query, &artifact);
        if self.query.after.as_ref().is_some_and(|after| place <= *after) {
            return;
        }
        let index = self.kept.partition_point(|(kept, _)| *kept <= place);
        if index <= self.query.limit {
            self.kept.insert(index, (place, artifact));
            self.kept.truncate(self.query.limit.saturating_add(1));
        }
    }

    /// After a look at `done` parts of what there is, how many more parts will fill it if they have as many matches; at
    /// most twice as many as were looked at.
    pub(crate) fn estimate(&self, done: u32) -> u32 {
        let kept = self.kept.len().max(1);
        let missing = self.query.limit.saturating_add(1).saturating_sub(kept);
        let parts = u32::try_from(missing.div_ceil(kept)).unwrap_or(u32::MAX);
        parts.saturating_mul(done).clamp(1, done.saturating_mul(2))
    }

    /// Whether nothing that comes after what it has can belong here.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() > self.query.limit
    }

    /// The place of the one that shows that there are more, once there is one.
    pub(crate) fn last_kept(&self) -> Option<&PageCursor> {
        self.kept.get(self.query.limit).map(|(place, _)| place)
    }

    pub(crate) fn into_matches(mut self) -> Matches {
        let more = self.kept.len() > self.query.limit;
        self.kept.truncate(self.query.limit);
        Matches {
            next: self.kept.last().filter(|_| more).map(|(place, _)| place.clone()),
            artifacts: self.kept.into_iter().map(|(_, artifact)| artifact).collect(),
            more,
        }
    }
}
