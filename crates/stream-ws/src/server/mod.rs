//! The hub's streams over WebSocket: the caller binds, and says when to stop.

mod connection;
#[cfg(any(test, feature = "test-util"))]
mod echo;
mod error;
mod handshake;
mod listen;
mod metered;
mod names;
mod options;
mod register;
mod socket;
mod tls;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Hub, Shortcut};
use crate::protocol::{CloseReason, ErrorCode};
use crate::wire::Wire;
use connection::{Connection, End};
#[cfg(any(test, feature = "test-util"))]
pub use echo::echo;
pub use error::{ServeError, TlsError};
use handshake::{Admitted, handshake};
use listen::accept;
pub use listen::bind;
pub(crate) use metered::Flood;
use metered::Metered;
pub use names::{NameError, check_host, check_origin};
pub use options::{Limits, ServerOptions};
use register::{Place, Register};
use socket::SharedSocket;
pub use tls::TlsIdentity;
pub(crate) use tls::read_pem;
pub use token::{Token, TokenError};

/// Where viewers are expected: 127.0.0.1 and `::1`.
pub const DEFAULT_ADDRESS: &str = "localhost:8765";
/// What the system keeps for a viewer that does not read; it would let this grow to megabytes.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// For a system without sockets to spare, until the next try.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServeReport {
    /// Connections that were accepted in all.
    pub accepted: u64,
    /// Viewers that were there when the server stopped.
    pub viewers: usize,
    /// Those of them that did not go in time, and were cut off.
    pub cut_off: usize,
}

/// Serves `hub` to whoever connects to `listeners`, until `shutdown` is cancelled. Then viewers are told 1001 and have
/// [`Limits::shutdown`] to go; the hub stays open.
///
/// # Errors
/// [`ServeError`] before anybody is served: no listener, one off loopback without what that needs, or a name that no
/// request can carry.
///
/// # Cancellation
/// Viewers are cut off when the future is dropped.
pub async fn serve(
    listeners: Vec<TcpListener>,
    hub: Hub,
    options: ServerOptions,
    shutdown: CancellationToken,
) -> Result<ServeReport, ServeError> {
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    options.check_names()?;
    for listener in &listeners {
        options.check(listener.local_addr().map_err(ServeError::Listener)?)?;
    }
    let limits = options.limits;
    let register = Arc::new(Register::new(limits));
    let server = Arc::new(Server {
        hub,
        options,
        register: Arc::clone(&register),
        shutdown: shutdown.clone(),
    });
    let (tasks, cut_off) = (TaskTracker::new(), CancellationToken::new());
    // Dropped with the future, so that nobody is served on.
    let _guard = cut_off.clone().drop_guard();
    let mut report = ServeReport::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listeners) => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                report.accepted += 1;
                let (server, cut_off) = (Arc::clone(&server), cut_off.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = server.connection(socket, peer) => {}
                        () = cut_off.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    drop(listeners);
    report.viewers = register.close();
    tasks.close();
    if timeout(limits.shutdown, tasks.wait()).await.is_err() {
        report.cut_off = tasks.len();
        cut_off.cancel();
        tasks.wait().await;
    }
    Ok(report)
}

#[derive(Debug)]
struct Server {
    hub: Hub,
    options: ServerOptions,
    register: Arc<Register>,
    shutdown: CancellationToken,
}

impl Server {
    /// Within the time that a handshake may take, unless the server stops.
    async fn in_time<T>(&self, handshake: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            shaken = timeout(self.options.limits.handshake, handshake) => shaken.ok(),
            () = self.shutdown.cancelled() => None,
        }
    }

    /// One connection from accept to its end.
    async fn connection(&self, socket: TcpStream, peer: SocketAddr) {
        let Some(place) = self.register.place(peer.ip()) else {
            // Even telling so many that there are too many would be too much.
            metrics::counter!("ekstrack_ws_refused_total", "reason" => "flood").increment(1);
            return;
        };
        let prepared = socket
            .set_nodelay(true)
            .and_then(|()| Ok(set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?));
        let local = match prepared.and_then(|()| socket.local_addr()) {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(%error, %peer, "a connection ended at once");
                return;
            }
        };
        let Some(tls) = &self.options.tls else {
            let socket = SharedSocket::new(socket);
            let shortcut = socket.shortcut();
            return self.welcome((socket, Some(shortcut)), (local, peer), place).await;
        };
        match self.in_time(tls.acceptor().accept(socket)).await {
            Some(Ok(socket)) => self.welcome((socket, None), (local, peer), place).await,
            Some(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
            None => tracing::debug!(%peer, "a TLS handshake took too long"),
        }
    }

    async fn welcome<S>(
        &self,
        (socket, shortcut): (S, Option<Arc<dyn Shortcut>>),
        (local, peer): (SocketAddr, SocketAddr),
        mut place: Place,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let limits = self.options.limits;
        let socket = Metered::new(socket, limits.bytes_per_minute);
        let shaken = self.in_time(handshake(socket, local, &self.options)).await;
        let Admitted {
            socket,
            query,
            authorized,
        } = match shaken {
            Some(Ok(admitted)) => admitted,
            Some(Err((refusal, socket))) => {
                tracing::debug!(%refusal, %peer, "a connection was refused");
                metrics::counter!("ekstrack_ws_refused_total", "reason" => refusal.label()).increment(1);
                if let Some(socket) = socket {
                    linger(socket, limits.close).await;
                }
                return;
            }
            None => {
                tracing::debug!(%peer, "a handshake took too long");
                metrics::counter!("ekstrack_ws_refused_total", "reason" => "timeout").increment(1);
                return;
            }
        };
        let wire = Wire::new(socket);
        let viewer = self.hub.viewer();
        viewer.set_shortcut(shortcut);
        let admitted = place.settle(viewer.handle());
        if let Err(end) = admitted {
            return turn_away(wire, end, limits).await;
        }
        let token = self.options.token.as_ref().filter(|_| !authorized);
        let reason = Connection::new(wire, viewer, limits).run(query, token).await;
        metrics::counter!("ekstrack_ws_closed_total", "code" => reason.to_string()).increment(1);
    }
}

/// Waits a moment for a peer to read why it was refused, and to hang up.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, patience: Duration) {
    let rest = async {
        if socket.shutdown().await.is_ok() {
            let mut rest = socket.take(64 << 10);
            let read = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            tracing::trace!(?read, "the rest of a refused connection");
        }
    };
    if timeout(patience, rest).await.is_err() {
        tracing::trace!("a refused connection was cut off");
    }
}

async fn turn_away<S>(wire: Wire<S>, full: register::Full, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let end = match full {
        register::Full::Closing => End::new(CloseReason::GoingAway, "the server stops"),
        register::Full::Viewers => {
            metrics::counter!("ekstrack_ws_refused_total", "reason" => "full").increment(1);
            End::with_error(
                CloseReason::TryLater,
                ErrorCode::Busy,
                "there are too many viewers; try again later",
            )
        }
    };
    end.carry_out(wire, limits.close).await;
}
