//! How far a sink got in a stream, as a file that is replaced as a whole.
//!
//! ```text
//! <data-dir>/cursors/<stream stem>/<sink>.json      the cursor
//!                                 /<sink>.new       its next version, while it is being written
//!                                 /<sink>.lease     locked by the relay that runs
//!                                 /<sink>.retry     there while somebody asks for the parked records to be sent again
//!                                 /<sink>.corrupt-… a cursor that could not be read, kept
//! ```
//!
//! A cursor may be behind what was delivered, never ahead: losing one, or an old one coming back, costs duplicates and
//! no record. So a cursor whose checksum is wrong, or whose record the journal does not have, is thrown away, and
//! everything is delivered again.

use std::fmt;

use serde::{Deserialize, Serialize};
use tracking_model::{StreamId, Timestamp};
use uuid::Uuid;

use crate::sink::SinkName;
use crate::{ChainHash, Head, Position};

#[cfg(test)]
mod flips;
mod place;
#[cfg(test)]
pub(crate) mod testing;

pub use place::{CursorError, VouchedPoint, vouched_points};
pub(crate) use place::{CursorPlace, Found, sinks_of};

/// The version of the file that this crate writes. Version 1 had no checksum.
pub(crate) const CURSOR_VERSION: u32 = 2;

/// Before the first record.
pub(crate) const START: Position = Position {
    head: Head::EMPTY,
    offset: 0,
};

/// How far one sink got in one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cursor {
    /// Version of the file's form.
    pub version: u32,
    /// The stream.
    #[serde(with = "stream_text")]
    pub stream: StreamId,
    /// The sink.
    pub sink: SinkName,
    /// The life of the journal in which the other fields hold; nil before the first record.
    pub epoch: Uuid,
    /// Every record up to this one needs nothing more: it was delivered, ignored, skipped or parked.
    pub seq: u64,
    /// Hash of that record.
    pub hash: ChainHash,
    /// Offset in bytes at which the record after it begins.
    pub offset: u64,
    /// Records of this epoch that were delivered, counting repetitions.
    pub delivered: u64,
    /// Records of this epoch for which the sink has no use.
    pub ignored: u64,
    /// Records of this epoch that were not given to the sink because of their kind.
    pub skipped: u64,
    /// Records that can not be accepted as they are, in order of `seq`.
    pub parked: Vec<Parked>,
    /// Why the sink refused last, until it accepts again.
    pub last_error: Option<SinkFailure>,
    /// When the refused records are sent again, while something is refused.
    pub next_retry_at: Option<Timestamp>,
    /// Why and when the cursor last began again from the first record.
    pub restarted: Option<Restart>,
    /// When this file was written.
    pub updated_at: Timestamp,
}

/// A record that a sink can never accept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parked {
    /// Sequence of the record.
    pub seq: u64,
    /// Id of the record.
    pub id: Uuid,
    /// Kind of the record.
    pub kind: String,
    /// Offset in bytes of the record in the journal.
    pub offset: u64,
    /// Why it was parked.
    pub reason: String,
    /// When it was parked.
    pub at: Timestamp,
    /// How often it was sent.
    pub attempts: u32,
}

/// A refusal that may pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkFailure {
    /// When.
    pub at: Timestamp,
    /// What kind of failure.
    pub cause: FailureCause,
    /// What the sink said, or what it did wrong.
    pub reason: String,
    /// Calls in a row in which nothing was accepted.
    pub attempts: u32,
}

/// What kind of failure kept records from being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCause {
    /// The sink asked to send records again.
    Refused,
    /// The sink took longer than the relay allows.
    TimedOut,
    /// The sink panicked.
    Panicked,
    /// The sink answered for more or fewer records than it got.
    WrongCount,
}

/// That a cursor began again from the first record, so that everything is delivered again, with the same ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Restart {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: RestartCause,
    /// Parked records that were given up with the old cursor; they are sent again with everything else.
    pub parked: u64,
}

/// Why a cursor began again from the first record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestartCause {
    /// The journal is another one than the cursor was written for: it was removed and begun anew, or repaired.
    Replaced {
        /// The epoch for which the cursor was written.
        epoch: Uuid,
        /// How far it had got there.
        seq: u64,
    },
    /// The journal has the cursor's epoch, and another record or none at the cursor's place: it was rewritten or
    /// restored from a copy.
    Diverged {
        /// Where the cursor expected its last record.
        seq: u64,
    },
    /// The cursor's file could not be read; it was kept.
    Corrupt {
        /// Name of the file under which it was kept.
        kept_as: String,
        /// What was wrong with it.
        reason: String,
    },
}

