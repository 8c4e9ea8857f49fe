//! The model as its users see it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod import;
mod machine;
mod naive;
mod refusals;
mod upgrades;
mod wire;
