//! Making a sink: everything is validated once, and every problem is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_connect::{Address, StaticCredentials, endpoint_problem, region_problem};
use tracking_journal::SinkName;

use crate::bus::Bus;
use crate::kinds::Kinds;
use crate::settings::{
    DEFAULT_MAX_BYTES, DEFAULT_SOURCE, MAX_MAX_BYTES, MAX_TIME, MIN_MAX_BYTES, Patience, Settings,
};
use crate::sink::EventBridgeSink;

/// Most bytes that all resources together may have: they count in every entry.
const MAX_RESOURCE_BYTES: usize = 16 * 1024;

/// Settings that cannot be used, each problem with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct BuildError {
    /// The problems, in the order of the settings.
    pub problems: Vec<String>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the settings of the EventBridge sink cannot be used: {}",
            self.problems.join("; ")
        )
    }
}

/// Builds an [`EventBridgeSink`].
///
/// Credentials, and region and endpoint where they are not given, come from the SDK's standard chain: environment,
/// profiles, SSO, web identity, containers, instance metadata. It is asked at the first call, so building does no
/// input or output.
#[derive(Debug, Clone)]
pub struct EventBridgeBuilder {
    /// `None` if the settings that this was made of have none.
    bus: Option<String>,
    sink_name: Option<String>,
    source: String,
    resources: Vec<Arc<str>>,
    events: Vec<String>,
    max_bytes: usize,
    region: Option<String>,
    endpoint: Option<Address>,
    patience: Patience,
    credentials: Option<StaticCredentials>,
}

impl EventBridgeBuilder {
    /// A sink that sends to `bus`: its name, `default` for the account's default bus, or its ARN, which also tells the
    /// region.
    #[must_use]
    pub fn new(bus: impl Into<String>) -> Self {
        Self::of(Some(bus.into()))
    }

    pub(crate) fn of(bus: Option<String>) -> Self {
        Self {
            bus,
            sink_name: None,
            source: DEFAULT_SOURCE.to_owned(),
            resources: Vec::new(),
            events: vec!["default".to_owned()],
            max_bytes: DEFAULT_MAX_BYTES,
            region: None,
            endpoint: None,
            patience: Patience::default(),
            credentials: None,
        }
    }

    /// Sets the name by which the sink's cursor is found again; `eventbridge:<bus>` unless given. With another name
    /// everything is sent again.
    #[must_use]
    pub fn sink_name(mut self, name: impl Into<String>) -> Self {
        self.sink_name = Some(name.into());
        self
    }

    /// Sets the source of events, [`DEFAULT_SOURCE`] unless given.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Adds an ARN that every event names as what it is about, such as the cluster's.
    #[must_use]
    pub fn resource(mut self, arn: impl Into<String>) -> Self {
        self.resources.push(arn.into().into());
        self
    }

    /// Sets which events are sent: types such as `task.failed`, with `*` at one end for several, and `default` for
    /// those that are sent unless this is called: every change of the upgrade and of tasks but their progress.
    #[must_use]
    pub fn events<I: Into<String>>(mut self, patterns: impl IntoIterator<Item = I>) -> Self {
        self.events = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the most bytes of a call, and so of an event, [`DEFAULT_MAX_BYTES`] unless given; from [`MIN_MAX_BYTES`] to
    /// [`MAX_MAX_BYTES`].
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the bus's region.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets the address of a server that is not AWS, or of a VPC endpoint: `https://host:port`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<Address>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets when a call is given up.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sets credentials by hand, for a test server.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn credentials(mut self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.credentials = Some(StaticCredentials::new(access_key, secret_key));
        self
    }

    /// Validates everything.
    ///
    /// # Errors
    /// [`BuildError`] with every problem.
    pub fn build(self) -> Result<EventBridgeSink, BuildError> {
        let mut problems = Vec::new();
        let name = self.bus.clone().unwrap_or_default();
        let bus = match self.bus {
            Some(_) => Bus::parse(&name)
                .inspect_err(|rule| problems.push(format!("the bus {name:?} {rule}")))
                .ok(),
            None => {
                problems.push("no bus is given: set `bus`".to_owned());
                None
            }
        };
        let sink_name = match (&self.sink_name, &bus) {
            (Some(name), _) => SinkName::new(name)
                .inspect_err(|error| problems.push(error.to_string()))
                .ok(),
            (None, bus) => bus.map(|bus| bus.sink_name()),
        };
        problems
            .extend(source_problem(&self.source).map(|rule| format!("the source {:?} {rule}", self.source)));
        problems.extend(resource_problems(&self.resources));
        let kinds = self.kinds(&mut problems);
        if !(MIN_MAX_BYTES..=MAX_MAX_BYTES).contains(&self.max_bytes) {
            problems.push(format!(
                "calls of {} bytes are not possible: 64 KiB to 1 MiB are",
                self.max_bytes
            ));
        }
        let region_of_bus = bus.and_then(|bus| bus.region());
        problems.extend(self.address_problems(region_of_bus));
        let (Some(sink_name), true) = (sink_name, problems.is_empty()) else {
            return Err(BuildError { problems });
        };
        let region = self.region.clone().or_else(|| region_of_bus.map(str::to_owned));
        Ok(EventBridgeSink::new(Settings {
            sink_name,
            region,
            kinds,
            bus: name,
            source: self.source,
            resources: self.resources,
            max_bytes: self.max_bytes,
            endpoint: self.endpoint.map(|endpoint| endpoint.as_str().to_owned()),
            patience: self.patience,
            credentials: self.credentials,
        }))
    }

