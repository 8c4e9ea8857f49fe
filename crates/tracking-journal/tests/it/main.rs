//! The journal's integration tests.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in what its cases share"
)]

mod blocking;
mod counter;
mod damage;
mod derived;
mod faults;
mod followers;
mod history;
mod journal;
mod processes;
mod relay;
mod setup;
mod suite;
