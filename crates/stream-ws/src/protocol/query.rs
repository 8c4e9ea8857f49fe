//! What a viewer asks for when it connects: the query of the URL.

use std::collections::BTreeMap;

use tracking_model::{IdError, SessionId, StreamId, UpgradeId};

use super::{Position, epoch_of};

/// What a viewer asks for when it connects.
///
/// `?upgrade=<id>` names the upgrade; without it the server chooses. `&epoch=<e>&since=<n>` continues it, and
/// `&sessions=<id>@<epoch>@<n>,…` the sessions of its artifacts. Where `sessions` is given, even empty, those that it
/// does not name are sent from their first record; else artifacts are sent from now on. `&snapshot=1` has summaries that
/// begin something hold all tasks. `?upgrade=none` watches nothing until a `subscribe` comes; an upgrade of that id is
/// `?upgrade=%6Eone`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The upgrade; `None` leaves the choice to the server.
    pub upgrade: Option<UpgradeId>,
    /// Watches nothing at first.
    pub nothing: bool,
    /// Where to continue the upgrade.
    pub since: Option<Position>,
    /// Where to continue the sessions of its artifacts.
    pub sessions: Option<BTreeMap<SessionId, Position>>,
    /// Has summaries that begin something hold all tasks.
    pub snapshot: bool,
}

/// Why the query of a URL was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// An id that cannot be one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A value of another form.
    #[error("cannot read {name}={value:?} in the URL as {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// `epoch` and `since` only mean something together, and for an upgrade that is named.
    #[error("epoch and since continue an upgrade: give upgrade, epoch and since together")]
    Incomplete,
    /// URLs are kept in logs and histories.
    #[error("a token has no place in a URL; send it as a header, as a subprotocol, or in the first message")]
    Token,
}

/// `upgrade=none` in the URL, and what an upgrade of that id is written as.
const NOTHING: &str = "none";
const NAMED_NOTHING: &str = "%6Eone";

impl Query {
    /// Reads the query of a URL, without the question mark. Parameters that mean nothing here are passed over.
    ///
    /// # Errors
    /// [`QueryError`] says what was expected.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let mut read = Self::default();
        let (mut epoch, mut since) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if (name, value) == ("upgrade", NOTHING) {
                read.nothing = true;
                continue;
            }
            let value = decode(value);
            match name {
                "upgrade" => read.upgrade = Some(UpgradeId::new(value)?),
                "epoch" => epoch = Some(epoch_of(&value)),
                "since" => since = Some(read_seq("since", &value)?),
                "snapshot" => read.snapshot = read_flag("snapshot", &value)?,
                "sessions" => read.sessions = Some(read_sessions(&value)?),
                "token" | "auth" | "access_token" => return Err(QueryError::Token),
                _ => {}
            }
        }
        read.since = match (epoch, since) {
            (Some(epoch), Some(seq)) if read.upgrade.is_some() => Some(Position { epoch, seq }),
            (None, None) => None,
            _ => return Err(QueryError::Incomplete),
        };
        Ok(read)
    }

    /// Writes it as the query of a URL, without the question mark.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut parts = Vec::new();
        match &self.upgrade {
            Some(upgrade) if upgrade.as_str() == NOTHING => parts.push(format!("upgrade={NAMED_NOTHING}")),
            Some(upgrade) => parts.push(format!("upgrade={upgrade}")),
            None if self.nothing => parts.push(format!("upgrade={NOTHING}")),
            None => {}
        }
        if let Some(Position { epoch, seq }) = self.since {
            parts.push(format!("epoch={epoch}&since={seq}"));
        }
        if let Some(sessions) = &self.sessions {
            let sessions: Vec<_> = sessions
                .iter()
                .map(|(id, at)| format!("{id}@{}@{}", at.epoch, at.seq))
                .collect();
            parts.push(format!("sessions={}", sessions.join(",")));
        }
        if self.snapshot {
            parts.push("snapshot=1".to_owned());
        }
        parts.join("&")
    }

    /// The places to continue at, by stream.
    pub(crate) fn positions(&self) -> BTreeMap<StreamId, Position> {
        let upgrade = self.upgrade.clone().map(StreamId::Upgrade).zip(self.since);
        let sessions = self.sessions.iter().flatten();
        let sessions = sessions.map(|(id, at)| (StreamId::Session(id.clone()), *at));
        upgrade.into_iter().chain(sessions).collect()
    }
}

