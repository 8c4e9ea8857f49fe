//! Adding artifacts: one pass that copies and hashes, then the record.

mod batch;
mod file;
mod live;
mod record;
pub(crate) mod source;
mod stream;
mod writer;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join;
use tokio::io::AsyncRead;
use tracking_model::{Artifact, CollectionId, NewArtifact, SessionId};

use crate::dir::StagedKind;
use crate::executor::run_blocking;
use crate::{ArtifactError, Chunks, TestArtifactsManager};

pub use file::{AddProgress, NewFile};
use stream::{ChunkReader, send_all};
pub use writer::{ArtifactReader, ArtifactWriter};

/// Adding artifacts.
impl TestArtifactsManager {
    /// Adds a copy of the file at `path`. Two files of one name are two artifacts.
    ///
    /// # Errors
    /// [`ArtifactError::Source`] if it is missing, no regular file (a symbolic link is none), or changed meanwhile;
    /// [`ArtifactError::Refused`] if the session is closed or what is said of it is invalid. Nothing is kept then.
    ///
    /// # Cancellation
    /// An add that has begun goes on when the future is dropped.
    pub async fn add_artifact(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        path: impl Into<PathBuf>,
        artifact: NewArtifact,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, collection_id, path) = (session_id.clone(), collection_id.clone(), path.into());
        let file = NewFile::new(path).with_artifact(artifact);
        self.run(move |inner| inner.adder().add_file(&session_id, &collection_id, file, &|_| {}))
            .await
    }

    /// As [`Self::add_artifact`], with all that can be said of a file. `progress` is told how far it got.
    ///
    /// # Errors
    /// As [`Self::add_artifact`].
    ///
    /// # Cancellation
    /// An add that has begun goes on when the future is dropped.
    pub async fn add_file(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        file: NewFile,
        progress: impl Fn(AddProgress) + Send + Sync + 'static,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        self.run(move |inner| {
            inner
                .adder()
                .add_file(&session_id, &collection_id, file, &progress)
        })
        .await
    }

    /// Adds copies of many files: their bytes and then their records made durable together.
    /// The answers are in the order of the files, and what fails of one file leaves the others alone.
    ///
    /// Memory and open files are bounded, however many files there are. What was added of a batch whose process dies is
    /// whole; the rest is removed by the next add to the session.
    ///
    /// # Errors
    /// Each file's own, as of [`Self::add_artifact`].
    ///
    /// # Cancellation
    /// A batch that has begun goes on when the future is dropped.
    pub async fn add_artifacts(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        files: Vec<NewFile>,
        progress: impl Fn(AddProgress) + Send + Sync + 'static,
    ) -> Vec<Result<Arc<Artifact>, ArtifactError>> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        let inner = Arc::clone(&self.inner);
        run_blocking(move || {
            inner
                .adder()
                .add_files(&session_id, &collection_id, files, &progress)
        })
        .await
    }

    /// Adds what a stream delivers, up to its end; more than `max_bytes` is an error. `artifact` must have a name.
    ///
    /// # Errors
    /// [`SourceError::Stream`](crate::SourceError::Stream) if reading fails,
    /// [`SourceError::TooLong`](crate::SourceError::TooLong); else as [`Self::add_artifact`].
    ///
    /// # Cancellation
    /// Dropped before the stream's end, nothing is kept.
    pub async fn add_stream(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        stream: impl AsyncRead + Send + Unpin,
        max_bytes: Option<u64>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        let (sender, chunks) = Chunks::channel();
        let stored = self.run(move |inner| {
            inner.adder().add_reader(
                &session_id,
                &collection_id,
                artifact,
                ChunkReader::new(chunks),
                max_bytes,
            )
        });
        let (stored, ()) = join(stored, send_all(stream, sender)).await;
        stored
    }

    /// Adds what a blocking reader delivers, up to its end; more than `max_bytes` is an error. `artifact` must have a
    /// name.
    ///
    /// # Errors
    /// As [`Self::add_stream`].
    ///
    /// # Cancellation
    /// An add that has begun goes on when the future is dropped.
    pub async fn add_reader(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        reader: impl Read + Send + 'static,
        max_bytes: Option<u64>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        self.run(move |inner| {
            inner
                .adder()
                .add_reader(&session_id, &collection_id, artifact, reader, max_bytes)
        })
        .await
    }

    /// Begins an artifact that is written bit by bit, as the output of something that runs. `artifact` must have a name.
    ///
    /// # Errors
    /// As [`Self::add_artifact`].
    pub async fn begin_artifact(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
    ) -> Result<ArtifactWriter, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        let inner = Arc::clone(&self.inner);
        self.run(move |_| {
            let staged =
                inner
                    .adder()
                    .begin(&session_id, &collection_id, &artifact, None, StagedKind::Live)?;
            Ok(ArtifactWriter::new(
                inner,
                session_id,
                collection_id,
                artifact,
                staged,
            ))
        })
        .await
    }
}
