//! Machines with clocks that go as they like, readers that delete, and segments that arrive in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use tracking_journal::{DataDir, JournalReader, NewRecord, Record, load};
use tracking_model::{
    Artifact, ArtifactChange, ArtifactChangeKind, ArtifactId, ArtifactStatus, Session, SessionEvent, Span,
    StreamEvent, StreamId, Timestamp,
};
use uuid::Uuid;

use super::cache::{Cache, Listed, Read};
use super::{Catalogue, RefreshScope, state};

/// Callers spawn these.
#[test]
fn futures_can_go_to_other_threads() {
    fn sent<T: Send>(_: &impl Fn(Catalogue, StreamId) -> T) {}
    sent(&|catalogue: Catalogue, stream| async move {
        catalogue.refresh(RefreshScope::Stream(stream), None).await
    });
    sent(&|catalogue: Catalogue, stream| async move {
        let events: &[SessionEvent] = &[];
        catalogue.append(&stream, events, "a").await
    });
}

fn stream() -> StreamId {
    "session:s".parse().unwrap()
}

/// A segment as it lies in the bucket.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    records: Vec<Record>,
}

/// The bucket, and the machines that write into it.
#[derive(Default)]
struct World {
    segments: Vec<Stored>,
    journals: BTreeMap<usize, (Uuid, Vec<NewRecord>)>,
    artifacts: Vec<Artifact>,
    tombstones: BTreeSet<ArtifactId>,
}

impl World {
    fn new_record(at: Timestamp, event: &SessionEvent) -> NewRecord {
        let mut data = Vec::new();
        event.write_data(&mut data);
        NewRecord {
            id: tracking_model::new_uuid(),
            at,
            actor: "a".into(),
            kind: event.kind().to_owned(),
            data: serde_json::value::RawValue::from_string(String::from_utf8(data).unwrap()).unwrap(),
        }
    }

    /// A machine writes, and puts what is new; sometimes with what it put before.
    fn write(&mut self, machine: usize, at: i64, event: &SessionEvent, again: bool) {
        let (epoch, written) = self
            .journals
            .entry(machine)
            .or_insert_with(|| (tracking_model::new_uuid(), Vec::new()));
        written.push(Self::new_record(Timestamp::from_micros(at), event));
        let records = Record::begin(&stream(), *epoch, written.clone());
        let from = if again { 0 } else { records.len() - 1 };
        let name = format!("{epoch}/{}-{from}.jsonl", tracking_model::new_uuid());
        self.segments.push(Stored {
            name,
            records: records[from..].to_vec(),
        });
    }

    fn add(&mut self, machine: usize, at: i64, again: bool) {
        let json = format!(
            r#"{{"artifact_id":"a{}","session_id":"s","collection_id":"c","upgrade_id":"u","name":"n","tags":[],
            "artifact_type":"log_file","status":"created","created_at":"2025-01-31T05:25:01.056236Z"}}"#,
            self.artifacts.len()
        );
        let artifact: Artifact = serde_json::from_str(&json).unwrap();
        self.artifacts.push(artifact.clone());
        self.write(
            machine,
            at,
            &SessionEvent::ArtifactAdded(Arc::new(artifact)),
            again,
        );
    }
}

