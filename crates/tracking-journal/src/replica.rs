//! A copy of a stream, made of records that were written elsewhere: derived, and deletable at any time.
//!
//! The copy is a journal like any other, with its own epoch, sequence and chain, and what reads journals reads it. What
//! a record is of itself is kept as it is: `id`, `at`, `actor`, `type`, `data`.

use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracking_model::StreamId;

use crate::chain::Chain;
use crate::encode::seal_line;
use crate::io::{IoFile, OpenMode, write_full};
use crate::line::{ActorCache, FORMAT_VERSION, MAX_LINE_BYTES};
use crate::lines::Lines;
use crate::log::{AppendError, Log, LogFiles, LogLock};
use crate::place::Place;
use crate::repair::{NewJournal, put_in_place};
use crate::seek::seek;
use crate::{ChainHash, Damage, DataDir, Head, JournalError, Record};

/// At least so many bytes are written at a time; each time is a commit.
const WRITE_AT: usize = 4 << 20;

/// A copy of one stream, open to be written. Holds the stream's lock until it is dropped: readers go on meanwhile, other
/// writers wait.
///
/// ```
/// # use std::time::Duration;
/// # use tracking_journal::{DataDir, JournalReader, Record, Replica};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let lines = concat!(
/// #     r#"{"v":1,"stream":"upgrade:u","epoch":"0194c6a8-3b52-7c3e-9f53-0c1f6e2a9b10","seq":7,"batch":7,"#,
/// #     r#""id":"0194c6a8-3b52-7c3e-9f53-0c1f6e2a9b11","at":"2025-01-31T05:25:01.056236Z","actor":"a","#,
/// #     r#""type":"task.added","data":{},"#,
/// #     r#""hash":"0000000000000000000000000000000000000000000000000000000000000000"}"#);
/// let cache = DataDir::open(folder.path())?;
/// let record = Record::parse(lines.as_bytes())?;
/// let mut replica = Replica::open(&cache, &record.stream, Duration::from_secs(5))?;
/// let head = replica.append(&[record.clone()])?;
/// assert_eq!(head.seq, 1);
/// let copied = JournalReader::open(&cache, &record.stream)?.next_record()?.expect("one record");
/// assert_eq!(copied.id, record.id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Replica {
    log: Log,
    lock: LogLock,
    /// The last record and where the next one goes; `None` without a journal that can be appended to.
    end: Option<(Head, u64)>,
}

impl Replica {
    /// Takes the stream's lock and finds the end of its journal, if there is one. Only the end is verified.
    ///
    /// # Errors
    /// [`JournalError::Locked`] if another writer does not let go within `lock_timeout`; else as the system says.
    pub fn open(dir: &DataDir, stream: &StreamId, lock_timeout: Duration) -> Result<Self, JournalError> {
        Self::begin(Place::on_disk(dir, stream), lock_timeout)
    }

    fn begin(place: Place, lock_timeout: Duration) -> Result<Self, JournalError> {
        let mut log = Log::new(place, lock_timeout, None);
        let lock = log.lock()?;
        let end = match &lock.files {
            Some(files) => end_of(&log.place, &files.journal, lock.size)?,
            None => None,
        };
        Ok(Self { log, lock, end })
    }

