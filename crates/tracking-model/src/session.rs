//! A session's state: its own header and those of its collections. Artifact records are not in it, so that it stays
//! small however many there are; who needs them reads the stream's events.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::named::named;
use crate::session_counts::Fates;
use crate::{
    ArtifactCounts, CollectionCreated, CollectionId, Details, Fold, RecordMeta, SessionCommand,
    SessionCommandError, SessionCreated, SessionEvent, SessionId, Span, StreamId, TaskId, Timestamp,
    UpgradeId,
};

/// How the upgrade of a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionOutcome {
    /// Well.
    Succeeded,
    /// Badly; such sessions are kept longer.
    Failed,
    /// It was given up.
    Cancelled,
}

impl SessionOutcome {
    /// All outcomes, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in JSON: `succeeded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

named!(SessionOutcome, "outcome");

/// A collection's header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Collection {
    /// Its id.
    pub collection_id: CollectionId,
    /// Its display name.
    pub name: Arc<str>,
    /// What it is for, in words.
    pub description: Option<Arc<str>>,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: UpgradeId,
    /// The task whose artifacts it holds.
    pub task_id: Option<TaskId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Free-form metadata.
    pub metadata: Details,
    /// What it holds.
    pub counts: ArtifactCounts,
}

impl Collection {
    fn new(created: &CollectionCreated) -> Self {
        Self {
            collection_id: created.collection_id.clone(),
            name: Arc::clone(&created.name),
            description: created.description.clone(),
            upgrade_id: created.upgrade_id.clone(),
            task_id: created.task_id.clone(),
            created_at: created.created_at,
            metadata: created.metadata.clone(),
            counts: ArtifactCounts::default(),
        }
    }
}

/// A time that contradicts the order of a journal: a clock was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockContradiction {
    /// When something happened, as the record says.
    pub at: Timestamp,
    /// When something before it happened, as an earlier record says.
    pub after: Timestamp,
}

/// Clocks of machines and processes may differ by so much without being called wrong.
const CLOCK_TOLERANCE: Span = Span::from_secs(3600);

/// A session's state: the sum of the events of its stream, without the artifacts' records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// The session.
    pub session_id: SessionId,
    /// Its display name.
    pub name: Arc<str>,
    /// What it is for, in words.
    pub description: Option<Arc<str>>,
    /// The upgrade whose artifacts it holds; `None` until it is created.
    pub upgrade_id: Option<UpgradeId>,
    /// The cluster of that upgrade.
    pub cluster_name: Arc<str>,
    /// When it was opened.
    pub started_at: Option<Timestamp>,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// How the upgrade ended, where that is known.
    pub outcome: Option<SessionOutcome>,
    /// Whether retention leaves it alone.
    pub pinned: bool,
    /// The bucket that its artifacts are to be copied to.
    pub s3_bucket: Option<Arc<str>>,
    /// The prefix of its keys there.
    pub s3_prefix: Option<Arc<str>>,
    /// For how many days after its completion it is kept.
    pub retention_days: u32,
    /// Whether it was taken over from the reference's file, where two artifacts may name one file.
    pub imported: bool,
    /// Free-form metadata.
    pub metadata: Details,
    /// Its collections, in the order in which they were created.
    pub collections: IndexMap<CollectionId, Collection>,
    /// The sequence of the last record that changed an artifact after its adding; 0 if none did.
    pub last_change_seq: u64,
    /// The latest [`created_at`](crate::Artifact::created_at) of its artifacts. The next one's is later, so that the
    /// order of these times is the order of adding: also for the thousands of artifacts that one commit may add
    /// within a microsecond, and when the clock goes back. Pages of a search can then go by time.
    pub last_created_at: Option<Timestamp>,
    /// Which artifacts were archived or deleted, as far as counting needs it.
    pub(crate) fates: Fates,
    /// The latest time of a record.
    latest_at: Option<Timestamp>,
    /// The first record that was made long before an earlier one, by their times.
    clock_went_back: Option<ClockContradiction>,
}

impl Session {
    fn new(session_id: SessionId) -> Self {
        Self {
            session_id,
            name: Arc::from(""),
            description: None,
            upgrade_id: None,
            cluster_name: Arc::from(""),
            started_at: None,
            completed_at: None,
            outcome: None,
            pinned: false,
            s3_bucket: None,
            s3_prefix: None,
            retention_days: crate::DEFAULT_RETENTION_DAYS,
            imported: false,
            metadata: Details::NONE,
            collections: IndexMap::new(),
            last_change_seq: 0,
            last_created_at: None,
            fates: Fates::default(),
            latest_at: None,
            clock_went_back: None,
        }
    }

