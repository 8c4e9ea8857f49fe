//! The model as its users see it.

mod import;
mod upgrades;
