//! The settings as they stand in a configuration file.

use aws_connect::Address;
use serde::Deserialize;

use crate::builder::EventBridgeBuilder;

/// The section `[eventbridge]` of a configuration file. What is absent has the builder's default; credentials have no
/// place here.
///
/// ```
/// let config: notify_eventbridge::EventBridgeConfig = toml::from_str(r#"
///     bus = "ops"
///     region = "eu-central-1"
///     resources = ["arn:aws:eks:eu-central-1:123456789012:cluster/prod"]
///     events = ["default", "task.progress"]
/// "#)?;
/// let sink = config.into_builder().build()?;
/// assert_eq!(sink.bus(), "ops");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EventBridgeConfig {
    /// The bus's name or ARN.
    pub bus: Option<String>,
    /// The name by which the sink's cursor is found again.
    pub sink_name: Option<String>,
    /// The source of events.
    pub source: Option<String>,
    /// ARNs that every event names as what it is about.
    pub resources: Vec<String>,
    /// Which events are sent: `default`, types, types with `*` at one end.
    pub events: Option<Vec<String>>,
    /// Most KiB of a call: 64 to 1024.
    pub max_kib: Option<usize>,
    /// The bus's region.
    pub region: Option<String>,
    /// The address of a server that is not AWS, or of a VPC endpoint.
    pub endpoint: Option<Address>,
}

impl EventBridgeConfig {
    /// The builder with these settings, for more to be set before `build`, which tells every problem of them, that no bus
    /// is given among them.
    #[must_use]
    pub fn into_builder(self) -> EventBridgeBuilder {
        let mut builder = EventBridgeBuilder::of(self.bus);
        if let Some(name) = self.sink_name {
            builder = builder.sink_name(name);
        }
        if let Some(source) = self.source {
            builder = builder.source(source);
        }
        for arn in self.resources {
            builder = builder.resource(arn);
        }
        if let Some(events) = self.events {
            builder = builder.events(events);
        }
        if let Some(kib) = self.max_kib {
            builder = builder.max_bytes(kib.saturating_mul(1024));
        }
        if let Some(region) = self.region {
            builder = builder.region(region);
        }
        if let Some(endpoint) = self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_no_setting() {
        assert!(toml::from_str::<EventBridgeConfig>("buss = 'b'").is_err());
        let config = EventBridgeConfig {
            region: Some(" ".to_owned()),
            source: Some("aws.x".to_owned()),
            ..EventBridgeConfig::default()
        };
        let error = config.into_builder().build().unwrap_err();
        assert!(error.to_string().contains("set `bus`"), "{error}");
        assert_eq!(
            error.problems.len(),
            3,
            "that no bus is given hides nothing: {error}"
        );
    }

    #[test]
    fn every_setting_reaches_the_builder() {
        let config: EventBridgeConfig = toml::from_str(
            "bus = 'a b'\nsink_name = '/'\nsource = 'aws.x'\nresources = ['x']\nevents = ['y']\nmax_kib = 2\nregion = ''\n\
             endpoint = 'z'",
        )
        .unwrap();
        let error = config.into_builder().build().unwrap_err();
        assert_eq!(error.problems.len(), 8, "{:#?}", error.problems);
    }
}
