//! From an address to a socket that speaks WebSocket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, Error as TlsFailure, InvalidMessage, RootCertStore,
};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::address::Address;
use super::{ClientError, ClientOptions, TlsProblem};
use crate::protocol::Query;

/// The summary of thousands of tasks is the largest message.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Any socket, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(super) type ClientSocket = WebSocketStream<Box<dyn Socket>>;

pub(super) async fn connect(
    address: Address,
    query: Query,
    options: ClientOptions,
) -> Result<ClientSocket, ClientError> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await;
    let tcp = tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    let tcp = tcp.map_err(|source| connect_error(&address, source))?;
    let socket: Box<dyn Socket> = if address.tls {
        let name = ServerName::try_from(address.host.clone()).map_err(|error| tls_error(&error))?;
        let connector = TlsConnector::from(Arc::new(tls_config(&options)?));
        let connected = connector.connect(name, tcp).await;
        Box::new(connected.map_err(|error| tls_failure(&address, error))?)
    } else {
        Box::new(tcp)
    };
    let mut request = address
        .url(&query)
        .into_client_request()
        .map_err(|error| ClientError::Url {
            reason: error.to_string(),
        })?;
    if let Some(token) = &options.token {
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
        let mut bearer = bearer.expect("tokens consist of characters that a header may have");
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(4 << 10)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    match client_async_with_config(request, socket, Some(config)).await {
        // It would wait for the token as a message.
        Ok((_, response)) if response.headers().contains_key(WWW_AUTHENTICATE) => {
            Err(ClientError::NeedsToken)
        }
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(ClientError::Refused {
            status: response.status().as_u16(),
        }),
        Err(_) if !address.tls && answers_in_tls(&address).await => Err(ClientError::NeedsTls),
        // It went away meanwhile.
        Err(Error::Io(source)) => Err(connect_error(&address, source)),
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(ClientError::Gone),
        Err(error) => Err(ClientError::Handshake {
            reason: error.to_string(),
        }),
    }
}

/// Whether what listens there answers nonsense as TLS does: by an alert.
async fn answers_in_tls(address: &Address) -> bool {
    const ALERT: u8 = 21;
    const PATIENCE: Duration = Duration::from_secs(1);
    let ask = async {
        let mut tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        tcp.read_u8().await
    };
    let answer: Result<io::Result<u8>, _> = timeout(PATIENCE, ask).await;
    matches!(answer, Ok(Ok(ALERT)))
}

fn connect_error(address: &Address, source: io::Error) -> ClientError {
    ClientError::Connect {
        host: address.host.clone(),
        port: address.port,
        source,
    }
}

fn tls_error(error: &dyn std::error::Error) -> ClientError {
    ClientError::Tls {
        problem: TlsProblem::Other,
        reason: error.to_string(),
    }
}

fn tls_failure(address: &Address, error: io::Error) -> ClientError {
    let told = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<TlsFailure>());
    let Some(told) = told else {
        // It went away meanwhile.
        return connect_error(address, error);
    };
    let problem = match told {
        TlsFailure::InvalidCertificate(certificate) => match certificate {
            // From the second on it is that one with the same name is trusted here, of the same kind of key or another.
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                TlsProblem::UnknownAuthority
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::Expired,
            // The type of what is inside is not that of a crate that is used here.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                TlsProblem::AuthorityAsServer
            }
            _ => TlsProblem::Other,
        },
        TlsFailure::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::PlainServer,
        _ => TlsProblem::Other,
    };
    let reason = match problem {
        TlsProblem::UnknownAuthority => "no authority that is trusted here signed its certificate".to_owned(),
        TlsProblem::AuthorityAsServer => {
            "its certificate is that of an authority, not of a server".to_owned()
        }
        TlsProblem::PlainServer => "what it answers is not TLS".to_owned(),
        TlsProblem::WrongName | TlsProblem::Expired | TlsProblem::Other => told.to_string(),
    };
    ClientError::Tls { problem, reason }
}

fn tls_config(options: &ClientOptions) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    match &options.roots {
        Some(given) => {
            for certificate in given.0.iter() {
                roots
                    .add(certificate.clone())
                    .map_err(|error| tls_error(&error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(ClientError::Tls {
                    problem: TlsProblem::UnknownAuthority,
                    reason: "this machine trusts no certificates".to_owned(),
                });
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
