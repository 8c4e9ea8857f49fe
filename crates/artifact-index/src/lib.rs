#![doc = include_str!("../README.md")]

mod error;
mod facets;
mod file;
mod fold;
mod index;
mod row;
mod schema;
mod search;
mod session;
mod statistics;
mod tally;
mod write;

pub use index::SqliteIndex;