    /// The last record of the copy; `None` if there is no copy, or none whose end is in order. Appending then begins a
    /// new one.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.end.map(|(head, _)| head)
    }

    /// All records of the copy, in order, verified. None if there is no copy, or none whose end is in order.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if what is before the end is no chain of records; else as the system says.
    pub fn records(&self) -> Result<Vec<Record>, JournalError> {
        let (Some((head, length)), Some(files)) = (self.end, &self.lock.files) else {
            return Ok(Vec::new());
        };
        let (stream, path) = (&self.log.place.stream, &self.log.place.journal);
        let mut records = Vec::with_capacity(usize::try_from(head.seq).unwrap_or(0).min(1 << 20));
        let mut actors = ActorCache::default();
        let mut chain = Chain::new(stream);
        let mut lines = Lines::new(Arc::clone(&files.journal), 0, length);
        let read = |error| JournalError::io("read", path, error);
        while let Some(line) = lines.next_line().map_err(read)? {
            let (number, offset) = (chain.line_number(), chain.offset);
            let damage = |reason| Damage {
                path: path.clone(),
                line: number,
                offset,
                reason,
            };
            let line = chain
                .follow(line, stream)
                .map_err(|error| damage(error.to_string()))?;
            let record = Record::from_line(stream.clone(), &line, &mut actors);
            records.push(record.map_err(|error| damage(error.to_string()))?);
        }
        Ok(records)
    }

    /// Appends records after those that are there, as one commit for some megabytes, and returns the last. When it
    /// returns they are durable. Without records nothing changes, and the head is [`Head::EMPTY`] if there is none.
    ///
    /// # Errors
    /// [`JournalError::RecordTooLarge`] for a record that fits no line; else as the system says. Whole commits from
    /// before the error stay.
    pub fn append<R: Borrow<Record>>(&mut self, records: &[R]) -> Result<Head, JournalError> {
        if records.is_empty() {
            return Ok(self.head().unwrap_or(Head::EMPTY));
        }
        let (head, mut offset) = match (self.end, &self.lock.files) {
            (Some(end), _) => end,
            (None, None) => {
                self.log.create(&mut self.lock)?;
                (before_first(&self.log.place.stream), 0)
            }
            (None, Some(_)) => return self.replace(records),
        };
        let mut lines = CopiedLines::new(head);
        for record in records {
            lines.push(record.borrow())?;
            if lines.buffer.len() >= WRITE_AT {
                offset = self.commit(&mut lines, offset)?;
            }
        }
        self.commit(&mut lines, offset)?;
        Ok(lines.head)
    }

    /// Writes the lines that are ready and makes them durable.
    fn commit(&mut self, lines: &mut CopiedLines, offset: u64) -> Result<u64, JournalError> {
        let Some(files) = self.lock.files.clone().filter(|_| !lines.buffer.is_empty()) else {
            return Ok(offset);
        };
        if let Err(error) = self.log.append(&files, &lines.buffer, offset) {
            // What is there is unknown: whoever comes next looks anew, and this one begins a new copy.
            self.end = None;
            let (AppendError::RolledBack(error) | AppendError::Unknown { error, .. }) = error;
            return Err(error);
        }
        let end = offset + lines.buffer.len() as u64;
        self.log.announce(&files, lines.head.epoch, end);
        self.end = Some((lines.head, end));
        lines.begin_commit();
        Ok(end)
    }

    /// Puts a new journal of these records, under a new epoch, in the place of the one that is there, and returns its
    /// last record. A reader finds the one or the other; one that has the old journal open is told that it was
    /// [replaced](JournalError::Replaced). Without records nothing changes.
    ///
    /// # Errors
    /// As [`Self::append`]; the journal that is there stays then.
    pub fn replace<R: Borrow<Record>>(&mut self, records: &[R]) -> Result<Head, JournalError> {
        let Some(files) = self.lock.files.clone().filter(|_| !records.is_empty()) else {
            return self.append(records);
        };
        let place = &self.log.place;
        let (new, head) = write_new(place, records)?;
        put_in_place(place, &new, head.epoch, None, &files)?;
        let named = new.file.identity();
        let files = LogFiles {
            id: named.map_err(|error| JournalError::io("look at", &place.journal, error))?,
            journal: Arc::clone(&new.file),
            ..files
        };
        // The new file is locked already; the old one is let go.
        self.lock = LogLock {
            held: new.file,
            files: Some(files),
            size: new.length,
        };
        self.end = Some((head, new.length));
        Ok(head)
    }
}

/// Where a stream stands that begins now.
fn before_first(stream: &StreamId) -> Head {
    let epoch = tracking_model::new_uuid();
    let hash = ChainHash::genesis(stream, epoch);
    Head { epoch, seq: 0, hash }
}

