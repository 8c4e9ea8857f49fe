//! One socket: what it is to send, and what it hears meanwhile.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

use crate::protocol::CloseReason;
use crate::server::Flood;

/// What is read of a peer that was told to go, before its rest is left unread.
const LAST_BYTES: u64 = 256 << 10;

/// One socket: what it is to send, and what it hears meanwhile.
pub(crate) struct Wire<S> {
    socket: WebSocketStream<S>,
    pending: VecDeque<Message>,
    unflushed: bool,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Something was heard.
    Heard(Message),
    /// All that was to be sent has been written.
    Flushed,
    /// There is nobody any more.
    Gone,
    /// The peer must be told to go.
    Offence(CloseReason, String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(socket: WebSocketStream<S>) -> Self {
        Self {
            socket,
            pending: VecDeque::new(),
            unflushed: false,
        }
    }

    /// Whether everything has been written.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.unflushed
    }

    /// To be written at the next turns.
    pub(crate) fn send(&mut self, message: Message) {
        self.pending.push_back(message);
    }

    /// Something may have been written past this, but for its end, which is to be flushed.
    pub(crate) fn must_flush(&mut self) {
        self.unflushed = true;
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&mut self) {
        self.send(Message::Ping(Bytes::new()));
    }

    /// Writes what there is to write, and hears.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn turn(&mut self) -> Turn {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match Pin::new(&mut self.socket).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => return Poll::Ready(Turn::Heard(message)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(judge(error)),
            Poll::Ready(None) => return Poll::Ready(Turn::Gone),
            Poll::Pending => {}
        }
        match std::task::ready!(self.poll_write(cx)) {
            Ok(true) => Poll::Ready(Turn::Flushed),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(judge(error)),
        }
    }

    /// Ready with whether anything was written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        if self.is_idle() {
            return Poll::Ready(Ok(false));
        }
        let mut socket = Pin::new(&mut self.socket);
        while !self.pending.is_empty() {
            std::task::ready!(socket.as_mut().poll_ready(cx))?;
            if let Some(message) = self.pending.pop_front() {
                self.unflushed = true;
                socket.as_mut().start_send(message)?;
            }
        }
        // What a burst made it grow to is not kept for good.
        if self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
        std::task::ready!(socket.poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(true))
    }

    /// Writes what is pending, says why it ends, and waits for the peer to agree, all of it for at most `patience`.
    pub(crate) async fn close(mut self, reason: CloseReason, words: &str, patience: Duration) {
        let closing = async {
            // What fails here fails because the peer is gone, which is what is wanted.
            let said = self.say_goodbye(reason, words).await;
            if said.is_ok() {
                self.hear_out().await;
            }
        };
        if timeout(patience, closing).await.is_err() {
            tracing::debug!(%reason, "a viewer did not answer that its connection is closed");
        }
    }

    async fn say_goodbye(&mut self, reason: CloseReason, words: &str) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write(cx)).await?;
        let words: String = words.chars().take(100).filter(char::is_ascii).collect();
        let frame = CloseFrame {
            code: reason.code().into(),
            reason: Utf8Bytes::from(words),
        };
        self.socket.close(Some(frame)).await
    }

    /// Reads on until the peer hangs up: closing with bytes unread would reset the connection, and take the reason
    /// with it.
    async fn hear_out(&mut self) {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {}
        let socket = self.socket.get_mut();
        if socket.shutdown().await.is_ok() {
            let mut rest = socket.take(LAST_BYTES);
            let read = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            tracing::trace!(?read, "the rest of a viewer");
        }
    }
}

/// What an error of the WebSocket says of the peer.
fn judge(error: Error) -> Turn {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => Turn::Gone,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            Turn::Gone
        }
        // The peer said why before it hung up; that was heard already.
        Error::Io(error) => match error.get_ref().and_then(|source| source.downcast_ref::<Flood>()) {
            Some(flood) => Turn::Offence(CloseReason::Policy, flood.to_string()),
            None => Turn::Gone,
        },
        Error::Capacity(error @ CapacityError::MessageTooLong { .. }) => {
            Turn::Offence(CloseReason::TooBig, error.to_string())
        }
        Error::Utf8(error) => Turn::Offence(CloseReason::InvalidText, error.to_string()),
        Error::Protocol(error) => Turn::Offence(CloseReason::Protocol, error.to_string()),
        error => Turn::Offence(CloseReason::Internal, error.to_string()),
    }
}
