//! The journal's integration tests.

mod counter;
mod history;
mod journal;
mod processes;
mod relay;
mod setup;
