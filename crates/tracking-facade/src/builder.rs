//! How an agent opens its tracking.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use artifact_core::ManagerOptions;
use progress_core::{NewUpgrade, ProgressTracker, ProgressTrackerOptions};
use serde_json::{Map, Value};
use stream_ws::{NameError, ServerOptions};
use tempfile::TempDir;
use tracking_journal::{Clock, DataDir, EventSink, JournalOptions, SystemClock};
use tracking_model::{IdError, PlanId, TextError, UpgradeId, check_name};

use crate::artifacts::open_artifacts;
use crate::relays::{Relays, SinkSet};
use crate::tracking::{Parts, Tracking};
use crate::viewers::Viewing;
use crate::{Archive, TrackingError};

/// How long shutting down may take unless told otherwise.
const DEFAULT_SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No data directory was given.
    NoDataDir,
    /// No upgrade was given.
    NoUpgrade,
    /// An id is invalid.
    Id(IdError),
    /// A name is invalid.
    Name(TextError),
    /// Two sinks have the same name, by which each finds again how far it got.
    SameSink(String),
    /// Viewers can never come by a name, or pages from an origin.
    Viewers(NameError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDataDir => f.write_str("no data directory: call `data_dir`"),
            Self::NoUpgrade => f.write_str("no upgrade: call `upgrade`, or `existing_upgrade`"),
            Self::Id(error) => error.fmt(f),
            Self::Name(error) => error.fmt(f),
            Self::Viewers(error) => error.fmt(f),
            Self::SameSink(name) => write!(f, "two sinks are named {name}: give each a name of its own"),
        }
    }
}

/// Which upgrade is to be tracked.
#[derive(Debug, Clone)]
enum Wanted {
    /// Created if it does not exist.
    Created {
        id: String,
        plan: String,
        cluster: String,
    },
    /// It must exist.
    Existing { id: String },
}

/// The same, valid.
enum Checked {
    Created(NewUpgrade),
    Existing(UpgradeId),
}

/// Configures [`Tracking`]. Takes what is given as it is; [`Self::build`] checks all of it and reports every problem.
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `build`"]
pub struct TrackingBuilder {
    data_dir: Option<PathBuf>,
    temporary: bool,
    actor: String,
    wanted: Option<Wanted>,
    metadata: Map<String, Value>,
    lock_timeout: Duration,
    shutdown_deadline: Duration,
    clock: Arc<dyn Clock>,
    sinks: SinkSet,
    viewing: Option<Viewing>,
    #[cfg(feature = "eventbridge")]
    buses: Vec<crate::eventbridge::EventBridgeSink>,
    #[cfg(feature = "s3")]
    bucket: Option<crate::s3::SharedBucket>,
    #[cfg(feature = "s3")]
    auto_upload: bool,
}

impl Default for TrackingBuilder {
    fn default() -> Self {
        Self {
            data_dir: None,
            temporary: false,
            actor: "agent".to_owned(),
            wanted: None,
            metadata: Map::new(),
            lock_timeout: Duration::from_secs(5),
            shutdown_deadline: DEFAULT_SHUTDOWN_DEADLINE,
            clock: Arc::new(SystemClock),
            sinks: SinkSet::new(),
            viewing: None,
            #[cfg(feature = "eventbridge")]
            buses: Vec::new(),
            #[cfg(feature = "s3")]
            bucket: None,
            #[cfg(feature = "s3")]
            auto_upload: true,
        }
    }
}

impl TrackingBuilder {
    /// Where everything is kept; created, with mode 0700, where it is missing. Required.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Keeps everything in a new temporary directory, which is removed when [`Tracking`] is dropped.
    pub(crate) const fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// Who is named in each record: the agent, and perhaps its machine. `agent` unless given.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// The upgrade, created if it does not exist. One that exists must be for the same plan and cluster; it is
    /// continued where it stopped.
    pub fn upgrade(
        mut self,
        id: impl Into<String>,
        plan: impl Into<String>,
        cluster: impl Into<String>,
    ) -> Self {
        self.wanted = Some(Wanted::Created {
            id: id.into(),
            plan: plan.into(),
            cluster: cluster.into(),
        });
        self
    }

