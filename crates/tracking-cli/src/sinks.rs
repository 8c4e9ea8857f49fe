//! What a command's changes go to beside the data directory, and delivering them at its end.

mod outages;
mod undelivered;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracking_facade::eventbridge::{EventBridgeConfig, EventBridgeSink};
use tracking_facade::s3::{S3Config, SharedBucket};
use tracking_facade::{
    Archive, Deliveries, FollowedUpgrade, ManagerOptions, SessionId, SinkSet, SinkStatus, StreamId,
    TestArtifactsManager, TrackingBuilder, TrackingError, Undrained, UpgradeId,
};

use outages::Outages;
pub(crate) use undelivered::{tell_parked, tell_undrained};

use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind, chain};
use crate::output::note;
use crate::process::Signals;
use crate::settings::{Settings, close_artifacts};

/// How long a command that is done may go on to deliver what it changed.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a place that gave no answer a short while ago.
const PATIENCE_IN_OUTAGE: Duration = Duration::from_secs(1);

/// The sinks that are configured, and the streams that the command changed. Clones share the latter.
#[derive(Debug, Clone, Default)]
pub(crate) struct SinkSettings {
    pub(crate) bucket: Option<SharedBucket>,
    bus: Option<EventBridgeSink>,
    auto_upload: bool,
    touched: Arc<Mutex<BTreeSet<StreamId>>>,
    /// How long this process has waited for deliveries at its end.
    waited: Arc<Mutex<Duration>>,
}

impl SinkSettings {
    /// What the command line names wins over what the configuration file does, whose other settings hold for both.
    pub(crate) fn resolve(
        (place, s3): (Option<String>, Option<S3Config>),
        (bus, eventbridge): (Option<String>, Option<EventBridgeConfig>),
    ) -> Result<Self, Failure> {
        let mut s3 = s3;
        if let Some(place) = place.filter(|place| !place.is_empty()) {
            let config = s3.get_or_insert_default();
            (config.bucket, config.prefix) = (None, None);
            config.url = Some(place.into());
        }
        let mut eventbridge = eventbridge;
        if let Some(bus) = bus.filter(|bus| !bus.is_empty()) {
            eventbridge.get_or_insert_default().bus = Some(bus);
        }
        let auto_upload = s3.as_ref().and_then(|config| config.auto_upload);
        let bucket = s3.map(SharedBucket::new).transpose();
        let bus = eventbridge.map(|config| config.into_builder().build());
        let bus = bus.transpose().map_err(TrackingError::from);
        let (bucket, bus) = match (bucket, bus) {
            (Ok(bucket), Ok(bus)) => (bucket, bus),
            (bucket, bus) => return Err(unusable([bucket.err(), bus.err()])),
        };
        Ok(Self {
            bucket,
            bus,
            auto_upload: auto_upload.unwrap_or(true),
            touched: Arc::default(),
            waited: Arc::default(),
        })
    }

    /// Makes new sessions name the bucket.
    pub(crate) fn named_in(&self, options: ManagerOptions) -> ManagerOptions {
        match &self.bucket {
            Some(bucket) => bucket.named_in(options),
            None => options,
        }
    }

    /// Has an agent feed them.
    pub(crate) fn configure(&self, builder: TrackingBuilder) -> TrackingBuilder {
        let builder = match &self.bucket {
            Some(bucket) => builder.s3(bucket.clone()).auto_upload(self.auto_upload),
            None => builder,
        };
        match &self.bus {
            Some(bus) => builder.eventbridge(bus.clone()),
            None => builder,
        }
    }

