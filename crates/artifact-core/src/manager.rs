//! The manager: opening, closing, and the state that its rooms share.

use std::sync::Arc;

use tracking_journal::DataDir;
use tracking_model::SessionId;

use crate::executor::run_blocking;
use crate::indexer::Indexer;
use crate::sessions::{SessionRegistry, Snapshots};
use crate::{ArtifactDir, ArtifactError, ManagerOptions};

/// A session that could not be read, so that what it holds is not in an answer.
#[derive(Debug)]
pub struct Unreadable {
    /// The session.
    pub session_id: SessionId,
    /// The reason.
    pub error: ArtifactError,
}

/// Keeps everything that upgrades produce and finds it again. Cheap to clone; clones are the same manager.
///
/// Many tasks and several processes may use one data directory at once. Each call sees what every call before it did,
/// whoever made it. An `Ok` means that the record, and the bytes that it speaks of, are on disk.
///
/// Methods block no executor: file work runs on threads that may block. Work that has begun goes on when its future is
/// dropped.
#[derive(Debug, Clone)]
pub struct TestArtifactsManager {
    pub(crate) inner: Arc<Inner>,
}

/// The state of a manager. Each room has a type of its own that works on it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) sessions: Arc<SessionRegistry>,
    pub(crate) artifacts: ArtifactDir,
    pub(crate) indexer: Indexer,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) options: ManagerOptions,
}

impl TestArtifactsManager {
    /// A manager over a data directory.
    #[must_use]
    pub fn new(dir: DataDir, options: ManagerOptions) -> Self {
        let artifacts = ArtifactDir::new(dir.artifacts_dir());
        let sessions = Arc::new(SessionRegistry::new(dir, options.journal.clone()));
        Self {
            inner: Arc::new(Inner {
                indexer: Indexer::new(Arc::clone(&sessions), &artifacts, &options),
                sessions,
                artifacts,
                snapshots: Arc::default(),
                options,
            }),
        }
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &DataDir {
        self.inner.sessions.data_dir()
    }

    /// Runs blocking work on the manager's state.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Inner>) -> Result<T, ArtifactError> + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let inner = Arc::clone(&self.inner);
        run_blocking(move || work(&inner)).await
    }

    /// Removes stored contents that no artifact uses any more, which only a deletion that was interrupted leaves, and tells
    /// how many bytes that freed. It looks at each content once, so it is for clean-ups.
    ///
    /// # Errors
    /// If the data directory cannot be listed or written.
    ///
    /// # Cancellation
    /// Removing goes on when the future is dropped.
    pub async fn sweep_content(&self) -> Result<u64, ArtifactError> {
        self.run(|inner| Ok(inner.artifacts.sweep_content()?.bytes)).await
    }

    /// Writes the snapshots that are behind, and closes the journals after what waits for them. Both open again when they
    /// are needed.
    ///
    /// # Errors
    /// If a snapshot cannot be written; the old one stays. Nothing that was acknowledged is lost by that.
    pub async fn close(&self) -> Result<(), ArtifactError> {
        self.run(|inner| {
            let written = inner.snapshots.write_all(inner);
            inner.sessions.close_journals();
            written
        })
        .await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.snapshots.close();
        if let Err(error) = self.snapshots.write_all(self) {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot write the last snapshots");
        }
    }
}

impl Inner {
    /// Has the snapshot of a session written soon.
    pub(crate) fn snapshot_later(self: &Arc<Self>, id: &SessionId) {
        self.snapshots.write_later(self, id);
    }
}
