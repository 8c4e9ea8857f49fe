//! What viewers say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracking_model::{IdError, StreamId, UpgradeId};

use super::Position;

/// A message of a viewer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientMessage {
    /// Asks for a `pong`.
    Ping,
    /// Asks for a summary of each upgrade that is watched.
    Summary,
    /// Asks for more, or for other types, or to continue somewhere.
    Subscribe(Subscribe),
    /// Asks for less.
    Unsubscribe(Interest),
    /// Proves who speaks.
    Auth {
        /// The token.
        token: String,
    },
}

/// Why a message was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedMessage {
    /// It is no `{"type": …}`.
    #[error("cannot read the message as {{\"type\": …, \"data\": …}}: {0}")]
    Envelope(String),
    /// Its type means nothing here.
    #[error("there is no message {0:?}; there are ping, get_summary, subscribe, unsubscribe and auth")]
    UnknownType(String),
    /// Its data does not fit its type.
    #[error("cannot read the data of {kind}: {reason}")]
    Data {
        /// The message's type.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What a viewer wants to watch: upgrades by id, or all those of some clusters, or all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interest {
    /// By id.
    pub upgrades: BTreeSet<UpgradeId>,
    /// All upgrades of these clusters, those that come later included.
    pub clusters: BTreeSet<String>,
    /// All upgrades of the data directory, those that come later included.
    pub all: bool,
}

impl Interest {
    /// One upgrade.
    #[must_use]
    pub fn upgrade(upgrade_id: UpgradeId) -> Self {
        Self {
            upgrades: BTreeSet::from([upgrade_id]),
            ..Self::default()
        }
    }

    /// All upgrades.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.upgrades.is_empty() && self.clusters.is_empty()
    }

    /// Whether upgrades that come later can belong to it.
    #[must_use]
    pub fn is_open_ended(&self) -> bool {
        self.all || !self.clusters.is_empty()
    }

    /// Whether an upgrade of a cluster belongs to it.
    #[must_use]
    pub fn admits(&self, upgrade_id: &UpgradeId, cluster_name: &str) -> bool {
        self.all || self.upgrades.contains(upgrade_id) || self.clusters.contains(cluster_name)
    }

    /// Adds another's.
    pub fn add(&mut self, more: Self) {
        self.upgrades.extend(more.upgrades);
        self.clusters.extend(more.clusters);
        self.all |= more.all;
    }

    /// Takes another's away.
    pub fn remove(&mut self, less: &Self) {
        if less.all {
            *self = Self::default();
        }
        self.upgrades.retain(|id| !less.upgrades.contains(id));
        self.clusters.retain(|name| !less.clusters.contains(name));
    }
}

/// Which events a viewer wants, by the type of their record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeFilter(Vec<String>);

impl TypeFilter {
    /// Admits the types named: `task.failed`, all that begin alike (`task.*`), or the events of a message
    /// (`progress_event`, `artifact_event`). Admits everything if none is named.
    pub fn new<S: Into<String>>(types: impl IntoIterator<Item = S>) -> Self {
        Self(types.into_iter().map(Into::into).collect())
    }

    /// Whether it admits everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it admits an event whose record has type `kind`.
    #[must_use]
    pub fn admits(&self, kind: &str) -> bool {
        self.is_open() || self.0.iter().any(|pattern| matches(pattern, kind))
    }

    /// The types as they were named.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.0
    }
}

fn matches(pattern: &str, kind: &str) -> bool {
    let is_artifact = kind.starts_with("artifact.");
    match pattern {
        "progress_event" => !is_artifact,
        "artifact_event" => is_artifact,
        _ => match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => pattern == kind,
        },
    }
}

/// Asks for more, or for other types, or to continue somewhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subscribe {
    /// What to watch from now on, beside what is watched already.
    pub interest: Interest,
    /// Which events to send from now on; `None` leaves that as it is.
    pub types: Option<TypeFilter>,
    /// Where to continue. Once it names an upgrade, the sessions of that upgrade that it does not name are sent from
    /// their first record: they are new to whoever keeps what summaries say.
    pub since: BTreeMap<StreamId, Position>,
}

/// How interests are written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct InterestJson {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upgrades: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clusters: Vec<String>,
}

/// How subscriptions are written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SubscribeJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upgrades: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clusters: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    types: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<BTreeMap<String, Position>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AuthJson {
    token: String,
}

/// Stands for all upgrades; no id can be this.
const ALL: &str = "*";

/// The longest name of a cluster or type, in bytes: that of a cluster.
const LONGEST_NAME: usize = 256;

