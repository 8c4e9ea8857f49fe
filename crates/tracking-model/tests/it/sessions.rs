//! Sessions: the order of artifacts, what retention may delete, how the upgrade ended.

use std::sync::Arc;

use tracking_model::{
    AddArtifact, Artifact, ArtifactAction, ArtifactId, ArtifactStatus, ChangeArtifact, CollectionId,
    ExpireArtifacts, FileHash, Fold, IfPinned, NewArtifact, NewCollection, NewSession, RecordMeta, Session,
    SessionCommand, SessionCommandError, SessionEvent, SessionId, SessionOutcome, Span, StoredFile,
    StreamEvent, StreamId, Timestamp, UpgradeId,
};

/// A session that is driven as its journal drives it: through the JSON of its events.
struct Driver {
    session: Session,
    seq: u64,
    now: Timestamp,
    artifacts: Vec<Arc<Artifact>>,
}

impl Driver {
    /// An open session with one collection.
    fn open() -> Self {
        let mut driver = Self {
            session: Session::empty(&StreamId::Session(SessionId::new("s").unwrap())),
            seq: 0,
            now: Timestamp::parse("2025-01-31T05:25:01Z").unwrap(),
            artifacts: Vec::new(),
        };
        let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
        driver.run(SessionCommand::Create(new)).unwrap();
        let collection = NewCollection::new("Logs").with_id(CollectionId::new("c").unwrap());
        driver.run(SessionCommand::CreateCollection(collection)).unwrap();
        driver
    }