fn read_sessions(value: &str) -> Result<BTreeMap<SessionId, Position>, QueryError> {
    let entries = value.split(',').filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            // Neither an id nor a number has such a sign in it, and of an epoch nobody knows.
            let parts = entry.split_once('@');
            let parts = parts.and_then(|(id, rest)| rest.rsplit_once('@').map(|place| (id, place)));
            let (id, (epoch, seq)) = parts.ok_or_else(|| bad("sessions", entry, "<id>@<epoch>@<n>"))?;
            let (epoch, seq) = (epoch_of(epoch), read_seq("sessions", seq)?);
            Ok((SessionId::new(id)?, Position { epoch, seq }))
        })
        .collect()
}

fn read_seq(name: &'static str, value: &str) -> Result<u64, QueryError> {
    value.parse().map_err(|_| bad(name, value, "a whole number"))
}

fn read_flag(name: &'static str, value: &str) -> Result<bool, QueryError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(bad(name, value, "1 or 0")),
    }
}

fn bad(name: &'static str, value: &str, expected: &'static str) -> QueryError {
    QueryError::Value {
        name,
        value: value.to_owned(),
        expected,
    }
}

/// Undoes percent-encoding. What is not UTF-8 afterwards cannot be an id either.
fn decode(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                out.push(escaped);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let position = Position {
            epoch: Uuid::from_u128(7),
            seq: u64::MAX,
        };
        let query = Query {
            upgrade: Some(UpgradeId::new("a:b").unwrap()),
            nothing: false,
            since: Some(position),
            sessions: Some(BTreeMap::from([(SessionId::new("s.1").unwrap(), position)])),
            snapshot: true,
        };
        assert_eq!(Query::parse(&query.to_query()).unwrap(), query);
        assert_eq!(query.positions().len(), 2);
        let nothing = Query {
            nothing: true,
            ..Query::default()
        };
        assert_eq!(Query::parse(&nothing.to_query()).unwrap(), nothing);
        assert_eq!(Query::parse("").unwrap(), Query::default());
    }

    #[test]
    fn an_upgrade_may_be_named_as_nothing_is() {
        let named = Query {
            upgrade: Some(UpgradeId::new(NOTHING).unwrap()),
            since: Some(Position {
                epoch: Uuid::from_u128(7),
                seq: 1,
            }),
            ..Query::default()
        };
        assert_eq!(Query::parse(&named.to_query()).unwrap(), named);
    }

    #[test]
    fn what_others_put_into_urls_is_understood() {
        let query = Query::parse("upgrade=a%3Ab&colour=blue&sessions=").unwrap();
        assert_eq!(query.upgrade, Some(UpgradeId::new("a:b").unwrap()));
        assert_eq!(query.sessions, Some(BTreeMap::new()));
    }

    #[test]
    fn an_epoch_may_be_any_text() {
        for (epoch, sessions) in [("7", "s@7@1"), ("", "s@@1"), ("a%40b", "s@a%40b@1")] {
            let text = format!("upgrade=u&epoch={epoch}&since=1&sessions={sessions}");
            let query = Query::parse(&text).unwrap();
            let of_none = Position {
                epoch: Uuid::nil(),
                seq: 1,
            };
            assert_eq!(query.since, Some(of_none));
            let session = SessionId::new("s").unwrap();
            assert_eq!(query.sessions, Some(BTreeMap::from([(session, of_none)])));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let epoch = Uuid::from_u128(7);
        for query in [
            "upgrade=".to_owned(),
            "upgrade=..%2Fetc".to_owned(),
            format!("upgrade=u&epoch={epoch}"),
            "upgrade=u&since=1".to_owned(),
            format!("epoch={epoch}&since=1"),
            format!("upgrade=u&epoch={epoch}&since=-1"),
            format!("upgrade=u&epoch={epoch}&since=18446744073709551616"),
            "snapshot=".to_owned(),
            "sessions=s".to_owned(),
            format!("sessions=s@{epoch}"),
            "token=secret".to_owned(),
        ] {
            let error = Query::parse(&query).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
