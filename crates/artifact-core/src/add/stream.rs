//! Streams that are read by async tasks and stored by threads that may block.

use std::io::{self, Read};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::store::CHUNK_BYTES;
use crate::{ChunkSender, Chunks, ReceiverGone};

/// Sends what `stream` delivers, up to its end. A receiver that is gone has failed, and says
/// why itself.
pub(super) async fn send_all(mut stream: impl AsyncRead + Send + Unpin, sender: ChunkSender) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut stream)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)
            .await;
        let sent = match read {
            Ok(0) => return told(sender.finish().await),
            Ok(_) => sender.send(chunk).await,
            Err(error) => return told(sender.fail(error).await),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A receiver that is gone has no use for the end either.
fn told(_: Result<(), ReceiverGone>) {}

/// Chunks as a reader.
pub(super) struct ChunkReader {
    chunks: Chunks,
    current: io::Cursor<Vec<u8>>,
}

impl ChunkReader {
    pub(super) fn new(chunks: Chunks) -> Self {
        Self {
            chunks,
            current: io::Cursor::default(),
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = Read::read(&mut self.current, buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.chunks.next_blocking()? {
                Some(chunk) => self.current = io::Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}