    fn run(&mut self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionCommandError> {
        let events = self.session.check(command, self.now)?;
        for event in &events {
            let mut data = Vec::new();
            event.write_data(&mut data);
            let read = SessionEvent::decode(event.kind(), std::str::from_utf8(&data).unwrap()).unwrap();
            assert_eq!(read, *event);
            self.seq += 1;
            let meta = RecordMeta {
                seq: self.seq,
                id: uuid::Uuid::nil(),
                at: self.now,
                actor: Arc::from("test"),
            };
            if let SessionEvent::ArtifactAdded(artifact) = &read {
                self.artifacts.push(Arc::clone(artifact));
            }
            self.session.apply(&meta, &read);
        }
        Ok(events)
    }

    fn add(&mut self, file_size: u64) -> Arc<Artifact> {
        self.run(SessionCommand::AddArtifact(Box::new(AddArtifact {
            artifact_id: ArtifactId::generate(),
            collection_id: CollectionId::new("c").unwrap(),
            artifact: NewArtifact::new().with_name("a.log"),
            stored: StoredFile {
                local_path: "artifacts/s/c/a.log".into(),
                file_size,
                file_hash: FileHash::new([1; 32]),
            },
        })))
        .unwrap();
        Arc::clone(self.artifacts.last().unwrap())
    }

    fn complete(&mut self, outcome: Option<SessionOutcome>) {
        self.run(SessionCommand::Complete { outcome }).unwrap();
    }

    fn expire(
        &mut self,
        artifacts: &[Arc<Artifact>],
        as_of: u64,
    ) -> Result<Vec<SessionEvent>, SessionCommandError> {
        self.run(SessionCommand::Expire(Box::new(ExpireArtifacts {
            artifacts: artifacts.to_vec(),
            as_of,
            reason: Arc::from("kept for 30 days"),
        })))
    }
}

#[test]
fn the_order_of_times_is_the_order_of_adding() {
    let mut driver = Driver::open();
    for _ in 0..3 {
        driver.add(1);
    }
    driver.now = driver.now - Span::from_secs(86_400);
    driver.add(1);
    driver.now = driver.now + Span::from_secs(2 * 86_400);
    let last = driver.add(1);
    assert_eq!(last.created_at, driver.now);
    let times: Vec<Timestamp> = driver.artifacts.iter().map(|one| one.created_at).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    assert_eq!(driver.session.last_created_at, Some(last.created_at));
}

#[test]
fn retention_deletes_only_in_sessions_that_are_closed_and_not_pinned() {
    let mut driver = Driver::open();
    let (first, second) = (driver.add(10), driver.add(5));
    let both = [Arc::clone(&first), second, first];
    let as_of = driver.seq;
    assert!(matches!(
        driver.expire(&both, as_of),
        Err(SessionCommandError::SessionOpen(_))
    ));
    driver.complete(None);
    driver.run(SessionCommand::Pin { pinned: true }).unwrap();
    let error = driver.expire(&both, as_of).unwrap_err();
    assert_eq!(error.to_string(), "session s is pinned: nothing in it is deleted");
    driver.run(SessionCommand::Pin { pinned: false }).unwrap();

    // An artifact that comes twice is deleted once.
    let events = driver.expire(&both, as_of).unwrap();
    assert_eq!(events.len(), 2);
    let SessionEvent::Artifact(_, change) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(change.reason.as_deref(), Some("kept for 30 days"));
    assert_eq!(
        (&*change.name, change.file_size, change.file_hash),
        ("a.log", Some(10), Some(FileHash::new([1; 32])))
    );
    let counts = driver.session.counts();
    assert_eq!((counts.artifacts(), counts.bytes()), (0, 0));
    assert_eq!(counts.bytes_of_status(ArtifactStatus::Deleted), 15);
    assert_eq!(counts.bytes_of_status(ArtifactStatus::Created), 0);

    // What was changed since it was read is left alone, and so is what is deleted already.
    assert!(matches!(
        driver.expire(&both, as_of),
        Err(SessionCommandError::Stale { .. })
    ));
    let mut deleted = Artifact::clone(&both[0]);
    deleted.status = ArtifactStatus::Deleted;
    let as_of = driver.seq;
    assert!(matches!(
        driver.expire(&[Arc::new(deleted)], as_of),
        Err(SessionCommandError::Transition { .. })
    ));
}

#[test]
fn a_pinned_session_loses_an_artifact_only_to_who_insists() {
    let mut driver = Driver::open();
    let artifact = driver.add(10);
    driver.run(SessionCommand::Pin { pinned: true }).unwrap();
    let delete = |artifact: &Arc<Artifact>, pinned| {
        SessionCommand::ChangeArtifact(Box::new(ChangeArtifact {
            artifact: Arc::clone(artifact),
            as_of: u64::MAX,
            action: ArtifactAction::MarkDeleted { reason: None, pinned },
        }))
    };
    assert!(matches!(
        driver.run(delete(&artifact, IfPinned::Refuse)),
        Err(SessionCommandError::SessionPinned(_))
    ));
    driver.run(delete(&artifact, IfPinned::Delete)).unwrap();
    assert_eq!(driver.session.counts().artifacts(), 0);
}

#[test]
fn a_download_changes_nothing_and_is_noted_in_closed_sessions_too() {
    let mut driver = Driver::open();
    let artifact = driver.add(10);
    driver.complete(None);
    let before = driver.session.clone();
    let events = driver.run(SessionCommand::RecordDownload(artifact)).unwrap();
    assert_eq!(events[0].kind(), "artifact.downloaded");
    assert_eq!(driver.session, before);
}

#[test]
fn an_outcome_that_was_noted_is_that_of_the_completion_unless_another_is_given() {
    let set = |outcome| SessionCommand::SetOutcome { outcome };
    let mut driver = Driver::open();
    driver.run(set(SessionOutcome::Failed)).unwrap();
    assert!(driver.session.is_open());
    assert!(driver.run(set(SessionOutcome::Failed)).unwrap().is_empty());
    // The upgrade was tried again.
    driver.run(set(SessionOutcome::Succeeded)).unwrap();
    driver.add(1);
    driver.complete(None);
    assert_eq!(driver.session.outcome, Some(SessionOutcome::Succeeded));
    assert!(matches!(
        driver.run(set(SessionOutcome::Failed)),
        Err(SessionCommandError::OutcomeSettled { .. })
    ));

    let mut driver = Driver::open();
    driver.run(set(SessionOutcome::Failed)).unwrap();
    driver.complete(Some(SessionOutcome::Cancelled));
    assert_eq!(driver.session.outcome, Some(SessionOutcome::Cancelled));

    let mut driver = Driver::open();
    driver.complete(None);
    driver.run(set(SessionOutcome::Failed)).unwrap();
    assert_eq!(driver.session.outcome, Some(SessionOutcome::Failed));
}
