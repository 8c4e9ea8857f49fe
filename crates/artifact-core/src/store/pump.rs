//! Copying with hashing in a second thread: while one piece is hashed the next is read and written.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use sha2::{Digest, Sha256};

use super::{CHUNK_BYTES, StoreError};

/// Bytes that one thread copies and hashes alone; what is longer is worth a second one.
pub(super) const INLINE_BYTES: u64 = 4 << 20;
/// Pieces under way between the two threads: 4 MiB in all.
const PIECES: usize = 16;

/// So many bytes are worth a visit to the disk.
const FLUSHED_BYTES: usize = 32 << 20;

/// Why a copy ended before its source did.
#[derive(Debug)]
pub(crate) enum FillError {
    /// Reading the source failed.
    Read(io::Error),
    /// Storing it failed.
    Store(StoreError),
}

impl From<StoreError> for FillError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Reads until the buffer is full or the source ends.
pub(super) fn read_piece(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A piece and how many bytes of it are filled.
type Piece = (Vec<u8>, usize);

/// Copies `source` to its end by `write`, hashing in a thread of its own. `flush`, where given, writes to the disk what was
/// written so far; it runs in a third thread, which mostly waits, so that little is left to be written at the end. `false`,
/// with nothing read, if there are no such threads to be had.
pub(super) fn copy_overlapped(
    source: &mut dyn Read,
    hasher: &mut Sha256,
    mut write: impl FnMut(&[u8]) -> Result<(), StoreError>,
    flush: impl Fn() -> Result<(), StoreError> + Sync,
) -> Result<bool, FillError> {
    let (filled, to_hash) = mpsc::sync_channel::<Piece>(PIECES);
    let (give_back, empty) = mpsc::sync_channel::<Vec<u8>>(PIECES);
    let (grown, to_flush) = mpsc::sync_channel::<()>(1);
    let flush = &flush;
    thread::scope(|scope| {
        // Dropped when this closure ends, which ends the threads that the scope waits for.
        let (filled, grown) = (filled, grown);
        let hash = move || {
            for (buffer, length) in to_hash {
                hasher.update(buffer.get(..length).unwrap_or_default());
                // Whoever reads is gone once there is nothing more to read.
                if give_back.send(buffer).is_err() {}
            }
        };
        let builder = thread::Builder::new().name("artifact-hash".to_owned());
        if let Err(error) = builder.spawn_scoped(scope, hash) {
            tracing::debug!(%error, "hashing without a thread of its own");
            return Ok(false);
        }
        let builder = thread::Builder::new().name("artifact-flush".to_owned());
        let flusher = builder
            .spawn_scoped(scope, move || to_flush.into_iter().try_for_each(|()| flush()))
            .inspect_err(|error| tracing::debug!(%error, "flushing at the end alone"))
            .ok();
        let (mut buffers, mut unflushed) = (Buffers { empty, made: 0 }, 0);
        loop {
            let mut buffer = buffers.next();
            let read = read_piece(source, &mut buffer).map_err(FillError::Read)?;
            if read == 0 {
                break;
            }
            write(buffer.get(..read).unwrap_or_default())?;
            send(&filled, (buffer, read));
            unflushed += read;
            // One that is still busy takes this along, or the sync at the end does.
            if unflushed >= FLUSHED_BYTES && grown.try_send(()).is_ok() {
                unflushed = 0;
            }
        }
        drop((filled, grown));
        // A failure that a sync has told once is not told again, so it must not get lost here.
        if let Some(flusher) = flusher {
            match flusher.join() {
                Ok(flushed) => flushed?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(true)
    })
}

fn send(filled: &SyncSender<Piece>, piece: Piece) {
    filled
        .send(piece)
        .expect("the hashing thread takes pieces until the last was sent");
}

/// A bounded number of buffers, used again and again.
struct Buffers {
    empty: Receiver<Vec<u8>>,
    made: usize,
}

impl Buffers {
    fn next(&mut self) -> Vec<u8> {
        if let Ok(buffer) = self.empty.try_recv() {
            return buffer;
        }
        if self.made < PIECES {
            self.made += 1;
            return vec![0; CHUNK_BYTES];
        }
        self.empty
            .recv()
            .expect("the hashing thread gives back what it was sent")
    }
}
