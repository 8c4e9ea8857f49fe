//! The request that makes a connection a viewer: read within limits, and refused with the right status.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::{
    AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::ServerOptions;
use crate::protocol::{Query, QueryError, SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX};

/// A request is a line and a few headers.
const MAX_HEAD_BYTES: usize = 8 << 10;
const READ_BUFFER_BYTES: usize = 2 << 10;
/// What is buffered is written at the latest when it is this much.
const WRITE_BUFFER_BYTES: usize = 16 << 10;
/// A buffer that is not full takes one message more, whatever its size; a summary of thousands of tasks is the largest.
const MAX_WRITE_BUFFER_BYTES: usize = 64 << 20;

/// A viewer that was let in.
pub(super) struct Admitted<S> {
    pub(super) socket: WebSocketStream<S>,
    pub(super) query: Result<Query, QueryError>,
    /// Whether it has shown the token, or need not.
    pub(super) authorized: bool,
}

/// Why a connection does not become a viewer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the connection ended before the request was complete")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the request is longer than {MAX_HEAD_BYTES} bytes")]
    TooLong,
    #[error("the request is no WebSocket handshake of version 13")]
    NoHandshake,
    #[error("a WebSocket is served here; connect with a WebSocket client")]
    PlainRequest,
    #[error("the request's Host is not one of this server's")]
    Host,
    #[error("pages of this Origin may not connect")]
    Origin,
    #[error("the token is wrong")]
    Token,
    #[error(transparent)]
    TokenInUrl(QueryError),
}

impl Refusal {
    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Incomplete | Self::Io(_) => None,
            Self::TooLong => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::NoHandshake | Self::TokenInUrl(_) => Some(StatusCode::BAD_REQUEST),
            Self::PlainRequest => Some(StatusCode::UPGRADE_REQUIRED),
            Self::Host | Self::Origin => Some(StatusCode::FORBIDDEN),
            Self::Token => Some(StatusCode::UNAUTHORIZED),
        }
    }

    /// For the metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Incomplete | Self::Io(_) => "incomplete",
            Self::TooLong | Self::NoHandshake | Self::PlainRequest => "malformed",
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Token | Self::TokenInUrl(_) => "token",
        }
    }
}

/// Reads the request and answers it.
///
/// # Cancellation
/// The connection is useless when the future is dropped.
pub(super) async fn handshake<S>(
    mut socket: S,
    local: SocketAddr,
    options: &ServerOptions,
) -> Result<Admitted<S>, (Refusal, Option<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (request, rest) = match read_head(&mut socket).await {
        Ok(read) => read,
        Err(refusal) => return Err(refuse(socket, refusal).await),
    };
    let (response, query, authorized) = match consider(&request, local, options) {
        Ok(considered) => considered,
        Err(refusal) => return Err(refuse(socket, refusal).await),
    };
    if let Err(error) = socket.write_all(&response).await {
        return Err((error.into(), None));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(Some(options.limits.message_bytes))
        .max_frame_size(Some(options.limits.message_bytes))
        .accept_unmasked_frames(false);
    let socket = WebSocketStream::from_partially_read(socket, rest, Role::Server, Some(config)).await;
    Ok(Admitted {
        socket,
        query,
        authorized,
    })
}

async fn read_head<S: AsyncRead + Unpin>(socket: &mut S) -> Result<(Request, Vec<u8>), Refusal> {
    let mut head = Vec::with_capacity(1 << 10);
    loop {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(Refusal::Incomplete);
        }
        match Request::try_parse(&head) {
            Ok(Some((length, request))) => return Ok((request, head.split_off(length))),
            Ok(None) if head.len() >= MAX_HEAD_BYTES => return Err(Refusal::TooLong),
            Ok(None) => {}
            Err(_) => return Err(Refusal::NoHandshake),
        }
    }
}

type Considered = (Vec<u8>, Result<Query, QueryError>, bool);

fn consider(request: &Request, local: SocketAddr, options: &ServerOptions) -> Result<Considered, Refusal> {
    let headers = request.headers();
    check_host(headers, local, options)?;
    check_origin(headers, options)?;
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Err(QueryError::Token) => return Err(Refusal::TokenInUrl(QueryError::Token)),
        query => query,
    };
    let authorized = check_token(headers, options)?;
    if !headers.contains_key("upgrade") {
        return Err(Refusal::PlainRequest);
    }
    let mut response = create_response(request).map_err(|_| Refusal::NoHandshake)?;
    // A browser that offered any insists on one; the one with the token in it is never repeated.
    if subprotocols(headers).any(|offered| offered == SUBPROTOCOL) {
        let selected = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, selected);
    }
    if !authorized {
        // The token may still come as a message; who has none need not wait to be told.
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|_| Refusal::NoHandshake)?;
    Ok((bytes, query, authorized))
}

