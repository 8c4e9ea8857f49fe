//! The suite that every index passes.

use artifact_core::{MemoryIndex, conformance};

use crate::support::index;

#[test]
fn sqlite_does_what_every_index_does() {
    let (_dir, index) = index();
    conformance::index(&index);
}

#[test]
fn memory_does_what_every_index_does() {
    conformance::index(&MemoryIndex::new());
}
