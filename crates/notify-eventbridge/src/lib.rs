#![doc = include_str!("../README.md")]

mod answer;
mod batch;
mod builder;
mod bus;
mod client;
mod config;
mod detail;
mod entry;
mod error;
mod kinds;
mod sending;
mod settings;
mod sink;

pub use aws_connect::Address;
pub use aws_connect::{Cause, Failure};
pub use builder::{BuildError, EventBridgeBuilder};
pub use config::EventBridgeConfig;
pub use settings::{DEFAULT_MAX_BYTES, DEFAULT_SOURCE, MAX_MAX_BYTES, MIN_MAX_BYTES, Patience};
pub use sink::{BusCheck, EventBridgeSink};
