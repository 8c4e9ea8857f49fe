//! A data directory to add to, and what all measurements need.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact_core::{ManagerOptions, TestArtifactsManager};
use tokio::runtime::Runtime;
use tracking_journal::{DataDir, JournalOptions};
use tracking_model::{CollectionId, NewCollection, NewSession, SessionId, UpgradeId};

/// A manager over a new data directory, with a session and a collection.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) manager: Arc<TestArtifactsManager>,
    pub(crate) session: SessionId,
    pub(crate) collection: CollectionId,
}

impl Bench {
    pub(crate) fn open(data_dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = ManagerOptions::default().with_journal(JournalOptions::default().with_actor("bench"));
        let manager = TestArtifactsManager::new(DataDir::open(data_dir).unwrap(), options);
        let session = SessionId::new("s").unwrap();
        let collection = CollectionId::new("c").unwrap();
        runtime.block_on(async {
            let new = NewSession::new(UpgradeId::new("up").unwrap(), "cluster");
            manager.create_session_as(session.clone(), new).await.unwrap();
            let new = NewCollection::new("Files").with_id(collection.clone());
            manager.create_collection(&session, new).await.unwrap();
        });
        Self {
            runtime,
            manager: Arc::new(manager),
            session,
            collection,
        }
    }
}

/// Writes all that waits to be written on the file system of `dir`, so that no measurement pays for another.
pub(crate) fn settle(dir: &Path) {
    rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
}

/// Runs `cp` with these arguments, then syncs what it wrote: the file, or the file system.
pub(crate) fn cp_and_sync(arguments: &[&str], from: &Path, to: &Path, sync: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    let copied = Command::new("cp")
        .args(arguments)
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success());
    sync();
    begin.elapsed()
}
