//! Notification of changes by other processes.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
pub(crate) use linux::{Watch, watch};
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{Watch, watch};