    fn kinds(&self, problems: &mut Vec<String>) -> Kinds {
        if self.events.is_empty() {
            problems.push("no events are chosen: without any, the sink is of no use".to_owned());
        }
        Kinds::chosen(&self.events).unwrap_or_else(|unknown| {
            for pattern in unknown {
                problems.push(format!(
                    "there is no event {pattern:?} that can be sent: give `default`, a type such as `task.failed`, or one \
                     with `*` at one end"
                ));
            }
            Kinds::default()
        })
    }

    fn address_problems(&self, region_of_bus: Option<&str>) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(region) = &self.region {
            let elsewhere = || {
                let other = region_of_bus.filter(|other| other != region)?;
                Some(format!(
                    "the region is {region}, and the bus is in {other}: leave the region out, or name the region's bus"
                ))
            };
            problems.extend(region_problem(region).or_else(elsewhere));
        }
        problems.extend(
            self.endpoint
                .as_ref()
                .map(Address::as_str)
                .and_then(endpoint_problem),
        );
        let Patience {
            connect_timeout,
            call_timeout,
            batch_time,
        } = self.patience;
        let possible = |time: &Duration| !time.is_zero() && *time <= MAX_TIME;
        if ![connect_timeout, call_timeout, batch_time].iter().all(possible) {
            problems.push("a call cannot be given up at once, or never: give times up to an hour".to_owned());
        }
        problems
    }
}

fn source_problem(source: &str) -> Option<&'static str> {
    if !(1..=256).contains(&source.chars().count()) {
        Some("must have 1 to 256 characters")
    } else if source.starts_with("aws.") {
        Some("must not begin with `aws.`, which is for AWS's own events")
    } else if source.chars().any(char::is_control) {
        Some("must not have control characters")
    } else {
        None
    }
}

fn resource_problems(resources: &[Arc<str>]) -> Vec<String> {
    let mut problems = Vec::new();
    for arn in resources {
        let is_arn =
            arn.starts_with("arn:") && arn.split(':').count() >= 6 && !arn.contains(char::is_whitespace);
        if !is_arn || arn.len() > 2048 {
            problems.push(format!(
                "the resource {arn:?} is no ARN: write it like `arn:aws:eks:REGION:ACCOUNT:cluster/NAME`"
            ));
        }
    }
    let bytes: usize = resources.iter().map(|arn| arn.len()).sum();
    if bytes > MAX_RESOURCE_BYTES {
        problems.push(format!(
            "the resources have {bytes} bytes, and they count in every event: give at most 16 KiB"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        let error = EventBridgeBuilder::new("my bus")
            .sink_name("../x")
            .source("aws.upgrades")
            .resource("cluster")
            .resource("arn:aws:eks:eu-west-1:123456789012:cluster/".to_owned() + &"x".repeat(20_000))
            .events(["task.heartbeat", "artifact.*"])
            .max_bytes(1)
            .region("eu west")
            .endpoint("host:1/path")
            .patience(Patience {
                call_timeout: Duration::ZERO,
                ..Patience::default()
            })
            .build()
            .unwrap_err();
        assert_eq!(error.problems.len(), 12, "{:#?}", error.problems);
    }

    #[test]
    fn an_arn_tells_the_region() {
        let arn = "arn:aws:events:eu-west-1:123456789012:event-bus/ops";
        EventBridgeBuilder::new(arn).build().unwrap();
        let error = EventBridgeBuilder::new(arn)
            .region("eu-west-2")
            .build()
            .unwrap_err();
        assert!(error.problems[0].contains("the bus is in eu-west-1"), "{error}");
    }

    #[test]
    fn credentials_never_show() {
        let builder = EventBridgeBuilder::new("ops").credentials("AKIA", "very secret");
        let sink = builder.clone().build().unwrap();
        for text in [format!("{builder:?}"), format!("{sink:?}")] {
            assert!(!text.contains("secret") && !text.contains("AKIA"), "{text}");
        }
    }
}
