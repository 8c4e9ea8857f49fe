//! A record as readers get it: the fields of its line, and the line itself.

use std::sync::Arc;

use serde_json::value::RawValue;
use tracking_model::{DecodeError, RecordMeta, StreamEvent, StreamId, Timestamp};
use uuid::Uuid;

use crate::line::{ActorCache, FORMAT_VERSION, Line, LineError};
use crate::{ChainHash, Head};

/// One record of a journal, its event still as JSON.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// Format version.
    pub v: u32,
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// The life of the journal that it belongs to.
    pub epoch: Uuid,
    /// Position in the stream, from 1.
    pub seq: u64,
    /// `seq` of the first record of its commit.
    pub batch: u64,
    /// UUID v7; the key by which receivers drop duplicates.
    pub id: Uuid,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
    /// Who wrote it.
    pub actor: Arc<str>,
    /// `type` on the line: what kind of event it is.
    pub kind: String,
    /// The event, as the JSON object that was written.
    pub data: Box<RawValue>,
    /// The chain up to and including this record.
    pub hash: ChainHash,
}

/// What a record is of itself, before it has a place in a stream.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// UUID v7; the key by which receivers drop duplicates.
    pub id: Uuid,
    /// When it is written.
    pub at: Timestamp,
    /// Who writes it.
    pub actor: Arc<str>,
    /// What kind of event it is.
    pub kind: String,
    /// The event, a JSON object.
    pub data: Box<RawValue>,
}

/// Why a line is no record of a stream, whatever stands around it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The line does not have the form of a record.
    #[error(transparent)]
    Line(#[from] LineError),
    /// `stream` is no stream id.
    #[error("the record's stream {0:?} is no stream id")]
    Stream(String),
    /// `data` is no JSON.
    #[error("the record's data is no JSON: {0}")]
    Data(String),
}

impl Record {
    /// The records of one commit that begins the life `epoch` of a stream, for receivers that take records without a
    /// journal.
    #[must_use]
    pub fn begin(stream: &StreamId, epoch: Uuid, new: Vec<NewRecord>) -> Vec<Self> {
        let mut hash = ChainHash::genesis(stream, epoch);
        let place = |(seq, new): (u64, NewRecord)| {
            let mut record = Self {
                v: FORMAT_VERSION,
                stream: stream.clone(),
                epoch,
                seq,
                batch: 1,
                id: new.id,
                at: new.at,
                actor: new.actor,
                kind: new.kind,
                data: new.data,
                hash,
            };
            let mut body = Vec::new();
            record.write_body(&mut body);
            hash = hash.next(&body);
            record.hash = hash;
            record
        };
        (1..).zip(new).map(place).collect()
    }

    /// Reads one line, with or without its line feed. The hash is read, not verified: that takes the predecessor's,
    /// see [`Self::follows`].
    ///
    /// # Errors
    /// [`RecordError`] if the line has not the form of a record.
    pub fn parse(line: &[u8]) -> Result<Self, RecordError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = Line::parse(line)?;
        let stream = line
            .stream
            .parse()
            .map_err(|_| RecordError::Stream(line.stream.clone().into_owned()))?;
        Self::from_line(stream, &line, &mut ActorCache::default())
    }

    pub(crate) fn from_line(
        stream: StreamId,
        line: &Line<'_>,
        actors: &mut ActorCache,
    ) -> Result<Self, RecordError> {
        let data = RawValue::from_string(line.data.to_owned());
        Ok(Self {
            v: line.v,
            stream,
            epoch: line.epoch,
            seq: line.seq,
            batch: line.batch,
            id: line.id,
            at: line.at,
            actor: actors.shared(&line.actor),
            kind: line.kind.clone().into_owned(),
            data: data.map_err(|error| RecordError::Data(error.to_string()))?,
            hash: line.hash,
        })
    }

    /// The record's position: what a cursor that has passed it keeps.
    #[must_use]
    pub const fn head(&self) -> Head {
        Head {
            epoch: self.epoch,
            seq: self.seq,
            hash: self.hash,
        }
    }

    /// The part of the record that a fold is told beside the event.
    #[must_use]
    pub fn meta(&self) -> RecordMeta {
        RecordMeta {
            seq: self.seq,
            id: self.id,
            at: self.at,
            actor: Arc::clone(&self.actor),
        }
    }

    /// Reads the event.
    ///
    /// # Errors
    /// [`DecodeError`] if a known kind has data that it cannot have.
    pub fn decode<E: StreamEvent>(&self) -> Result<E, DecodeError> {
        E::decode(&self.kind, self.data.get())
    }

    /// Appends the line that this record was read from, byte for byte, line feed included. Version 1 only: lines of
    /// newer versions may hold keys that a `Record` does not.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.write_body(out);
        out.extend_from_slice(b",\"hash\":\"");
        self.hash.write_hex(out);
        out.extend_from_slice(b"\"}\n");
    }

    pub(crate) fn write_body(&self, out: &mut Vec<u8>) {
        self.write_body_as(self.v, self.epoch, (self.seq, self.batch), out);
    }

    /// The body of this record in another format version and place: sequence, and that of its commit's first record.
    pub(crate) fn write_body_as(&self, v: u32, epoch: Uuid, (seq, batch): (u64, u64), out: &mut Vec<u8>) {
        use crate::encode::{write_number, write_string};
        out.extend_from_slice(b"{\"v\":");
        write_number(u64::from(v), out);
        out.extend_from_slice(b",\"stream\":");
        write_string(&self.stream.to_string(), out);
        out.extend_from_slice(b",\"epoch\":\"");
        out.extend_from_slice(epoch.hyphenated().to_string().as_bytes());
        out.extend_from_slice(b"\",\"seq\":");
        write_number(seq, out);
        out.extend_from_slice(b",\"batch\":");
        write_number(batch, out);
        out.extend_from_slice(b",\"id\":\"");
        out.extend_from_slice(self.id.hyphenated().to_string().as_bytes());
        out.extend_from_slice(b"\",\"at\":\"");
        out.extend_from_slice(self.at.to_rfc3339().as_bytes());
        out.extend_from_slice(b"\",\"actor\":");
        write_string(&self.actor, out);
        out.extend_from_slice(b",\"type\":");
        write_string(&self.kind, out);
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(self.data.get().as_bytes());
    }

    /// Whether this record's hash is right after a predecessor with hash `previous`; for the first record that is
    /// [`ChainHash::genesis`]. Version 1 only.
    #[must_use]
    pub fn follows(&self, previous: &ChainHash) -> bool {
        let mut body = Vec::with_capacity(self.data.get().len() + 320);
        self.write_body(&mut body);
        previous.next(&body) == self.hash
    }
}
