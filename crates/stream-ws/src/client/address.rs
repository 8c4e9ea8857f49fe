//! Where a client connects to.

use tokio_tungstenite::tungstenite::http::Uri;

use super::ClientError;
use crate::protocol::Query;

const SCHEMES: &str = "it must begin with ws:// or wss://";

/// A URL, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As in the URL: name, and port if given.
    authority: String,
    path: String,
    pub(super) query: Query,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        let bad = |reason: String| ClientError::Url { reason };
        if !url.contains("://") {
            return Err(bad(SCHEMES.to_owned()));
        }
        let uri: Uri = url.parse().map_err(|error| bad(format!("{error}")))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad(SCHEMES.to_owned())),
        };
        let authority = uri
            .authority()
            .ok_or_else(|| bad("it names no host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(bad("a password has no place in a URL".to_owned()));
        }
        let query = Query::parse(uri.query().unwrap_or_default()).map_err(|error| bad(error.to_string()))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path().to_owned(),
            query,
        })
    }

    /// The URL with another query.
    pub(super) fn url(&self, query: &Query) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        let path = if self.path.is_empty() { "/" } else { &self.path };
        format!("{scheme}://{}{path}?{}", self.authority, query.to_query())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let address = Address::parse("ws://localhost:8765?upgrade=u").unwrap();
        assert_eq!(
            (address.tls, &*address.host, address.port),
            (false, "localhost", 8765)
        );
        assert_eq!(address.url(&address.query), "ws://localhost:8765/?upgrade=u");
        let address = Address::parse("wss://[::1]/live").unwrap();
        assert_eq!((address.tls, &*address.host, address.port), (true, "::1", 443));
        assert_eq!(address.url(&address.query), "wss://[::1]/live?");
    }

    #[test]
    fn what_is_no_url_of_ours_is_refused_without_repeating_secrets() {
        for url in [
            "",
            "localhost:8765",
            "http://localhost",
            "ws://",
            "ws://localhost?upgrade=../x",
            "ws://localhost?token=secret",
            "ws://user:secret@localhost",
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
