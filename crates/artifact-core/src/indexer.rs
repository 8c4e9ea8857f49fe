//! Feeding the index from the journals of sessions, from its position on, whichever process wrote and fed meanwhile.
//!
//! Sessions are read side by side, always the one that is behind in time: the index keeps artifacts in the order of time.

mod source;
pub(crate) mod text_extraction;

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, MutexGuard, OnceLock};
use std::thread;

use tracking_journal::storage;
use tracking_model::{SessionId, StreamId};

use crate::sessions::SessionRegistry;
use crate::sessions::registry::{Fed, SessionEntry};
use crate::{
    ArtifactDir, ArtifactError, ArtifactIndex, ArtifactTexts, IndexError, IndexErrorKind, ManagerOptions,
    MemoryIndex, Unreadable,
};
use source::{BATCH, Read, Source, read, read_ahead};
use text_extraction::StoredTexts;

/// Most sessions that are read side by side: each has its file open.
const SIDE_BY_SIDE: usize = 32;
/// Below so many bytes of journals, a thread to read ahead costs more than it saves.
const WORTH_A_THREAD: u64 = 1 << 20;

/// How far the index is with taking up what was added since it was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexProgress {
    /// Bytes of journals that were read, those included that it knew before.
    pub bytes: u64,
    /// Bytes of all journals.
    pub total_bytes: u64,
}

/// The index of a manager, and its feed.
#[derive(Debug)]
pub(crate) struct Indexer {
    sessions: Arc<SessionRegistry>,
    index: Arc<dyn ArtifactIndex>,
    /// The index in memory that replaced an index that could not be written, and the reason.
    fallback: OnceLock<(MemoryIndex, IndexError)>,
    pub(crate) texts: Arc<dyn ArtifactTexts>,
}

impl Indexer {
    pub(crate) fn new(
        sessions: Arc<SessionRegistry>,
        artifacts: &ArtifactDir,
        options: &ManagerOptions,
    ) -> Self {
        Self {
            sessions,
            index: Arc::clone(&options.index),
            fallback: OnceLock::new(),
            texts: match &options.texts {
                Some(texts) => Arc::clone(texts),
                None => Arc::new(StoredTexts::new(artifacts.clone(), options.text_bytes)),
            },
        }
    }

    pub(crate) fn index(&self) -> &dyn ArtifactIndex {
        match self.fallback.get() {
            Some((index, _)) => index,
            None => &*self.index,
        }
    }

    /// The reason for the fallback in memory, if it is used.
    pub(crate) fn index_failure(&self) -> Option<&IndexError> {
        self.fallback.get().map(|(_, reason)| reason)
    }

    /// Asks the index; on a read-only or full disk asks one in memory instead.
    pub(crate) fn with_index<T>(
        &self,
        ask: impl Fn() -> Result<T, ArtifactError>,
    ) -> Result<T, ArtifactError> {
        match self.with_own_index(&ask) {
            Err(ArtifactError::Index(error))
                if matches!(error.kind, IndexErrorKind::Full | IndexErrorKind::Unavailable) =>
            {
                if self.fallback.set((MemoryIndex::new(), error)).is_ok()
                    && let Some(error) = self.index_failure()
                {
                    let error: &dyn std::error::Error = error;
                    tracing::warn!(error, "searching without the index, which is slower");
                }
                self.with_own_index(&ask)
            }
            answer => answer,
        }
    }

