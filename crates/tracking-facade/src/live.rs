//! Live viewers over WebSocket: everything of `stream-ws`, and a hub that knows what the facade knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use progress_core::{Agent, History};
use serde_json::value::{RawValue, to_raw_value};
use stream_ws::JournalSummaries;
use tracking_journal::{Clock, DataDir, Liveness};
use tracking_model::{Span, Summary, Timestamp, UpgradeId, UpgradeProgress};

pub use stream_ws::protocol;
/// Tells a server to stop.
pub use tokio_util::sync::CancellationToken;

pub use stream_ws::{
    Client, ClientError, ClientEvent, ClientOptions, DEFAULT_ADDRESS, Frame, Hub, HubError, HubOptions,
    HubStats, KeepLimits, Limits, NameError, QueueLimits, Roots, ServeError, ServeReport, ServerOptions,
    SummarySource, TlsError, TlsIdentity, TlsProblem, Token, TokenError, UpgradeView, Viewer, bind,
    check_host, check_origin, serve,
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
            journals: JournalSummaries::with_clock(self.data_dir().clone(), Arc::clone(&options.clock)),
            clock: Arc::clone(&options.clock),
            learned: Mutex::default(),
        };
        Hub::with_source(self.data_dir().clone(), Arc::new(source), options)
    }
}

/// Sums up an upgrade, and says whether somebody is at work on it.
#[derive(Debug)]
struct Summaries {
    dir: DataDir,
    journals: JournalSummaries,
    clock: Arc<dyn Clock>,
    /// What was learned for each upgrade, and when.
    learned: Mutex<HashMap<UpgradeId, (Timestamp, Arc<RawValue>)>>,
}

/// For how long what was learned is good.
const GOOD_FOR: Span = Span::from_secs(600);
/// For how many upgrades it is kept.
const LEARNED_AT_MOST: usize = 64;

impl SummarySource for Summaries {
    fn liveness(&self, upgrade_id: &UpgradeId) -> Option<Liveness> {
        self.journals.liveness(upgrade_id)
    }

    fn view(&self, progress: &UpgradeProgress, liveness: Option<Liveness>) -> UpgradeView {
        let now = self.clock.now();
        let agent = liveness.map(|liveness| word(Agent::of(progress, liveness, now)));
        UpgradeView::new(Summary::of(progress, now), agent.map(Arc::from)).with_made_at(now)
    }

    fn history(&self, upgrade_id: &UpgradeId) -> Option<Box<RawValue>> {
        let now = self.clock.now();
        let learned = || self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back makes it as old as one that went on.
        learned().retain(|_, (at, _)| now.since(*at).max(at.since(now)) <= GOOD_FOR);
        let known = learned().get(upgrade_id).map(|(_, history)| Arc::clone(history));
        if let Some(history) = known {
            return Some((*history).to_owned());
        }
        let history = History::learn(&self.dir, upgrade_id)
            .inspect_err(|error| tracing::debug!(%error, %upgrade_id, "viewers do without estimates"));
        let history = to_raw_value(&history.ok()?)
            .inspect_err(|error| tracing::warn!(%error, %upgrade_id, "viewers do without estimates"));
        let history = history.ok()?;
        let (kept, mut learned) = (Arc::from(history.clone()), learned());
        if learned.len() >= LEARNED_AT_MOST {
            let oldest = learned.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                learned.remove(&oldest);
            }
        }
        learned.insert(upgrade_id.clone(), (now, kept));
        Some(history)
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
