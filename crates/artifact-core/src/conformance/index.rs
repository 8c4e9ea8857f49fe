//! Conformance suite of indexes.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracking_journal::{Committed, Position};
use tracking_model::{
    Artifact, ArtifactStatus, ArtifactType, RecordMeta, SessionEvent, SessionId, StreamEvent, Timestamp,
};

use crate::{
    ArtifactIndex, ArtifactQuery, ArtifactTexts, Day, IndexBatch, NamePattern, NoTexts, PageCursor, Sort,
    TextQuery,
};

/// Runs all checks against an empty index.
///
/// # Panics
/// Where the index differs from the documentation.
pub fn index(index: &dyn ArtifactIndex) {
    assert!(!index.name().is_empty());
    taking_records(index);
    texts_are_asked_for(index);
    positions_and_sessions(index);
    criteria(index);
    every_page_of_every_order(index);
    texts_are_found(index);
    statistics(index);
    repeated_ids(index);
    forgetting(index);
}

/// Texts by name, which remember whose was asked for.
#[derive(Debug, Default)]
struct Texts(Mutex<Vec<String>>);

impl ArtifactTexts for Texts {
    fn text(&self, artifact: &Artifact) -> Option<String> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(artifact.artifact_id.to_string());
        (&*artifact.name == "a.log").then(|| "node 7 is NOT\nready, größe 1".to_owned())
    }
}

impl Texts {
    fn asked(&self) -> String {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asked).join(" ")
    }
}

fn session(id: &str) -> SessionId {
    id.parse().expect("ids of this suite are valid")
}

fn names(index: &dyn ArtifactIndex, query: &ArtifactQuery) -> String {
    let found = index.query(query).expect("a query is answered");
    let names: Vec<&str> = found.artifacts.iter().map(|artifact| &*artifact.name).collect();
    names.join(" ")
}

fn text(text: &str) -> ArtifactQuery {
    ArtifactQuery::new().with_text(TextQuery::new(text).expect("queries of this suite are valid"))
}

fn artifact(index: &dyn ArtifactIndex, id: &str) -> Option<Arc<Artifact>> {
    index
        .artifact(&id.parse().expect("ids of this suite are valid"))
        .expect("a look-up is answered")
}

fn apply(index: &dyn ArtifactIndex, batch: &IndexBatch) {
    index
        .apply(std::slice::from_ref(batch), &Texts::default())
        .expect("records can be taken");
}

/// Artifacts `a` to `d`, of which `b` is deleted.
fn records(session: &SessionId) -> Vec<(&'static str, Value)> {
    let added = |id: &str, name: &str, minute: u32, size: Option<u64>, tags: &[&str]| {
        let mut artifact = json!({
            "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "up", "name": name,
            "artifact_type": "log_file", "created_at": format!("2025-01-31T05:{minute:02}:00Z"), "status": "created",
            "description": format!("about {id}"), "task_id": "t", "step_id": "1", "tags": tags
        });
        if let Some(size) = size {
            artifact["file_size"] = json!(size);
        }
        ("artifact.added", artifact)
    };
    let created = json!({
        "session_id": session, "name": "n", "upgrade_id": "up", "cluster_name": "prod",
        "started_at": "2025-01-31T05:00:00Z", "retention_days": 30
    });
    let changed = |id: &str, status: &str, tags: Option<&[&str]>| {
        let mut change = json!({
            "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "up", "name": "n",
            "artifact_type": "log_file", "from": "created", "status": status
        });
        if let Some(tags) = tags {
            change["tags"] = json!(tags);
        }
        change
    };
    vec![
        ("session.created", created),
        added("a", "a.log", 1, Some(10), &["new"]),
        added("b", "b.log", 2, Some(30), &[]),
        added("c", "c.png", 3, Some(20), &["kept", "screen shot"]),
        added("d", "D.yaml", 3, None, &[]),
        ("artifact.deleted", changed("b", "deleted", None)),
        ("artifact.tagged", changed("a", "created", Some(&["kept"]))),
        ("artifact.uploaded", changed("c", "uploaded", None)),
    ]
}

fn batch(session: &SessionId, first: u64, events: &[(&str, Value)]) -> IndexBatch {
    let records = events.iter().zip(first..).map(|((kind, data), seq)| Committed {
        meta: RecordMeta {
            seq,
            id: uuid::Uuid::nil(),
            at: Timestamp::EPOCH,
            actor: Arc::from("conformance"),
        },
        event: SessionEvent::decode(kind, &data.to_string()).expect("records of this suite are valid"),
    });
    IndexBatch {
        session_id: session.clone(),
        records: records.collect(),
        position: None,
    }
}

