//! A data directory and journals in it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tracking_journal::{DataDir, Journal, JournalError, JournalOptions};
use tracking_model::StreamId;

use crate::counter::{Command, Counter};

/// A data directory that ends with the test.
pub(crate) struct Setup {
    pub(crate) dir: DataDir,
    _folder: TempDir,
}

pub(crate) fn stream() -> StreamId {
    "upgrade:u-1".parse().unwrap()
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            dir: DataDir::open(folder.path()).unwrap(),
            _folder: folder,
        }
    }

    pub(crate) fn open(&self) -> Journal<Counter> {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Journal<Counter>, JournalError> {
        self.open_with(JournalOptions::default())
    }

    pub(crate) fn open_with(&self, options: JournalOptions) -> Result<Journal<Counter>, JournalError> {
        Journal::open(&self.dir, stream(), options.with_actor("tester"))
    }

    pub(crate) fn journal_file(&self) -> PathBuf {
        self.dir.journal_path(&stream())
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        fs::read(self.journal_file()).unwrap()
    }

    /// Puts another content in the place of the journal's, and removes what else vouches for the old one.
    pub(crate) fn put(&self, content: &[u8]) {
        for path in [
            self.dir.sidecar_path(&stream()),
            self.dir.checkpoint_path(&stream()),
        ] {
            if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        fs::write(self.journal_file(), content).unwrap();
    }

    /// Writes `commits` of `each` records and closes.
    pub(crate) fn fill(&self, commits: u64, each: u64) {
        let journal = self.open();
        for commit in 0..commits {
            let values = (0..each).map(|index| commit * each + index).collect();
            journal.submit(Command::AddEach(values)).wait().unwrap();
        }
        journal.close_blocking();
    }
}
