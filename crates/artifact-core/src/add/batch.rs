//! Adding files in chunks: the files of a chunk are staged one after the other, made durable together, linked, and their
//! records committed together.

use std::sync::Arc;

use tracking_journal::storage;
use tracking_model::{Artifact, CollectionId, NewArtifact, SessionId};

use super::file::Meter;
use super::record::{Adder, command, described, file_name};
use super::{AddProgress, NewFile};
use crate::ArtifactError;
use crate::add::source::SourceFile;
use crate::dir::{CollectionDir, FinishedFile, LinkedFile, StagedKind};
use crate::store::PutMode;

/// Files of a chunk, which are all open until they are recorded.
const MOST_FILES: usize = 1024;
/// A chunk ends with the file that brings it to so many bytes, which are all in the page cache.
const CHUNK_OF_FILES_BYTES: u64 = 256 << 20;

type Outcome = Result<Arc<Artifact>, ArtifactError>;

/// Files on their way into one collection.
struct Batch<'a> {
    adder: Adder<'a>,
    session_id: &'a SessionId,
    collection_id: &'a CollectionId,
    meter: Meter<'a>,
}

impl Adder<'_> {
    pub(super) fn add_file(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        mut file: NewFile,
        progress: &(dyn Fn(AddProgress) + Sync),
    ) -> Outcome {
        file.name_by_path();
        let collection = self.open_collection(session_id, collection_id, &file.artifact)?;
        let source = SourceFile::open(&file.path, file.symlinks)?;
        let meter = Meter::new(progress, 1, source.size());
        let mut staged = collection.stage(None, StagedKind::Copy)?;
        source.copy_to(&mut staged, &|bytes| meter.bytes(bytes))?;
        let added = self.finish(session_id, collection_id, file.artifact, staged);
        meter.file();
        added
    }

    pub(super) fn add_files(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        files: Vec<NewFile>,
        progress: &(dyn Fn(AddProgress) + Sync),
    ) -> Vec<Outcome> {
        let sizes: Vec<u64> = files.iter().map(size_of).collect();
        let batch = Batch {
            adder: *self,
            session_id,
            collection_id,
            meter: Meter::new(progress, files.len(), sizes.iter().sum()),
        };
        let mut outcomes = Vec::with_capacity(files.len());
        let (mut files, mut sizes) = (files.into_iter(), &*sizes);
        let most = chunk_files();
        while !sizes.is_empty() {
            let (chunk, rest) = sizes.split_at(chunk_length(sizes, most));
            outcomes.extend(batch.add(files.by_ref().take(chunk.len()).collect()));
            sizes = rest;
        }
        outcomes
    }
}

/// The size of a file as its path has it now.
fn size_of(file: &NewFile) -> u64 {
    storage::named_metadata(&file.path).map_or(0, |metadata| metadata.len())
}

/// Files that a chunk may have: an eighth of the files that this process may have open.
fn chunk_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(MOST_FILES, |limit| (limit / 8).clamp(1, MOST_FILES))
}

/// Files of the first chunk.
fn chunk_length(sizes: &[u64], most: usize) -> usize {
    let mut bytes = 0;
    let in_chunk = sizes.iter().take(most).take_while(|size| {
        let goes_on = bytes < CHUNK_OF_FILES_BYTES;
        bytes += **size;
        goes_on
    });
    in_chunk.count()
}

impl Batch<'_> {
    /// Adds the files of a chunk.
    fn add(&self, files: Vec<NewFile>) -> Vec<Outcome> {
        let any = NewArtifact::new();
        let opened = self
            .adder
            .open_collection(self.session_id, self.collection_id, &any);
        let Ok(collection) = opened else {
            // Each file says itself why it cannot be added.
            let add = |file| {
                let added = self
                    .adder
                    .add_file(self.session_id, self.collection_id, file, &|_| {});
                self.meter.file();
                added
            };
            return files.into_iter().map(add).collect();
        };
        let staged = files
            .into_iter()
            .map(|file| self.stage(&collection, file))
            .collect();
        let linked = link(&collection, staged);
        let outcomes = match collection.sync_names() {
            Ok(()) => self.record(linked),
            Err(error) => {
                let undo = |linked: Result<(NewArtifact, LinkedFile), ArtifactError>| {
                    let put = &linked?.1.put;
                    self.adder.inner.artifacts.remove(&put.key, Some(&put.hash))?;
                    Err(error.repeated().into())
                };
                linked.into_iter().map(undo).collect()
            }
        };
        outcomes.iter().for_each(|_| self.meter.file());
        outcomes
    }

    fn stage(
        &self,
        collection: &Arc<CollectionDir>,
        mut file: NewFile,
    ) -> Result<(NewArtifact, FinishedFile), ArtifactError> {
        file.name_by_path();
        self.adder
            .inner
            .sessions
            .with_session(self.session_id, |session| {
                session.check_add(self.collection_id, &file.artifact)
            })??;
        let source = SourceFile::open(&file.path, file.symlinks)?;
        let mut staged = collection.stage(None, StagedKind::Copy)?;
        source.copy_to(&mut staged, &|bytes| self.meter.bytes(bytes))?;
        Ok(described(file.artifact, staged))
    }

    /// Has the records of linked files committed together.
    fn record(&self, linked: Vec<Result<(NewArtifact, LinkedFile), ArtifactError>>) -> Vec<Outcome> {
        let mut commands = Vec::with_capacity(linked.len());
        let linked: Vec<_> = linked
            .into_iter()
            .map(|linked| {
                let (artifact, linked) = linked?;
                commands.push(command(self.collection_id, artifact, &linked.put));
                Ok(linked)
            })
            .collect();
        let entry = self.adder.inner.sessions.entry(self.session_id);
        let receipts = self.adder.inner.sessions.submit_all(&entry, commands);
        if receipts.iter().any(Result::is_ok) {
            self.adder.inner.snapshot_later(self.session_id);
        }
        let mut receipts = receipts.into_iter();
        let outcome = |linked: Result<LinkedFile, ArtifactError>| {
            let linked = linked?;
            let receipt = receipts.next().expect("each command has its receipt");
            self.adder.recorded(linked, receipt)
        };
        linked.into_iter().map(outcome).collect()
    }
}

/// Makes the bytes of staged files durable together, then links each under its final name.
fn link(
    collection: &CollectionDir,
    staged: Vec<Result<(NewArtifact, FinishedFile), ArtifactError>>,
) -> Vec<Result<(NewArtifact, LinkedFile), ArtifactError>> {
    let files: Vec<_> = staged.iter().flatten().map(|(_, file)| file).collect();
    let durable = collection.make_durable(&files);
    let link = |staged: Result<(NewArtifact, FinishedFile), ArtifactError>| {
        let (artifact, file) = staged?;
        durable.as_ref().map_err(|error| error.repeated())?;
        let linked = file.link(&file_name(&artifact), PutMode::Numbered)?;
        Ok((artifact, linked))
    };
    staged.into_iter().map(link).collect()
}
