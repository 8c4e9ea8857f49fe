//! Adding artifacts: one pass that copies and hashes, then the record.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracking_journal::JournalError;
use tracking_model::{
    AddArtifact, Artifact, ArtifactId, ArtifactName, CollectionId, NewArtifact, SessionCommand, SessionEvent,
    SessionId, StoredFile, stored_file_name,
};

use crate::manager::Inner;
use crate::source::SourceFile;
use crate::store::{CHUNK_BYTES, PutMode, Upload, UploadKind};
use crate::{ArtifactError, ArtifactWriter, Chunks, SourceError, StoreErrorKind, TestArtifactsManager};

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
        self.run(move |inner| inner.add_file(&session_id, &collection_id, &path, artifact))
            .await
    }

    /// Adds what a stream delivers, up to its end; more than `max_bytes` is an error. `artifact` must have a name.
    ///
    /// # Errors
    /// [`SourceError::Stream`] if reading fails, [`SourceError::TooLong`]; else as [`Self::add_artifact`].
    ///
    /// # Cancellation
    /// Dropped before the stream's end, nothing is kept.
    pub async fn add_stream(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        mut stream: impl AsyncRead + Send + Unpin,
        max_bytes: Option<u64>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let (session_id, collection_id) = (session_id.clone(), collection_id.clone());
        let (sender, chunks) = Chunks::channel();
        let stored = self.run(move |inner| {
            let source = ChunkReader {
                chunks,
                current: io::Cursor::default(),
            };
            inner.add_reader(&session_id, &collection_id, artifact, source, max_bytes)
        });
        let sent = async {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let end = match (&mut stream)
                    .take(CHUNK_BYTES as u64)
                    .read_to_end(&mut chunk)
                    .await
                {
                    Ok(0) => sender.finish().await,
                    Ok(_) => match sender.send(chunk).await {
                        Ok(()) => continue,
                        gone => gone,
                    },
                    Err(error) => sender.fail(error).await,
                };
                // A receiver that is gone has failed, and says why itself.
                return end.is_ok();
            }
        };
        let (stored, _) = join(stored, sent).await;
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
        self.run(move |inner| inner.add_reader(&session_id, &collection_id, artifact, reader, max_bytes))
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
            let upload = inner.begin(&session_id, &collection_id, &artifact, None, UploadKind::Live)?;
            Ok(ArtifactWriter::new(
                inner,
                session_id,
                collection_id,
                artifact,
                upload,
            ))
        })
        .await
    }
}

/// Drives two futures to their ends.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    std::future::poll_fn(move |context| {
        use std::task::Poll;
        if done_a.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(context)
        {
            done_a = Some(done);
        }
        if done_b.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(context)
        {
            done_b = Some(done);
        }
        match (done_a.take(), done_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (done_a, done_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Chunks as a reader.
struct ChunkReader {
    chunks: Chunks,
    current: io::Cursor<Vec<u8>>,
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

impl Inner {
    pub(crate) fn add_file(
        self: &Arc<Self>,
        session_id: &SessionId,
        collection_id: &CollectionId,
        path: &std::path::Path,
        mut artifact: NewArtifact,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        if artifact.name.is_none() {
            let name = path.file_name().map(OsStr::as_bytes);
            artifact.name = name.map(ArtifactName::from_bytes);
        }
        let mut upload = self.begin(session_id, collection_id, &artifact, None, UploadKind::Copy)?;
        SourceFile::open(path)?.copy_to(&mut upload)?;
        self.finish(session_id, collection_id, artifact, upload)
    }

    pub(crate) fn add_reader(
        self: &Arc<Self>,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        mut reader: impl Read,
        max_bytes: Option<u64>,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let mut upload = self.begin(session_id, collection_id, &artifact, max_bytes, UploadKind::Copy)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => match upload.write(buffer.get(..read).unwrap_or_default()) {
                    Err(error) if error.kind() == StoreErrorKind::TooLarge => {
                        let limit = max_bytes.unwrap_or(u64::MAX);
                        return Err(SourceError::TooLong { limit }.into());
                    }
                    written => written?,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let bytes = upload.size();
                    return Err(SourceError::Stream { bytes, source }.into());
                }
            }
        }
        self.finish(session_id, collection_id, artifact, upload)
    }

    /// Refuses what would be refused anyway, before any byte is copied.
    pub(crate) fn begin(
        self: &Arc<Self>,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: &NewArtifact,
        max_bytes: Option<u64>,
        kind: UploadKind,
    ) -> Result<Upload, ArtifactError> {
        self.catalogue
            .look(session_id, |session| session.check_add(collection_id, artifact))??;
        self.recover_once(session_id)?;
        let vault = self.catalogue.vault();
        Ok(vault.begin(session_id, collection_id, max_bytes, kind)?)
    }

    /// Records what live writers that died had written, the first time that something is written to a session.
    pub(crate) fn recover_once(self: &Arc<Self>, session_id: &SessionId) -> Result<(), ArtifactError> {
        if !self.catalogue.is_first_write(session_id) {
            return Ok(());
        }
        for (collection_id, upload) in self.catalogue.vault().orphans(session_id)? {
            let artifact = NewArtifact::new()
                .with_name("interrupted-output.log")
                .with_description("what a writer had written when it died")
                .with_tags(["interrupted"]);
            let recovered = self.finish(session_id, &collection_id, artifact, upload)?;
            tracing::warn!(session = %session_id, artifact = %recovered.artifact_id, "recovered interrupted output");
        }
        Ok(())
    }

    /// Makes the bytes durable under their name, then records them.
    pub(crate) fn finish(
        self: &Arc<Self>,
        session_id: &SessionId,
        collection_id: &CollectionId,
        artifact: NewArtifact,
        upload: Upload,
    ) -> Result<Arc<Artifact>, ArtifactError> {
        let name = artifact.name.as_ref().map(|name| stored_file_name(&name.exact()));
        let put = upload.commit(name.as_deref().unwrap_or("unnamed"), PutMode::Numbered)?;
        let add = AddArtifact {
            artifact_id: ArtifactId::generate(),
            collection_id: collection_id.clone(),
            artifact,
            stored: StoredFile {
                local_path: put.key.local_path().into(),
                file_size: put.size,
                file_hash: put.hash,
            },
        };
        let entry = self.catalogue.entry(session_id);
        let receipt = self
            .catalogue
            .submit(&entry, SessionCommand::AddArtifact(Box::new(add)));
        match receipt {
            Ok(receipt) => {
                self.snapshot_later(session_id);
                let added = receipt.records().iter().find_map(|record| match &record.event {
                    SessionEvent::ArtifactAdded(artifact) => Some(Arc::clone(artifact)),
                    _ => None,
                });
                Ok(added.expect("adding an artifact causes exactly this record"))
            }
            Err(error) => {
                // After a failed sync nobody knows whether the record is there, so the bytes stay; `verify` reports
                // them if it is not.
                let unknown = matches!(
                    error,
                    ArtifactError::Journal(JournalError::Poisoned { .. } | JournalError::Closed)
                );
                if !unknown {
                    self.catalogue.vault().remove(&put.key)?;
                }
                Err(error)
            }
        }
    }
}
