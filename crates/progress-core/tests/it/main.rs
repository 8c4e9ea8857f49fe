//! The tracker as its users see it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, in its fixtures too"
)]

mod callbacks;
mod clock;
mod directory;
mod fixture;
mod import;
mod lifecycle;
mod operator;
mod reporting;
mod tasks;
