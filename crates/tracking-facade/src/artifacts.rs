//! The artifacts of a data directory, with the index that this build has.

use artifact_core::{ManagerOptions, TestArtifactsManager};
use tracking_journal::DataDir;

/// Opens the sessions and artifacts of a data directory. With the feature `index` they are searched by
/// `<data-dir>/index.sqlite`, which is created, or made anew, by the first search; without it every record is read
/// first. Nothing is opened before it is needed.
#[must_use]
pub fn open_artifacts(dir: DataDir, options: ManagerOptions) -> TestArtifactsManager {
    let options = with_index(options, &dir);
    TestArtifactsManager::new(dir, options)
}

#[cfg(feature = "index")]
fn with_index(options: ManagerOptions, dir: &DataDir) -> ManagerOptions {
    let index = artifact_index::SqliteIndex::new(dir.path().join("index.sqlite"));
    options.with_index(std::sync::Arc::new(index))
}

#[cfg(not(feature = "index"))]
fn with_index(options: ManagerOptions, _: &DataDir) -> ManagerOptions {
    options
}
