//! Salvage of a damaged journal into a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracking_model::StreamId;
use uuid::Uuid;

use crate::chain::Chain;
use crate::encode::seal_line;
use crate::io::{IoFile, OpenMode, write_full};
use crate::line::{FORMAT_VERSION, Line};
use crate::lines::Lines;
use crate::log::{Log, LogFiles};
use crate::place::Place;
use crate::sidecar::DurableLength;
use crate::survey::survey;
use crate::{ChainHash, Clock, DataDir, Head, JournalError, Record};

/// What was kept of a damaged journal and what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Records in the new journal.
    pub kept: u64,
    /// Of these, records after damage whose own hash could not be verified, because their predecessor is lost.
    pub unverified: u64,
    /// Lines that were no records of the stream and its life, repeated one, or stood in the wrong place.
    pub dropped_lines: u64,
    /// Bytes of these lines.
    pub dropped_bytes: u64,
    /// Records that are missing between those that were kept.
    pub missing: u64,
    /// Where the damaged file is now.
    pub damaged_file: PathBuf,
    /// The new journal's head, in a new epoch: cursors and viewers begin anew, and records keep their ids.
    pub head: Head,
}

/// What repairing found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salvage {
    /// The journal is in order; nothing was done. A torn tail is for the next writer to cut.
    Intact(Head),
    /// The journal was replaced by one of what could be salvaged.
    Repaired(RepairReport),
}

/// Replaces a damaged journal by one with all of its records that can still be read, in order, under a new epoch and
/// chain. The damaged file stays beside it as `<name>.damaged-<time>`. Running writers go on with the new one.
///
/// # Errors
/// [`JournalError::Locked`] if a writer does not let go within `lock_timeout`, [`JournalError::NewerVersion`] if the
/// journal is of a newer version, [`JournalError::NoSuchStream`], else as the system says. Nothing is replaced
/// then.
pub fn repair(
    dir: &DataDir,
    stream: &StreamId,
    lock_timeout: Duration,
    clock: &dyn Clock,
) -> Result<Salvage, JournalError> {
    repair_at(Place::on_disk(dir, stream), lock_timeout, clock)
}

