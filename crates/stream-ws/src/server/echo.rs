//! A server that says back what it hears, for conformance suites: its sockets are those of viewers from the handshake to
//! the close code.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::handshake::{Admitted, handshake};
use super::metered::Metered;
use super::{Limits, ServerOptions};
use crate::protocol::CloseReason;
use crate::wire::{Turn, Wire};

/// Says back every message that comes to `listener`, as text or binary, within the limits of `options`.
///
/// # Cancellation
/// All connections end with the future, which does not end by itself.
pub async fn echo(listener: TcpListener, options: ServerOptions) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            return;
        };
        let options = options.clone();
        connections.spawn(async move { connection(socket, &options).await });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(socket: TcpStream, options: &ServerOptions) {
    let Limits {
        bytes_per_minute,
        close,
        ..
    } = options.limits;
    let Ok(local) = socket.local_addr() else { return };
    let socket = Metered::new(socket, bytes_per_minute);
    let Ok(Admitted { socket, .. }) = handshake(socket, local, options).await else {
        return;
    };
    let mut wire = Wire::new(socket);
    loop {
        match wire.turn().await {
            Turn::Heard(message @ (Message::Text(_) | Message::Binary(_))) => wire.send(message),
            // The library answers the rest.
            Turn::Heard(_) | Turn::Flushed => {}
            Turn::Gone => return wire.close(CloseReason::Normal, "", close).await,
            Turn::Offence(reason, words) => return wire.close(reason, &words, close).await,
        }
    }
}
