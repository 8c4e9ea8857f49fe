//! Adding many files. They go in waves: a wave's files are copied, several at once, their bytes are made durable
//! together, then they are named, and then their records are committed together. While one wave is made durable the next
//! one is copied.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tracking_journal::storage;
use tracking_model::{Artifact, CollectionId, NewArtifact, SessionId};

use super::file::Meter;
use super::record::{command, describe, file_name};
use super::{AddProgress, NewFile};
use crate::ArtifactError;
use crate::manager::Inner;
use crate::source::SourceFile;
use crate::store::{PutMode, Sealed, Shelf, Stored, UploadKind};

/// Most files of a wave: each is open until it has its name, and two waves are under way at once.
const MOST_FILES: usize = 1024;
/// A wave ends with the file that brings it to so many bytes, which are all in the page cache.
const WAVE_BYTES: u64 = 256 << 20;
/// Most files that are copied at once.
const MOST_COPIERS: usize = 4;

type Outcome = Result<Arc<Artifact>, ArtifactError>;

/// A batch on its way into one collection.
struct Batch<'a> {
    inner: &'a Arc<Inner>,
    session_id: &'a SessionId,
    collection_id: &'a CollectionId,
    meter: Meter<'a>,
}

/// Files, each with its place in the batch, that were copied or could not be.
struct Wave {
    shelf: Arc<Shelf>,
    staged: Vec<(usize, Result<Staged, ArtifactError>)>,
}

/// A file that was copied.
struct Staged {
    artifact: NewArtifact,
    sealed: Sealed,
}

