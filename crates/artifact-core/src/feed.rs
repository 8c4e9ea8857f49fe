//! Feeding the index from the journals of sessions: from where it stands, whoever wrote meanwhile and whoever fed it.
//!
//! Sessions are read side by side, always the one that is behind in time, so that what goes to the index together was
//! added together, and comes after what it has already: it keeps artifacts in the order of time.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, MutexGuard};
use std::thread;

use tracking_journal::{Committed, DataDir, JournalReader, Position, storage};
use tracking_model::{SessionEvent, SessionId, StreamId, Timestamp};

use crate::sessions::SessionRegistry;
use crate::sessions::registry::{Fed, SessionEntry, decode, is_another};
use crate::{ArtifactError, ArtifactIndex, IndexBatch, Unreadable};

/// Most records that go to the index at a time. They become one piece of the index, so fewer and larger ones are faster;
/// they are held in memory, the next beside those at work.
const BATCH: usize = 8192;
/// Of the first ones fewer, and twice as many each time: nothing can be indexed while these are read.
const FIRST_BATCH: usize = 2048;
/// Records that are read of a session before another one is looked at.
const PART: usize = 64;
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

impl SessionRegistry {
    /// Brings the index up to date; names the sessions that cannot be read. `told` is called after each batch.
    pub(crate) fn refresh_all(&self, told: &dyn Fn(IndexProgress)) -> Result<Vec<Unreadable>, ArtifactError> {
        let ids = self.ids()?;
        let length = |id: &SessionId| {
            let path = self.data_dir().journal_path(&StreamId::Session(id.clone()));
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
                match self.existing(id) {
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
    pub(crate) fn feed_session_anew(&self, id: &SessionId) -> Result<(), ArtifactError> {
        let entry = self.existing(id)?;
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
                *self.entry(&id).fed() = None;
            }
        }
        Ok(())
    }

    /// Brings the index up to date with one session; tells the last sequence that it then knows.
    pub(crate) fn refresh(&self, id: &SessionId) -> Result<u64, ArtifactError> {
        let entries = [self.existing(id)?];
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
        let home = self.data_dir();
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

/// Records that were read together.
struct Read {
    batches: Vec<IndexBatch>,
    /// Bytes of the journals up to there.
    bytes: u64,
}

fn read_ahead(sources: &mut [Source<'_>], sender: &SyncSender<Read>) {
    let mut most = FIRST_BATCH;
    while let Some(read) = read(sources, most) {
        most = BATCH.min(2 * most);
        if sender.send(read).is_err() {
            // The index failed and says why.
            break;
        }
    }
}

/// The next records, `most` or little more, of the sessions that are behind the others in time; `None` if there are no more.
fn read(sources: &mut [Source<'_>], most: usize) -> Option<Read> {
    let mut records: Vec<Vec<Committed<SessionEvent>>> = sources.iter().map(|_| Vec::new()).collect();
    let mut count = 0;
    while count < most {
        let behind = sources
            .iter_mut()
            .zip(&mut records)
            .filter(|(source, _)| source.is_open)
            .min_by_key(|(source, _)| source.time);
        let Some((source, records)) = behind else { break };
        count += source.read_part(records);
    }
    let read = sources.iter().zip(records);
    let batches = read.filter(|(_, records)| !records.is_empty());
    let batches: Vec<IndexBatch> = batches
        .map(|(source, records)| IndexBatch {
            session_id: source.entry.id().clone(),
            records,
            position: source.position,
        })
        .collect();
    (!batches.is_empty()).then(|| Read {
        batches,
        bytes: sources.iter().map(Source::offset).sum(),
    })
}

/// A session that is read.
struct Source<'e> {
    entry: &'e SessionEntry,
    reader: Option<JournalReader>,
    /// True if there may be more to read.
    is_open: bool,
    /// The position of the index before.
    known: Option<Position>,
    /// Where reading stands.
    position: Option<Position>,
    /// Bytes of the journal, as of when it was opened.
    length: u64,
    /// When what was read last was added.
    time: Timestamp,
    error: Option<ArtifactError>,
}

impl<'e> Source<'e> {
    /// Opens a session's journal where the index stands, of which `fed` is known to this process.
    fn open(
        home: &DataDir,
        index: &dyn ArtifactIndex,
        entry: &'e SessionEntry,
        fed: Option<Position>,
    ) -> Result<Self, ArtifactError> {
        let mut source = Self {
            entry,
            reader: None,
            is_open: false,
            known: None,
            position: fed,
            length: 0,
            time: Timestamp::from_micros(i64::MIN),
            error: None,
        };
        let path = home.journal_path(&entry.stream());
        match storage::metadata(&path) {
            Ok(metadata) => source.length = metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                index.forget(entry.id())?;
                source.error = Some(ArtifactError::UnknownSession(entry.id().clone()));
                return Ok(source);
            }
            Err(error) => {
                source.error = Some(ArtifactError::io("look at", path, error));
                return Ok(source);
            }
        }
        if fed.is_none_or(|fed| fed.offset != source.length) {
            source.known = index.position(entry.id())?;
            source.start(home);
        }
        Ok(source)
    }

    /// Opens a session's journal at its beginning.
    fn anew(home: &DataDir, entry: &'e SessionEntry, length: u64) -> Self {
        let mut source = Self {
            entry,
            reader: None,
            is_open: false,
            known: None,
            position: None,
            length,
            time: Timestamp::from_micros(i64::MIN),
            error: None,
        };
        source.start(home);
        source
    }

    fn start(&mut self, home: &DataDir) {
        self.position = self.known;
        let stream = self.entry.stream();
        let opened = match self.known {
            Some(position) => JournalReader::resume(home, &stream, position),
            None => JournalReader::open(home, &stream),
        };
        match opened {
            Ok(reader) => {
                self.reader = Some(reader);
                self.is_open = true;
            }
            Err(error) => self.error = Some(error.into()),
        }
    }

    /// Reads some records; tells how many.
    fn read_part(&mut self, records: &mut Vec<Committed<SessionEvent>>) -> usize {
        let before = records.len();
        match self.try_read_part(records) {
            Ok(more) => self.is_open = more,
            Err(error) => {
                // The index stays before what is not whole.
                records.truncate(before);
                self.is_open = false;
                self.error = Some(error);
            }
        }
        records.len() - before
    }

    fn try_read_part(&mut self, records: &mut Vec<Committed<SessionEvent>>) -> Result<bool, ArtifactError> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        let mut more = true;
        for _ in 0..PART {
            let Some(record) = reader.next_record()? else {
                more = false;
                break;
            };
            let event = decode(self.entry, &record)?;
            if let SessionEvent::ArtifactAdded(artifact) = &event {
                self.time = artifact.created_at;
            }
            records.push(Committed {
                meta: record.meta(),
                event,
            });
        }
        self.position = Some(JournalReader::position(reader)).filter(|position| !position.head.is_empty());
        Ok(more)
    }

    /// True if the journal is another than the one that the index was fed from.
    fn is_another(&self) -> bool {
        self.known.is_some()
            && matches!(&self.error, Some(ArtifactError::Journal(error)) if is_another(error))
    }

    fn offset(&self) -> u64 {
        self.position.map_or(0, |position| position.offset)
    }

    fn unread(&self) -> u64 {
        let length = if self.is_open { self.length } else { 0 };
        length.saturating_sub(self.offset())
    }

    fn outcome(self) -> Result<Option<Position>, ArtifactError> {
        self.error.map_or(Ok(self.position), Err)
    }
}
