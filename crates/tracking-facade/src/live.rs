//! Live viewers over WebSocket: everything of `stream-ws`, and a hub that knows what the facade knows.

use std::sync::Arc;

use progress_core::Agent;
use tracking_journal::{Clock, DataDir, Liveness};
use tracking_model::{StreamId, Summary, UpgradeProgress};

pub use stream_ws::protocol;
/// Tells a server to stop.
pub use tokio_util::sync::CancellationToken;

pub use stream_ws::{
    Client, ClientError, ClientEvent, ClientOptions, DEFAULT_ADDRESS, Frame, Hub, HubError, HubOptions,
    HubStats, Limits, QueueLimits, Roots, ServeError, ServeReport, ServerOptions, SummarySource, TlsError,
    TlsIdentity, Token, TokenError, UpgradeView, Viewer, bind, serve,
};

use crate::Archive;

impl Archive {
    /// A hub over this data directory, for viewers of all its upgrades; also while others write.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn hub(&self, options: HubOptions) -> Hub {
        let source = Summaries {
            dir: self.data_dir().clone(),
            clock: Arc::clone(&options.clock),
        };
        Hub::with_source(self.data_dir().clone(), Arc::new(source), options)
    }
}

/// Sums up an upgrade, and says whether somebody is at work on it.
#[derive(Debug)]
struct Summaries {
    dir: DataDir,
    clock: Arc<dyn Clock>,
}

impl SummarySource for Summaries {
    fn view(&self, progress: &UpgradeProgress) -> UpgradeView {
        let now = self.clock.now();
        let stream = StreamId::Upgrade(progress.upgrade_id.clone());
        let liveness = Liveness::of(&self.dir, &stream)
            .inspect_err(|error| tracing::debug!(%error, %stream, "cannot tell whether somebody is at work"));
        let agent = liveness
            .ok()
            .map(|liveness| word(Agent::of(progress, liveness, now)));
        UpgradeView::new(Summary::of(progress, now), agent.map(Arc::from))
    }
}

/// As the command prints it.
fn word(agent: Agent) -> &'static str {
    match agent {
        Agent::NotNeeded => "not_needed",
        Agent::Live => "live",
        Agent::Recent => "recent",
        Agent::Gone => "gone",
        Agent::Elsewhere => "elsewhere",
        _ => "unknown",
    }
}
