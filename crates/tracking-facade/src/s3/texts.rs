//! The texts of artifacts in a bucket, as far as they are searched: fetched when somebody searches for words, and kept in
//! the cache.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use artifact_core::{
    ArtifactError, ArtifactQuery, ArtifactTexts, DEFAULT_TEXT_BYTES, StoreError, may_have_text, text_of,
};
use futures_util::StreamExt;
use storage_s3::{Cause, failure_of};
use tracking_journal::{DataDir, storage};
use tracking_model::{Artifact, ArtifactId, ArtifactStatus, Span, Timestamp};

use super::{RemoteArchive, all_matching};
use crate::TrackingError;

/// How many are fetched at once; the store limits the requests that these make.
const AT_ONCE: usize = 64;
/// A text is the beginning of an artifact; what of it is no UTF-8 takes up to three times as much.
const MOST_BYTES: u64 = 3 * DEFAULT_TEXT_BYTES + 3;
/// How long an object that must be restored first is not asked for again.
const REST: Span = Span::from_secs(24 * 60 * 60);

/// Texts in the cache: a file for each artifact, empty if it has none.
#[derive(Debug, Clone)]
pub(super) struct CachedTexts {
    dir: PathBuf,
    /// An empty file for each artifact whose object must be restored before it can be read.
    resting: PathBuf,
}

impl CachedTexts {
    pub(super) fn new(cache: &DataDir) -> Self {
        Self {
            dir: cache.path().join("texts"),
            resting: cache.path().join("texts-archived"),
        }
    }

    fn path(&self, id: &ArtifactId) -> PathBuf {
        self.dir.join(id.encoded())
    }

    /// The names of the files that there are.
    fn there(&self) -> io::Result<HashSet<String>> {
        for dir in [&self.dir, &self.resting] {
            storage::create_directory(dir)?;
        }
        let mut names = HashSet::new();
        for entry in storage::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    /// The names of those that were found to need a restore a short while ago.
    fn resting(&self, now: Timestamp) -> io::Result<HashSet<String>> {
        let mut names = HashSet::new();
        for entry in storage::read_dir(&self.resting)? {
            let entry = entry?;
            let since = Timestamp::from_micros(entry.metadata()?.mtime().saturating_mul(1_000_000));
            if now.since(since) < REST {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }

    fn rest(&self, id: &ArtifactId) -> io::Result<()> {
        let path = self.resting.join(id.encoded());
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        storage::open_with(&path, &mut options).map(drop)
    }

    /// A file is there whole or not at all.
    fn keep(&self, id: &ArtifactId, text: &str) -> io::Result<()> {
        let path = self.path(id);
        // One name, so that what a crash leaves is replaced by the next.
        let part = self.dir.join(format!(".{}", id.encoded()));
        storage::create_anew(&part)?.write_all(text.as_bytes())?;
        match fs::rename(&part, path) {
            // Another program had the same text, and was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        }
    }
}

impl ArtifactTexts for CachedTexts {
    fn text(&self, artifact: &Artifact) -> Option<String> {
        match storage::read_to_string(&self.path(&artifact.artifact_id), MOST_BYTES) {
            Ok(text) => (!text.is_empty()).then_some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::debug!(%error, artifact = %artifact.artifact_id, "its text cannot be read and is not searched");
                None
            }
        }
    }
}

/// What fetching texts did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchedTexts {
    /// Texts that were fetched.
    pub fetched: u64,
    /// Artifacts whose texts are still missing, because there are more than were asked for.
    pub left: u64,
    /// Artifacts whose texts could not be fetched.
    pub failed: u64,
    /// Why the first of them could not be.
    pub reason: Option<String>,
    /// Artifacts in storage classes from which S3 gives nothing before it was restored. They are asked for again after a day.
    pub archived: u64,
}

impl RemoteArchive {
    /// Fetches the beginnings of log-like artifacts that are not in the cache, so that words in them are found: 64 KiB of
    /// each, the newest first, one request each, at most `most`. Refreshing alone takes no text. `told` hears how many are
    /// there, and of how many.
    ///
    /// # Errors
    /// If the cache cannot be read or written, or the index fails.
    ///
    /// # Cancellation
    /// What was fetched stays.
    pub async fn fetch_texts(
        &self,
        most: usize,
        told: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<FetchedTexts, TrackingError> {
        let texts = CachedTexts::new(self.archive().data_dir());
        let unusable = |error| cache_failed(&texts.dir, error);
        let there = texts.there().map_err(unusable)?;
        let mut missing = self.without_text(&there).await?;
        let now = self.archive().clock().now();
        let resting = texts.resting(now).map_err(unusable)?;
        let before = missing.len();
        missing.retain(|one| !resting.contains(&one.artifact_id.encoded().to_string()));
        let mut report = FetchedTexts {
            archived: (before - missing.len()) as u64,
            left: missing.len().saturating_sub(most) as u64,
            ..FetchedTexts::default()
        };
        missing.truncate(most);
        let total = missing.len() as u64;
        let fetching = missing
            .iter()
            .map(|artifact| async move { (artifact, self.text_from(artifact).await) });
        let mut fetching = futures_util::stream::iter(fetching).buffer_unordered(AT_ONCE);
        let (mut sessions, mut asked) = (BTreeSet::new(), 0);
        while let Some((artifact, text)) = fetching.next().await {
            match text {
                Ok(text) => {
                    let text = text.unwrap_or_default();
                    texts.keep(&artifact.artifact_id, &text).map_err(unusable)?;
                    report.fetched += 1;
                    sessions.insert(artifact.session_id.clone());
                }
                Err(ArtifactError::Store(error)) if must_be_restored(&error) => {
                    texts.rest(&artifact.artifact_id).map_err(unusable)?;
                    report.archived += 1;
                }
                Err(error) => {
                    report.failed += 1;
                    report.reason.get_or_insert_with(|| crate::error::reason(&error));
                }
            }
            asked += 1;
            told(asked, total);
        }
        for session in &sessions {
            self.artifacts().reindex_session(session).await?;
        }
        Ok(report)
    }

    async fn text_from(&self, artifact: &Artifact) -> Result<Option<String>, ArtifactError> {
        let key = self.bucket().key_of(artifact)?;
        let objects = self.bucket().store().objects();
        match artifact.file_size {
            Some(0) => Ok(None),
            _ => Ok(text_of(
                objects.read_range(&key, 0, DEFAULT_TEXT_BYTES).await?.bytes,
            )),
        }
    }

    /// Artifacts that may have text and are in the bucket, the newest first, but for those that are `there`.
    async fn without_text(
        &self,
        there: &HashSet<String>,
    ) -> Result<Vec<std::sync::Arc<Artifact>>, TrackingError> {
        let mut query = ArtifactQuery::new();
        // Those that are archived may be so because their bytes were freed on the machine that had them.
        query.statuses = vec![ArtifactStatus::Uploaded, ArtifactStatus::Archived];
        let mut missing = all_matching(self.artifacts(), query).await?;
        missing.retain(|one| {
            one.s3_key.is_some()
                && may_have_text(one)
                && !there.contains(&one.artifact_id.encoded().to_string())
        });
        Ok(missing)
    }
}

fn must_be_restored(error: &StoreError) -> bool {
    failure_of(error).is_some_and(|failure| failure.cause == Cause::Archived)
}

fn cache_failed(path: &Path, error: io::Error) -> TrackingError {
    ArtifactError::from(StoreError::io("keep texts in", path.display(), error)).into()
}