impl fmt::Display for RestartCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced { epoch, seq } => {
                write!(
                    f,
                    "the journal of epoch {epoch}, delivered up to {seq}, was replaced by another"
                )
            }
            Self::Diverged { seq } => write!(f, "the journal has another record {seq} than was delivered"),
            Self::Corrupt { kept_as, reason } => {
                write!(
                    f,
                    "the cursor could not be read and was kept as {kept_as}: {reason}"
                )
            }
        }
    }
}

impl Cursor {
    /// Before the first record.
    pub(crate) fn new(stream: StreamId, sink: SinkName, now: Timestamp) -> Self {
        Self {
            version: CURSOR_VERSION,
            stream,
            sink,
            epoch: Uuid::nil(),
            seq: 0,
            hash: ChainHash::ZERO,
            offset: 0,
            delivered: 0,
            ignored: 0,
            skipped: 0,
            parked: Vec::new(),
            last_error: None,
            next_retry_at: None,
            restarted: None,
            updated_at: now,
        }
    }

    /// Before the first record again, remembering why.
    pub(crate) fn restart(&mut self, cause: RestartCause, now: Timestamp) {
        tracing::warn!(stream = %self.stream, sink = %self.sink, %cause, "delivering again from the first record");
        let parked = self.parked.len() as u64;
        *self = Self {
            restarted: Some(Restart {
                at: now,
                cause,
                parked,
            }),
            ..Self::new(self.stream.clone(), self.sink.clone(), now)
        };
    }

    /// The point up to which nothing more is to do.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            head: Head {
                epoch: self.epoch,
                seq: self.seq,
                hash: self.hash,
            },
            offset: self.offset,
        }
    }

    /// Moves the cursor; returns whether it was elsewhere.
    pub(crate) fn move_to(&mut self, position: Position) -> bool {
        let moved = self.position() != position;
        self.epoch = position.head.epoch;
        self.seq = position.head.seq;
        self.hash = position.head.hash;
        self.offset = position.offset;
        moved
    }

    /// Puts a record among the parked ones, in place of an earlier entry of the same record.
    pub(crate) fn park(&mut self, parked: Parked) {
        match self.parked.binary_search_by_key(&parked.seq, |entry| entry.seq) {
            Ok(index) => self.parked[index] = parked,
            Err(index) => self.parked.insert(index, parked),
        }
    }

    /// Takes a record out of the parked ones.
    pub(crate) fn unpark(&mut self, seq: u64) {
        if let Ok(index) = self.parked.binary_search_by_key(&seq, |entry| entry.seq) {
            self.parked.remove(index);
        }
    }
}

