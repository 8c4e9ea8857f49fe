//! A viewer's socket, which its task and its stream's feed write to in turn.
//!
//! While a viewer's task has nothing to write, waking it for one event costs half as much again as the system call that
//! it is woken for. So the feed writes such an event itself, if the socket takes it at once; see [`Shortcut`].
//! Both sides write whole frames, and neither begins while a frame of the other is half written.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Bytes;

use crate::frame::Frame;
use crate::hub::{Shortcut, Written};

/// A socket that can also be written to past the task that owns it.
#[derive(Debug)]
pub(super) struct SharedSocket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    turn: Mutex<Turn>,
}

/// Whose turn it is to write.
#[derive(Debug, Default)]
struct Turn {
    /// The task has begun a frame and not ended it.
    task_is_at_it: bool,
    /// What is left of a frame that was begun past the task.
    rest: Bytes,
}

impl SharedSocket {
    pub(super) fn new(stream: TcpStream) -> Self {
        let turn = Mutex::default();
        Self(Arc::new(Shared { stream, turn }))
    }

    /// The way past the task that owns the socket.
    pub(super) fn shortcut(&self) -> Arc<dyn Shortcut> {
        Arc::<Shared>::clone(&self.0)
    }
}

impl Shortcut for Shared {
    fn try_write(&self, frame: &Frame) -> Written {
        let mut turn = self.turn();
        if turn.task_is_at_it || !turn.rest.is_empty() {
            return Written::Nothing;
        }
        let bytes = frame.encoded();
        // Of what went wrong, and of a socket that is full, the task is told when it reads or writes.
        let at_once = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let written = rustix::net::send(&self.stream, bytes, at_once).unwrap_or(0);
        if written == 0 {
            return Written::Nothing;
        }
        if written == bytes.len() {
            return Written::All;
        }
        turn.rest = bytes.slice(written..);
        Written::Part
    }

    fn is_free(&self) -> bool {
        let turn = self.turn();
        !turn.task_is_at_it && turn.rest.is_empty()
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes once the socket takes anything. What is not the task's own is finished first.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_rest(cx))?;
            ready!(self.stream.poll_write_ready(cx))?;
            let mut turn = self.turn();
            if !turn.rest.is_empty() {
                continue;
            }
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(written) => {
                    // The library hands over all that it has, so what is taken whole ends with a frame.
                    turn.task_is_at_it = written < bytes.len();
                    return Poll::Ready(Ok(written));
                }
            }
        }
    }

    /// Finishes what was begun past the task.
    fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.turn().rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.stream.poll_write_ready(cx))?;
            let mut turn = self.turn();
            match self.stream.try_write(&turn.rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => drop(turn.rest.split_to(written)),
            }
        }
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_rest(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_rest(cx))?;
        Poll::Ready(
            rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Write).map_err(io::Error::from),
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (SharedSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        near.writable().await.unwrap();
        (SharedSocket::new(near), far)
    }

    /// Frames of `size` bytes that tell which they are.
    fn frame(number: u8, size: usize) -> Frame {
        Frame::control(&String::from_utf8(vec![b'a' + number; size]).unwrap())
    }

    #[tokio::test]
    async fn what_is_begun_past_the_task_is_finished_before_what_the_task_writes() {
        let (mut socket, mut far) = pair().await;
        let shortcut = socket.shortcut();
        let (mut sent, mut number) = (Vec::new(), 0);
        // Until the socket is full in the middle of a frame.
        loop {
            let frame = frame(number % 26, 1 << 20);
            let written = shortcut.try_write(&frame);
            if written != Written::Nothing {
                sent.extend_from_slice(frame.encoded());
            }
            match written {
                Written::All => number += 1,
                Written::Part => break,
                Written::Nothing => socket.0.stream.writable().await.unwrap(),
            }
        }
        assert_eq!(
            shortcut.try_write(&frame(0, 10)),
            Written::Nothing,
            "one at a time"
        );
        sent.extend_from_slice(b"the task's");
        let reading = async {
            let mut seen = vec![0; sent.len()];
            far.read_exact(&mut seen).await.unwrap();
            seen
        };
        let writing = async {
            socket.write_all(b"the task's").await.unwrap();
            socket.flush().await.unwrap();
        };
        let (seen, ()) = tokio::join!(reading, writing);
        assert!(seen == sent, "every frame is whole");
    }

    #[tokio::test]
    async fn nobody_writes_into_a_frame_of_the_task() {
        let (mut socket, mut far) = pair().await;
        let shortcut = socket.shortcut();
        let large = vec![b'x'; 64 << 20];
        let written = socket.write(&large).await.unwrap();
        assert!(written < large.len(), "the system takes less");
        assert_eq!(shortcut.try_write(&frame(0, 10)), Written::Nothing);
        let reading = async {
            let mut seen = vec![0; large.len()];
            far.read_exact(&mut seen).await.unwrap();
        };
        let writing = socket.write_all(&large[written..]);
        let ((), written) = tokio::join!(reading, writing);
        written.unwrap();
        socket.0.stream.writable().await.unwrap();
        assert_eq!(shortcut.try_write(&frame(0, 10)), Written::All);
    }
}
