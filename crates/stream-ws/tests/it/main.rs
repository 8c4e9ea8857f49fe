//! Viewers, through the hub alone and through sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod client;
mod conformance;
mod faults;
mod hostile;
mod hub;
mod metrics;
mod outside;
mod protocol;
mod schema;
mod server;
mod snapshot;
mod support;
