//! How a server behaves, and where it may listen.

use std::net::SocketAddr;
use std::time::Duration;

use super::{NameError, ServeError, TlsIdentity, Token, check_host, check_origin};

/// How a server behaves.
///
/// The default is for loopback: no token, no TLS, and no page of a browser may connect.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The secret that viewers must show.
    pub token: Option<Token>,
    /// Certificate and key.
    pub tls: Option<TlsIdentity>,
    /// TLS ends at a proxy in front of this server.
    pub behind_tls_proxy: bool,
    /// Names under which viewers reach the server, as in the `Host` header and without a port; beside `localhost` and the
    /// addresses that it listens on.
    pub hosts: Vec<String>,
    /// The pages that may connect, as in the `Origin` header: `https://dash.example.com`. Programs send none and may.
    pub origins: Vec<String>,
    /// Limits.
    pub limits: Limits,
}

/// What a server lets viewers do, and for how long it waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Viewers in all.
    pub connections: usize,
    /// Viewers of one address.
    pub connections_per_address: usize,
    /// Bytes of a message of a viewer.
    pub message_bytes: usize,
    /// Messages of a viewer in a minute.
    pub messages_per_minute: u32,
    /// Bytes of a viewer in a minute, whatever they are.
    pub bytes_per_minute: u32,
    /// Until a viewer has asked to be one, TLS included.
    pub handshake: Duration,
    /// Until a viewer has shown the token, where that is to be the first message.
    pub auth: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// Without a sign of life.
    pub dead: Duration,
    /// For a viewer to answer that the connection is closed.
    pub close: Duration,
    /// For all of them together when the server stops.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 512,
            message_bytes: 64 << 10,
            messages_per_minute: 100,
            bytes_per_minute: 1 << 20,
            handshake: Duration::from_secs(10),
            auth: Duration::from_secs(5),
            ping: Duration::from_secs(20),
            dead: Duration::from_secs(60),
            close: Duration::from_secs(2),
            shutdown: Duration::from_secs(5),
        }
    }
}

impl ServerOptions {
    /// Demands a token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(mut self, identity: TlsIdentity) -> Self {
        self.tls = Some(identity);
        self
    }

    /// Says whether TLS ends at a proxy in front.
    #[must_use]
    pub const fn with_behind_tls_proxy(mut self, behind: bool) -> Self {
        self.behind_tls_proxy = behind;
        self
    }

    /// Adds names under which viewers reach the server.
    #[must_use]
    pub fn with_hosts<S: Into<String>>(mut self, hosts: impl IntoIterator<Item = S>) -> Self {
        self.hosts.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Adds pages that may connect.
    #[must_use]
    pub fn with_origins<S: Into<String>>(mut self, origins: impl IntoIterator<Item = S>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Sets the limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Which of the hosts and origins no request can carry, and why.
    pub fn wrong_names(&self) -> impl Iterator<Item = NameError> {
        let hosts = self.hosts.iter().filter_map(|host| check_host(host).err());
        hosts.chain(
            self.origins
                .iter()
                .filter_map(|origin| check_origin(origin).err()),
        )
    }

    /// Whether requests can carry all of the hosts and origins.
    pub(super) fn check_names(&self) -> Result<(), ServeError> {
        self.wrong_names()
            .next()
            .map_or(Ok(()), |error| Err(error.into()))
    }

    /// Whether a server may listen there: off loopback it needs a token, and TLS or a proxy that has it.
    ///
    /// # Errors
    /// [`ServeError::NeedsToken`] and [`ServeError::NeedsTls`].
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        let ip = address.ip().to_canonical();
        if ip.is_loopback() {
            Ok(())
        } else if self.token.is_none() {
            Err(ServeError::NeedsToken { address })
        } else if self.tls.is_none() && !self.behind_tls_proxy {
            Err(ServeError::NeedsTls { address })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_loopback_needs_a_token_and_tls() {
        let token: Token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            .parse()
            .unwrap();
        let away = ["0.0.0.0:1", "10.0.0.7:1", "[::]:1", "[::ffff:10.0.0.7]:1"];
        let home = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        let plain = ServerOptions::default();
        let with_token = plain.clone().with_token(token);
        let proxied = with_token.clone().with_behind_tls_proxy(true);
        for address in home.map(|text| text.parse().unwrap()) {
            plain.check(address).unwrap();
        }
        for address in away.map(|text| text.parse().unwrap()) {
            assert!(matches!(plain.check(address), Err(ServeError::NeedsToken { .. })));
            let no_token = plain.clone().with_behind_tls_proxy(true);
            assert!(matches!(
                no_token.check(address),
                Err(ServeError::NeedsToken { .. })
            ));
            assert!(matches!(
                with_token.check(address),
                Err(ServeError::NeedsTls { .. })
            ));
            proxied.check(address).unwrap();
        }
    }
}