    /// Asks the index; asks again if the index was reset and is empty now, or if another thread replaced it meanwhile.
    pub(crate) fn with_own_index<T>(
        &self,
        ask: impl Fn() -> Result<T, ArtifactError>,
    ) -> Result<T, ArtifactError> {
        let in_memory = self.uses_fallback();
        match ask() {
            _ if in_memory != self.uses_fallback() => ask(),
            Err(ArtifactError::Index(error)) if error.kind == IndexErrorKind::Reset => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "building the search index anew");
                self.sessions.forget_index_positions();
                ask()
            }
            answer => answer,
        }
    }

    fn uses_fallback(&self) -> bool {
        self.fallback.get().is_some()
    }

    /// Brings the index up to date; names the sessions that cannot be read. `told` is called after each batch.
    pub(crate) fn refresh_all(&self, told: &dyn Fn(IndexProgress)) -> Result<Vec<Unreadable>, ArtifactError> {
        let ids = self.sessions.ids()?;
        let length = |id: &SessionId| {
            let path = self
                .sessions
                .data_dir()
                .journal_path(&StreamId::Session(id.clone()));
            storage::metadata(&path).map_or(0, |metadata| metadata.len())
        };
        let total_bytes = ids.iter().map(length).sum();
        let mut unreadable = Vec::new();
        let mut unreadable_is = |session_id: &SessionId, error| match error {
            ArtifactError::UnknownSession(_) => {}
            error => unreadable.push(Unreadable {
                session_id: session_id.clone(),
                error,
            }),
        };
        let mut before = 0;
        for ids in ids.chunks(SIDE_BY_SIDE) {
            let mut entries = Vec::with_capacity(ids.len());
            for id in ids {
                match self.sessions.existing(id) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => unreadable_is(id, error),
                }
            }
            let mut done = 0;
            let refreshed = self.refresh_together(&entries, &mut |bytes| {
                done = bytes;
                told(IndexProgress {
                    bytes: before + bytes,
                    total_bytes,
                });
            })?;
            before += done;
            for (entry, refreshed) in entries.iter().zip(refreshed) {
                if let Err(error) = refreshed {
                    unreadable_is(entry.id(), error);
                }
            }
        }
        self.forget_all_but(&ids)?;
        Ok(unreadable)
    }

    /// Takes a session up anew, with the texts that there are now.
    pub(crate) fn reindex_session(&self, id: &SessionId) -> Result<(), ArtifactError> {
        let entry = self.sessions.existing(id)?;
        let mut fed = entry.fed();
        self.index().forget(id)?;
        *fed = None;
        drop(fed);
        self.refresh(id).map(|_| ())
    }

    /// Removes sessions from the index that are gone.
    fn forget_all_but(&self, ids: &[SessionId]) -> Result<(), ArtifactError> {
        for id in self.index().sessions()? {
            if ids.binary_search(&id).is_err() {
                self.index().forget(&id)?;
                *self.sessions.entry(&id).fed() = None;
            }
        }
        Ok(())
    }

    /// Brings the index up to date with one session; tells the last sequence that it then knows.
    pub(crate) fn refresh(&self, id: &SessionId) -> Result<u64, ArtifactError> {
        let entries = [self.sessions.existing(id)?];
        let mut refreshed = self.refresh_together(&entries, &mut |_| {})?;
        refreshed
            .pop()
            .unwrap_or_else(|| Err(ArtifactError::UnknownSession(id.clone())))
    }

    /// Brings the index up to date with some sessions, in the order of ids; tells the last sequence that it then knows of
    /// each, or why it cannot be read. `told` is called with the bytes of their journals that were read.
    fn refresh_together(
        &self,
        entries: &[Arc<SessionEntry>],
        told: &mut dyn FnMut(u64),
    ) -> Result<Vec<Result<u64, ArtifactError>>, ArtifactError> {
        let home = self.sessions.data_dir();
        // All of it goes to the same one, whatever takes its place meanwhile.
        let in_memory = self.uses_fallback();
        let index = self.index();
        let mut fed: Vec<MutexGuard<'_, Option<Fed>>> = entries.iter().map(|entry| entry.fed()).collect();
        let mut sources = Vec::with_capacity(entries.len());
        for (entry, fed) in entries.iter().zip(&fed) {
            let fed = fed.filter(|fed| fed.in_memory == in_memory);
            sources.push(Source::open(home, index, entry, fed.map(|fed| fed.position))?);
        }
        self.feed(index, &mut sources, told)?;
        // A journal that was replaced, by a repair or by hand, does not go on where the old one ended.
        let replaced: Vec<usize> = (0..sources.len())
            .filter(|at| sources.get(*at).is_some_and(Source::is_another))
            .collect();
        for at in &replaced {
            if let Some(source) = sources.get_mut(*at) {
                index.forget(source.entry.id())?;
                *source = Source::anew(home, source.entry, source.length);
            }
        }
        if !replaced.is_empty() {
            self.feed(index, &mut sources, told)?;
        }
        let outcomes = sources.into_iter().zip(&mut fed).map(|(source, fed)| {
            let position = source.outcome();
            **fed = position
                .as_ref()
                .ok()
                .and_then(|position| position.map(|position| Fed { position, in_memory }));
            position.map(|position| position.map_or(0, |position| position.head.seq))
        });
        Ok(outcomes.collect())
    }

    /// Passes all records that the index does not know to it.
    fn feed(
        &self,
        index: &dyn ArtifactIndex,
        sources: &mut [Source<'_>],
        told: &mut dyn FnMut(u64),
    ) -> Result<(), ArtifactError> {
        let texts = &*self.texts;
        let unread: u64 = sources.iter().map(Source::unread).sum();
        let overlapped = if unread < WORTH_A_THREAD {
            None
        } else {
            self.feed_overlapped(index, sources, told)
        };
        let Some(applied) = overlapped else {
            while let Some(read) = read(sources, BATCH) {
                index.apply(&read.batches, texts)?;
                told(read.bytes);
            }
            told(sources.iter().map(Source::offset).sum());
            return Ok(());
        };
        applied
    }

    /// Reads the next records while others are indexed. `None`, with nothing done, if there is no
    /// thread to be had.
    fn feed_overlapped(
        &self,
        index: &dyn ArtifactIndex,
        sources: &mut [Source<'_>],
        told: &mut dyn FnMut(u64),
    ) -> Option<Result<(), ArtifactError>> {
        let texts = &*self.texts;
        thread::scope(|scope| {
            let (sender, batches) = sync_channel(0);
            let builder = thread::Builder::new().name("artifact-feed".to_owned());
            let reading = builder
                .spawn_scoped(scope, move || read_ahead(sources, &sender))
                .inspect_err(|error| tracing::debug!(%error, "feeding the index without a thread"))
                .ok()?;
            let applied = batches.iter().try_for_each(|read: Read| {
                index.apply(&read.batches, texts)?;
                told(read.bytes);
                Ok(())
            });
            drop(batches);
            reading
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Some(applied)
        })
    }
}
