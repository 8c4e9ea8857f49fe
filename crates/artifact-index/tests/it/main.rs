//! The index on SQLite: what every index does, the same as the one in memory, and what can happen to its file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod conformance;
mod equal;
mod faults;
mod manager;
mod support;
mod together;
