//! How a client behaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::protocol::TypeFilter;
use crate::server::{TlsError, Token, read_pem};

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The secret that the server demands.
    pub token: Option<Token>,
    /// The certificates that sign the server's, for `wss`; those that the machine trusts unless given.
    pub roots: Option<Roots>,
    /// The events that are wanted; all unless given.
    pub types: TypeFilter,
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// Without a sign of life of the server, what is shown is stale, and another connection is tried. Until its first
    /// message only that is one.
    pub stale: Duration,
    /// Before the first try again; each further pause is twice as long, give or take, up to `pause_at_most`.
    pub pause: Duration,
    /// The longest pause.
    pub pause_at_most: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            token: None,
            roots: None,
            types: TypeFilter::default(),
            connect: Duration::from_secs(10),
            ping: Duration::from_secs(10),
            stale: Duration::from_secs(30),
            pause: Duration::from_millis(250),
            pause_at_most: Duration::from_secs(15),
        }
    }
}

impl ClientOptions {
    /// Shows a token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Trusts these certificates alone.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Wants these events alone.
    #[must_use]
    pub fn with_types(mut self, types: TypeFilter) -> Self {
        self.types = types;
        self
    }

    /// Sets the time between two pings, and that without a sign of life after which what is shown is stale.
    #[must_use]
    pub const fn with_heartbeat(mut self, ping: Duration, stale: Duration) -> Self {
        self.ping = ping;
        self.stale = stale;
        self
    }

    /// Sets the shortest and the longest pause before another try.
    #[must_use]
    pub const fn with_pauses(mut self, first: Duration, at_most: Duration) -> Self {
        self.pause = first;
        self.pause_at_most = at_most;
        self
    }
}

/// Certificates that are trusted to sign a server's.
#[derive(Debug, Clone)]
pub struct Roots(pub(super) Arc<[CertificateDer<'static>]>);

impl Roots {
    /// Reads them from a PEM file.
    ///
    /// # Errors
    /// [`TlsError`] if it cannot be read or holds none.
    pub fn from_pem_file(path: &Path) -> Result<Self, TlsError> {
        let certificates = read_pem(path, |pem| {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()
        })
        .map_err(|source| TlsError::Read {
            what: "certificates",
            path: path.to_owned(),
            source: source.into(),
        })?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate {
                path: path.to_owned(),
            });
        }
        Ok(Self(certificates.into()))
    }
}
