//! The conformance suites against every store and index of this crate.

use artifact_core::{ArtifactDir, MemoryIndex, MemoryStore, conformance};

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance::store(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_local_store_conforms() {
    let dir = tempfile::TempDir::new().unwrap();
    conformance::store(&ArtifactDir::new(dir.path())).await;
}

#[test]
fn the_memory_index_conforms() {
    conformance::index(&MemoryIndex::new());
}
