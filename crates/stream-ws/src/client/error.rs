//! Why a client cannot be one.

use std::io;
use std::time::Duration;

use crate::protocol::CloseReason;

/// Why a client cannot be one, now or ever.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A URL that leads nowhere.
    #[error("cannot use the URL: {reason}")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// Nobody listens there, or cannot be reached.
    #[error("cannot connect to {host}:{port}")]
    Connect {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS does not come about.
    #[error("cannot speak TLS with the server: {reason}")]
    Tls {
        /// What it is about.
        problem: TlsProblem,
        /// Why.
        reason: String,
    },
    /// The server speaks TLS, and was not asked to.
    #[error("what answers speaks TLS, and the URL does not begin with wss://")]
    NeedsTls,
    /// The server wants a token, and this client has none.
    #[error("the server wants a token")]
    NeedsToken,
    /// The server does not want this client.
    #[error("the server refuses with HTTP status {status}{}", hint(*status))]
    Refused {
        /// The status.
        status: u16,
    },
    /// Something else than a WebSocket server answers.
    #[error("what answers is no WebSocket server of ours: {reason}")]
    Handshake {
        /// What is wrong.
        reason: String,
    },
    /// The server hung up, and said why.
    #[error("the server hung up ({code}): {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// Why.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection is gone")]
    Gone,
    /// Nothing came for too long.
    #[error("nothing was heard for {0:.0?}")]
    Silent(Duration),
    /// What came is not of this protocol.
    #[error("cannot make sense of the server: {reason}")]
    Nonsense {
        /// What is wrong.
        reason: String,
    },
}

/// What TLS does not come about for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Nobody who is trusted vouches for the server's certificate.
    UnknownAuthority,
    /// The certificate is for other names.
    WrongName,
    /// The certificate is an authority's (`CA:TRUE`), which a server's must not be.
    AuthorityAsServer,
    /// The certificate is not valid any more, or not yet.
    Expired,
    /// What answers does not speak TLS.
    PlainServer,
    /// Anything else.
    Other,
}

const fn hint(status: u16) -> &'static str {
    match status {
        401 => ": the token is wrong",
        403 => ": it was not told to go by this name, or not to let this page in",
        _ => "",
    }
}

impl ClientError {
    /// Whether trying again may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::Tls { .. }
            | Self::NeedsTls
            | Self::NeedsToken
            | Self::Handshake { .. } => false,
            Self::Refused { status } => *status >= 500,
            Self::Closed { code, .. } => *code != CloseReason::Policy.code(),
            Self::Connect { .. } | Self::Gone | Self::Silent(_) | Self::Nonsense { .. } => true,
        }
    }
}
