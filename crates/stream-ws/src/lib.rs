#![doc = include_str!("../README.md")]

mod client;
mod frame;
mod hub;
pub mod protocol;
mod server;
mod source;
mod wire;

pub use client::{Client, ClientError, ClientEvent, ClientOptions, Roots, TlsProblem};
pub use frame::Frame;
pub use hub::{Hub, HubError, HubOptions, HubStats, KeepLimits, Progress, QueueLimits, Viewer, ViewerHandle};
#[cfg(any(test, feature = "test-util"))]
pub use server::echo;
pub use server::{
    DEFAULT_ADDRESS, Limits, NameError, ServeError, ServeReport, ServerOptions, TlsError, TlsIdentity, Token,
    TokenError, bind, check_host, check_origin, serve,
};
#[cfg(any(test, feature = "test-util"))]
pub use source::MockSummarySource;
pub use source::{JournalSummaries, MemorySummaries, SummarySource, UpgradeView};
