//! Tests of artifact-core through its public interface.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod import;
mod ingest;
mod manager;
mod stores;
mod support;