    /// Notes that the command changes a stream.
    pub(crate) fn touched(&self, stream: StreamId) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.insert(stream);
    }

    pub(crate) fn are_configured(&self) -> bool {
        self.bucket.is_some() || self.bus.is_some()
    }

    /// The parked records of these sinks, of `streams`, or of all.
    pub(crate) fn parked(
        &self,
        archive: &Archive,
        sinks: &SinkSet,
        streams: Option<&[StreamId]>,
    ) -> Result<Vec<SinkStatus>, TrackingError> {
        let mut statuses = archive.sinks()?;
        statuses.retain(|status| {
            !status.cursor.parked.is_empty()
                && sinks.names().any(|name| name == status.sink.as_str())
                && streams.is_none_or(|streams| streams.contains(&status.stream))
        });
        Ok(statuses)
    }

    /// The places that there are, for people.
    pub(crate) fn places(&self) -> String {
        let bucket = self.bucket.iter().map(|bucket| bucket.location().to_string());
        let bus = self.bus.iter().map(|bus| format!("bus {}", bus.bus()));
        bucket.chain(bus).collect::<Vec<_>>().join(" and ")
    }

    /// Lets the bus have what it lacks of all upgrades; `None` without a bus, and where a session is all that counts, of
    /// which none is told.
    pub(crate) async fn announce(
        &self,
        archive: &Archive,
        session: Option<&SessionId>,
        time: Duration,
    ) -> Result<Option<Deliveries>, TrackingError> {
        let (Some(bus), None) = (&self.bus, session) else {
            return Ok(None);
        };
        let mut streams = archive.streams()?;
        streams.retain(|stream| matches!(stream, StreamId::Upgrade(_)));
        let sinks = SinkSet::new().with_sink(Arc::new(bus.clone()));
        Ok(Some(sinks.deliver_all(archive, &streams, time).await))
    }

    fn take_touched(&self) -> Vec<StreamId> {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *touched).into_iter().collect()
    }

    /// All sinks, to be fed from `archive`, whose artifacts are those of `manager`.
    pub(crate) fn set(&self, archive: &Archive, manager: &TestArtifactsManager) -> SinkSet {
        let [bucket, bus] = self.sets(archive, manager);
        bucket.with(bus)
    }

    /// The sinks of the bucket, and that of the bus.
    fn sets(&self, archive: &Archive, manager: &TestArtifactsManager) -> [SinkSet; 2] {
        let bucket = match &self.bucket {
            Some(bucket) => bucket.sinks(archive.data_dir(), manager, self.auto_upload),
            None => SinkSet::new(),
        };
        let bus = match &self.bus {
            Some(bus) => SinkSet::new().with_sink(Arc::new(bus.clone())),
            None => SinkSet::new(),
        };
        [bucket, bus]
    }

    /// The names of bucket and bus, under which their outages are remembered.
    fn place_names(&self) -> [String; 2] {
        let bucket = self.bucket.as_ref();
        let bus = self.bus.as_ref();
        [
            bucket.map_or_else(String::new, |bucket| bucket.location().to_string()),
            bus.map_or_else(String::new, |bus| format!("bus {}", bus.bus())),
        ]
    }

    /// How long to wait for bucket and bus yet. The bucket may be known to be silent by what this process met.
    fn patience(&self, outages: &Outages, bucket_is_silent: bool) -> [Duration; 2] {
        let waited = *self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        let [bucket, bus] = self.place_names().map(|place| outages.has(&place));
        [bucket || bucket_is_silent, bus].map(|is_out| {
            let patience = if is_out { PATIENCE_IN_OUTAGE } else { PATIENCE };
            patience.saturating_sub(waited)
        })
    }

    /// Notes how long was waited, and which places gave no answer meanwhile. Nobody who interrupts waits again.
    fn note_wait(&self, archive: &Archive, begun: Instant, ended: Option<&[Undrained]>) {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        *waited += ended.map_or(PATIENCE, |_| begun.elapsed());
        drop(waited);
        let now = archive.clock().now();
        let mut outages = Outages::load(archive.data_dir(), now);
        let before = outages.clone();
        let [bucket, bus] = self.place_names();
        if let Some(shared) = &self.bucket {
            if shared.silent_endpoint().is_some() {
                outages.note(&bucket, true, now);
            } else if shared.has_answered() {
                outages.note(&bucket, false, now);
            }
        }
        if let (Some(_), Some(undrained)) = (&self.bus, ended) {
            let is_left = undrained.iter().any(|left| !is_of_bucket(left));
            outages.note(&bus, is_left, now);
        }
        if outages != before {
            outages.save(archive.data_dir());
        }
    }
}

fn is_of_bucket(left: &Undrained) -> bool {
    left.sink.starts_with("s3-")
}

/// Waits for `work`, until a signal asks for the end, where this process has taken signals over; `None` if one did.
/// Elsewhere a signal ends the process.
async fn unless_interrupted<T>(signals: Option<&mut Signals>, work: impl Future<Output = T>) -> Option<T> {
    let Some(signals) = signals else {
        return Some(work.await);
    };
    tokio::select! {
        done = work => Some(done),
        signal = signals.asked_to_end() => {
            let what = format!(
                "{} ended the delivery; `ekstrack sync` or the next command delivers what is left",
                signal.name()
            );
            note("note", &what);
            None
        }
    }
}

/// What is wrong with the settings, all of it.
fn unusable(errors: [Option<TrackingError>; 2]) -> Failure {
    let of_bucket = "section [s3] of ekstrack.toml, --s3 and EKSTRACK_S3";
    let of_bus = "section [eventbridge] of ekstrack.toml, --eventbridge and EKSTRACK_EVENTBRIDGE";
    let (attempted, from) = match &errors {
        [Some(_), None] => ("the bucket of the team", of_bucket.to_owned()),
        [None, Some(_)] => ("the bus of EventBridge", of_bus.to_owned()),
        _ => (
            "the bucket and the bus of the team",
            format!("{of_bucket}; {of_bus}"),
        ),
    };
    let causes = errors.into_iter().flatten().map(|error| error.to_string());
    let causes: Vec<String> = causes.collect();
    let failure = Failure::new(Kind::Usage, format!("use {attempted}"), causes.join("; "));
    failure.hint(format!("the settings come from {from}"))
}

