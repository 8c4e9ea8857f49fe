//! The manager itself: opening, closing, and what all of its work goes through.

use std::sync::Arc;

use tracking_journal::{DataDir, Receipt};
use tracking_model::{Session, SessionCommand, SessionId};

use crate::executor::run_blocking;
use crate::sessions::SessionRegistry;
use crate::sessions::Snapshots;
use crate::{ArtifactError, ManagerOptions};

/// A session that could not be read, so that what it holds is not in an answer.
#[derive(Debug)]
pub struct Unreadable {
    /// The session.
    pub session_id: SessionId,
    /// Why not.
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

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) sessions: SessionRegistry,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) options: ManagerOptions,
}

impl TestArtifactsManager {
    /// A manager over a data directory.
    #[must_use]
    pub fn new(dir: DataDir, options: ManagerOptions) -> Self {
        let sessions = SessionRegistry::new(dir, &options);
        Self {
            inner: Arc::new(Inner {
                sessions,
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
        self.run(|inner| Ok(inner.sessions.artifacts().sweep_content()?.bytes))
            .await
    }

    /// Writes the snapshots that are behind, and closes the journals after what waits for them. Both open again when they
    /// are needed.
    ///
    /// # Errors
    /// If a snapshot cannot be written; the old one stays. Nothing that was acknowledged is lost by that.
    pub async fn close(&self) -> Result<(), ArtifactError> {
        self.run(|inner| {
            let written = inner.write_snapshots();
            inner.sessions.close_journals();
            written
        })
        .await
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.snapshots.close();
        if let Err(error) = self.write_snapshots() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "cannot write the last snapshots");
        }
    }
}

impl Inner {
    pub(crate) fn submit(
        self: &Arc<Self>,
        id: &SessionId,
        command: SessionCommand,
    ) -> Result<Receipt<Session>, ArtifactError> {
        // Looking first keeps an unknown id from becoming an empty journal.
        self.sessions.with_session(id, |_| ())?;
        let entry = self.sessions.entry(id);
        let receipt = self.sessions.submit(&entry, command)?;
        self.snapshot_later(id);
        Ok(receipt)
    }
}
