//! From an address to a socket that speaks WebSocket.

use std::io;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::address::Address;
use super::{ClientError, ClientOptions};
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
    let tcp = tcp.map_err(|source| ClientError::Connect {
        host: address.host.clone(),
        port: address.port,
        source,
    })?;
    let socket: Box<dyn Socket> = if address.tls {
        let name = ServerName::try_from(address.host.clone()).map_err(|error| tls_error(&error))?;
        let connector = TlsConnector::from(Arc::new(tls_config(&options)?));
        Box::new(
            connector
                .connect(name, tcp)
                .await
                .map_err(|error| tls_error(&error))?,
        )
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
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(ClientError::Refused {
            status: response.status().as_u16(),
        }),
        Err(error) => Err(ClientError::Handshake {
            reason: error.to_string(),
        }),
    }
}

fn tls_error(error: &dyn std::error::Error) -> ClientError {
    ClientError::Tls {
        reason: error.to_string(),
    }
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
                let none = io::Error::new(io::ErrorKind::NotFound, "this machine trusts no certificates");
                return Err(tls_error(&none));
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
