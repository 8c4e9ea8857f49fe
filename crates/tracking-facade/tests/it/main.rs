//! The facade as an agent uses it.

mod agent;
mod archive;
