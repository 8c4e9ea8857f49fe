//! What a command's changes go to beside the data directory, and delivering them at its end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracking_facade::eventbridge::{EventBridgeConfig, EventBridgeSink};
use tracking_facade::s3::{S3Config, SharedBucket};
use tracking_facade::{
    Archive, Deliveries, FollowedUpgrade, ManagerOptions, SessionId, SinkSet, SinkStatus, StreamId,
    TestArtifactsManager, TrackingBuilder, TrackingError, Undrained, UpgradeId,
};

use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind, chain};
use crate::output::note;
use crate::render::{one_line, several, time};
use crate::settings::{Settings, close_artifacts};

/// How long a command that is done may go on to deliver what it changed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sinks that are configured, and the streams that the command changed. Clones share the latter.
#[derive(Debug, Clone, Default)]
pub(crate) struct SinkSettings {
    pub(crate) bucket: Option<SharedBucket>,
    bus: Option<EventBridgeSink>,
    auto_upload: bool,
    touched: Arc<Mutex<BTreeSet<StreamId>>>,
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
        let sinks = match &self.bucket {
            Some(bucket) => bucket.sinks(archive.data_dir(), manager, self.auto_upload),
            None => SinkSet::new(),
        };
        match &self.bus {
            Some(bus) => sinks.with_sink(Arc::new(bus.clone())),
            None => sinks,
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
    /// Lets the sinks have what the command changed, for at most 5 s; says what is left. What the command was asked to do
    /// is done, so nothing of this is a failure of it.
    pub(crate) fn deliver_changes(&self) {
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
        let sinks = self.sinks.set(&archive, &manager);
        let delivered = block_on(async {
            let Deliveries { undrained, .. } = sinks.deliver(&archive, &there, PATIENCE).await;
            close_artifacts(&manager).await;
            undrained
        });
        match delivered {
            Ok(undrained) => tell_undrained(&undrained, self.sinks.bucket.as_ref()),
            Err(failure) => note("warning", &failure.causes().join(": ")),
        }
        match self.sinks.parked(&archive, &sinks, Some(&there)) {
            Ok(parked) => tell_parked(&parked),
            Err(error) => note("warning", &chain(&error).join(": ")),
        }
    }
}

/// Sinks that are fed while a command runs.
#[derive(Debug)]
pub(crate) struct Feeding {
    sinks: FollowedUpgrade,
    manager: TestArtifactsManager,
    bucket: Option<SharedBucket>,
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
                let sinks = self
                    .sinks
                    .set(&archive, &manager)
                    .follow(&archive, upgrade.clone());
                Some(Feeding {
                    sinks,
                    manager,
                    bucket: self.sinks.bucket.clone(),
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
    /// Lets the sinks have what is left, for at most 5 s; says what is left then.
    pub(crate) async fn end(feeding: Option<Self>) {
        if let Some(Self {
            sinks,
            manager,
            bucket,
        }) = feeding
        {
            tell_undrained(&sinks.stop(PATIENCE).await, bucket.as_ref());
            close_artifacts(&manager).await;
        }
    }
}

/// Says what sinks cannot take as it is.
pub(crate) fn tell_parked(parked: &[SinkStatus]) {
    for status in parked {
        let reason = status.cursor.parked.last().map_or("", |last| &last.reason);
        let what = format!(
            "{} of {} cannot be delivered to {} and {} parked: {reason}; `ekstrack sinks` lists them, `ekstrack sinks retry` tries again",
            several(status.cursor.parked.len() as u64, "record"),
            status.stream,
            status.sink,
            if status.cursor.parked.len() == 1 {
                "is"
            } else {
                "are"
            },
        );
        note("warning", &what);
    }
}

/// Says what sinks did not get.
pub(crate) fn tell_undrained(undrained: &[Undrained], bucket: Option<&SharedBucket>) {
    // It may be that there was no time because nobody is there.
    let silent = bucket.and_then(|bucket| Some((bucket.location(), bucket.silent_place()?)));
    for left in undrained {
        let waiting = match left.records {
            Some(1) => format!("1 record of {} waits", left.stream),
            Some(records) => format!("{records} records of {} wait", left.stream),
            None => format!("records of {} wait", left.stream),
        };
        let silent = silent.as_ref().filter(|_| left.sink.starts_with("s3-"));
        let why = match (&left.reason, left.earlier, silent) {
            (Some(reason), None, _) => reason.clone(),
            (_, _, Some((location, place))) => format!(
                "{place} does not answer for {location}: check the endpoint, and the network on the way"
            ),
            (Some(reason), Some(at), None) => format!("at {} it was refused: {reason}", time(at)),
            (None, _, None) => "there was no time for all of it".to_owned(),
        };
        let why = one_line(&why);
        let what = format!(
            "{waiting} for {}: {why}; `ekstrack sync` or the next command delivers what is left",
            left.sink
        );
        note("note", &what);
    }
}
