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
/// So many are given back at once: hashing is what takes longest, and waking who waits for a piece takes time from it.
const GIVEN_BACK: usize = PIECES / 2;

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

/// Copies `source` to its end by `write`, hashing in a thread of its own. `false`, with nothing read, if there is no such
/// thread to be had.
pub(super) fn copy_overlapped(
    source: &mut dyn Read,
    hasher: &mut Sha256,
    mut write: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<bool, FillError> {
    let (filled, to_hash) = mpsc::sync_channel::<Piece>(PIECES);
    let (give_back, empty) = mpsc::sync_channel::<Vec<u8>>(PIECES);
    thread::scope(|scope| {
        // Dropped when this closure ends, which ends the thread that the scope waits for.
        let filled = filled;
        let hash = move || {
            let mut hashed = Vec::with_capacity(GIVEN_BACK);
            for (buffer, length) in to_hash {
                hasher.update(buffer.get(..length).unwrap_or_default());
                hashed.push(buffer);
                if hashed.len() == GIVEN_BACK {
                    // Whoever reads is gone once there is nothing more to read.
                    hashed.drain(..).for_each(|buffer| drop(give_back.send(buffer)));
                }
            }
        };
        let builder = thread::Builder::new().name("artifact-hash".to_owned());
        if let Err(error) = builder.spawn_scoped(scope, hash) {
            tracing::debug!(%error, "hashing without a thread of its own");
            return Ok(false);
        }
        let mut buffers = Buffers { empty, made: 0 };
        loop {
            let mut buffer = buffers.next();
            let read = read_piece(source, &mut buffer).map_err(FillError::Read)?;
            if read == 0 {
                return Ok(true);
            }
            write(buffer.get(..read).unwrap_or_default())?;
            send(&filled, (buffer, read));
        }
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
