//! The tracker as its users see it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, in its fixtures too"
)]

mod fixture;
mod lifecycle;
mod operator;
mod tasks;
