#![doc = include_str!("../README.md")]

mod apply;
mod database;
mod error;
mod expression;
mod facets;
mod find;
mod fold;
mod rank;
mod record;
mod schema;
mod sqlite;
mod statistics;
mod stream;
mod write;

pub use sqlite::SqliteIndex;
