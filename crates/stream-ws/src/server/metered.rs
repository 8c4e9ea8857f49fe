//! A socket that counts what comes in, and refuses more than is decent.
//!
//! The limits of messages do not see a flood of empty fragments or of half a message; this one does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// So much for so long: a bucket that refills steadily.
#[derive(Debug)]
pub(super) struct Allowance {
    capacity: f64,
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn per_minute(amount: u32) -> Self {
        let capacity = f64::from(amount);
        Self {
            capacity,
            per_second: capacity / Duration::from_secs(60).as_secs_f64(),
            left: capacity,
            at: Instant::now(),
        }
    }

    /// Whether there was so much left.
    pub(super) fn spend(&mut self, amount: u32) -> bool {
        let now = Instant::now();
        let refilled = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + refilled).min(self.capacity) - f64::from(amount);
        self.at = now;
        self.left >= 0.0
    }
}

/// More bytes came than are decent.
#[derive(Debug, thiserror::Error)]
#[error("more bytes came than a viewer has reason to send")]
pub(crate) struct Flood;

/// A socket that counts what comes in.
#[derive(Debug)]
pub(super) struct Metered<S> {
    socket: S,
    allowance: Allowance,
}

impl<S> Metered<S> {
    pub(super) fn new(socket: S, bytes_per_minute: u32) -> Self {
        let allowance = Allowance::per_minute(bytes_per_minute);
        Self { socket, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let read = u32::try_from(buf.filled().len() - before).unwrap_or(u32::MAX);
        Poll::Ready(if self.allowance.spend(read) {
            Ok(())
        } else {
            Err(io::Error::other(Flood))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_allowance_refills_steadily() {
        let mut allowance = Allowance::per_minute(60);
        assert!((0..60).all(|_| allowance.spend(1)));
        assert!(!allowance.spend(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(allowance.spend(1));
        assert!(!allowance.spend(1));
    }
}
