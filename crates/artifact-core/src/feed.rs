//! Feeding the index from the journals of sessions: from where it stands, whoever wrote meanwhile and whoever fed it.

use std::cell::Cell;
use std::fs;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use tracking_journal::{Committed, JournalReader, Position};
use tracking_model::{SessionEvent, SessionId, StreamId};

use crate::catalogue::{Catalogue, Fed, SessionEntry, decode, is_another};
use crate::{ArtifactError, ArtifactIndex, IndexBatch, Unreadable};

/// Most records that go to the index at a time. Each batch becomes one piece of the index, so fewer and larger ones are
/// faster; they are held in memory, the next beside the one at work.
const BATCH: usize = 8192;
/// Below so many bytes of a journal, a thread to read ahead costs more than it saves.
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

impl Catalogue {
    /// Brings the index up to date; names the sessions that cannot be read. `told` is called after each batch.
    pub(crate) fn refresh_all(&self, told: &dyn Fn(IndexProgress)) -> Result<Vec<Unreadable>, ArtifactError> {
        let ids = self.ids()?;
        let length = |id: &SessionId| {
            let path = self
                .home()
                .map(|home| home.journal_path(&StreamId::Session(id.clone())));
            path.and_then(|path| fs::metadata(path).ok())
                .map_or(0, |metadata| metadata.len())
        };
        let total_bytes = ids.iter().map(length).sum();
        let done = Cell::new(0);
        let mut unreadable = Vec::new();
        for session_id in &ids {
            let before = done.get();
            match self.refresh_with(session_id, &|offset| {
                done.set(before + offset);
                told(IndexProgress {
                    bytes: before + offset,
                    total_bytes,
                });
            }) {
                Ok(_) | Err(ArtifactError::UnknownSession(_)) => {}
                Err(error @ ArtifactError::Index(_)) => return Err(error),
                Err(error) => unreadable.push(Unreadable {
                    session_id: session_id.clone(),
                    error,
                }),
            }
        }
        if self.home().is_some() {
            self.forget_all_but(&ids)?;
        }
        Ok(unreadable)
    }

    /// Takes a session up anew, with the texts that there are now.
    pub(crate) fn feed_session_anew(&self, id: &SessionId) -> Result<(), ArtifactError> {
        let entry = self.existing(id)?;
        let mut fed = entry.fed();
        self.index().forget(id)?;
        *fed = None;
        drop(fed);
        self.refresh(id).map(|_| ())
    }

    /// What the index knows of sessions that are not there any more, it must not find.
    fn forget_all_but(&self, ids: &[SessionId]) -> Result<(), ArtifactError> {
        for id in self.index().sessions()? {
            if ids.binary_search(&id).is_err() {
                self.index().forget(&id)?;
                *self.entry(&id).fed() = None;
            }
        }
        Ok(())
    }

    /// Brings the index up to date with one session; tells the last sequence that it then knows.
    pub(crate) fn refresh(&self, id: &SessionId) -> Result<u64, ArtifactError> {
        self.refresh_with(id, &|_| {})
    }

    fn refresh_with(&self, id: &SessionId, told: &dyn Fn(u64)) -> Result<u64, ArtifactError> {
        let entry = self.existing(id)?;
        // In memory no one else writes, so nothing can have changed since the caller looked.
        let Some(home) = self.home() else {
            return Ok(u64::MAX);
        };
        let path = home.journal_path(&entry.stream());
        let mut fed = entry.fed();
        // All of it goes to the same one, whatever takes its place meanwhile.
        let in_memory = self.is_in_memory();
        let index = self.index();
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *fed = None;
                index.forget(id)?;
                return Err(ArtifactError::UnknownSession(id.clone()));
            }
            Err(error) => return Err(ArtifactError::io("look at", path, error)),
        };
        if let Some(fed) = *fed
            && fed.in_memory == in_memory
            && fed.position.offset == length
        {
            told(length);
            return Ok(fed.position.head.seq);
        }
        let known = index.position(id)?;
        let position = match self.feed(index, &entry, known, length, told) {
            // A journal that was replaced, by a repair or by hand, does not go on where the old one ended.
            Err(ArtifactError::Journal(error)) if known.is_some() && is_another(&error) => {
                index.forget(id)?;
                self.feed(index, &entry, None, length, told)?
            }
            fed => fed?,
        };
        *fed = position.map(|position| Fed { position, in_memory });
        Ok(position.map_or(0, |position| position.head.seq))
    }

    /// Passes the records after `known` to the index; tells where it then stands.
    fn feed(
        &self,
        index: &dyn ArtifactIndex,
        entry: &SessionEntry,
        known: Option<Position>,
        length: u64,
        told: &dyn Fn(u64),
    ) -> Result<Option<Position>, ArtifactError> {
        let Some(home) = self.home() else { return Ok(known) };
        let mut reader = match known {
            Some(position) => JournalReader::resume(home, &entry.stream(), position)?,
            None => JournalReader::open(home, &entry.stream())?,
        };
        let mut at = known;
        let mut apply = |batch: IndexBatch| -> Result<(), ArtifactError> {
            index.apply(&batch, &*self.texts)?;
            at = batch.position;
            told(at.map_or(0, |position| position.offset));
            Ok(())
        };
        if length.saturating_sub(reader.position().offset) < WORTH_A_THREAD {
            while let Some(batch) = next_batch(entry, &mut reader)? {
                apply(batch)?;
            }
        } else {
            // The next batch is read and decoded while this one is indexed.
            thread::scope(|scope| {
                let (sender, batches) = sync_channel(0);
                let reading = scope.spawn(move || read_ahead(entry, &mut reader, &sender));
                let applied = batches.iter().try_for_each(&mut apply);
                drop(batches);
                let read = reading
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                applied.and(read)
            })?;
        }
        Ok(at)
    }
}

fn read_ahead(
    entry: &SessionEntry,
    reader: &mut JournalReader,
    sender: &SyncSender<IndexBatch>,
) -> Result<(), ArtifactError> {
    while let Some(batch) = next_batch(entry, reader)? {
        if sender.send(batch).is_err() {
            // The index failed and says why.
            break;
        }
    }
    Ok(())
}

fn next_batch(entry: &SessionEntry, reader: &mut JournalReader) -> Result<Option<IndexBatch>, ArtifactError> {
    let mut records: Vec<Committed<SessionEvent>> = Vec::new();
    while records.len() < BATCH {
        let Some(record) = reader.next_record()? else {
            break;
        };
        let event = decode(entry, &record)?;
        records.push(Committed {
            meta: record.meta(),
            event,
        });
    }
    Ok((!records.is_empty()).then(|| IndexBatch {
        session_id: entry.id().clone(),
        records,
        position: Some(JournalReader::position(reader)),
    }))
}
