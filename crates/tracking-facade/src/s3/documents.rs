//! Summaries in the bucket for whoever looks with other tools: `_progress/<upgrade>.json` and `<session>/session.json`. They
//! may lag behind the records and can be made again from these.

use std::io;
use std::time::Duration;

use artifact_core::StoreError;
use async_trait::async_trait;
use storage_s3::{ObjectKey, ObjectMetadata, S3Objects};
use tracking_journal::{Clock, DataDir, Delivery, EventSink, Record, SinkPace, SystemClock, load, storage};
use tracking_model::{StreamId, Summary, UpgradeProgress};

use super::SharedBucket;
use crate::error::{chain, reason};

/// How long changes are gathered before a document is put again.
const LINGER: Duration = Duration::from_secs(10);
/// A session of more than some ten thousand artifacts is put when it is completed, and not with each change of it.
const LARGEST_WHILE_OPEN: u64 = 16 << 20;
/// After this record a session takes nothing more.
const COMPLETED: &str = "session.completed";
/// One that is larger even then stays in the data directory alone; the records say the same.
const LARGEST: u64 = 256 << 20;

/// Puts the documents.
#[derive(Debug)]
pub(crate) struct DocumentSink {
    name: String,
    objects: S3Objects,
    dir: DataDir,
}

impl DocumentSink {
    pub(super) fn new(bucket: &SharedBucket, dir: DataDir) -> Self {
        Self {
            name: bucket.sink_name("s3-documents"),
            objects: bucket.store().objects().clone(),
            dir,
        }
    }

    /// What the keys of upgrades begin with.
    pub(super) const UPGRADES: &str = "_progress/";

    /// Where the document of a stream is.
    pub(super) fn key(stream: &StreamId) -> ObjectKey {
        let key = match stream {
            StreamId::Upgrade(id) => format!("{}{}.json", Self::UPGRADES, id.encoded()),
            StreamId::Session(id) => format!("{}/session.json", id.encoded()),
        };
        ObjectKey::new(key).expect("encoded ids are plain file names")
    }

    async fn put(&self, stream: &StreamId, ended: bool) -> Delivery {
        match self.put_again(stream, ended).await {
            Ok(true) => Delivery::Delivered,
            Ok(false) => Delivery::Ignored,
            Err(reason) => Delivery::retry(reason),
        }
    }

    /// Puts the document of a stream, unless that is not worth it; tells whether it did.
    pub(super) async fn put_again(&self, stream: &StreamId, ended: bool) -> Result<bool, String> {
        let (dir, of) = (self.dir.clone(), stream.clone());
        let read = tokio::task::spawn_blocking(move || document(&dir, &of, ended)).await;
        match read.map_err(|error| error.to_string())?? {
            None => Ok(false),
            Some(bytes) => {
                let put = self.replace(stream, bytes).await;
                put.map(|()| true).map_err(|error| reason(&error))
            }
        }
    }

    async fn replace(&self, stream: &StreamId, bytes: Vec<u8>) -> Result<(), StoreError> {
        let metadata = ObjectMetadata::default();
        let key = Self::key(stream);
        self.objects.replace(&key, bytes, &metadata).await.map(drop)
    }
}

/// What is to be put, `None` if that is not worth it, or there is nothing.
fn document(dir: &DataDir, stream: &StreamId, ended: bool) -> Result<Option<Vec<u8>>, String> {
    match stream {
        StreamId::Upgrade(_) => {
            let loaded = load::<UpgradeProgress>(dir, stream).map_err(|error| chain(&error))?;
            let summary = Summary::of(&loaded.state, SystemClock.now());
            serde_json::to_vec_pretty(&summary)
                .map(Some)
                .map_err(|error| error.to_string())
        }
        StreamId::Session(_) => {
            let path = dir.snapshot_path(stream);
            let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
            let most = if ended { LARGEST } else { LARGEST_WHILE_OPEN };
            match storage::read(&path, most) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge
                    ) =>
                {
                    Ok(None)
                }
                Err(error) => Err(failed(error)),
            }
        }
    }
}

#[async_trait]
impl EventSink for DocumentSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn pace(&self) -> SinkPace {
        SinkPace::default().with_linger(LINGER)
    }

    async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery> {
        if batch.is_empty() {
            return Vec::new();
        }
        let ended = batch.iter().any(|record| record.kind == COMPLETED);
        let delivery = self.put(&first.stream, ended).await;
        vec![delivery; batch.len()]
    }
}