/// Writes a whole journal beside the one that it is to replace.
fn write_new<R: Borrow<Record>>(place: &Place, records: &[R]) -> Result<(NewJournal, Head), JournalError> {
    let path = beside(place);
    let file = place.io.open(&path, OpenMode::Replace);
    let file = file.map_err(|error| JournalError::io("create", &path, error))?;
    let mut lines = CopiedLines::new(before_first(&place.stream));
    let mut length = 0;
    let mut flush = |lines: &mut CopiedLines| {
        let written = write_full(&*file, &lines.buffer, length);
        written.map_err(|error| JournalError::io("write", &path, error))?;
        length += lines.buffer.len() as u64;
        lines.begin_commit();
        Ok::<(), JournalError>(())
    };
    for record in records {
        lines.push(record.borrow())?;
        if lines.buffer.len() >= WRITE_AT {
            flush(&mut lines)?;
        }
    }
    flush(&mut lines)?;
    file.sync_data()
        .map_err(|error| JournalError::io("sync", &path, error))?;
    Ok((NewJournal { file, path, length }, lines.head))
}

fn beside(place: &Place) -> PathBuf {
    place.journal.with_extension("jsonl.copy")
}

/// Where the journal ends, if its end is in order.
fn end_of(place: &Place, file: &Arc<dyn IoFile>, size: u64) -> Result<Option<(Head, u64)>, JournalError> {
    let mut chain = match seek(place, &**file, u64::MAX, size)? {
        Some(position) => Chain::resume(&place.stream, position.head, position.offset),
        None => Chain::new(&place.stream),
    };
    let mut lines = Lines::new(Arc::clone(file), chain.offset, size);
    let read = |error| JournalError::io("read", &place.journal, error);
    while let Some(line) = lines.next_line().map_err(read)? {
        if chain.follow(line, &place.stream).is_err() {
            return Ok(None);
        }
    }
    let usable = !chain.head.is_empty() && chain.newest <= FORMAT_VERSION;
    Ok(usable.then_some((chain.head, chain.offset)))
}

/// Lines of records from elsewhere, chained anew.
struct CopiedLines {
    head: Head,
    batch: u64,
    buffer: Vec<u8>,
}

impl CopiedLines {
    const fn new(head: Head) -> Self {
        Self {
            head,
            batch: head.seq + 1,
            buffer: Vec::new(),
        }
    }

    fn begin_commit(&mut self) {
        self.batch = self.head.seq + 1;
        self.buffer.clear();
    }

    fn push(&mut self, record: &Record) -> Result<(), JournalError> {
        let (start, seq) = (self.buffer.len(), self.head.seq + 1);
        let epoch = self.head.epoch;
        record.write_body_as(FORMAT_VERSION, epoch, (seq, self.batch), &mut self.buffer);
        let hash = seal_line(start, &self.head.hash, &mut self.buffer);
        let bytes = self.buffer.len() - start;
        if bytes > MAX_LINE_BYTES {
            self.buffer.truncate(start);
            let limit = MAX_LINE_BYTES;
            return Err(JournalError::RecordTooLarge { bytes, limit });
        }
        self.head = Head { epoch, seq, hash };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracking_model::UpgradeProgress;

    use super::*;
    use crate::cursor::testing::{StoppingIo, stream};
    use crate::sink::conformance::records;
    use crate::{Follower, JournalReader, load, verify};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn heartbeats(count: u64) -> Vec<Record> {
        records(
            &stream(),
            "task.heartbeat",
            r#"{"task_id":"t","ünknown":1}"#,
            count,
        )
    }

    fn ids(dir: &DataDir) -> Vec<uuid::Uuid> {
        let reader = JournalReader::open(dir, &stream()).unwrap();
        reader.map(|record| record.unwrap().id).collect()
    }

    #[test]
    fn a_copy_keeps_what_a_record_is_of_itself_and_has_a_chain_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let from = heartbeats(5);
        let mut replica = Replica::open(&dir, &stream(), PATIENCE).unwrap();
        assert_eq!(replica.append(&from[..0]).unwrap(), Head::EMPTY);
        assert!(!dir.journal_path(&stream()).exists(), "nothing is no stream");
        replica.append(&from[..2]).unwrap();
        let head = replica.append(&from[2..]).unwrap();
        drop(replica);
        let read: Vec<Record> = JournalReader::open(&dir, &stream())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (copy, from) in read.iter().zip(&from) {
            assert_eq!((copy.id, copy.at, &copy.actor), (from.id, from.at, &from.actor));
            assert_eq!((&copy.kind, copy.data.get()), (&from.kind, from.data.get()));
            assert_ne!(copy.epoch, from.epoch);
        }
        let batches: Vec<_> = read.iter().map(|record| (record.seq, record.batch)).collect();
        assert_eq!(batches, [(1, 1), (2, 1), (3, 3), (4, 3), (5, 3)]);
        assert_eq!(verify(&dir, &stream(), None).unwrap().head, head);
        let again = Replica::open(&dir, &stream(), PATIENCE).unwrap();
        assert_eq!(again.head(), Some(head));
        let copied: Vec<_> = again.records().unwrap().iter().map(|record| record.id).collect();
        assert_eq!(copied, ids(&dir));
    }

