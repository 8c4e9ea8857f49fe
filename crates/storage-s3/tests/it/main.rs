//! The store against S3 servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod catalogue;
mod downloads;
mod faults;
mod objects;
mod portal;
mod resume;
mod stores;
mod support;
mod transfers;