/// All of them are seen once it returns, and what it has taken changes nothing.
fn taking_records(index: &dyn ArtifactIndex) {
    let session = session("i1");
    let all = records(&session);
    for _ in 0..2 {
        apply(index, &batch(&session, 1, &all));
        assert_eq!(names(index, &ArtifactQuery::new()), "D.yaml c.png a.log");
    }
    apply(
        index,
        &batch(&session, 2, all.get(1..3).expect("there are as many")),
    );
    assert_eq!(names(index, &ArtifactQuery::new()), "D.yaml c.png a.log");
    let deleted = artifact(index, "b").expect("a deleted artifact is still known");
    assert_eq!(deleted.status, ArtifactStatus::Deleted);
    let uploaded = artifact(index, "c").expect("an artifact is known");
    assert_eq!(
        (uploaded.status, uploaded.uploaded_at),
        (ArtifactStatus::Uploaded, Some(Timestamp::EPOCH))
    );
    assert_eq!(artifact(index, "none"), None);
}

/// For each artifact when it is taken up, never again for records that were taken already.
fn texts_are_asked_for(index: &dyn ArtifactIndex) {
    let session = session("i2");
    let texts = Texts::default();
    let all = records(&session);
    index
        .apply(&[batch(&session, 1, &all)], &texts)
        .expect("records can be taken");
    let asked = texts.asked();
    for (id, is_asked) in [("a", true), ("c", true), ("d", true), ("e", false)] {
        assert_eq!(asked.contains(id), is_asked, "{asked}");
    }
    index
        .apply(&[batch(&session, 1, &all)], &texts)
        .expect("records can be taken");
    assert_eq!(texts.asked(), "");
    index.forget(&session).expect("a session can be forgotten");
}

fn positions_and_sessions(index: &dyn ArtifactIndex) {
    let id = session("i0");
    let known = |id: &SessionId| index.position(id).expect("a position is told");
    assert_eq!(known(&id), None);
    let position: Position = serde_json::from_value(json!({
        "head": {"epoch": uuid::Uuid::from_u128(7), "seq": 1, "hash": "5".repeat(64)}, "offset": 700
    }))
    .expect("positions of this suite are valid");
    let all = records(&id);
    let mut with_position = batch(&id, 1, all.get(..1).expect("there are as many"));
    with_position.position = Some(position);
    index
        .apply(&[with_position], &NoTexts)
        .expect("records can be taken");
    assert_eq!(known(&id), Some(position));
    let sessions = index.sessions().expect("sessions are told");
    assert_eq!(sessions, [id.clone(), session("i1")]);
    index.forget(&id).expect("a session can be forgotten");
    assert_eq!(known(&id), None);
    assert_eq!(index.sessions().expect("sessions are told"), [session("i1")]);
}

