#![doc = include_str!("../README.md")]

mod ahead;
mod apply;
mod by_key;
mod compare;
mod database;
mod error;
mod expression;
mod facets;
mod find;
mod fold;
mod load;
mod page;
mod rank;
mod record;
mod schema;
mod sqlite;
mod statistics;
mod stream;
mod write;

pub use sqlite::SqliteIndex;