fn repair_at(place: Place, lock_timeout: Duration, clock: &dyn Clock) -> Result<Salvage, JournalError> {
    let mut log = Log::new(place.clone(), lock_timeout, None);
    let lock = log.lock()?;
    let Some(files) = lock.files.clone() else {
        return Err(JournalError::NoSuchStream {
            stream: place.stream,
            path: place.journal,
        });
    };
    if let Some(head) = intact(&place, &files)? {
        return Ok(Salvage::Intact(head));
    }
    let stamp: String = clock
        .now()
        .to_rfc3339()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let beside = |suffix: &str| {
        let mut name = place.journal.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let damaged_file = beside(&format!(".damaged-{stamp}"));
    let mut salvager = Salvager::new(&place, &beside(".repaired"))?;
    salvager.read(&files.journal)?;
    let (report, salvaged) = salvager.finish(damaged_file)?;
    let kept_as = Some(report.damaged_file.as_path());
    put_in_place(&place, &salvaged, report.head.epoch, kept_as, &files)?;
    let unlocked = salvaged.file.unlock();
    unlocked.map_err(|error| JournalError::io("unlock the repaired", &place.journal, error))?;
    Ok(Salvage::Repaired(report))
}

/// The head, if the journal can be read to its end.
fn intact(place: &Place, files: &LogFiles) -> Result<Option<Head>, JournalError> {
    let mut chain = Chain::new(&place.stream);
    let io = |error| JournalError::io("read", &place.journal, error);
    let end = files.journal.size().map_err(io)?;
    let mut lines = Lines::new(Arc::clone(&files.journal), 0, end);
    while let Some(line) = lines.next_line().map_err(io)? {
        if chain.follow(line, &place.stream).is_err() {
            break;
        }
    }
    match crate::recovery::check_tail(place, &files.journal, &chain, end) {
        Ok(_) => Ok(Some(chain.head)),
        Err(JournalError::Damaged(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a new file in the place of the journal, whose lock the caller holds; where `kept_as` says so, the old one keeps
/// that name. Whatever step is the last before a crash, the path names one of the two. The new file is locked before it
/// has its name, so that no writer acknowledges a record in it before that is durable, and it is still locked
/// afterwards.
pub(crate) fn put_in_place(
    place: &Place,
    new: &NewJournal,
    epoch: Uuid,
    kept_as: Option<&Path>,
    files: &LogFiles,
) -> Result<(), JournalError> {
    let io = |operation| move |error| JournalError::io(operation, &place.journal, error);
    let locked = new.file.try_lock().map_err(io("lock what is to replace"))?;
    debug_assert!(locked, "a file without its name has no other holder");
    place
        .io
        .remove(&place.checkpoint)
        .map_err(io("remove the checkpoint of"))?;
    if let Some(kept_as) = kept_as {
        let kept = place.io.link(&place.journal, kept_as);
        kept.map_err(io("keep the damaged"))?;
    }
    place
        .io
        .rename(&new.path, &place.journal)
        .map_err(io("replace"))?;
    place
        .io
        .sync_dir(&place.directory())
        .map_err(io("sync the directory of"))?;
    let length = new.length;
    DurableLength { epoch, length }
        .write(&*files.sidecar)
        .map_err(io("announce the length of"))
}

/// A new journal that has not got its name yet.
#[derive(Debug)]
pub(crate) struct NewJournal {
    pub(crate) file: Arc<dyn IoFile>,
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
}

struct Salvager<'a> {
    place: &'a Place,
    new: Arc<dyn IoFile>,
    new_path: PathBuf,
    /// The damaged journal as far as it could be followed.
    old: Chain,
    epoch: Uuid,
    batch: (u64, u64),
    head: Head,
    written: u64,
    buffer: Vec<u8>,
    last_old_seq: u64,
    report: RepairReport,
}

const WRITE_AT: usize = 1 << 20;

impl<'a> Salvager<'a> {
    fn new(place: &'a Place, path: &Path) -> Result<Self, JournalError> {
        let new = place.io.open(path, OpenMode::Replace);
        let new = new.map_err(|error| JournalError::io("create", path, error))?;
        let epoch = tracking_model::new_uuid();
        let report = RepairReport {
            kept: 0,
            unverified: 0,
            dropped_lines: 0,
            dropped_bytes: 0,
            missing: 0,
            damaged_file: PathBuf::new(),
            head: Head::EMPTY,
        };
        let head = Head {
            epoch,
            seq: 0,
            hash: ChainHash::genesis(&place.stream, epoch),
        };
        Ok(Self {
            place,
            new,
            new_path: path.to_owned(),
            old: Chain::new(&place.stream),
            epoch,
            batch: (0, 0),
            head,
            written: 0,
            buffer: Vec::new(),
            last_old_seq: 0,
            report,
        })
    }

    fn read(&mut self, file: &Arc<dyn IoFile>) -> Result<(), JournalError> {
        let io = |error| JournalError::io("read", &self.place.journal, error);
        let mut worth = survey(self.place, file).map_err(io)?.into_iter().peekable();
        let mut lines = Lines::new(Arc::clone(file), 0, file.size().map_err(io)?);
        let mut index = 0;
        while let Some(line) = lines.next_line().map_err(io)? {
            if worth.next_if_eq(&index).is_some() {
                self.take(line)?;
            } else {
                self.drop_line(line.len());
            }
            index += 1;
        }
        Ok(())
    }

    fn drop_line(&mut self, bytes: usize) {
        self.report.dropped_lines += 1;
        self.report.dropped_bytes += bytes as u64;
    }

    fn take(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let verified = self.old.follow(line, &self.place.stream).is_ok();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let Ok(record) = Record::parse(text) else {
            self.drop_line(line.len());
            return Ok(());
        };
        if record.v > FORMAT_VERSION {
            return Err(JournalError::NewerVersion {
                path: self.place.journal.clone(),
                found: record.v,
            });
        }
        if !verified {
            self.rejoin(text, &record);
        }
        self.write(record)
    }

    /// Goes on after a gap. A record that follows a damaged or missing one cannot be verified, but the next can be.
    fn rejoin(&mut self, text: &[u8], record: &Record) {
        self.report.unverified += 1;
        self.report.missing += record.seq - self.last_old_seq - 1;
        if let Ok(line) = Line::parse(text) {
            self.old = Chain::resume(&self.place.stream, record.head(), 0);
            self.old.batch = line.batch;
        }
    }

    fn write(&mut self, mut record: Record) -> Result<(), JournalError> {
        self.last_old_seq = record.seq;
        let seq = self.head.seq + 1;
        // Commits stay commits, under their new numbers.
        if self.batch.0 != record.batch {
            self.batch = (record.batch, seq);
        }
        record.epoch = self.epoch;
        record.seq = seq;
        record.batch = self.batch.1;
        let start = self.buffer.len();
        record.write_body(&mut self.buffer);
        let hash = seal_line(start, &self.head.hash, &mut self.buffer);
        self.head = Head {
            epoch: self.epoch,
            seq,
            hash,
        };
        self.report.kept += 1;
        if self.buffer.len() >= WRITE_AT {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        let written = write_full(&*self.new, &self.buffer, self.written);
        written.map_err(|error| JournalError::io("write", &self.new_path, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self, damaged_file: PathBuf) -> Result<(RepairReport, NewJournal), JournalError> {
        self.flush()?;
        self.new
            .sync_data()
            .map_err(|error| JournalError::io("sync", &self.new_path, error))?;
        self.report.damaged_file = damaged_file;
        self.report.head = if self.head.seq == 0 {
            Head::EMPTY
        } else {
            self.head
        };
        let salvaged = NewJournal {
            file: self.new,
            path: self.new_path,
            length: self.written,
        };
        Ok((self.report, salvaged))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracking_model::{Details, PlanId, UpgradeCommand, UpgradeProgress};

    use super::*;
    use crate::cursor::testing::{StoppingIo, stream};
    use crate::{Journal, JournalOptions, SystemClock, verify};

    #[test]
    fn fault_13_crash_at_each_step_of_a_repair_leaves_the_damaged_journal_or_the_new_one() {
        let patience = Duration::from_secs(5);
        let (mut steps, mut damaged, mut repaired) = (0, 0, 0);
        loop {
            let temp = tempfile::tempdir().unwrap();
            let dir = DataDir::open(temp.path()).unwrap();
            let options = JournalOptions::default();
            let journal = Journal::<UpgradeProgress>::open(&dir, stream(), options.clone()).unwrap();
            let create = UpgradeCommand::Create {
                plan_id: PlanId::new("p").unwrap(),
                cluster_name: Arc::from("c"),
                metadata: Details::NONE,
            };
            journal.submit(create).wait().unwrap();
            for phase in ["a", "b", "c"] {
                let phase = UpgradeCommand::SetPhase { phase: phase.into() };
                journal.submit(phase).wait().unwrap();
            }
            journal.close_blocking();
            let path = dir.journal_path(&stream());
            let mut content = fs::read(&path).unwrap();
            let second = content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            content[second + 5] ^= 1;
            fs::write(&path, &content).unwrap();

            let io = StoppingIo::after(steps);
            let crashing = Place {
                io: Arc::new(io.clone()),
                ..Place::on_disk(&dir, &stream())
            };
            let outcome = repair_at(crashing, patience, &SystemClock);
            if fs::read(&path).unwrap() == content {
                damaged += 1;
            } else {
                assert_eq!(verify(&dir, &stream(), None).unwrap().head.seq, 3);
                repaired += 1;
            }
            let again = repair(&dir, &stream(), patience, &SystemClock).unwrap();
            let kept = match again {
                Salvage::Intact(head) => head.seq,
                Salvage::Repaired(report) => report.kept,
            };
            assert_eq!(kept, 3, "step {steps}");
            let journal = Journal::<UpgradeProgress>::open(&dir, stream(), options).unwrap();
            let phase = UpgradeCommand::SetPhase { phase: "d".into() };
            assert_eq!(journal.submit(phase).wait().unwrap().first_seq(), Some(4));
            journal.close_blocking();
            if outcome.is_ok() {
                break;
            }
            assert!(io.stopped());
            steps += 1;
        }
        println!(
            "FAULT row=13 name=repair points={} old={damaged} new={repaired} lost=0",
            steps + 1
        );
        assert!(damaged > 3 && repaired > 1, "{damaged} {repaired}");
    }
}
