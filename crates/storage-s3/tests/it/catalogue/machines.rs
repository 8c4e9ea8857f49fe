//! Machines that write a session, each with a data directory of its own.

use std::sync::Arc;

use tempfile::TempDir;
use tracking_journal::{DataDir, Journal, JournalOptions, JournalReader, Record};
use tracking_model::{
    AddArtifact, Artifact, ArtifactChange, ArtifactChangeKind, ArtifactId, ArtifactStatus, CollectionId,
    FileHash, NewArtifact, NewCollection, NewSession, Session, SessionCommand, SessionEvent, StoredFile,
    StreamId, UpgradeId,
};

pub(crate) fn stream(id: &str) -> StreamId {
    id.parse().unwrap()
}

/// One machine's journal of a session with one collection.
pub(crate) struct Machine {
    pub(crate) stream: StreamId,
    pub(crate) dir: DataDir,
    journal: Journal<Session>,
    told: std::cell::Cell<usize>,
    _folder: TempDir,
}

impl Machine {
    pub(crate) fn new(stream: &StreamId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let journal = Journal::open(&dir, stream.clone(), JournalOptions::default()).unwrap();
        let upgrade = UpgradeId::new("up").unwrap();
        let create = SessionCommand::Create(NewSession::new(upgrade, "prod"));
        journal.submit(create).wait().unwrap();
        let collection = NewCollection::new("Logs").with_id(collection());
        journal
            .submit(SessionCommand::CreateCollection(collection))
            .wait()
            .unwrap();
        Self {
            stream: stream.clone(),
            dir,
            journal,
            told: std::cell::Cell::new(0),
            _folder: folder,
        }
    }

    /// Adds artifacts; gives all records that it did not give yet.
    pub(crate) fn add(&self, count: usize) -> Vec<Record> {
        let commands = (0..count).map(|_| {
            SessionCommand::AddArtifact(Box::new(AddArtifact {
                artifact_id: ArtifactId::generate(),
                collection_id: collection(),
                artifact: NewArtifact::new().with_name("a.log"),
                stored: StoredFile {
                    local_path: "artifacts/s/c/a.log".into(),
                    file_size: 10,
                    file_hash: FileHash::new([1; 32]),
                },
            }))
        });
        let pending: Vec<_> = commands.map(|command| self.journal.submit(command)).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
        self.new_records()
    }

    pub(crate) fn complete(&self) -> Vec<Record> {
        let complete = SessionCommand::Complete { outcome: None };
        self.journal.submit(complete).wait().unwrap();
        self.new_records()
    }

    fn new_records(&self) -> Vec<Record> {
        let records = self.records();
        let new = records[self.told.get()..].to_vec();
        self.told.set(records.len());
        new
    }

    /// All records of its journal.
    pub(crate) fn records(&self) -> Vec<Record> {
        let reader = JournalReader::open(&self.dir, &self.stream).unwrap();
        reader.map(Result::unwrap).collect()
    }

    pub(crate) fn artifacts(&self) -> Vec<Arc<Artifact>> {
        let events = self
            .records()
            .into_iter()
            .map(|record| record.decode::<SessionEvent>().unwrap());
        events
            .filter_map(|event| match event {
                SessionEvent::ArtifactAdded(artifact) => Some(artifact),
                _ => None,
            })
            .collect()
    }
}

fn collection() -> CollectionId {
    CollectionId::new("c").unwrap()
}

/// The tombstone of an artifact.
pub(crate) fn deleted(artifact: &Artifact) -> SessionEvent {
    let change = ArtifactChange::new(artifact, ArtifactStatus::Deleted);
    SessionEvent::Artifact(ArtifactChangeKind::Deleted, change)
}
