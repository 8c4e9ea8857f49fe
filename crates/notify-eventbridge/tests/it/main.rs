//! The sink against servers: one that others wrote, and one that misbehaves as it is told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod bus;
mod delivery;
mod faults;
mod killed;
mod moto;
mod raw;
mod samples;
mod upgrade;