/// A stream id as its text.
mod stream_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de};
    use tracking_model::StreamId;

    pub(super) fn serialize<S: Serializer>(stream: &StreamId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(stream)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StreamId, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{StoppingIo, place, stream};
    use super::*;
    use std::sync::Arc;

    fn cursor(seq: u64) -> Cursor {
        let mut cursor = Cursor::new(stream(), SinkName::new("bus").unwrap(), Timestamp::EPOCH);
        let head = Head {
            epoch: tracking_model::new_uuid(),
            seq,
            hash: ChainHash::ZERO.next(b"x"),
        };
        assert!(cursor.move_to(Position {
            head,
            offset: seq * 300
        }));
        cursor.park(Parked {
            seq,
            id: tracking_model::new_uuid(),
            kind: "task.failed".into(),
            offset: 300,
            reason: "too large".into(),
            at: Timestamp::EPOCH,
            attempts: 1,
        });
        cursor
    }

    fn load(place: &CursorPlace) -> Cursor {
        match place.load().unwrap() {
            Found::Cursor(cursor) => *cursor,
            other => panic!("no cursor but {other:?}"),
        }
    }

    #[test]
    fn round_trips() {
        let (_dir, place) = place();
        assert!(matches!(place.load().unwrap(), Found::Nothing));
        let mut saved = cursor(7);
        saved.restart(RestartCause::Diverged { seq: 7 }, Timestamp::EPOCH);
        saved.last_error = Some(SinkFailure {
            at: Timestamp::EPOCH,
            cause: FailureCause::Refused,
            reason: "503".into(),
            attempts: 2,
        });
        place.save(&saved).unwrap();
        assert_eq!(load(&place), saved);
        assert_eq!(saved.restarted.unwrap().parked, 1);
    }

    #[test]
    fn fault_13_crash_at_each_step_of_replacing_a_cursor_leaves_the_old_or_the_new_one() {
        let (_dir, place) = place();
        let (old, new) = (cursor(1), cursor(2));
        place.save(&old).unwrap();
        let (mut steps, mut kept, mut replaced) = (0, 0, 0);
        loop {
            let io = StoppingIo::after(steps);
            let crashing = CursorPlace {
                io: Arc::new(io.clone()),
                ..place.clone()
            };
            let outcome = crashing.save(&new);
            let found = load(&place);
            assert!(found == old || found == new, "step {steps} left {found:?}");
            if found == old {
                kept += 1;
            } else {
                replaced += 1;
            }
            if outcome.is_ok() {
                assert_eq!(found, new);
                break;
            }
            assert!(io.stopped());
            place.save(&old).unwrap();
            steps += 1;
        }
        assert!(steps >= 5, "{steps} steps");
        println!(
            "FAULT row=13 name=cursor_replacement points={} old={kept} new={replaced} corrupt=0",
            steps + 1
        );
    }

    #[test]
    fn what_is_no_cursor_is_reported_kept_and_never_overwritten() {
        let (_dir, place) = place();
        place.create_dirs().unwrap();
        let other = Cursor::new(stream(), SinkName::new("other").unwrap(), Timestamp::EPOCH);
        let foreign = serde_json::to_vec(&other).unwrap();
        for content in [&b""[..], b"{", b"{\"version\":1}", b"[]", b"\xff", &foreign] {
            std::fs::write(place.cursor_path(), content).unwrap();
            assert!(matches!(place.load().unwrap(), Found::Corrupt { .. }));
            let kept = place.set_aside(Timestamp::from_micros(5)).unwrap();
            assert_eq!(
                std::fs::read(place.cursor_path().with_file_name(kept)).unwrap(),
                content
            );
            assert!(matches!(place.load().unwrap(), Found::Nothing));
        }
        let mut newer = b"{\"version\":3}".to_vec();
        crate::seal::seal(&mut newer);
        std::fs::write(place.cursor_path(), newer).unwrap();
        assert!(matches!(
            place.load().unwrap_err(),
            CursorError::NewerVersion { found: 3, .. }
        ));
    }

    #[test]
    fn a_cursor_of_the_first_version_is_read() {
        let (_dir, place) = place();
        let mut old = cursor(7);
        old.version = 1;
        place.create_dirs().unwrap();
        std::fs::write(place.cursor_path(), serde_json::to_vec_pretty(&old).unwrap()).unwrap();
        assert_eq!(load(&place), cursor_of_now(old));
    }

    fn cursor_of_now(old: Cursor) -> Cursor {
        Cursor {
            version: CURSOR_VERSION,
            ..old
        }
    }

    #[test]
    fn cursors_vouch_for_where_they_are() {
        let (dir, place) = place();
        let data = crate::DataDir::open(dir.path()).unwrap();
        assert_eq!(vouched_points(&data, &stream()).unwrap(), []);
        let cursor = cursor(9);
        place.save(&cursor).unwrap();
        std::fs::write(place.cursor_path().with_file_name("broken.json"), "{").unwrap();
        let points = vouched_points(&data, &stream()).unwrap();
        assert_eq!(
            points,
            [VouchedPoint {
                sink: place.sink,
                position: cursor.position()
            }]
        );
    }

    #[test]
    fn symbolic_links_are_refused() {
        let (dir, place) = place();
        place.create_dirs().unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "secret").unwrap();
        std::os::unix::fs::symlink(&outside, place.cursor_path()).unwrap();
        assert!(matches!(
            place.load().unwrap_err(),
            CursorError::Io {
                operation: "open",
                ..
            }
        ));
        std::os::unix::fs::symlink(&outside, place.cursor_path().with_extension("new")).unwrap();
        place.save(&cursor(1)).unwrap_err();
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "secret");
    }
}
