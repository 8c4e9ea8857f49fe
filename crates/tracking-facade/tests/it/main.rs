//! The facade as an agent uses it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod archive;
mod viewers;
mod workers;
