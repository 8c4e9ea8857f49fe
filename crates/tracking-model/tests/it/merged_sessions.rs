//! Sessions with records of several machines: counts are those of what the artifacts are in the end, wherever the clock of
//! another machine put its tombstones.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;
use tracking_model::{
    Artifact, ArtifactChange, ArtifactChangeKind, ArtifactStatus, ArtifactType, Fold, NewCollection,
    NewSession, Session, SessionCommand, SessionEvent, SessionId, StreamId, UpgradeId,
};

use crate::upgrades::{at, meta};

/// One artifact: what its own machine records of it, in order, and where tombstones of others stand among that.
#[derive(Debug, Clone)]
struct Life {
    size: u64,
    statuses: Vec<ArtifactStatus>,
    /// How many records its writer knew, and how many of these stand before it.
    tombstones: Vec<(Index, Index)>,
}

fn life() -> impl Strategy<Value = Life> {
    let wishes = prop::collection::vec(select(&ArtifactStatus::ALL[..]), 0..5);
    let tombstones = prop::collection::vec((any::<Index>(), any::<Index>()), 0..3);
    (0_u64..100, wishes, tombstones).prop_map(|(size, wishes, tombstones)| {
        let mut statuses = vec![ArtifactStatus::Created];
        for wish in wishes {
            if statuses.last().unwrap().can_become(wish) {
                statuses.push(wish);
            }
        }
        Life {
            size,
            statuses,
            tombstones,
        }
    })
}

impl Life {
    fn artifact(&self, number: usize) -> Artifact {
        let json = json!({
            "artifact_id": format!("a{number}"), "session_id": "s", "collection_id": "c", "upgrade_id": "u", "name": "n",
            "artifact_type": "log_file", "status": "created", "tags": [], "file_size": self.size,
            "created_at": "2025-01-31T05:25:01.056236Z"
        });
        serde_json::from_value(json).unwrap()
    }

    /// The records in the order of a merge. A tombstone stands before whatever its writer did not know, or anywhere.
    fn events(&self, number: usize, anywhere: bool) -> Vec<SessionEvent> {
        let mut artifact = self.artifact(number);
        let mut own = vec![SessionEvent::ArtifactAdded(Arc::new(artifact.clone()))];
        for status in &self.statuses[1..] {
            let change = ArtifactChange::new(&artifact, *status);
            change.apply(&mut artifact, at(1));
            own.push(SessionEvent::Artifact(kind(*status), change));
        }
        let mut merged: Vec<(usize, SessionEvent)> = Vec::new();
        for (known, before) in &self.tombstones {
            let known = 1 + known.index(self.statuses.len());
            let mut seen = self.artifact(number);
            seen.status = self.statuses[known - 1];
            if seen.status != ArtifactStatus::Deleted {
                let change = ArtifactChange::new(&seen, ArtifactStatus::Deleted);
                let event = SessionEvent::Artifact(ArtifactChangeKind::Deleted, change);
                let places = if anywhere { self.statuses.len() } else { known };
                merged.push((before.index(places + 1), event));
            }
        }
        let mut events = Vec::new();
        for (place, own) in own.into_iter().enumerate() {
            let tombstones = merged.iter().filter(|(before, _)| *before == place);
            events.extend(tombstones.map(|(_, event)| event.clone()));
            events.push(own);
        }
        let last = self.statuses.len();
        let tombstones = merged.into_iter().filter(|(before, _)| *before >= last);
        events.extend(tombstones.map(|(_, event)| event));
        events
    }

    fn ends_as(&self) -> ArtifactStatus {
        let deletes =
            |event: &SessionEvent| matches!(event, SessionEvent::Artifact(ArtifactChangeKind::Deleted, _));
        if self.events(0, false).iter().any(deletes) {
            ArtifactStatus::Deleted
        } else {
            *self.statuses.last().unwrap()
        }
    }
}

fn kind(status: ArtifactStatus) -> ArtifactChangeKind {
    match status {
        ArtifactStatus::Created => ArtifactChangeKind::Tagged,
        ArtifactStatus::Uploaded => ArtifactChangeKind::Uploaded,
        ArtifactStatus::Archived => ArtifactChangeKind::Archived,
        ArtifactStatus::Failed => ArtifactChangeKind::Failed,
        ArtifactStatus::Deleted => ArtifactChangeKind::Deleted,
    }
}

fn session() -> Session {
    let mut session = Session::empty(&StreamId::Session(SessionId::new("s").unwrap()));
    let collection = NewCollection::new("C").with_id("c".parse().unwrap());
    for command in [
        SessionCommand::Create(NewSession::new(UpgradeId::new("u").unwrap(), "prod")),
        SessionCommand::CreateCollection(collection),
    ] {
        for event in session.check(command, at(0)).unwrap() {
            session.apply(&meta(1, 0), &event);
        }
    }
    session
}