    /// Whether its first record exists.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.upgrade_id.is_some()
    }

    /// Whether artifacts can be added.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.exists() && self.completed_at.is_none()
    }

    /// Two times that show that a clock was wrong, so that nobody knows how old the session is: it was completed before
    /// it was started, or a record is more than an hour older than one before it.
    #[must_use]
    pub fn clock_contradiction(&self) -> Option<ClockContradiction> {
        let ended = self.completed_at.zip(self.started_at);
        let ended = ended.map(|(at, after)| ClockContradiction { at, after });
        ended
            .filter(|ended| ended.at < ended.after)
            .or(self.clock_went_back)
    }

    fn note_time(&mut self, at: Timestamp) {
        let latest = self.latest_at.get_or_insert(at);
        if at + CLOCK_TOLERANCE < *latest {
            let after = *latest;
            self.clock_went_back
                .get_or_insert(ClockContradiction { at, after });
        }
        *latest = at.max(*latest);
    }

    /// One of its collections.
    #[must_use]
    pub fn collection(&self, collection_id: &CollectionId) -> Option<&Collection> {
        self.collections.get(collection_id)
    }

    /// What all its collections hold. Costs a visit of every collection.
    #[must_use]
    pub fn counts(&self) -> ArtifactCounts {
        let mut counts = ArtifactCounts::default();
        for collection in self.collections.values() {
            counts.merge(&collection.counts);
        }
        counts
    }

    fn create(&mut self, created: &SessionCreated) {
        self.name = Arc::clone(&created.name);
        self.description.clone_from(&created.description);
        self.upgrade_id = Some(created.upgrade_id.clone());
        self.cluster_name = Arc::clone(&created.cluster_name);
        self.started_at = Some(created.started_at);
        self.s3_bucket.clone_from(&created.s3_bucket);
        self.s3_prefix.clone_from(&created.s3_prefix);
        self.retention_days = created.retention_days;
        self.metadata = created.metadata.clone();
    }
}

impl Fold for Session {
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Refusal = SessionCommandError;

    // 2: `last_created_at`, `imported`, and bytes by status. 3: counts with a sign. 4: `fates`. 5: `latest_at`,
    // `clock_went_back`.
    const CHECKPOINT_VERSION: u32 = 5;

    /// # Panics
    /// If `stream` is not a session's: opening a journal with the wrong fold is a mistake in the program.
    fn empty(stream: &StreamId) -> Self {
        match stream {
            StreamId::Session(id) => Self::new(id.clone()),
            StreamId::Upgrade(_) => panic!("{stream} is not the stream of a session"),
        }
    }

    fn check(
        &self,
        command: SessionCommand,
        now: Timestamp,
    ) -> Result<Vec<SessionEvent>, SessionCommandError> {
        crate::session_check::check(self, command, now)
    }

