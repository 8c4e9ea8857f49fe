//! What a viewer lacks, read from the journal: in portions, at the viewer's pace, from any place.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracking_journal::{DataDir, Head, JournalError, JournalReader};
use uuid::Uuid;

use super::followed::Names;
use super::queue::Ticket;
use crate::frame::Frame;
use crate::protocol::{Position, TypeFilter};

/// A portion: enough that switching threads does not count, and little enough that thousands can wait for their viewers.
const PORTION_BYTES: usize = 128 << 10;
const PORTION_RECORDS: usize = 2_048;

/// Where the reading of portions happens.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    pub(crate) dir: DataDir,
    pub(crate) tasks: TaskTracker,
    /// How many read at a time.
    pub(crate) permits: Arc<Semaphore>,
}

/// A viewer on its way from where it left to where the feed stands.
#[derive(Debug)]
pub(crate) struct CatchUp {
    pub(crate) names: Names,
    pub(crate) ticket: Ticket,
    /// The last record that was handed to the viewer.
    at: u64,
    until: Head,
    /// Precedes the events.
    preface: Option<Frame>,
    /// The viewer has asked for a summary meanwhile.
    pub(crate) then_summarize: bool,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// Opened when the first portion is read, from the record after this.
    Not,
    Running(JoinHandle<Portion>),
    Done(Box<Portion>),
    Resting(Box<JournalReader>),
}

/// Events in order.
#[derive(Debug)]
struct Portion {
    frames: Vec<Frame>,
    /// The last record that was looked at.
    reached: u64,
    /// The reader, to go on; or why it cannot.
    reader: Result<JournalReader, ReadError>,
}

/// Why what a viewer lacks cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("record {seq} cannot be read")]
    Undecodable {
        seq: u64,
        #[source]
        source: tracking_model::DecodeError,
    },
    #[error("the journal was replaced by one of epoch {0}")]
    Epoch(Uuid),
    #[error("the thread that read it panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is more to read.
    More,
    /// The feed can be met here.
    Meet(Position),
    /// It cannot be read: begin anew.
    Lost(ReadError),
}

impl CatchUp {
    pub(crate) const fn new(
        names: Names,
        ticket: Ticket,
        at: u64,
        until: Head,
        preface: Option<Frame>,
    ) -> Self {
        Self {
            names,
            ticket,
            at,
            until,
            preface,
            then_summarize: false,
            reading: Reading::Not,
        }
    }

    /// The feed has gone on meanwhile.
    pub(crate) const fn extend(&mut self, until: Head) {
        self.until = until;
    }

    /// Waits until [`Self::advance`] has something to do.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn ready(&mut self) {
        if let Reading::Running(portion) = &mut self.reading {
            let portion = portion.await.unwrap_or_else(|error| Portion {
                frames: Vec::new(),
                reached: 0,
                reader: Err(error.into()),
            });
            self.reading = Reading::Done(Box::new(portion));
        }
    }

    /// Hands out what has been read, and begins to read what comes next, if nothing is being read.
    pub(crate) fn advance(&mut self, readers: &Readers, types: &TypeFilter, out: &mut Vec<Frame>) -> Step {
        out.extend(self.preface.take());
        let reader = match std::mem::replace(&mut self.reading, Reading::Not) {
            Reading::Running(portion) => {
                self.reading = Reading::Running(portion);
                return Step::More;
            }
            Reading::Done(portion) => match portion.reader {
                Ok(reader) => {
                    out.extend(portion.frames);
                    self.at = portion.reached;
                    Some(reader)
                }
                Err(error) => return Step::Lost(error),
            },
            Reading::Resting(reader) => Some(*reader),
            Reading::Not => None,
        };
        if self.at >= self.until.seq {
            if let Some(reader) = reader {
                self.reading = Reading::Resting(Box::new(reader));
            }
            return Step::Meet(Position {
                epoch: self.until.epoch,
                seq: self.at,
            });
        }
        self.read(readers, types, reader);
        Step::More
    }

    fn read(&mut self, readers: &Readers, types: &TypeFilter, reader: Option<JournalReader>) {
        let (names, types) = (self.names.clone(), types.clone());
        let (at, until, dir) = (self.at, self.until, readers.dir.clone());
        let permits = Arc::clone(&readers.permits);
        let portion = readers.tasks.spawn(async move {
            // The semaphore is never closed; without a permit there would only be more readers at a time.
            let _permit = permits.acquire_owned().await.ok();
            let read =
                tokio::task::spawn_blocking(move || portion(&dir, &names, &types, (at, until), reader));
            read.await.unwrap_or_else(|error| Portion {
                frames: Vec::new(),
                reached: at,
                reader: Err(error.into()),
            })
        });
        self.reading = Reading::Running(portion);
    }
}

fn portion(
    dir: &DataDir,
    names: &Names,
    types: &TypeFilter,
    (mut reached, until): (u64, Head),
    reader: Option<JournalReader>,
) -> Portion {
    let mut frames = Vec::new();
    let read = || -> Result<JournalReader, ReadError> {
        let mut reader = match reader {
            Some(reader) => reader,
            None => JournalReader::open_at(dir, &names.stream, reached + 1)?,
        };
        let (mut bytes, mut records) = (0, 0);
        while reached < until.seq && bytes < PORTION_BYTES && records < PORTION_RECORDS {
            // The feed has read this far already, so there is a record.
            let Some(record) = reader.next_record()? else {
                break;
            };
            if record.epoch != until.epoch {
                return Err(ReadError::Epoch(record.epoch));
            }
            reached = record.seq;
            records += 1;
            let frame = names.frame_of(&record);
            let frame = frame.map_err(|source| ReadError::Undecodable {
                seq: record.seq,
                source,
            })?;
            if let Some(frame) = frame.filter(|frame| frame.kind().is_none_or(|kind| types.admits(kind))) {
                bytes += frame.len();
                frames.push(frame);
            }
        }
        Ok(reader)
    };
    let reader = read();
    Portion {
        frames,
        reached,
        reader,
    }
}
