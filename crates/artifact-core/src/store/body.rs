//! Bytes on their way in or out of a store, chunk by chunk.

use std::fs::File;
use std::io;

use tokio::sync::mpsc;

/// How many chunks wait between the two ends.
const CHUNKS_IN_FLIGHT: usize = 4;
/// Bytes of a chunk made from a file.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// The bytes to store.
#[derive(Debug)]
#[non_exhaustive]
pub enum PutBody {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A file, from where it stands to its end.
    File(File),
    /// Chunks that arrive one by one.
    Chunks(Chunks),
}

impl From<Vec<u8>> for PutBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// The receiving end of a sequence of chunks. An end that was not announced by [`ChunkSender::finish`] is an error,
/// so half a body is never taken for a whole one.
#[derive(Debug)]
pub struct Chunks {
    receiver: mpsc::Receiver<Chunk>,
    ended: bool,
}

/// The sending end.
#[derive(Debug)]
pub struct ChunkSender {
    sender: mpsc::Sender<Chunk>,
}

#[derive(Debug)]
enum Chunk {
    Data(Vec<u8>),
    Failed(io::Error),
    End,
}

/// The receiving end is gone: nobody wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of a stream of bytes is gone")]
pub struct ReceiverGone;

impl Chunks {
    /// Two ends with a few chunks between them.
    #[must_use]
    pub fn channel() -> (ChunkSender, Self) {
        let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let chunks = Self {
            receiver,
            ended: false,
        };
        (ChunkSender { sender }, chunks)
    }

    /// A body that is in memory already.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let (sender, receiver) = mpsc::channel(2);
        for chunk in [Chunk::Data(bytes), Chunk::End] {
            sender.try_send(chunk).expect("a new channel has room for two");
        }
        Self {
            receiver,
            ended: false,
        }
    }

    /// The next chunk, `None` after the last.
    ///
    /// # Errors
    /// The error of the sender; `UnexpectedEof` if it was dropped in the middle.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.receiver.recv().await;
        self.take(chunk)
    }

    /// As [`Self::next`], blocking the thread, which must not be one that runs async tasks.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_blocking(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.ended {
            return Ok(None);
        }
        let chunk = self.receiver.blocking_recv();
        self.take(chunk)
    }

    fn take(&mut self, chunk: Option<Chunk>) -> io::Result<Option<Vec<u8>>> {
        match chunk {
            Some(Chunk::Data(bytes)) => return Ok(Some(bytes)),
            Some(Chunk::End) => {}
            Some(Chunk::Failed(error)) => return Err(error),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.ended = true;
        Ok(None)
    }

    /// All that is left, in one piece.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn collect(mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

impl ChunkSender {
    /// Sends a chunk; waits while the receiver is behind.
    ///
    /// # Errors
    /// [`ReceiverGone`]
    pub async fn send(&self, bytes: Vec<u8>) -> Result<(), ReceiverGone> {
        self.sender
            .send(Chunk::Data(bytes))
            .await
            .map_err(|_| ReceiverGone)
    }

    /// Says that the last chunk was sent.
    ///
    /// # Errors
    /// [`ReceiverGone`]
    pub async fn finish(self) -> Result<(), ReceiverGone> {
        self.sender.send(Chunk::End).await.map_err(|_| ReceiverGone)
    }

    /// Says that there will be no more because reading failed.
    ///
    /// # Errors
    /// [`ReceiverGone`]
    pub async fn fail(self, error: io::Error) -> Result<(), ReceiverGone> {
        self.sender
            .send(Chunk::Failed(error))
            .await
            .map_err(|_| ReceiverGone)
    }

    /// Sends a whole file, blocking the thread. A receiver that goes away ends it early.
    pub(crate) fn send_file(self, mut file: impl io::Read) {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let message = match file.read(&mut chunk) {
                Ok(0) => Chunk::End,
                Ok(read) => {
                    chunk.truncate(read);
                    Chunk::Data(chunk)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Chunk::Failed(error),
            };
            let last = !matches!(message, Chunk::Data(_));
            if self.sender.blocking_send(message).is_err() || last {
                return;
            }
        }
    }
}