    #[test]
    fn readers_go_on_while_a_copy_grows_and_are_told_when_it_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let from = heartbeats(6);
        let mut replica = Replica::open(&dir, &stream(), PATIENCE).unwrap();
        replica.append(&from[..2]).unwrap();
        let mut follower = Follower::<UpgradeProgress>::open(&dir, &stream()).unwrap();
        assert_eq!(follower.head().seq, 2);
        replica.append(&from[2..4]).unwrap();
        assert_eq!(follower.try_next().unwrap().unwrap().records.len(), 2);
        let head = replica.replace(&from[1..]).unwrap();
        assert!(matches!(follower.try_next(), Err(JournalError::Replaced { .. })));
        assert_eq!(load::<UpgradeProgress>(&dir, &stream()).unwrap().head, head);
        let locked = Replica::open(&dir, &stream(), Duration::ZERO).unwrap_err();
        assert!(matches!(locked, JournalError::Locked { .. }), "{locked}");
        replica.append(&from[..1]).unwrap();
        drop(replica);
        assert_eq!(load::<UpgradeProgress>(&dir, &stream()).unwrap().head.seq, 6);
        assert_eq!(ids(&dir).last(), Some(&from[0].id));
    }

    #[test]
    fn a_copy_that_cannot_be_appended_to_is_begun_anew() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let from = heartbeats(3);
        let path = dir.journal_path(&stream());
        for damage in [&b""[..], b"x", b"{\"v\":1\n"] {
            let mut replica = Replica::open(&dir, &stream(), PATIENCE).unwrap();
            replica.replace(&from).unwrap();
            drop(replica);
            let mut content = fs::read(&path).unwrap();
            content.extend_from_slice(damage);
            fs::write(&path, if damage.is_empty() { damage } else { &content }).unwrap();
            let mut replica = Replica::open(&dir, &stream(), PATIENCE).unwrap();
            assert_eq!(replica.head(), None);
            replica.append(&from[..1]).unwrap();
            drop(replica);
            assert_eq!(ids(&dir), [from[0].id]);
        }
    }

    #[test]
    fn fault_13_crash_at_each_step_of_a_copy_leaves_a_prefix_or_the_old_one_or_the_new_one() {
        let from = heartbeats(4);
        let (mut points, mut done) = (0, 0);
        while done < 2 {
            let temp = tempfile::tempdir().unwrap();
            let dir = DataDir::open(temp.path()).unwrap();
            let io = StoppingIo::after(points);
            let place = Place {
                io: Arc::new(io.clone()),
                ..Place::on_disk(&dir, &stream())
            };
            let appended = Replica::begin(place, PATIENCE).and_then(|mut replica| {
                replica.append(&from[..2])?;
                replica.replace(&from)
            });
            let whole = appended.is_ok();
            if dir.journal_path(&stream()).exists() {
                let found = ids(&dir);
                let known: Vec<_> = from.iter().map(|record| record.id).collect();
                assert_eq!(found, known[..found.len()], "step {points}");
            }
            let mut again = Replica::open(&dir, &stream(), PATIENCE).unwrap();
            again.replace(&from).unwrap();
            drop(again);
            assert_eq!(ids(&dir).len(), 4, "step {points}");
            done += usize::from(whole);
            points += 1;
        }
        println!("FAULT row=13 name=replica points={points} lost=0");
        assert!(points > 8, "{points}");
    }
}
