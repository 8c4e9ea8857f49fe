//! The journal's integration tests.

mod counter;
mod faults;
mod history;
mod journal;
mod processes;
mod relay;
mod setup;
