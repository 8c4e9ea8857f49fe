//! Listening: addresses, and what the system says of them.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::ServeError;

/// Listens on `address`, such as `localhost:8765`, which is 127.0.0.1 and `::1` where the machine has both.
///
/// # Errors
/// [`ServeError`] if the address is none, in use, or not allowed.
pub async fn bind(address: &str) -> Result<Vec<TcpListener>, ServeError> {
    if let Some(port) = address.strip_prefix("localhost:") {
        let bad = |error: std::num::ParseIntError| ServeError::Address {
            address: address.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        };
        return bind_loopback(port.parse().map_err(bad)?).await;
    }
    let found = lookup_host(address).await.map_err(|source| ServeError::Address {
        address: address.to_owned(),
        source,
    })?;
    let mut listeners = Vec::new();
    for address in found {
        listeners.push(listen(address).await?);
    }
    Ok(listeners)
}

async fn bind_loopback(port: u16) -> Result<Vec<TcpListener>, ServeError> {
    let four = listen((Ipv4Addr::LOCALHOST, port).into()).await?;
    let port = four.local_addr().map_err(ServeError::Listener)?.port();
    match listen((Ipv6Addr::LOCALHOST, port).into()).await {
        Ok(six) => Ok(vec![four, six]),
        // A machine without IPv6.
        Err(ServeError::Bind { address, source }) => {
            tracing::debug!(%address, error = %source, "listening on IPv4 alone");
            Ok(vec![four])
        }
        Err(error) => Err(error),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse { address, source },
            io::ErrorKind::PermissionDenied => ServeError::Denied { address, source },
            _ => ServeError::Bind { address, source },
        })
}

/// The next connection to any of them.
pub(super) async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}
