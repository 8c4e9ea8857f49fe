//! Where a stream's files are, and what they are reached through.

use std::path::PathBuf;
use std::sync::Arc;

use tracking_model::StreamId;

use crate::DataDir;
use crate::io::{DiskIo, JournalIo, MemoryIo, parent};

/// The files of one stream on one file system. Cheap enough to clone for each task that works on them.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) io: Arc<dyn JournalIo>,
    pub(crate) stream: StreamId,
    pub(crate) journal: PathBuf,
    pub(crate) sidecar: PathBuf,
    pub(crate) checkpoint: PathBuf,
    pub(crate) agent: PathBuf,
    /// The data directory, `None` for files that other processes cannot reach.
    pub(crate) dir: Option<DataDir>,
}

impl Place {
    pub(crate) fn on_disk(dir: &DataDir, stream: &StreamId) -> Self {
        Self {
            io: Arc::new(DiskIo),
            stream: stream.clone(),
            journal: dir.journal_path(stream),
            sidecar: dir.sidecar_path(stream),
            checkpoint: dir.checkpoint_path(stream),
            agent: dir.agent_path(stream),
            dir: Some(dir.clone()),
        }
    }

    pub(crate) fn in_memory(stream: &StreamId) -> Self {
        Self::simulated(Arc::new(MemoryIo::default()), stream)
    }

    /// Files named by the stream alone, on a file system that is not the machine's.
    pub(crate) fn simulated(io: Arc<dyn JournalIo>, stream: &StreamId) -> Self {
        let beside = |suffix: &str| PathBuf::from(format!("memory/{}{suffix}", stream.file_stem()));
        Self {
            io,
            stream: stream.clone(),
            journal: beside(".jsonl"),
            sidecar: beside(".lock"),
            checkpoint: beside(".checkpoint"),
            agent: beside(".agent"),
            dir: None,
        }
    }

    /// Whether other processes can reach these files.
    pub(crate) const fn is_shared(&self) -> bool {
        self.dir.is_some()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        parent(&self.journal)
    }
}