impl Settings {
    /// Lets the sinks have what the command changed, for at most 5 s, 1 s where nobody answered a short while ago; says
    /// what is left. What the command was asked to do is done, so nothing of this is a failure of it. `has_signals` says
    /// whether the command has taken signals over.
    pub(crate) fn deliver_changes(&self, has_signals: bool) {
        let touched = self.sinks.take_touched();
        if touched.is_empty() || !self.sinks.are_configured() || self.remote.is_some() {
            return;
        }
        // A command that failed before there was anything has nothing to deliver.
        let Ok(archive) = Archive::open(&self.data_dir) else {
            return;
        };
        let there: Vec<StreamId> = match archive.streams() {
            Ok(streams) => touched
                .into_iter()
                .filter(|stream| streams.contains(stream))
                .collect(),
            Err(error) => return note("warning", &chain(&error).join(": ")),
        };
        let manager = self.manager(archive.data_dir().clone());
        let outages = Outages::load(archive.data_dir(), archive.clock().now());
        let [bucket_time, bus_time] = self.sinks.patience(&outages, false);
        let [bucket, bus] = self.sinks.sets(&archive, &manager);
        let begun = Instant::now();
        let delivered = block_on(async {
            let mut signals = has_signals.then(Signals::that_end).and_then(Result::ok);
            let deliveries = async {
                tokio::join!(
                    deliver(&bucket, &archive, &there, bucket_time),
                    deliver(&bus, &archive, &there, bus_time)
                )
            };
            let delivered = unless_interrupted(signals.as_mut(), deliveries).await;
            close_artifacts(&manager).await;
            delivered.map(|(bucket, bus)| [bucket, bus].concat())
        });
        match delivered {
            Ok(undrained) => {
                self.sinks.note_wait(&archive, begun, undrained.as_deref());
                tell_undrained(&undrained.unwrap_or_default(), self.sinks.bucket.as_ref());
            }
            Err(failure) => note("warning", &failure.causes().join(": ")),
        }
        let sinks = bucket.with(bus);
        match self.sinks.parked(&archive, &sinks, Some(&there)) {
            Ok(parked) => tell_parked(&parked),
            Err(error) => note("warning", &chain(&error).join(": ")),
        }
    }
}

/// Delivers `streams` within `time` and returns what sinks did not get; without any time left, that was told before.
async fn deliver(sinks: &SinkSet, archive: &Archive, streams: &[StreamId], time: Duration) -> Vec<Undrained> {
    if sinks.is_empty() || time.is_zero() {
        return Vec::new();
    }
    sinks.deliver(archive, streams, time).await.undrained
}

/// Sinks that are fed while a command runs.
#[derive(Debug)]
pub(crate) struct Feeding {
    /// Those of the bucket, and that of the bus.
    fed: [FollowedUpgrade; 2],
    settings: SinkSettings,
    archive: Archive,
    manager: TestArtifactsManager,
    begun: Instant,
}

impl Settings {
    /// Feeds the sinks from an upgrade and its sessions until [`Feeding::end`]; `None` if there are no sinks. Where that
    /// cannot be, a warning says so.
    pub(crate) fn feed(&self, upgrade: &UpgradeId) -> Option<Feeding> {
        if !self.sinks.are_configured() {
            return None;
        }
        match Archive::open(&self.data_dir) {
            Ok(archive) => {
                let manager = self.manager(archive.data_dir().clone());
                let sets = self.sinks.sets(&archive, &manager);
                Some(Feeding {
                    fed: sets.map(|set| set.follow(&archive, upgrade.clone())),
                    settings: self.sinks.clone(),
                    archive,
                    manager,
                    begun: Instant::now(),
                })
            }
            Err(error) => {
                let why = chain(&error).join(": ");
                note(
                    "warning",
                    &format!("nothing is delivered while the command runs: {why}"),
                );
                None
            }
        }
    }
}

impl Feeding {
    /// Lets the sinks have what is left, for at most 5 s, 1 s where nobody answers; says what is left then. A signal that
    /// asks for the end ends the waiting.
    pub(crate) async fn end(feeding: Option<Self>, signals: &mut Signals) {
        let Some(Self {
            fed: [bucket, bus],
            settings,
            archive,
            manager,
            begun,
        }) = feeding
        else {
            return;
        };
        let silent = settings.bucket.as_ref().and_then(SharedBucket::silent_endpoint);
        let is_silent = silent.is_some() && begun.elapsed() >= PATIENCE;
        let outages = Outages::load(archive.data_dir(), archive.clock().now());
        let [bucket_time, bus_time] = settings.patience(&outages, is_silent);
        let begun = Instant::now();
        let stopping = async { tokio::join!(bucket.stop(bucket_time), bus.stop(bus_time)) };
        let left = unless_interrupted(Some(signals), stopping).await;
        let left = left.map(|(bucket, bus)| [bucket, bus].concat());
        settings.note_wait(&archive, begun, left.as_deref());
        tell_undrained(&left.unwrap_or_default(), settings.bucket.as_ref());
        close_artifacts(&manager).await;
    }
}