/// The session after the records of all artifacts, whose turns are as given.
fn merged(lives: &[Life], turns: &[Index], anywhere: bool) -> Session {
    let mut session = session();
    let mut waiting: Vec<_> = lives
        .iter()
        .enumerate()
        .map(|(number, life)| life.events(number, anywhere).into_iter())
        .collect();
    let count = waiting.len();
    let turns = turns.iter().map(|turn| turn.index(count)).chain(0..count * 20);
    for turn in turns {
        if let Some(event) = waiting[turn % count].next() {
            session.apply(&meta(2, 1), &event);
        }
        // As a checkpoint has it.
        let json = serde_json::to_string(&session).unwrap();
        session = serde_json::from_str(&json).unwrap();
    }
    session
}

proptest! {
    #[test]
    fn counts_are_those_of_what_artifacts_are_in_the_end(
        lives in prop::collection::vec(life(), 1..5),
        turns in prop::collection::vec(any::<Index>(), 0..60),
    ) {
        let counts = merged(&lives, &turns, false).counts();
        let of = |status| lives.iter().filter(move |life| life.ends_as() == status);
        for status in ArtifactStatus::ALL {
            prop_assert_eq!(counts.of_status(status), of(status).count() as u64, "{}", status);
            prop_assert_eq!(counts.bytes_of_status(status), of(status).map(|life| life.size).sum::<u64>());
        }
        let kept = lives.iter().filter(|life| life.ends_as() != ArtifactStatus::Deleted);
        prop_assert_eq!(counts.artifacts(), kept.clone().count() as u64);
        prop_assert_eq!(counts.of_type(ArtifactType::LogFile), counts.artifacts());
        prop_assert_eq!(counts.bytes(), kept.map(|life| life.size).sum::<u64>());
    }

    /// Also after changes that their writers did not know of: sums are right, and so what is said of a session of which all
    /// is deleted.
    #[test]
    fn sums_are_right_wherever_tombstones_stand(
        lives in prop::collection::vec(life(), 1..5),
        turns in prop::collection::vec(any::<Index>(), 0..60),
    ) {
        let counts = merged(&lives, &turns, true).counts();
        let (kept, deleted): (Vec<&Life>, Vec<&Life>) =
            lives.iter().partition(|life| life.ends_as() != ArtifactStatus::Deleted);
        let bytes = |lives: &[&Life]| lives.iter().map(|life| life.size).sum::<u64>();
        prop_assert_eq!(counts.artifacts(), kept.len() as u64);
        prop_assert_eq!(counts.of_type(ArtifactType::LogFile), kept.len() as u64);
        prop_assert_eq!(counts.bytes(), bytes(&kept));
        prop_assert_eq!(counts.of_status(ArtifactStatus::Deleted), deleted.len() as u64);
        prop_assert_eq!(counts.bytes_of_status(ArtifactStatus::Deleted), bytes(&deleted));
        let live = || ArtifactStatus::ALL.into_iter().filter(|status| *status != ArtifactStatus::Deleted);
        prop_assert_eq!(live().map(|status| counts.of_status(status)).sum::<u64>(), counts.artifacts());
        prop_assert_eq!(live().map(|status| counts.bytes_of_status(status)).sum::<u64>(), counts.bytes());
    }
}

/// Counts after these records of one artifact, each with the status that its writer knew.
fn counts_after(changes: &[(ArtifactStatus, ArtifactStatus)]) -> (u64, Vec<ArtifactStatus>) {
    let life = Life {
        size: 7,
        statuses: vec![],
        tombstones: vec![],
    };
    let (mut session, mut artifact) = (session(), life.artifact(0));
    session.apply(
        &meta(2, 1),
        &SessionEvent::ArtifactAdded(Arc::new(artifact.clone())),
    );
    for (from, status) in changes {
        let mut known = artifact.clone();
        known.status = *from;
        let change = ArtifactChange::new(&known, *status);
        change.apply(&mut artifact, at(1));
        session.apply(&meta(3, 1), &SessionEvent::Artifact(kind(*status), change));
    }
    let counts = session.counts();
    let counted = ArtifactStatus::ALL.into_iter().filter(|status| {
        assert_eq!(counts.bytes_of_status(*status), 7 * counts.of_status(*status));
        counts.of_status(*status) > 0
    });
    let counted: Vec<_> = counted.collect();
    assert_eq!(counted, [artifact.status], "as an index has it: {changes:?}");
    (counts.artifacts(), counted)
}

#[test]
fn an_artifact_that_two_machines_archived_or_deleted_counts_once() {
    use ArtifactStatus::{Archived, Created, Deleted, Uploaded};
    let uploaded = (Created, Uploaded);
    // A machine freed its bytes, and another one deleted it that knew only that it was uploaded.
    let deleted = counts_after(&[uploaded, (Uploaded, Archived), (Uploaded, Deleted)]);
    assert_eq!(deleted, (0, vec![Deleted]));
    let archived = counts_after(&[uploaded, (Uploaded, Archived), (Uploaded, Archived)]);
    assert_eq!(archived, (1, vec![Archived]));
    let both = [
        uploaded,
        (Uploaded, Archived),
        (Archived, Deleted),
        (Uploaded, Archived),
    ];
    assert_eq!(counts_after(&both), (0, vec![Deleted]));
    // Tagged where nobody knew yet.
    let tagged = counts_after(&[uploaded, (Uploaded, Archived), (Uploaded, Uploaded)]);
    assert_eq!(tagged, (1, vec![Archived]));
}
