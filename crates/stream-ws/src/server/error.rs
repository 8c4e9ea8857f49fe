//! Why a server does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::NameError;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address that is none.
    #[error("cannot resolve {address:?}; give an address and a port, such as localhost:8765")]
    Address {
        /// What was given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something listens there already.
    #[error("{address} is in use; stop what listens there, or listen elsewhere")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system does not let this process listen there.
    #[error("not allowed to listen on {address}; ports below 1024 are for root")]
    Denied {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Listening failed otherwise.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is nothing to listen on.
    #[error("there is no address to listen on")]
    NoListener,
    /// A listener that does not say where it listens.
    #[error("cannot tell where a socket listens")]
    Listener(#[source] io::Error),
    /// A host or an origin that no request can carry.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Off loopback everybody could watch.
    #[error(
        "listening on {address} needs a token of at least 256 bits, for it can be reached from other machines"
    )]
    NeedsToken {
        /// The address.
        address: SocketAddr,
    },
    /// Off loopback the token could be read on its way.
    #[error(
        "listening on {address} needs TLS, for it can be reached from other machines; \
         give a certificate and a key, or say that a proxy in front has them"
    )]
    NeedsTls {
        /// The address.
        address: SocketAddr,
    },
}

/// Why TLS cannot be spoken with a certificate and a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read as PEM.
    #[error("cannot read {what} from {}", path.display())]
    Read {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file without a certificate.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key that do not belong together, or are of a kind that is not known.
    #[error("the certificate {} and the key {} cannot be used together", certificate.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