impl Inner {
    pub(super) fn add_files(
        self: &Arc<Self>,
        session_id: &SessionId,
        collection_id: &CollectionId,
        files: Vec<NewFile>,
        progress: &(dyn Fn(AddProgress) + Sync),
    ) -> Vec<Outcome> {
        let sizes: Vec<u64> = files.iter().map(size_of).collect();
        let batch = Batch {
            inner: self,
            session_id,
            collection_id,
            meter: Meter::new(progress, files.len(), sizes.iter().sum()),
        };
        let count = files.len();
        let mut outcomes = batch.run(files, &sizes);
        outcomes.sort_by_key(|(index, _)| *index);
        debug_assert_eq!(outcomes.len(), count, "each file has one outcome");
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

/// How large a file is, for a beginning: what it is when it is read counts.
fn size_of(file: &NewFile) -> u64 {
    storage::named_metadata(&file.path).map_or(0, |metadata| metadata.len())
}

/// How many files a wave may have: an eighth of what this process may have open.
fn wave_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(MOST_FILES, |limit| (limit / 8).clamp(1, MOST_FILES))
}

/// Where the wave that begins at `start` ends.
fn wave_end(sizes: &[u64], start: usize, most: usize) -> usize {
    let mut bytes = 0;
    let mut end = start;
    while end < sizes.len() && end - start < most && bytes < WAVE_BYTES {
        bytes += sizes.get(end).copied().unwrap_or(0);
        end += 1;
    }
    end
}

impl Batch<'_> {
    fn run(&self, files: Vec<NewFile>, sizes: &[u64]) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(files.len());
        let most = wave_files();
        thread::scope(|scope| {
            // Without room in between: two waves are under way at most.
            let (send, receive) = mpsc::sync_channel::<Wave>(0);
            let finish = || {
                let mut outcomes = Vec::new();
                for wave in receive {
                    outcomes.extend(self.finish(wave));
                }
                outcomes
            };
            let mut finisher = None;
            if wave_end(sizes, 0, most) < sizes.len() {
                let builder = thread::Builder::new().name("artifact-batch".to_owned());
                finisher = builder
                    .spawn_scoped(scope, finish)
                    .inspect_err(|error| tracing::debug!(%error, "finishing without a thread of its own"))
                    .ok();
            }
            let mut files = files.into_iter().enumerate();
            let mut start = 0;
            while start < sizes.len() {
                let end = wave_end(sizes, start, most);
                let files: Vec<_> = files.by_ref().take(end - start).collect();
                start = end;
                match self.stage(files, &mut outcomes) {
                    Some(wave) if finisher.is_some() => {
                        send.send(wave)
                            .expect("the finisher takes waves until the last was sent");
                    }
                    Some(wave) => outcomes.extend(self.finish(wave)),
                    None => {}
                }
            }
            drop(send);
            if let Some(finisher) = finisher {
                match finisher.join() {
                    Ok(finished) => outcomes.extend(finished),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        outcomes
    }

    /// Copies the files of a wave. Where there is nowhere to copy them to, each says so itself.
    fn stage(&self, files: Vec<(usize, NewFile)>, outcomes: &mut Vec<(usize, Outcome)>) -> Option<Wave> {
        let (inner, session_id, collection_id) = (self.inner, self.session_id, self.collection_id);
        let shelf = inner
            .catalogue
            .look(session_id, |session| {
                session.check_add(collection_id, &NewArtifact::new())
            })
            .and_then(|checked| Ok(checked?))
            .and_then(|()| inner.recover_once(session_id))
            .and_then(|_| Ok(inner.catalogue.vault().shelf(session_id, collection_id)?));
        let Ok(shelf) = shelf else {
            for (index, file) in files {
                outcomes.push((index, inner.add_file(session_id, collection_id, file, &|_| {})));
                self.meter.file();
            }
            return None;
        };
        let copiers = thread::available_parallelism().map_or(1, NonZero::get);
        let copiers = copiers.min(MOST_COPIERS).min(files.len());
        let (next, staged) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(files.len())));
        let copy = || {
            while let Some((index, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let copied = self.copy(&shelf, file.clone());
                let mut staged = staged.lock().unwrap_or_else(PoisonError::into_inner);
                staged.push((*index, copied));
            }
        };
        thread::scope(|scope| {
            for _ in 1..copiers {
                let builder = thread::Builder::new().name("artifact-copy".to_owned());
                // This thread copies too, so it goes on without.
                if builder.spawn_scoped(scope, copy).is_err() {
                    break;
                }
            }
            copy();
        });
        let mut staged = staged.into_inner().unwrap_or_else(PoisonError::into_inner);
        staged.sort_by_key(|(index, _)| *index);
        Some(Wave { shelf, staged })
    }

    fn copy(&self, shelf: &Arc<Shelf>, mut file: NewFile) -> Result<Staged, ArtifactError> {
        file.name_by_path();
        let catalogue = &self.inner.catalogue;
        catalogue.look(self.session_id, |session| {
            session.check_add(self.collection_id, &file.artifact)
        })??;
        let source = SourceFile::open(&file.path, file.symlinks)?;
        let mut upload = shelf.begin(None, UploadKind::Copy)?;
        source.copy_to(&mut upload, &|bytes| self.meter.bytes(bytes))?;
        let sealed = upload.seal();
        let mut artifact = file.artifact;
        describe(&mut artifact, &sealed);
        Ok(Staged { artifact, sealed })
    }

    /// Makes the bytes of a wave durable, names them and records them.
    fn finish(&self, wave: Wave) -> Vec<(usize, Outcome)> {
        let Wave { shelf, mut staged } = wave;
        share_within(&mut staged);
        let sealed: Vec<_> = staged
            .iter()
            .filter_map(|(_, staged)| staged.as_ref().ok())
            .collect();
        let sealed: Vec<_> = sealed.iter().map(|staged| &staged.sealed).collect();
        let durable = shelf.make_durable(&sealed);
        let mut outcomes = Vec::with_capacity(staged.len());
        let mut named = Vec::with_capacity(staged.len());
        for (index, staged) in staged {
            let published = staged.and_then(|staged| {
                durable.as_ref().map_err(|error| error.repeated())?;
                let Staged { artifact, sealed } = staged;
                let stored = sealed.publish(&file_name(&artifact), PutMode::Numbered)?;
                Ok((artifact, stored))
            });
            match published {
                Ok((artifact, stored)) => named.push((index, artifact, stored)),
                Err(error) => outcomes.push((index, Err(error))),
            }
        }
        if let Err(error) = shelf.sync_names() {
            for (index, _, Stored { put, .. }) in &named {
                let removed = self.inner.catalogue.vault().remove(&put.key, Some(&put.hash));
                let why = removed.err().unwrap_or_else(|| error.repeated());
                outcomes.push((*index, Err(why.into())));
            }
        } else {
            outcomes.extend(self.record(named));
        }
        outcomes.iter().for_each(|_| self.meter.file());
        outcomes
    }

    /// Has the records of files that are stored committed together.
    fn record(&self, named: Vec<(usize, NewArtifact, Stored)>) -> Vec<(usize, Outcome)> {
        let catalogue = &self.inner.catalogue;
        let entry = catalogue.entry(self.session_id);
        let (mut commands, mut puts) = (Vec::with_capacity(named.len()), Vec::with_capacity(named.len()));
        for (index, artifact, stored) in named {
            commands.push(command(self.collection_id, artifact, &stored.put));
            puts.push((index, stored));
        }
        let receipts = catalogue.submit_all(&entry, commands);
        if receipts.iter().any(Result::is_ok) {
            self.inner.snapshot_later(self.session_id);
        }
        let recorded = puts.into_iter().zip(receipts);
        recorded
            .map(|((index, stored), receipt)| (index, self.inner.recorded(stored, receipt)))
            .collect()
    }
}

/// Files of one wave with the same bytes share them.
fn share_within(staged: &mut [(usize, Result<Staged, ArtifactError>)]) {
    let mut first_of = HashMap::new();
    for place in 0..staged.len() {
        let (before, from) = staged.split_at_mut(place);
        let Some((_, Ok(this))) = from.first_mut() else {
            continue;
        };
        match first_of.entry(this.sealed.hash) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) => {
                if let Some((_, Ok(first))) = before.get(*first.get())
                    && let Err(error) = this.sealed.share_with(&first.sealed)
                {
                    tracing::debug!(%error, "storing the same bytes twice");
                }
            }
        }
    }
}
