//! Reading the journals of sessions for the index.

use std::io;
use std::sync::mpsc::SyncSender;

use tracking_journal::{Committed, DataDir, JournalReader, Position, storage};
use tracking_model::{SessionEvent, Timestamp};

use crate::sessions::registry::{SessionEntry, decode, is_another};
use crate::{ArtifactError, ArtifactIndex, IndexBatch};

/// Most records that go to the index at a time. They become one piece of the index, so fewer and larger ones are faster;
/// they are held in memory, the next beside those at work.
pub(super) const BATCH: usize = 8192;
/// Of the first ones fewer, and twice as many each time: nothing can be indexed while these are read.
const FIRST_BATCH: usize = 2048;
/// Records that are read of a session before another one is looked at.
const PART: usize = 64;
/// Records that were read together.
pub(super) struct Read {
    pub(super) batches: Vec<IndexBatch>,
    /// Bytes of the journals up to there.
    pub(super) bytes: u64,
}

pub(super) fn read_ahead(sources: &mut [Source<'_>], sender: &SyncSender<Read>) {
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
pub(super) fn read(sources: &mut [Source<'_>], most: usize) -> Option<Read> {
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
pub(super) struct Source<'e> {
    pub(super) entry: &'e SessionEntry,
    reader: Option<JournalReader>,
    /// True if there may be more to read.
    is_open: bool,
    /// The position of the index before.
    known: Option<Position>,
    /// Where reading stands.
    position: Option<Position>,
    /// Bytes of the journal, as of when it was opened.
    pub(super) length: u64,
    /// When what was read last was added.
    time: Timestamp,
    error: Option<ArtifactError>,
}

impl<'e> Source<'e> {
    /// Opens a session's journal where the index stands, of which `fed` is known to this process.
    pub(super) fn open(
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
    pub(super) fn anew(home: &DataDir, entry: &'e SessionEntry, length: u64) -> Self {
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
    pub(super) fn is_another(&self) -> bool {
        self.known.is_some()
            && matches!(&self.error, Some(ArtifactError::Journal(error)) if is_another(error))
    }

    pub(super) fn offset(&self) -> u64 {
        self.position.map_or(0, |position| position.offset)
    }

    pub(super) fn unread(&self) -> u64 {
        let length = if self.is_open { self.length } else { 0 };
        length.saturating_sub(self.offset())
    }

    pub(super) fn outcome(self) -> Result<Option<Position>, ArtifactError> {
        self.error.map_or(Ok(self.position), Err)
    }
}