/// Why the data of a message cannot be meant.
#[derive(Debug, thiserror::Error)]
enum NotMeant {
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("a name of {0} bytes: clusters and types have at most {LONGEST_NAME}")]
    LongName(usize),
}

fn check_lengths(names: &[String]) -> Result<(), NotMeant> {
    match names.iter().find(|name| name.len() > LONGEST_NAME) {
        Some(name) => Err(NotMeant::LongName(name.len())),
        None => Ok(()),
    }
}

impl InterestJson {
    fn read(self) -> Result<Interest, NotMeant> {
        check_lengths(&self.clusters)?;
        let all = self.upgrades.iter().any(|id| id == ALL);
        let named = self.upgrades.into_iter().filter(|id| id != ALL);
        Ok(Interest {
            upgrades: named.map(UpgradeId::new).collect::<Result<_, _>>()?,
            clusters: self.clusters.into_iter().collect(),
            all,
        })
    }

    fn of(interest: &Interest) -> Self {
        let mut upgrades: Vec<_> = interest.upgrades.iter().map(ToString::to_string).collect();
        if interest.all {
            upgrades.push(ALL.to_owned());
        }
        Self {
            upgrades,
            clusters: interest.clusters.iter().cloned().collect(),
        }
    }
}

impl Subscribe {
    /// Continues `stream` after `position`.
    #[must_use]
    pub fn with_since(mut self, stream: StreamId, position: Position) -> Self {
        self.since.insert(stream, position);
        self
    }

    fn read(json: SubscribeJson) -> Result<Self, NotMeant> {
        check_lengths(json.types.as_deref().unwrap_or_default())?;
        let interest = InterestJson {
            upgrades: json.upgrades.unwrap_or_default(),
            clusters: json.clusters.unwrap_or_default(),
        };
        let since = json.since.unwrap_or_default().into_iter();
        Ok(Self {
            interest: interest.read()?,
            types: json.types.map(TypeFilter::new),
            since: since
                .map(|(stream, position)| Ok((stream.parse()?, position)))
                .collect::<Result<_, IdError>>()?,
        })
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl ClientMessage {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`MalformedMessage`] says what was expected.
    pub fn parse(text: &str) -> Result<Self, MalformedMessage> {
        // A list would be read as the fields in their order.
        if text.trim_start().starts_with('[') {
            return Err(MalformedMessage::Envelope("it is a list".to_owned()));
        }
        let envelope: Envelope<'_> =
            serde_json::from_str(text).map_err(|error| MalformedMessage::Envelope(error.to_string()))?;
        // Older viewers send null, or nothing, where there is nothing to say.
        let data = envelope.data.map(RawValue::get).filter(|data| *data != "null");
        match envelope.kind.as_str() {
            "ping" => Ok(Self::Ping),
            "get_summary" => Ok(Self::Summary),
            "subscribe" => {
                let json = read_data::<SubscribeJson>("subscribe", data.unwrap_or("{}"))?;
                let subscribe = Subscribe::read(json).map_err(|error| malformed("subscribe", &error))?;
                Ok(Self::Subscribe(subscribe))
            }
            "unsubscribe" => {
                let Some(data) = data else {
                    return Ok(Self::Unsubscribe(Interest::everything()));
                };
                let json = read_data::<InterestJson>("unsubscribe", data)?;
                let interest = json.read().map_err(|error| malformed("unsubscribe", &error))?;
                Ok(Self::Unsubscribe(interest))
            }
            // What serde would say of it could repeat the token.
            "auth" => match serde_json::from_str::<AuthJson>(data.unwrap_or("{}")) {
                Ok(AuthJson { token }) => Ok(Self::Auth { token }),
                Err(_) => Err(malformed("auth", &"a token is needed: {\"token\": …}")),
            },
            _ => Err(MalformedMessage::UnknownType(envelope.kind)),
        }
    }

    /// Writes it as the text of a frame.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Ping => "{\"type\":\"ping\"}".to_owned(),
            Self::Summary => "{\"type\":\"get_summary\"}".to_owned(),
            Self::Subscribe(subscribe) => {
                let interest = InterestJson::of(&subscribe.interest);
                let since = subscribe.since.iter();
                let json = SubscribeJson {
                    upgrades: Some(interest.upgrades),
                    clusters: Some(interest.clusters),
                    types: subscribe.types.as_ref().map(|filter| filter.types().to_vec()),
                    since: Some(since.map(|(stream, at)| (stream.to_string(), *at)).collect()),
                };
                write("subscribe", &json)
            }
            Self::Unsubscribe(interest) => write("unsubscribe", &InterestJson::of(interest)),
            Self::Auth { token } => write("auth", &AuthJson { token: token.clone() }),
        }
    }
}

