//! Why an upgrade cannot be watched at a server: what to say, what to do, and the exit code.

use tracking_facade::live::protocol::ErrorCode;
use tracking_facade::live::{ClientError, TlsProblem};

use super::RemoteFollow;
use crate::exit::{Failure, Kind};

/// `told` is the last error that the server said before it hung up.
pub(super) fn failure(follow: &RemoteFollow, told: Option<ErrorCode>, error: &ClientError) -> Failure {
    let (kind, hint) = match error {
        ClientError::Closed { .. } => closed(told),
        ClientError::Refused { status } => refused(*status),
        ClientError::NeedsToken => (Kind::Refused, TOKEN),
        ClientError::Tls { problem, .. } => (Kind::Unavailable, tls(*problem)),
        ClientError::NeedsTls => (Kind::Unavailable, "begin the URL with wss://"),
        ClientError::Url { .. } => (Kind::Usage, "give it as in ws://localhost:8765"),
        ClientError::Handshake { .. } | ClientError::Nonsense { .. } => {
            (Kind::Unavailable, "is it `ekstrack serve` that listens there?")
        }
        _ => (Kind::Unavailable, "is `ekstrack serve` running there?"),
    };
    Failure::of(kind, follow.attempted(), error).hint(hint)
}

const fn closed(told: Option<ErrorCode>) -> (Kind, &'static str) {
    match told {
        Some(ErrorCode::UnknownUpgrade | ErrorCode::Removed) => (
            Kind::NotFound,
            "`ekstrack upgrade list` on that machine shows those there are; without an upgrade the latest is watched",
        ),
        Some(ErrorCode::Unauthorized) => (Kind::Refused, TOKEN),
        Some(ErrorCode::Malformed) => (Kind::Usage, "name the upgrade, and --since, outside of the URL"),
        Some(ErrorCode::Unavailable) => (Kind::Unavailable, "the log of the server says why"),
        Some(ErrorCode::Busy | ErrorCode::TooMany) => (Kind::Unavailable, "try again later"),
        _ => (Kind::Unavailable, "try again; the log of the server says more"),
    }
}

const fn refused(status: u16) -> (Kind, &'static str) {
    match status {
        401 => (Kind::Refused, TOKEN),
        403 => (
            Kind::Refused,
            "`ekstrack serve --allow-host HOST` there lets viewers call it by the name in the URL",
        ),
        _ => (
            Kind::Unavailable,
            "is it `ekstrack serve`, or a proxy before it, that answers there?",
        ),
    }
}

const TOKEN: &str = "--token-file names the file with the server's token";

const fn tls(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::UnknownAuthority => {
            "--ca-file names the file with the certificate of the authority that signed it; \
             for one that is self-signed, with itself"
        }
        TlsProblem::AuthorityAsServer => {
            "make one that is none: `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`"
        }
        TlsProblem::WrongName => "use a name in the URL that the certificate is for",
        TlsProblem::Expired => "see to the clock of this machine; else the server needs a new certificate",
        TlsProblem::PlainServer => "if it is to be spoken to without TLS, begin the URL with ws://",
        _ => "is it `ekstrack serve` with a certificate that listens there?",
    }
}

/// A sequence that the server's journal does not have yet.
pub(super) fn future(follow: &RemoteFollow, since: u64, records: u64) -> Failure {
    let attempted = format!("{} since {since}", follow.attempted());
    let cause = format!("its journal has only {records} records");
    Failure::new(Kind::Usage, attempted, cause)
        .hint("it may be another upgrade of the same id; leave --since out to begin anew")
}
