//! The index on SQLite: what every index does, the same as the one in memory, and what can happen to its file.

mod conformance;
mod equal;
mod faults;
mod support;