/// The one value of a header; `Err` if there are several, or one that is no text.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// A page whose name was made to point here (DNS rebinding) still sends that name.
fn check_host(headers: &HeaderMap, local: SocketAddr, options: &ServerOptions) -> Result<(), Refusal> {
    let host = only(headers, HOST)
        .map_err(|()| Refusal::Host)?
        .ok_or(Refusal::Host)?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == local.ip() || (ip.is_loopback() && local.ip().to_canonical().is_loopback()),
        Err(_) => name.eq_ignore_ascii_case("localhost") && local.ip().to_canonical().is_loopback(),
    };
    let is_named = || {
        let mut hosts = options.hosts.iter();
        hosts.any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
    };
    if is_local || is_named() {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

/// Browsers always say which page connects; programs say nothing.
fn check_origin(headers: &HeaderMap, options: &ServerOptions) -> Result<(), Refusal> {
    let Some(origin) = only(headers, ORIGIN).map_err(|()| Refusal::Origin)? else {
        return Ok(());
    };
    let mut origins = options.origins.iter();
    if origins.any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        Ok(())
    } else {
        Err(Refusal::Origin)
    }
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether the token was shown, or is not needed. A wrong one is refused at once; none can still come as a message.
fn check_token(headers: &HeaderMap, options: &ServerOptions) -> Result<bool, Refusal> {
    let Some(token) = &options.token else {
        return Ok(true);
    };
    let header = only(headers, AUTHORIZATION).map_err(|()| Refusal::Token)?;
    let shown = match header {
        Some(header) => match header.split_once(' ') {
            Some((scheme, shown)) if scheme.eq_ignore_ascii_case("bearer") => Some(shown.trim()),
            _ => return Err(Refusal::Token),
        },
        None => subprotocols(headers).find_map(|offered| offered.strip_prefix(TOKEN_SUBPROTOCOL_PREFIX)),
    };
    match shown {
        Some(shown) if token.matches(shown) => Ok(true),
        Some(_) => Err(Refusal::Token),
        None => Ok(false),
    }
}

/// Says no, with a reason.
async fn refuse<S: AsyncWrite + Unpin>(mut socket: S, refusal: Refusal) -> (Refusal, Option<S>) {
    let Some(status) = refusal.status() else {
        return (refusal, None);
    };
    let body = format!("{refusal}\n");
    let upgrade = match status {
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\n",
        StatusCode::UNAUTHORIZED => "WWW-Authenticate: Bearer\r\n",
        _ => "",
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n{upgrade}\r\n{body}",
        body.len()
    );
    match socket.write_all(response.as_bytes()).await {
        Ok(()) => (refusal, Some(socket)),
        Err(error) => (error.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Token;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn hosts_are_those_of_this_machine_and_those_named() {
        let options = ServerOptions::default().with_hosts(["dash.example.com"]);
        let allowed = |local: &str, host: &str| {
            check_host(&headers(&[("host", host)]), local.parse().unwrap(), &options).is_ok()
        };
        for host in [
            "localhost",
            "localhost:8765",
            "127.0.0.1:8765",
            "[::1]:8765",
            "LOCALHOST:1",
            "Dash.example.com",
        ] {
            assert!(allowed("127.0.0.1:8765", host), "{host}");
        }
        for host in [
            "evil.example.com",
            "evil.example.com:8765",
            "",
            "localhost.evil.com",
            "10.0.0.7",
            "a:b:c",
        ] {
            assert!(!allowed("127.0.0.1:8765", host), "{host}");
        }
        assert!(allowed("10.0.0.7:8765", "10.0.0.7:8765"));
        assert!(!allowed("10.0.0.7:8765", "localhost:8765"));
        let local = "127.0.0.1:1".parse().unwrap();
        assert!(check_host(&headers(&[]), local, &options).is_err());
    }

    #[test]
    fn pages_need_leave_and_programs_do_not() {
        let options = ServerOptions::default().with_origins(["https://dash.example.com/"]);
        let allowed = |pairs: &[(&str, &str)]| check_origin(&headers(pairs), &options).is_ok();
        assert!(allowed(&[]));
        assert!(allowed(&[("origin", "https://dash.example.com")]));
        for origin in [
            "null",
            "http://dash.example.com",
            "https://dash.example.com.evil.com",
            "http://localhost:8765",
        ] {
            assert!(!allowed(&[("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn who_shows_no_token_is_told_that_one_is_wanted() {
        let options = ServerOptions::default().with_token(TOKEN.parse::<Token>().unwrap());
        let answer = |options: &ServerOptions, more: &str| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
            );
            let (_, request) = Request::try_parse(head.as_bytes()).unwrap().unwrap();
            let local = "127.0.0.1:1".parse().unwrap();
            let (response, _, authorized) = consider(&request, local, options).unwrap();
            let response = String::from_utf8(response).unwrap().to_lowercase();
            (response.contains("\r\nwww-authenticate: bearer\r\n"), authorized)
        };
        let shown = format!("Authorization: Bearer {TOKEN}\r\n");
        assert_eq!(answer(&options, ""), (true, false));
        assert_eq!(answer(&options, &shown), (false, true));
        assert_eq!(answer(&ServerOptions::default(), ""), (false, true));
    }

    #[test]
    fn tokens_come_as_a_header_or_as_a_subprotocol() {
        let options = ServerOptions::default().with_token(TOKEN.parse::<Token>().unwrap());
        let check = |pairs: &[(&str, &str)]| check_token(&headers(pairs), &options).ok();
        assert_eq!(check(&[]), Some(false), "it may still come as a message");
        assert_eq!(
            check(&[("authorization", &format!("Bearer {TOKEN}"))]),
            Some(true)
        );
        let offered = format!("{SUBPROTOCOL}, {TOKEN_SUBPROTOCOL_PREFIX}{TOKEN}");
        assert_eq!(check(&[("sec-websocket-protocol", &offered)]), Some(true));
        assert_eq!(check(&[("sec-websocket-protocol", SUBPROTOCOL)]), Some(false));
        for wrong in ["Bearer wrong", "Basic dTpw", "Bearer", TOKEN] {
            assert_eq!(check(&[("authorization", wrong)]), None, "{wrong}");
        }
        assert_eq!(check(&[("sec-websocket-protocol", "ekstrack.token.wrong")]), None);
    }
}
