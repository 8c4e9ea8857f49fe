//! Places that gave no answer a short while ago, remembered across commands: the next commands wait less for them.
//!
//! `<data-dir>/cursors/outages.json` is a hint. A file that is damaged, or that tells of a time that cannot be, is as good
//! as none: the next command waits as long as the first one did.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracking_facade::{DataDir, Span, Timestamp, storage};

/// How long an outage is remembered; each command that meets it again counts anew.
const REMEMBERED: Span = Span::from_secs(300);
/// A larger file is none of ours.
const MAX_BYTES: u64 = 64 << 10;
const VERSION: u32 = 1;

/// The places, each with the time at which it gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outages {
    v: u32,
    silent_at: BTreeMap<String, Timestamp>,
}

impl Outages {
    fn none() -> Self {
        Self {
            v: VERSION,
            silent_at: BTreeMap::new(),
        }
    }

    /// Reads the outages that commands noted until `now`.
    pub(super) fn load(dir: &DataDir, now: Timestamp) -> Self {
        let mut outages = match storage::read(&path(dir), MAX_BYTES) {
            Ok(bytes) => Self::parse(&bytes).unwrap_or_else(Self::none),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(%error, "what is known of outages cannot be read");
                }
                Self::none()
            }
        };
        outages
            .silent_at
            .retain(|_, at| *at <= now && now.since(*at) < REMEMBERED);
        outages
    }

    /// `None` for bytes that are not exactly what [`Self::save`] wrote.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let outages: Self = serde_json::from_slice(bytes).ok()?;
        let is_whole =
            outages.v == VERSION && serde_json::to_vec(&outages).is_ok_and(|written| written == bytes);
        is_whole.then_some(outages)
    }

    pub(super) fn has(&self, place: &str) -> bool {
        self.silent_at.contains_key(place)
    }

    /// Notes that a place gave no answer, or gave one.
    pub(super) fn note(&mut self, place: &str, is_silent: bool, now: Timestamp) {
        if is_silent {
            self.silent_at.insert(place.to_owned(), now);
        } else {
            self.silent_at.remove(place);
        }
    }

    /// Replaces the file. That it cannot be costs the next command some seconds.
    pub(super) fn save(&self, dir: &DataDir) {
        if let Err(error) = self.write(dir) {
            tracing::debug!(%error, "what is known of outages cannot be kept");
        }
    }

    fn write(&self, dir: &DataDir) -> io::Result<()> {
        let (path, new) = (path(dir), path(dir).with_extension("new"));
        let is_missing = storage::metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if self.silent_at.is_empty() && is_missing {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let mut file = storage::open_with(&new, options.write(true).create(true).truncate(true))?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&new, path)
    }
}

fn path(dir: &DataDir) -> PathBuf {
    dir.cursors_dir().join("outages.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: &str = "s3://team/a";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_outage_is_remembered_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        assert_eq!(Outages::load(&dir, at(1000)), Outages::none());
        Outages::none().save(&dir);
        assert!(!path(&dir).exists(), "nothing to remember");
        let mut outages = Outages::load(&dir, at(1000));
        outages.note(BUCKET, true, at(1000));
        outages.save(&dir);
        let known = |seconds| Outages::load(&dir, at(seconds)).has(BUCKET);
        assert!(known(1000) && known(1299));
        assert!(!known(1300), "it may be over");
        assert!(!known(999), "a clock was wrong");
        outages.note(BUCKET, false, at(1001));
        outages.save(&dir);
        assert!(!known(1001));
    }

    #[test]
    fn every_flipped_bit_makes_it_shorter_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let mut outages = Outages::none();
        outages.note(BUCKET, true, at(1000));
        outages.save(&dir);
        let whole = fs::read(path(&dir)).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path(&dir), flipped).unwrap();
            let read = Outages::load(&dir, at(1001));
            // A flipped file may name another place or an earlier moment, and nothing else.
            assert!(read.silent_at.len() <= 1, "bit {bit}: {read:?}");
            assert!(
                read.silent_at.values().all(|at| *at <= self::at(1001)),
                "bit {bit}: {read:?}"
            );
        }
        std::os::unix::fs::symlink("/dev/zero", path(&dir).with_extension("link")).unwrap();
        fs::rename(path(&dir).with_extension("link"), path(&dir)).unwrap();
        assert_eq!(Outages::load(&dir, at(1001)), Outages::none());
    }
}