fn read_data<'a, T: Deserialize<'a>>(kind: &'static str, data: &'a str) -> Result<T, MalformedMessage> {
    serde_json::from_str(data).map_err(|error| malformed(kind, &error))
}

fn malformed(kind: &'static str, reason: &dyn std::fmt::Display) -> MalformedMessage {
    MalformedMessage::Data {
        kind,
        reason: reason.to_string(),
    }
}

fn write<T: Serialize>(kind: &str, data: &T) -> String {
    let data = serde_json::to_string(data).expect("strings and integers always serialise into memory");
    format!("{{\"type\":\"{kind}\",\"data\":{data}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let upgrade = UpgradeId::new("u").unwrap();
        let position = Position {
            epoch: uuid::Uuid::from_u128(7),
            seq: 9,
        };
        let subscribe = Subscribe {
            interest: Interest {
                upgrades: BTreeSet::from([upgrade.clone()]),
                clusters: BTreeSet::from(["prod".to_owned()]),
                all: true,
            },
            types: Some(TypeFilter::new(["task.*"])),
            since: BTreeMap::from([(StreamId::Upgrade(upgrade.clone()), position)]),
        };
        for message in [
            ClientMessage::Ping,
            ClientMessage::Summary,
            ClientMessage::Subscribe(Subscribe::default()),
            ClientMessage::Subscribe(subscribe),
            ClientMessage::Unsubscribe(Interest::upgrade(upgrade)),
            ClientMessage::Auth {
                token: "t\"\n".to_owned(),
            },
        ] {
            assert_eq!(ClientMessage::parse(&message.to_text()).unwrap(), message);
        }
    }

    #[test]
    fn nothing_to_say_may_be_left_out() {
        for text in [
            "{\"type\":\"unsubscribe\"}",
            "{\"data\":null,\"type\":\"unsubscribe\"}",
        ] {
            let message = ClientMessage::parse(text).unwrap();
            assert_eq!(message, ClientMessage::Unsubscribe(Interest::everything()));
        }
        let message = ClientMessage::parse("{\"type\":\"subscribe\"}").unwrap();
        assert_eq!(message, ClientMessage::Subscribe(Subscribe::default()));
    }

    #[test]
    fn an_epoch_may_be_any_text() {
        let text =
            "{\"type\":\"subscribe\",\"data\":{\"since\":{\"upgrade:u\":{\"epoch\":\"kept\",\"seq\":3}}}}";
        let Ok(ClientMessage::Subscribe(subscribe)) = ClientMessage::parse(text) else {
            panic!("a subscription")
        };
        let places: Vec<_> = subscribe.since.into_values().collect();
        let of_none = Position {
            epoch: uuid::Uuid::nil(),
            seq: 3,
        };
        assert_eq!(places, [of_none]);
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_a_token() {
        for (text, expected) in [
            ("", "cannot read the message as"),
            ("[]", "it is a list"),
            (" [\"ping\"]", "it is a list"),
            ("{}", "missing field `type`"),
            ("{\"type\":\"sing\"}", "there is no message \"sing\""),
            (
                "{\"type\":\"subscribe\",\"data\":{\"upgrades\":[\"../etc\"]}}",
                "../etc",
            ),
            ("{\"type\":\"subscribe\",\"data\":{\"upgrades\":7}}", "subscribe"),
            (
                "{\"type\":\"subscribe\",\"data\":{\"since\":{\"upgrade:u\":{\"epoch\":7,\"seq\":1}}}}",
                "subscribe",
            ),
            (
                "{\"type\":\"subscribe\",\"data\":{\"since\":{\"u\":{\"epoch\":\"x\",\"seq\":1}}}}",
                "subscribe",
            ),
            ("{\"type\":\"auth\",\"data\":\"secret\"}", "a token is needed"),
            ("{\"type\":\"auth\"}", "a token is needed"),
        ] {
            let error = ClientMessage::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn types_are_admitted_by_name_by_prefix_and_by_message() {
        let admits = |types: &[&str], kind: &str| TypeFilter::new(types.iter().copied()).admits(kind);
        assert!(admits(&[], "task.failed"));
        assert!(admits(&["task.failed"], "task.failed"));
        assert!(!admits(&["task.failed"], "task.progress"));
        assert!(admits(&["upgrade.started", "task.*"], "task.progress"));
        assert!(admits(&["artifact_event"], "artifact.added"));
        assert!(!admits(&["artifact_event"], "task.failed"));
        assert!(!admits(&["progress_event"], "artifact.added"));
        assert!(admits(&["progress_event"], "upgrade.started"));
    }
}
