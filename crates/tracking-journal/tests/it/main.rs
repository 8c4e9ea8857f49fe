//! The journal's integration tests.
mod counter;
mod journal;
