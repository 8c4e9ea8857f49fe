//! A model that notes what it is told, and a journal of it in a temporary directory.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tracking_journal::{
    DataDir, EventSink, Journal, JournalOptions, MemorySink, Relay, RelayError, RelayOptions,
};
use tracking_model::{DecodeError, Fold, RecordMeta, StreamEvent, StreamId, Timestamp};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Notes;

#[derive(Debug, Clone)]
pub(crate) struct Note {
    kind: String,
    text: String,
}

impl StreamEvent for Note {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn write_data(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"text\":\"{}\"}}", self.text).as_bytes());
    }

    fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: kind.to_owned(),
            text: data.to_owned(),
        })
    }
}

impl Fold for Notes {
    type Command = Vec<Note>;
    type Event = Note;
    type Refusal = std::convert::Infallible;
    const CHECKPOINT_VERSION: u32 = 1;

    fn empty(_: &StreamId) -> Self {
        Self
    }

    fn check(&self, notes: Vec<Note>, _: Timestamp) -> Result<Vec<Note>, Self::Refusal> {
        Ok(notes)
    }

    fn apply(&mut self, _: &RecordMeta, _: &Note) {}
}

pub(crate) struct Fixture {
    _folder: Option<TempDir>,
    pub(crate) dir: DataDir,
    pub(crate) stream: StreamId,
    pub(crate) journal: Journal<Notes>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self::at(folder.path().to_owned());
        Self {
            _folder: Some(folder),
            ..fixture
        }
    }

    /// In a directory that somebody else owns.
    pub(crate) fn at(path: PathBuf) -> Self {
        let dir = DataDir::open(path).unwrap();
        let stream: StreamId = "upgrade:u-1".parse().unwrap();
        let journal = Journal::open(&dir, stream.clone(), JournalOptions::default()).unwrap();
        Self {
            _folder: None,
            dir,
            stream,
            journal,
        }
    }

    /// Writes `count` notes in one commit.
    pub(crate) fn write(&self, count: usize) {
        let note = |number| Note {
            kind: "note".to_owned(),
            text: format!("number {number}"),
        };
        self.journal
            .submit((0..count).map(note).collect())
            .wait()
            .unwrap();
    }

    pub(crate) fn note(&self, kind: &str, text: &str) {
        let note = Note {
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        self.journal.submit(vec![note]).wait().unwrap();
    }

    /// Removes the journal and opens a new one in its place.
    pub(crate) fn begin_anew(&mut self) {
        self.journal.close_blocking();
        for path in [
            self.dir.journal_path(&self.stream),
            self.dir.sidecar_path(&self.stream),
        ] {
            std::fs::remove_file(path).unwrap();
        }
        self.journal = Journal::open(&self.dir, self.stream.clone(), JournalOptions::default()).unwrap();
    }

    pub(crate) fn cursor_path(&self, sink: &str) -> PathBuf {
        self.dir
            .cursors_dir()
            .join(self.stream.file_stem())
            .join(format!("{sink}.json"))
    }

    pub(crate) async fn try_relay<S: EventSink>(
        &self,
        sink: &Arc<S>,
        options: RelayOptions,
    ) -> Result<Relay, RelayError> {
        let sink = Arc::clone(sink);
        Relay::open(&self.dir, self.stream.clone(), sink, options.with_seed(Some(7))).await
    }

    pub(crate) async fn relay<S: EventSink>(&self, sink: &Arc<S>, options: RelayOptions) -> Relay {
        self.try_relay(sink, options).await.unwrap()
    }
}

/// The sequences of what a sink received, in order of arrival.
pub(crate) fn seqs(sink: &MemorySink) -> Vec<u64> {
    sink.received().iter().map(|record| record.seq).collect()
}
