//! What a sink is set to, once it was validated.

use std::sync::Arc;
use std::time::Duration;

use aws_connect::StaticCredentials;
use tracking_journal::SinkName;

use crate::kinds::Kinds;

/// The source of events where none is given.
pub const DEFAULT_SOURCE: &str = "eks-upgrade-agent";
/// Most bytes of a call where nothing else is set: what EventBridge has always accepted.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024;
/// The smallest limit of a call's bytes that can be set.
pub const MIN_MAX_BYTES: usize = 64 * 1024;
/// The largest limit of a call's bytes that can be set: what EventBridge accepts since 2026.
pub const MAX_MAX_BYTES: usize = 1024 * 1024;

/// The longest time that can be set.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(3600);

/// When a call is given up. Each is tried once: the relay tries again. Times are above zero and at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How long a connection may take to be made; 3 s by default.
    pub connect_timeout: Duration,
    /// How long a call may take in all, with finding credentials; 10 s by default.
    pub call_timeout: Duration,
    /// After which time no further call is begun for one batch of the relay; 30 s by default. What a relay allows for a
    /// batch must be longer, else what was sent is sent again:
    /// the sink's [pace](tracking_journal::EventSink::pace) sees to it.
    pub batch_time: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            batch_time: Duration::from_secs(30),
        }
    }
}

/// Everything that [`EventBridgeBuilder`](crate::EventBridgeBuilder) validated.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// A name or an ARN.
    pub(crate) bus: String,
    pub(crate) sink_name: SinkName,
    pub(crate) source: String,
    pub(crate) resources: Vec<Arc<str>>,
    pub(crate) kinds: Kinds,
    pub(crate) max_bytes: usize,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) patience: Patience,
    pub(crate) credentials: Option<StaticCredentials>,
}
