//! Artifacts that are written bit by bit, and artifacts that are read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use tracking_model::{Artifact, CollectionId, Details, NewArtifact, SessionId};

use crate::ArtifactError;
use crate::dir::StagedFile;
use crate::executor::run_blocking;
use crate::manager::Inner;

/// An artifact in the making: write it, then finish it. Writing blocks.
///
/// Nobody sees it before it is finished. Dropped without that, nothing of it is kept. When the process dies, what it had
/// written becomes an artifact `interrupted-output.log`, tagged `interrupted`, with the next add to the session, when it is
/// completed, or by [`recover_interrupted`](crate::TestArtifactsManager::recover_interrupted).
#[derive(Debug)]
pub struct ArtifactWriter {
    inner: Arc<Inner>,
    session_id: SessionId,
    collection_id: CollectionId,
    artifact: NewArtifact,
    staged: StagedFile,
}

impl ArtifactWriter {
    pub(crate) const fn new(
        inner: Arc<Inner>,
        session_id: SessionId,
        collection_id: CollectionId,
        artifact: NewArtifact,
        staged: StagedFile,
    ) -> Self {
        Self {
            inner,
            session_id,
            collection_id,
            artifact,
            staged,
        }
    }

    /// Bytes that were written so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.staged.size()
    }

    /// Sets its metadata, for what is known only once it is written.
    pub fn set_metadata(&mut self, metadata: Details) {
        self.artifact.metadata = metadata;
    }

    /// Makes it durable and records it.
    ///
    /// # Errors
    /// As [`add_artifact`](crate::TestArtifactsManager::add_artifact); [`ArtifactError::Unrecorded`] where only its record is
    /// refused, as in a session that was completed meanwhile: its bytes stay.
    ///
    /// # Cancellation
    /// Finishing that has begun goes on when the future is dropped.
    pub async fn finish(self) -> Result<Arc<Artifact>, ArtifactError> {
        run_blocking(move || self.finish_blocking()).await
    }

    /// As [`Self::finish`], blocking the thread.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_blocking(self) -> Result<Arc<Artifact>, ArtifactError> {
        let (session, collection) = (&self.session_id, &self.collection_id);
        self.inner
            .adder()
            .finish(session, collection, self.artifact, self.staged)
    }
}

impl Write for ArtifactWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.staged.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    /// Does nothing: nothing is held back, and durable it is made by [`ArtifactWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An artifact's bytes. Reading blocks.
#[derive(Debug)]
pub struct ArtifactReader {
    pub(crate) reader: File,
    pub(crate) size: u64,
}

impl ArtifactReader {
    /// Size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for ArtifactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