    /// An upgrade that exists, whatever its plan and cluster.
    pub fn existing_upgrade(mut self, id: impl Into<String>) -> Self {
        self.wanted = Some(Wanted::Existing { id: id.into() });
        self
    }

    /// One entry of the upgrade's metadata, kept if it is created now.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// How long a call waits for other processes that write the same upgrade or session before it fails as locked;
    /// 5 s unless given.
    pub const fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How long [`Tracking::shutdown`] may take; 10 s unless given.
    pub const fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.shutdown_deadline = deadline;
        self
    }

    /// Where times come from; the machine's clock unless given.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A receiver of every record of the upgrade and of its sessions, but heartbeats; may be called again, with sinks of
    /// other names. It gets them at least once, and in order; while it is down, they wait in the journal.
    pub fn sink(mut self, sink: Arc<dyn EventSink>) -> Self {
        self.sinks = self.sinks.with_sink(sink);
        self
    }

    /// Serves live viewers over WebSocket on `address`, such as [`live::DEFAULT_ADDRESS`](crate::live::DEFAULT_ADDRESS):
    /// of this upgrade, and of all others in the data directory. On loopback only; for more see
    /// [`Self::websocket_with`].
    pub fn websocket(self, address: impl Into<String>) -> Self {
        self.websocket_with(address, ServerOptions::default())
    }

    /// As [`Self::websocket`], with a token, TLS, pages that may connect, and limits. Off loopback a token and TLS are
    /// needed.
    pub fn websocket_with(mut self, address: impl Into<String>, options: ServerOptions) -> Self {
        self.viewing = Some(Viewing {
            address: address.into(),
            options,
        });
        self
    }

    /// A bus on which what happens is announced, also what happened while it could not be reached; may be called again.
    /// [`Self::build`] looks whether the bus exists.
    #[cfg(feature = "eventbridge")]
    pub fn eventbridge(mut self, bus: crate::eventbridge::EventBridgeSink) -> Self {
        self.buses.push(bus.clone());
        self.sink(Arc::new(bus))
    }

    /// A bucket where everything that is kept goes too: bytes, records, and summaries. While it cannot be reached, they
    /// wait in the data directory.
    #[cfg(feature = "s3")]
    pub fn s3(mut self, bucket: crate::s3::SharedBucket) -> Self {
        self.bucket = Some(bucket);
        self
    }

    /// Whether the bytes of artifacts are uploaded by themselves, as they are unless told otherwise; if not, only what is
    /// recorded of them goes to the bucket, until somebody runs [`SharedBucket::sync`](crate::s3::SharedBucket::sync).
    #[cfg(feature = "s3")]
    pub const fn auto_upload(mut self, auto_upload: bool) -> Self {
        self.auto_upload = auto_upload;
        self
    }

    /// Opens everything: recovers what a crash left, takes over what the reference left, creates the upgrade if it is
    /// new.
    ///
    /// # Errors
    /// [`TrackingError::Configuration`] with every problem found, before anything is touched, what must be put right
    /// before a bus can be sent to, or why viewers cannot be served; else why something could not be opened.
    pub async fn build(self) -> Result<Tracking, TrackingError> {
        let upgrade = self.check()?;
        #[cfg(feature = "eventbridge")]
        for bus in &self.buses {
            crate::eventbridge::check(bus).await?;
        }
        let (builder, shutdown_deadline) = (self.clone(), self.shutdown_deadline);
        let listening = match self.viewing.clone() {
            Some(viewing) => Some(viewing.listen(shutdown_deadline).await?),
            None => None,
        };
        let opening = tokio::task::spawn_blocking(move || self.open(upgrade)).await;
        let parts = opening.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let (dir, upgrade_id) = (
            parts.archive.data_dir().clone(),
            parts.progress.upgrade_id().clone(),
        );
        let sinks = builder.all_sinks(&parts);
        let viewers = listening.map(|listening| listening.serve(&parts.archive, Arc::clone(&builder.clock)));
        let relays = Relays::start(dir, upgrade_id, builder.clock, sinks);
        Ok(Tracking::start(parts, relays, viewers, shutdown_deadline))
    }

    #[cfg(feature = "s3")]
    fn all_sinks(&self, parts: &Parts) -> SinkSet {
        let sinks = self.sinks.clone();
        match &self.bucket {
            Some(bucket) => {
                sinks.with(bucket.sinks(parts.archive.data_dir(), &parts.artifacts, self.auto_upload))
            }
            None => sinks,
        }
    }

    #[cfg(not(feature = "s3"))]
    fn all_sinks(&self, _: &Parts) -> SinkSet {
        self.sinks.clone()
    }

    #[cfg(feature = "s3")]
    fn manager_options(&self, journal: JournalOptions) -> ManagerOptions {
        let options = ManagerOptions::default().with_journal(journal);
        match &self.bucket {
            Some(bucket) => bucket.named_in(options),
            None => options,
        }
    }

    #[cfg(not(feature = "s3"))]
    fn manager_options(&self, journal: JournalOptions) -> ManagerOptions {
        ManagerOptions::default().with_journal(journal)
    }

    fn check(&self) -> Result<Checked, TrackingError> {
        let mut problems = Vec::new();
        if self.data_dir.is_none() && !self.temporary {
            problems.push(Problem::NoDataDir);
        }
        if let Err(error) = check_name("actor", &self.actor) {
            problems.push(Problem::Name(error));
        }
        problems.extend(self.sinks.problems());
        let viewing = self.viewing.iter();
        problems.extend(
            viewing
                .flat_map(|viewing| viewing.options.wrong_names())
                .map(Problem::Viewers),
        );
        let upgrade = match &self.wanted {
            None => {
                problems.push(Problem::NoUpgrade);
                None
            }
            Some(Wanted::Existing { id }) => keep(UpgradeId::new(id), &mut problems).map(Checked::Existing),
            Some(Wanted::Created { id, plan, cluster }) => {
                let (id, plan) = (
                    keep(UpgradeId::new(id), &mut problems),
                    keep(PlanId::new(plan), &mut problems),
                );
                if let Err(error) = check_name("cluster name", cluster) {
                    problems.push(Problem::Name(error));
                }
                let new = |(id, plan)| {
                    NewUpgrade::new(id, plan, cluster.as_str()).with_metadata(self.metadata.clone())
                };
                id.zip(plan).map(new).map(Checked::Created)
            }
        };
        match upgrade {
            Some(upgrade) if problems.is_empty() => Ok(upgrade),
            _ => Err(TrackingError::Configuration(problems)),
        }
    }

    fn open(self, upgrade: Checked) -> Result<Parts, TrackingError> {
        let (data_dir, temporary) = match self.data_dir.clone() {
            Some(data_dir) => (data_dir, None),
            None => {
                let temporary = TempDir::with_prefix("ekstrack-").map_err(TrackingError::Temporary)?;
                (temporary.path().join("data"), Some(temporary))
            }
        };
        let dir = DataDir::open(data_dir)?;
        let options = ProgressTrackerOptions::default()
            .with_actor(self.actor.as_str())
            .with_lock_timeout(self.lock_timeout)
            .with_clock(Arc::clone(&self.clock));
        let progress = match upgrade {
            Checked::Created(new) => ProgressTracker::open_or_create(&dir, new, options)?,
            Checked::Existing(id) => ProgressTracker::open(&dir, &id, options)?,
        };
        let journal = JournalOptions::default()
            .with_actor(self.actor.as_str())
            .with_lock_timeout(self.lock_timeout)
            .with_clock(Arc::clone(&self.clock));
        let artifacts = open_artifacts(dir.clone(), self.manager_options(journal));
        let archive = Archive::new(dir, self.clock);
        Ok(Parts {
            progress,
            artifacts,
            archive,
            _temporary: temporary,
        })
    }
}

fn keep<T>(id: Result<T, IdError>, problems: &mut Vec<Problem>) -> Option<T> {
    id.map_err(|error| problems.push(Problem::Id(error))).ok()
}
