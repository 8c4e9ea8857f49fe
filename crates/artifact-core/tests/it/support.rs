//! What tests begin with.

use std::sync::Arc;

use artifact_core::{ManagerOptions, TestArtifactsManager};
use tempfile::TempDir;
use tracking_journal::{DataDir, JournalOptions, ManualClock};
use tracking_model::{CollectionId, NewCollection, NewSession, SessionId, Timestamp, UpgradeId};

/// A data directory with a session and a collection.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) manager: TestArtifactsManager,
    pub(crate) session: SessionId,
    pub(crate) collection: CollectionId,
}

pub(crate) fn options() -> ManagerOptions {
    options_at("2025-01-31T05:25:01Z")
}

/// At another time.
pub(crate) fn options_at(now: &str) -> ManagerOptions {
    let clock = ManualClock::new(Timestamp::parse(now).unwrap());
    let journal = JournalOptions::default()
        .with_actor("test")
        .with_clock(Arc::new(clock));
    ManagerOptions::default().with_journal(journal)
}

pub(crate) fn open(dir: &TempDir) -> TestArtifactsManager {
    let data = DataDir::open(dir.path().join("data")).unwrap();
    TestArtifactsManager::new(data, options())
}

/// Another process, at another time.
pub(crate) fn open_at(dir: &TempDir, now: &str) -> TestArtifactsManager {
    let data = DataDir::open(dir.path().join("data")).unwrap();
    TestArtifactsManager::new(data, options_at(now))
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let manager = open(&dir);
        Self::fill(dir, manager).await
    }

    async fn fill(dir: TempDir, manager: TestArtifactsManager) -> Self {
        let session = SessionId::new("s").unwrap();
        let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod").with_name("Test Session");
        manager.create_session_as(session.clone(), new).await.unwrap();
        let collection = CollectionId::new("c").unwrap();
        let new = NewCollection::new("Logs").with_id(collection.clone());
        manager.create_collection(&session, new).await.unwrap();
        Self {
            dir,
            manager,
            session,
            collection,
        }
    }

    /// The same, in a directory of its own.
    pub(crate) fn copy(&self) -> Self {
        fn copy(from: &std::path::Path, to: &std::path::Path) {
            std::fs::create_dir(to).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let target = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy(&entry.path(), &target);
                } else {
                    std::fs::copy(entry.path(), target).unwrap();
                }
            }
        }
        let dir = TempDir::new().unwrap();
        copy(&self.dir.path().join("data"), &dir.path().join("data"));
        Self {
            manager: open(&dir),
            dir,
            session: self.session.clone(),
            collection: self.collection.clone(),
        }
    }

    /// Writes a source file and tells its path.
    pub(crate) fn source(&self, name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Files below the session's directory, relative to it.
    pub(crate) fn files(&self) -> Vec<String> {
        fn walk(path: &std::path::Path, prefix: &str, files: &mut Vec<String>) {
            let Ok(entries) = std::fs::read_dir(path) else {
                return;
            };
            for entry in entries {
                let entry = entry.unwrap();
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), &format!("{name}/"), files);
                } else {
                    files.push(name);
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.dir.path().join("data/artifacts/s"), "", &mut files);
        files.sort();
        files
    }
}
