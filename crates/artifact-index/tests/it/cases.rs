//! Cases that chance finds rarely: the index on SQLite and the one in memory answer alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact_core::{ArtifactIndex, ArtifactQuery, MAX_RANKED, MemoryIndex, Sort, TextQuery};
use serde_json::json;
use tracking_model::{ArtifactStatus, SessionId, Timestamp};

use crate::equal::{Feeder, Step, pages};
use crate::support::{Texts, batch, created, index, record};

#[test]
fn an_artifact_that_is_added_again_at_once_has_the_place_of_its_new_time() {
    let (memory, (_dir, sqlite)) = (MemoryIndex::new(), index());
    let mut feeder = Feeder {
        indexes: [&memory, &sqlite],
        texts: Texts::default(),
        sessions: BTreeMap::new(),
    };
    for created_at in [
        "1969-12-31T23:59:59.999995+00:00",
        "2023-11-14T22:13:20.000001+00:00",
    ] {
        let artifact = json!({
            "artifact_id": "a", "session_id": "s1", "collection_id": "c", "upgrade_id": "u1", "name": "n",
            "artifact_type": "log_file", "status": "created", "created_at": created_at
        });
        feeder.push("s1", "artifact.added", &artifact);
    }
    feeder.flush("s1");
    let query = ArtifactQuery::new().with_since(Timestamp::from_micros(0));
    assert_eq!(pages(&sqlite, &query), pages(&memory, &query));
    assert_eq!(pages(&sqlite, &query)[0].artifacts.len(), 1);
}

/// Found by chance: nothing else that facets know was asked for, and ranking looked at no record.
#[test]
fn unwanted_tags_alone_are_heeded_in_every_order() {
    let (memory, (_dir, sqlite)) = (MemoryIndex::new(), index());
    let mut feeder = Feeder {
        indexes: [&memory, &sqlite],
        texts: Texts::default(),
        sessions: BTreeMap::new(),
    };
    for (id, tag, second) in [("a", "node", 20), ("b", "x", 21)] {
        let artifact = json!({
            "artifact_id": id, "session_id": "s1", "collection_id": "c", "upgrade_id": "u1", "name": "node.log",
            "artifact_type": "log_file", "status": "created",
            "created_at": format!("2023-11-14T22:13:{second}+00:00"), "tags": [tag]
        });
        feeder.push("s1", "artifact.added", &artifact);
    }
    feeder.flush("s1");
    for sort in [Sort::Newest, Sort::Oldest, Sort::Rank, Sort::Size, Sort::Name] {
        let mut query = ArtifactQuery::new()
            .with_text(TextQuery::new("node").unwrap())
            .with_sort(sort);
        query.no_tags = vec![Arc::from("node")];
        assert_eq!(pages(&sqlite, &query), pages(&memory, &query), "{sort:?}");
        assert_eq!(pages(&sqlite, &query)[0].artifacts.len(), 1, "{sort:?}");
    }
}

/// A tombstone whose writer did not know of an upload, and another upload of one that did not know of the first.
#[test]
fn statuses_are_counted_as_they_are_whatever_writers_knew() {
    let (memory, (_dir, sqlite)) = (MemoryIndex::new(), index());
    for together in [true, false] {
        let session = if together { "s1" } else { "s2" };
        let mut feeder = Feeder {
            indexes: [&memory, &sqlite],
            texts: Texts::default(),
            sessions: BTreeMap::new(),
        };
        for id in ["a", "b", "c"] {
            let artifact = json!({
                "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "u1", "name": "n",
                "artifact_type": "log_file", "status": "created", "file_size": 10,
                "created_at": Timestamp::from_micros(i64::from(id.as_bytes()[0]))
            });
            feeder.push(session, "artifact.added", &artifact);
        }
        for (id, status) in [
            ("a", ArtifactStatus::Uploaded),
            ("b", ArtifactStatus::Uploaded),
            ("a", ArtifactStatus::Deleted),
            ("b", ArtifactStatus::Uploaded),
        ] {
            if !together {
                feeder.flush(session);
            }
            feeder.step(Step::Changed {
                session,
                id,
                status,
                tags: None,
            });
        }
        feeder.flush(session);
        let mut query = ArtifactQuery::new().in_session(session.parse().unwrap());
        query.statuses = ArtifactStatus::ALL.to_vec();
        for index in [&memory as &dyn ArtifactIndex, &sqlite] {
            let counted = index.statistics(&query).unwrap().by_status;
            let counted: Vec<_> = counted
                .into_iter()
                .map(|(status, amount)| (status, amount.artifacts, amount.bytes))
                .collect();
            let one_each = [
                ArtifactStatus::Created,
                ArtifactStatus::Uploaded,
                ArtifactStatus::Deleted,
            ];
            assert_eq!(
                counted,
                one_each.map(|status| (status, 1, 10)),
                "{} {together}",
                index.name()
            );
        }
    }
}

/// More than are ranked, more than one thread makes ready, and more than share a microsecond with their neighbours.
#[test]
fn very_many_at_once_are_answered_alike() {
    very_many(0);
    very_many(1000);
}

/// The last `together` of them were added at one moment.
fn very_many(together: usize) {
    const COUNT: usize = MAX_RANKED + 400;
    let (memory, (_dir, sqlite)) = (MemoryIndex::new(), index());
    let session: SessionId = "s1".parse().unwrap();
    let mut records = vec![record(1, "session.created", &created(&session, "prod"))];
    for number in 0..COUNT {
        let at = Timestamp::from_micros(
            1_700_000_000_000_000 + i64::try_from(number.min(COUNT - together)).unwrap() * 3,
        );
        let artifact = json!({
            "artifact_id": format!("a{number}"), "session_id": session, "collection_id": "c", "upgrade_id": "up",
            "name": format!("{}.log", if number < 10 { "needle" } else { "hay" }), "artifact_type": "log_file",
            "description": "every one", "file_size": number % 7, "created_at": at, "status": "created",
            "tags": if number % 100 == 0 { vec!["every"] } else { vec![] }
        });
        records.push(record(number as u64 + 2, "artifact.added", &artifact));
    }
    let batch = batch(&session, records);
    for index in [&memory as &dyn ArtifactIndex, &sqlite] {
        index
            .apply(std::slice::from_ref(&batch), &Texts::default())
            .unwrap();
    }
    let text = |text: &str| ArtifactQuery::new().with_text(TextQuery::new(text).unwrap());
    for (query, sort) in [
        (ArtifactQuery::new(), Sort::Newest),
        (ArtifactQuery::new(), Sort::Oldest),
        (ArtifactQuery::new(), Sort::Size),
        (text("every"), Sort::Rank),
        (text("every"), Sort::Name),
        (text("needle"), Sort::Rank),
    ] {
        let query = query.with_sort(sort).with_limit(6000);
        let (expected, found) = (pages(&memory, &query), pages(&sqlite, &query));
        assert!(expected == found, "{query:?}");
    }
    let all = ArtifactQuery::new();
    assert_eq!(memory.statistics(&all).unwrap(), sqlite.statistics(&all).unwrap());
    // One status, asked for as often as there are statuses.
    let mut uploaded = text("every").with_sort(Sort::Rank);
    uploaded.statuses = vec![ArtifactStatus::Uploaded; ArtifactStatus::ALL.len()];
    assert_eq!(pages(&sqlite, &uploaded), pages(&memory, &uploaded));
}
