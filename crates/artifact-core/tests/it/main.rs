//! Tests of artifact-core through its public interface.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod extras;
mod faults;
mod history;
mod import;
mod ingest;
mod lies;
mod live_output;
mod manager;
mod retention;
mod retention_faults;
mod stores;
mod support;
mod unfinished;
