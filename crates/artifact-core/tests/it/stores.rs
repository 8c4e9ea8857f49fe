//! The conformance suite against every store of this crate.

use artifact_core::{LocalStore, MemoryStore, conformance};

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance::store(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_local_store_conforms() {
    let dir = tempfile::TempDir::new().unwrap();
    conformance::store(&LocalStore::new(dir.path())).await;
}