/// A reader and its cache.
struct Reader {
    cache: Cache,
    seen: usize,
    _folder: TempDir,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        state::create_folder(&dir).unwrap();
        let lock_timeout = Duration::from_secs(5);
        Self {
            cache: Cache { dir, lock_timeout },
            seen: 0,
            _folder: folder,
        }
    }

    /// Takes all segments that are missing, `at_once` at a time and the last first.
    fn refresh(&mut self, world: &World, at_once: usize) {
        self.seen += 1;
        let names = world.segments.iter().map(|segment| segment.name.clone());
        let listed = Listed {
            at: Timestamp::from_micros(i64::try_from(self.seen).unwrap()),
            segments: names.collect(),
        };
        loop {
            let missing = self.cache.missing(&stream(), &listed).unwrap().segments;
            let wanted = world
                .segments
                .iter()
                .rev()
                .filter(|one| missing.contains(&one.name));
            let chunk: Vec<_> = wanted.take(at_once).cloned().collect();
            if chunk.is_empty() {
                return;
            }
            let read = Read {
                segments: chunk.iter().map(|segment| segment.name.clone()).collect(),
                records: chunk.into_iter().flat_map(|segment| segment.records).collect(),
                refused: BTreeSet::new(),
            };
            self.cache.take(&stream(), &listed, read).unwrap();
        }
    }

    fn records(&self) -> Vec<Record> {
        match JournalReader::open(&self.cache.dir, &stream()) {
            Ok(reader) => reader.map(Result::unwrap).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn ids(&self) -> Vec<Uuid> {
        self.records().iter().map(|record| record.id).collect()
    }

    /// The artifacts as an index has them: a change of one that is not there changes nothing.
    fn artifacts(&self) -> BTreeMap<ArtifactId, Artifact> {
        let mut artifacts = BTreeMap::new();
        for record in self.records() {
            match record.decode::<SessionEvent>().unwrap() {
                SessionEvent::ArtifactAdded(artifact) => {
                    artifacts.insert(artifact.artifact_id.clone(), (*artifact).clone());
                }
                SessionEvent::Artifact(_, change) => {
                    if let Some(artifact) = artifacts.get_mut(&change.artifact_id) {
                        change.apply(artifact, record.at);
                    }
                }
                _ => {}
            }
        }
        artifacts
    }

    /// Deletes an artifact that it knows, by a clock that may be wrong, as `Catalogue::append` does.
    fn delete(&self, world: &mut World, pick: usize, at: i64) {
        let known = self.artifacts();
        let Some(artifact) = known.values().nth(pick % known.len().max(1)) else {
            return;
        };
        let latest = self.cache.latest(&stream()).unwrap().unwrap();
        let at = Timestamp::from_micros(at).max(latest + Span::from_micros(1));
        let change = ArtifactChange::new(artifact, ArtifactStatus::Deleted);
        let event = SessionEvent::Artifact(ArtifactChangeKind::Deleted, change);
        world.tombstones.insert(artifact.artifact_id.clone());
        let machine = 100 + world.segments.len();
        world.write(machine, at.as_micros(), &event, false);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add { machine: usize, at: i64, again: bool },
    Upload { machine: usize, pick: usize, at: i64 },
    Refresh { reader: usize, at_once: usize },
    Delete { reader: usize, pick: usize, at: i64 },
    Lose { reader: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 0..50_i64, any::<bool>()).prop_map(|(machine, at, again)| Step::Add { machine, at, again }),
        2 => (0..3_usize, 0..9_usize, 0..50_i64).prop_map(|(machine, pick, at)| Step::Upload { machine, pick, at }),
        3 => (0..2_usize, 1..4_usize).prop_map(|(reader, at_once)| Step::Refresh { reader, at_once }),
        2 => (0..2_usize, 0..9_usize, 0..50_i64).prop_map(|(reader, pick, at)| Step::Delete { reader, pick, at }),
        1 => (0..2_usize).prop_map(|reader| Step::Lose { reader }),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn all_readers_see_the_same_and_what_was_deleted_stays_deleted(steps in steps()) {
        let (mut world, mut readers) = (World::default(), [Reader::new(), Reader::new()]);
        for step in steps {
            match step {
                Step::Add { machine, at, again } => world.add(machine, at, again),
                Step::Upload { machine, pick, at } => {
                    let count = world.artifacts.len().max(1);
                    let Some(artifact) = world.artifacts.get(pick % count).cloned() else { continue };
                    let change = ArtifactChange::new(&artifact, ArtifactStatus::Uploaded);
                    let event = SessionEvent::Artifact(ArtifactChangeKind::Uploaded, change);
                    world.write(machine, at, &event, false);
                }
                Step::Refresh { reader, at_once } => readers[reader].refresh(&world, at_once),
                Step::Delete { reader, pick, at } => readers[reader].delete(&mut world, pick, at),
                Step::Lose { reader } => {
                    state::State::remove(&readers[reader].cache.dir, &stream()).unwrap();
                }
            }
        }
        let mut fresh = Reader::new();
        fresh.refresh(&world, usize::MAX);
        for reader in &mut readers {
            reader.refresh(&world, 2);
            prop_assert_eq!(reader.ids(), fresh.ids());
        }
        let written: usize = world.journals.values().map(|(_, records)| records.len()).sum();
        prop_assert_eq!(fresh.ids().len(), written);
        let artifacts = fresh.artifacts();
        for id in &world.tombstones {
            prop_assert_eq!(artifacts[id].status, ArtifactStatus::Deleted);
        }
        if written > 0 {
            let states = [&readers[0], &fresh].map(|reader| load::<Session>(&reader.cache.dir, &stream()).unwrap());
            prop_assert_eq!(&states[0].state, &states[1].state);
        }
    }
}

#[test]
fn a_life_of_which_nothing_is_left_leaves_nothing() {
    let (mut world, mut reader) = (World::default(), Reader::new());
    world.add(0, 1, false);
    world.add(1, 2, false);
    reader.refresh(&world, 9);
    assert_eq!(reader.ids().len(), 2);
    world.segments.remove(0);
    reader.refresh(&world, 9);
    assert_eq!(reader.ids(), [world.segments[0].records[0].id]);
    assert!(reader.cache.remove(&stream(), Timestamp::from_micros(9)).unwrap());
    assert_eq!(reader.cache.streams().unwrap().len(), 0);
    reader.refresh(&world, 9);
    assert!(
        !reader.cache.remove(&stream(), Timestamp::from_micros(0)).unwrap(),
        "a younger listing had it"
    );
}
