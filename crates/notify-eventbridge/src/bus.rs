//! The names of buses, and what a sink is called after them.

use std::fmt::Write as _;

use aws_connect::is_region;
use sha2::{Digest, Sha256};
use tracking_journal::SinkName;

/// A bus, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus<'a> {
    Name(&'a str),
    Arn {
        region: &'a str,
        account: &'a str,
        name: &'a str,
    },
}

impl<'a> Bus<'a> {
    /// Takes a name or an ARN; the error is the rule that it breaks.
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let bus = if text.starts_with("arn:") {
            let parts: Vec<&str> = text.splitn(6, ':').collect();
            let [_, partition, "events", region, account, resource] = parts[..] else {
                return Err(
                    "is no ARN of a bus: write it like `arn:aws:events:REGION:ACCOUNT:event-bus/NAME`",
                );
            };
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            let Some(name) = resource.strip_prefix("event-bus/").filter(|_| {
                digits && is_region(region) && (partition == "aws" || partition.starts_with("aws-"))
            }) else {
                return Err(
                    "is no ARN of a bus: write it like `arn:aws:events:REGION:ACCOUNT:event-bus/NAME`",
                );
            };
            Self::Arn {
                region,
                account,
                name,
            }
        } else {
            Self::Name(text)
        };
        let name = bus.name();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte);
        if !(1..=256).contains(&name.len()) {
            Err("must have 1 to 256 characters")
        } else if !name.bytes().all(allowed) {
            Err("may have only letters, digits, `.`, `-`, `_` and `/`")
        } else if name.starts_with("aws.") {
            Err("is a partner's bus, which takes only the partner's events")
        } else {
            Ok(bus)
        }
    }

    const fn name(&self) -> &'a str {
        match self {
            Self::Name(name) | Self::Arn { name, .. } => name,
        }
    }

    /// The region that an ARN names.
    pub(crate) const fn region(&self) -> Option<&'a str> {
        match self {
            Self::Name(_) => None,
            Self::Arn { region, .. } => Some(region),
        }
    }

    /// The name of the sink that sends to it: the same for the same bus, another for another one.
    pub(crate) fn sink_name(&self) -> SinkName {
        let plain = match self {
            Self::Name(name) => format!("eventbridge:{name}"),
            Self::Arn {
                region,
                account,
                name,
            } => format!("eventbridge:{region}:{account}:{name}"),
        };
        SinkName::new(&plain).unwrap_or_else(|_| {
            let kept: String = plain
                .chars()
                .map(|c| if c == '/' { '.' } else { c })
                .take(100)
                .collect();
            let mut name = format!("{kept}-");
            for byte in Sha256::digest(&plain).iter().take(8) {
                write!(name, "{byte:02x}").expect("writing to a string succeeds");
            }
            SinkName::new(name).expect("it has at most 117 characters, all of them allowed")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_are_named_as_aws_names_them() {
        for bus in [
            "default",
            "ops/team.a-b_c",
            "arn:aws:events:eu-west-1:123456789012:event-bus/ops",
        ] {
            assert!(Bus::parse(bus).is_ok(), "{bus}");
        }
        let long = "a".repeat(257);
        for bus in [
            "",
            "a b",
            "a:b",
            "aws.partner/x",
            &long,
            "arn:aws:sqs:eu-west-1:123456789012:queue",
            "arn:aws:events:eu-west-1:12:event-bus/ops",
            "arn:aws:events:eu-west-1:123456789012:rule/ops",
            "arn:gcp:events:eu-west-1:123456789012:event-bus/ops",
        ] {
            assert!(Bus::parse(bus).is_err(), "{bus}");
        }
    }

    #[test]
    fn each_bus_has_a_sink_name_of_its_own() {
        let name = |bus: &str| Bus::parse(bus).unwrap().sink_name().as_str().to_owned();
        assert_eq!(name("prod"), "eventbridge:prod");
        assert_eq!(
            name("arn:aws:events:eu-west-1:123456789012:event-bus/prod"),
            "eventbridge:eu-west-1:123456789012:prod"
        );
        let (long, shorter) = ("x".repeat(256), "x".repeat(255));
        let odd = ["a/b", "a.b", "x.json", &long, &shorter].map(name);
        let distinct: std::collections::BTreeSet<_> = odd.iter().collect();
        assert_eq!(distinct.len(), odd.len(), "{odd:?}");
        assert_eq!(odd[0], name("a/b"));
    }
}