    fn apply(&mut self, meta: &RecordMeta, event: &SessionEvent) {
        self.note_time(meta.at);
        match event {
            SessionEvent::Created(created) => self.create(created),
            SessionEvent::Imported(imported) => {
                self.create(&imported.created);
                self.imported = true;
                self.completed_at = imported.completed_at;
                self.outcome = imported.outcome;
                self.pinned = imported.pinned;
            }
            SessionEvent::CollectionCreated(created) => {
                self.collections
                    .entry(created.collection_id.clone())
                    .or_insert_with(|| Collection::new(created));
            }
            SessionEvent::ArtifactAdded(artifact) => {
                self.last_created_at = self.last_created_at.max(Some(artifact.created_at));
                if let Some(collection) = self.collections.get_mut(&artifact.collection_id) {
                    self.fates.add(&mut collection.counts, artifact);
                }
            }
            SessionEvent::Artifact(_, change) => {
                self.last_change_seq = meta.seq;
                if let Some(collection) = self.collections.get_mut(&change.collection_id) {
                    self.fates.change(&mut collection.counts, change);
                }
            }
            SessionEvent::Completed(completed) => {
                self.completed_at = Some(meta.at);
                self.outcome = completed.outcome;
            }
            SessionEvent::Outcome(set) => self.outcome = Some(set.outcome),
            SessionEvent::Pinned(change) => self.pinned = change.pinned,
            // Who took what is for the history alone.
            SessionEvent::Downloaded(_) | SessionEvent::Unknown { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AddArtifact, Artifact, ArtifactAction, ArtifactId, ArtifactType, ChangeArtifact, FileHash, IfPinned,
        NewArtifact, NewCollection, NewSession, StoredFile, StreamEvent,
    };

    /// Drives a session as a journal does, through the JSON of its events.
    struct Driver {
        session: Session,
        seq: u64,
        artifacts: Vec<Arc<Artifact>>,
    }

    impl Driver {
        fn new() -> Self {
            let stream = StreamId::Session(SessionId::new("s").unwrap());
            Self {
                session: Session::empty(&stream),
                seq: 0,
                artifacts: Vec::new(),
            }
        }

        fn run(&mut self, command: SessionCommand) -> Result<Vec<String>, SessionCommandError> {
            let now = Timestamp::parse("2025-01-31T05:25:01Z").unwrap();
            let mut kinds = Vec::new();
            for event in self.session.check(command, now)? {
                let mut data = Vec::new();
                event.write_data(&mut data);
                let read = SessionEvent::decode(event.kind(), std::str::from_utf8(&data).unwrap()).unwrap();
                assert_eq!(read, event);
                self.seq += 1;
                let meta = RecordMeta {
                    seq: self.seq,
                    id: uuid::Uuid::nil(),
                    at: now,
                    actor: Arc::from("test"),
                };
                if let SessionEvent::ArtifactAdded(artifact) = &read {
                    self.artifacts.push(Arc::clone(artifact));
                }
                self.session.apply(&meta, &read);
                kinds.push(event.kind().to_owned());
            }
            Ok(kinds)
        }

        fn open() -> Self {
            let mut driver = Self::new();
            let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
            driver.run(SessionCommand::Create(new)).unwrap();
            let collection = NewCollection::new("Logs")
                .with_id(CollectionId::new("c").unwrap())
                .with_task(TaskId::new("t").unwrap());
            driver.run(SessionCommand::CreateCollection(collection)).unwrap();
            driver
        }
    }

    fn add(name: &str) -> SessionCommand {
        SessionCommand::AddArtifact(Box::new(AddArtifact {
            artifact_id: ArtifactId::generate(),
            collection_id: CollectionId::new("c").unwrap(),
            artifact: NewArtifact::new().with_name(name).with_tags(["a", "b", "a"]),
            stored: StoredFile {
                local_path: "artifacts/s/c/x".into(),
                file_size: 10,
                file_hash: FileHash::new([1; 32]),
            },
        }))
    }

    #[test]
    fn a_session_counts_what_it_holds() {
        let mut driver = Driver::open();
        assert_eq!(driver.run(add("a.log")).unwrap(), ["artifact.added"]);
        driver.run(add("b.png")).unwrap();
        let artifact = Arc::clone(&driver.artifacts[0]);
        assert_eq!(artifact.task_id.as_ref().unwrap().as_str(), "t");
        assert_eq!(artifact.tags.len(), 2);
        let summary = driver.session.summary();
        assert_eq!((summary.total_artifacts, summary.total_size_bytes), (2, 20));
        assert_eq!(summary.artifact_types.of(ArtifactType::Screenshot), 1);
        assert_eq!(&*summary.name, "upgrade-up-20250131-052501");

        let delete = |as_of| {
            let action = ArtifactAction::MarkDeleted {
                reason: None,
                pinned: IfPinned::Refuse,
            };
            let artifact = Arc::clone(&artifact);
            SessionCommand::ChangeArtifact(Box::new(ChangeArtifact {
                artifact,
                as_of,
                action,
            }))
        };
        assert_eq!(driver.run(delete(4)).unwrap(), ["artifact.deleted"]);
        assert_eq!(driver.session.summary().total_artifacts, 1);
        assert!(matches!(
            driver.run(delete(4)),
            Err(SessionCommandError::Stale { .. })
        ));
        let checkpoint = serde_json::to_string(&driver.session).unwrap();
        assert_eq!(
            serde_json::from_str::<Session>(&checkpoint).unwrap(),
            driver.session
        );
    }

    #[test]
    fn refusals_name_what_and_why() {
        let mut driver = Driver::new();
        let error = driver.run(add("a")).unwrap_err();
        assert_eq!(error.to_string(), "unknown session s: create it first");
        let mut driver = Driver::open();
        let again = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
        assert!(matches!(
            driver.run(SessionCommand::Create(again)),
            Err(SessionCommandError::SessionExists { .. })
        ));
        let collection = NewCollection::new("Logs").with_id(CollectionId::new("c").unwrap());
        assert!(matches!(
            driver.run(SessionCommand::CreateCollection(collection)),
            Err(SessionCommandError::CollectionExists { .. })
        ));
        driver.run(SessionCommand::Complete { outcome: None }).unwrap();
        assert!(matches!(
            driver.run(add("a")),
            Err(SessionCommandError::SessionCompleted { .. })
        ));
        assert!(matches!(
            driver.run(SessionCommand::Complete { outcome: None }),
            Err(SessionCommandError::SessionCompleted { .. })
        ));
        assert_eq!(
            driver.run(SessionCommand::Pin { pinned: true }).unwrap(),
            ["session.pinned"]
        );
        assert!(
            driver
                .run(SessionCommand::Pin { pinned: true })
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_summary_has_the_keys_of_the_reference_first() {
        let driver = Driver::open();
        let json = serde_json::to_string(&driver.session.summary()).unwrap();
        assert!(
            json.starts_with(
                "{\"session_id\":\"s\",\"name\":\"upgrade-up-20250131-052501\",\"upgrade_id\":\"up\",\
                 \"cluster_name\":\"prod\",\"started_at\":\"2025-01-31T05:25:01.000000+00:00\",\"completed_at\":null,\
                 \"collections_count\":1,\"total_artifacts\":0,\"total_size_bytes\":0,\"uploaded_artifacts\":0,\
                 \"artifact_types\":{\"log_file\":0,"
            ),
            "{json}"
        );
    }
}
