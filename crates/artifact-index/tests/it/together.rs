//! Several handles on one file, as several processes have it.

use std::slice;

use artifact_core::{
    ArtifactIndex, ArtifactQuery, IndexBatch, IndexErrorKind, MemoryIndex, NoTexts, TextQuery,
};
use artifact_index::SqliteIndex;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracking_model::SessionId;

use crate::equal::pages;
use crate::support::{batch, created, index, record};

/// Three handles on one file write and read all at once.
#[test]
fn several_may_write_at_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("index.sqlite");
    let first_index = SqliteIndex::new(&path);
    let second_index = SqliteIndex::new(&path);
    let third_index = SqliteIndex::new(&path);
    let memory = MemoryIndex::new();
    let batches_of = |session: &SessionId| -> Vec<IndexBatch> {
        let mut seq = 0;
        let mut next = |kind: &str, data: &Value| {
            seq += 1;
            record(seq, kind, data)
        };
        (0..40)
            .map(|number| {
                let mut records = Vec::new();
                if number == 0 {
                    records.push(next("session.created", &created(session, "prod")));
                }
                for at in 0..7 {
                    let id = format!("{session}-{number}-{at}");
                    let time = format!("2025-02-01T10:{number:02}:0{at}.{:06}Z", session.as_str().len());
                    records.push(next(
                        "artifact.added",
                        &json!({
                            "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "up",
                            "name": format!("node-{at}.log"), "artifact_type": "log_file", "created_at": time,
                            "description": format!("step {number}"), "tags": ["t"], "status": "created"
                        }),
                    ));
                }
                if number > 2 {
                    let id = format!("{session}-{}-1", number - 2);
                    records.push(next("artifact.deleted", &json!({
                        "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "up", "name": "n",
                        "artifact_type": "log_file", "from": "created", "status": "deleted"
                    })));
                }
                batch(session, records)
            })
            .collect()
    };
    let sessions: Vec<SessionId> = ["a", "bb", "ccc"].iter().map(|id| id.parse().unwrap()).collect();
    std::thread::scope(|scope| {
        for (index, session) in [&first_index, &second_index, &third_index]
            .into_iter()
            .zip(&sessions)
        {
            let batches_of = &batches_of;
            scope.spawn(move || {
                let query = ArtifactQuery::new()
                    .in_session(session.clone())
                    .with_text(TextQuery::new("step").unwrap())
                    .with_limit(1000);
                let mut alive = 0;
                for (number, batch) in batches_of(session).into_iter().enumerate() {
                    index.apply(slice::from_ref(&batch), &NoTexts).unwrap();
                    alive += if number > 2 { 6 } else { 7 };
                    assert_eq!(index.query(&query).unwrap().artifacts.len(), alive);
                }
            });
        }
    });
    for session in &sessions {
        memory.apply(&batches_of(session), &NoTexts).unwrap();
    }
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("INSERT INTO words(words) VALUES ('integrity-check')")
        .unwrap();
    for text in ["step", "node", "log 1", "\"step 7\""] {
        let query = ArtifactQuery::new()
            .with_text(TextQuery::new(text).unwrap())
            .with_limit(50);
        for index in [&first_index, &second_index, &third_index] {
            assert_eq!(pages(&memory, &query), pages(index, &query), "{text}");
        }
    }
}

/// Records that come next must not go to a file that does not have those before.
#[test]
fn a_file_that_took_the_place_of_this_one_is_not_written() {
    let (dir, index) = index();
    let path = dir.path().join("index.sqlite");
    let session: SessionId = "s".parse().unwrap();
    let first = batch(
        &session,
        vec![record(1, "session.created", &created(&session, "prod"))],
    );
    index.apply(&[first], &NoTexts).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(
            dir.path().join(format!("index.sqlite{suffix}")),
        ));
    }
    let other = SqliteIndex::new(&path);
    assert!(other.sessions().unwrap().is_empty());
    let second = batch(
        &session,
        vec![record(2, "session_completed", &json!({"summary": null}))],
    );
    let error = index.apply(&[second], &NoTexts).unwrap_err();
    assert_eq!(error.kind, IndexErrorKind::Reset);
    assert!(other.sessions().unwrap().is_empty());
    assert!(index.sessions().unwrap().is_empty());
}