fn criteria(index: &dyn ArtifactIndex) {
    type Change = fn(&mut ArtifactQuery);
    let cases: [(Change, &str); 22] = [
        (|query| query.all_tags = vec!["kept".into()], "c.png a.log"),
        (
            |query| query.all_tags = vec!["kept".into(), "screen shot".into()],
            "c.png",
        ),
        (
            |query| query.any_tags = vec!["screen shot".into(), "none".into()],
            "c.png",
        ),
        (|query| query.no_tags = vec!["screen shot".into()], "D.yaml a.log"),
        (
            |query| query.types = vec![ArtifactType::LogFile],
            "D.yaml c.png a.log",
        ),
        (
            |query| query.types = vec![ArtifactType::Backup, ArtifactType::Report],
            "",
        ),
        (|query| query.statuses = vec![ArtifactStatus::Deleted], "b.log"),
        (
            |query| query.statuses = ArtifactStatus::ALL.to_vec(),
            "D.yaml c.png b.log a.log",
        ),
        (
            |query| query.cluster_name = Some("prod".into()),
            "D.yaml c.png a.log",
        ),
        (|query| query.cluster_name = Some("other".into()), ""),
        (|query| query.step_id = Some("1".into()), "D.yaml c.png a.log"),
        (|query| query.step_id = Some("2".into()), ""),
        (|query| query.task_id = "u".parse().ok(), ""),
        (|query| query.session_id = "other".parse().ok(), ""),
        (|query| query.collection_id = "other".parse().ok(), ""),
        (|query| query.upgrade_id = "other".parse().ok(), ""),
        (|query| query.min_size = Some(11), "c.png"),
        (|query| query.max_size = Some(19), "a.log"),
        (
            |query| query.since = Timestamp::parse("2025-01-31T05:03:00Z").ok(),
            "D.yaml c.png",
        ),
        (
            |query| query.until = Timestamp::parse("2025-01-31T05:03:00Z").ok(),
            "a.log",
        ),
        (|query| query.name = NamePattern::new("d.Y").ok(), "D.yaml"),
        (
            |query| query.name = NamePattern::new("[ac].*").ok(),
            "c.png a.log",
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut query = ArtifactQuery::new();
        change(&mut query);
        assert_eq!(names(index, &query), expected, "case {number}");
    }
}

/// From after the cursor on, whatever the size of a page, each artifact once.
fn every_page_of_every_order(index: &dyn ArtifactIndex) {
    for (sort, expected) in [
        (Sort::Newest, "D.yaml c.png a.log"),
        (Sort::Oldest, "a.log c.png D.yaml"),
        (Sort::Size, "c.png a.log D.yaml"),
        (Sort::Name, "a.log c.png D.yaml"),
        (Sort::Rank, "D.yaml c.png a.log"),
    ] {
        for limit in 1..5 {
            let mut query = ArtifactQuery::new().with_sort(sort).with_limit(limit);
            let mut found = Vec::new();
            loop {
                let page = index.query(&query).expect("a query is answered");
                assert!(page.artifacts.len() <= limit);
                assert_eq!(page.more, page.next.is_some());
                found.extend(page.artifacts.iter().map(|artifact| artifact.name.to_string()));
                let Some(next) = page.next else { break };
                let last = page
                    .artifacts
                    .last()
                    .expect("a page that is not the last has artifacts");
                assert_eq!(next, PageCursor::of(&query, last));
                query.after = Some(next);
            }
            assert_eq!(found.join(" "), expected, "{sort:?} by {limit}");
        }
    }
}

fn texts_are_found(index: &dyn ArtifactIndex) {
    for (query, expected) in [
        ("ready", "a.log"),
        ("Not READY", "a.log"),
        ("\"not ready\"", "a.log"),
        ("\"ready not\"", ""),
        ("größe", "a.log"),
        ("rea*", "a.log"),
        ("rea", ""),
        ("about -ready", "D.yaml c.png"),
        ("-about", ""),
        ("-ready", "D.yaml c.png"),
        ("log", "a.log"),
        ("\"screen shot\"", "c.png"),
        ("\"kept screen\"", ""),
        ("\"kept about\"", ""),
        ("kept", "c.png a.log"),
        ("new", ""),
    ] {
        assert_eq!(names(index, &text(query)), expected, "{query}");
    }
    // A deleted artifact is found by its record alone.
    let mut deleted = text("about");
    deleted.statuses = vec![ArtifactStatus::Deleted];
    assert_eq!(names(index, &deleted), "b.log");
    // The name counts more than a tag, this more than the description, and this more than the text.
    let ranked = |query: &str| names(index, &text(query).with_sort(Sort::Rank));
    assert_eq!(ranked("about"), "D.yaml c.png a.log");
    assert_eq!(ranked("a*"), "a.log D.yaml c.png");
}

fn statistics(index: &dyn ArtifactIndex) {
    let all = ArtifactQuery::new().with_limit(1).with_sort(Sort::Name);
    let statistics = index.statistics(&all).expect("counts are told");
    assert_eq!((statistics.total.artifacts, statistics.total.bytes), (3, 30));
    assert_eq!(statistics.by_status.len(), 2);
    assert_eq!(statistics.by_session.keys().collect::<Vec<_>>(), [&session("i1")]);
    let growth: Vec<_> = statistics.growth().collect();
    let day = Day::of(Timestamp::parse("2025-01-31T00:00:00Z").expect("a valid time"));
    assert_eq!(growth, [(day, statistics.total)]);
    let largest: Vec<&str> = statistics
        .largest
        .iter()
        .map(|artifact| &*artifact.name)
        .collect();
    assert_eq!(largest, ["c.png", "a.log", "D.yaml"]);
    let some = index.statistics(&text("ready")).expect("counts are told");
    assert_eq!((some.total.artifacts, some.total.bytes), (1, 10));
}

/// Sessions that were taken over may have the same ids; the first session's is the one that an id leads to.
fn repeated_ids(index: &dyn ArtifactIndex) {
    let other = session("i0");
    let all = records(&other);
    apply(index, &batch(&other, 1, &all));
    assert_eq!(
        names(index, &ArtifactQuery::new()),
        "D.yaml D.yaml c.png c.png a.log a.log"
    );
    let found = artifact(index, "a").map(|artifact| artifact.session_id.clone());
    assert_eq!(found, Some(other.clone()));
    assert_eq!(
        names(index, &ArtifactQuery::new().in_session(other.clone())),
        "D.yaml c.png a.log"
    );
    index.forget(&other).expect("a session can be forgotten");
}

/// Nothing of it is left, and it can come back.
fn forgetting(index: &dyn ArtifactIndex) {
    let session = session("i1");
    index.forget(&session).expect("a session can be forgotten");
    assert_eq!(names(index, &ArtifactQuery::new()), "");
    assert_eq!(names(index, &text("about")), "");
    assert_eq!(artifact(index, "a"), None);
    let counts = index.statistics(&ArtifactQuery::new()).expect("counts are told");
    assert_eq!(counts.total.artifacts, 0);
    apply(index, &batch(&session, 1, &records(&session)));
    assert_eq!(names(index, &text("about")), "D.yaml c.png a.log");
}
