//! What can happen to the index's file: whatever is there instead, it is built anew and answers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use artifact_core::{
    ArtifactError, ArtifactIndex, ArtifactQuery, IndexErrorKind, ManagerOptions, NoTexts,
    TestArtifactsManager, TextQuery,
};
use artifact_index::SqliteIndex;
use rusqlite::Connection;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tempfile::TempDir;
use tracking_journal::DataDir;
use tracking_model::{CollectionId, NewArtifact, NewCollection, NewSession, SessionId, UpgradeId};

use crate::support::{batch, created, record};

const ARTIFACTS: usize = 30;

fn open(dir: &TempDir) -> TestArtifactsManager {
    let data = DataDir::open(dir.path().join("data")).unwrap();
    let index = SqliteIndex::new(data.path().join("index.sqlite"));
    TestArtifactsManager::new(data, ManagerOptions::default().with_index(Arc::new(index)))
}

/// A data directory with artifacts whose texts have the word `evidence`.
async fn filled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let manager = open(&dir);
    let session = SessionId::new("s").unwrap();
    let new = NewSession::new(UpgradeId::new("up").unwrap(), "prod");
    manager.create_session_as(session.clone(), new).await.unwrap();
    let collection = CollectionId::new("c").unwrap();
    let new = NewCollection::new("C").with_id(collection.clone());
    manager.create_collection(&session, new).await.unwrap();
    for number in 0..ARTIFACTS {
        let new = NewArtifact::new().with_name(format!("{number}.log"));
        let text: &[u8] = b"some evidence\n";
        manager
            .add_stream(&session, &collection, new, text, None)
            .await
            .unwrap();
    }
    manager.close().await.unwrap();
    dir
}

async fn found(manager: &TestArtifactsManager) -> Result<usize, ArtifactError> {
    let query = ArtifactQuery::new().with_text(TextQuery::new("evidence").unwrap());
    Ok(manager.search_artifacts(query).await?.artifacts.len())
}

/// What may be in the place of the index, and how it comes there.
type Tampering = (&'static str, fn(&Path));

const TAMPERINGS: [Tampering; 12] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("empty", |path| fs::write(path, b"").unwrap()),
    ("text", |path| {
        fs::write(path, "no database ".repeat(1000)).unwrap()
    }),
    ("cut", |path| {
        fs::OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(5000)
            .unwrap()
    }),
    ("zeroed", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes.get_mut(4096..).unwrap().fill(0);
        fs::write(path, bytes).unwrap();
    }),
    ("noise", |path| {
        let mut bytes = fs::read(path).unwrap();
        for (at, byte) in bytes.iter_mut().enumerate().skip(4096) {
            *byte ^= u8::try_from(at * 31 % 251).unwrap();
        }
        fs::write(path, bytes).unwrap();
    }),
    ("another database", |path| {
        fs::remove_file(path).unwrap();
        Connection::open(path)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (x)")
            .unwrap();
    }),
    ("another version", |path| {
        Connection::open(path)
            .unwrap()
            .pragma_update(None, "user_version", 999)
            .unwrap();
    }),
    ("a table short", |path| {
        Connection::open(path)
            .unwrap()
            .execute_batch("DROP TABLE tally; DROP TABLE latest")
            .unwrap();
    }),
    ("records that are none", |path| {
        Connection::open(path)
            .unwrap()
            .execute_batch("UPDATE record SET json = '{}'")
            .unwrap();
    }),
    ("rows gone", |path| {
        Connection::open(path)
            .unwrap()
            .execute_batch("DELETE FROM artifact")
            .unwrap();
    }),
    ("a position that is none", |path| {
        Connection::open(path)
            .unwrap()
            .execute_batch("UPDATE session SET position = 'x'")
            .unwrap();
    }),
];

#[tokio::test]
async fn fault_36_an_index_that_was_tampered_with_is_built_anew() {
    let dir = filled().await;
    let path = dir.path().join("data/index.sqlite");
    let mut rebuilt = 0;
    for (name, tamper) in TAMPERINGS {
        // The log goes into the file first, else it would put back what is changed here.
        assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS);
        let connection = Connection::open(&path).unwrap();
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        drop(connection);
        tamper(&path);
        assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS, "{name}");
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
        rebuilt += 1;
    }
    println!("FAULT row=36 name=tampered_index tamperings={rebuilt} artifacts_lost=0");
}

/// A search after any flipped bit ends, and finds nothing that the journals do not have. Where a list of words is hit it can
/// hide artifacts from searches, and from nothing else.
#[tokio::test]
async fn fault_06_no_flipped_bit_of_an_index_makes_a_search_lie() {
    let dir = filled().await;
    let path = dir.path().join("data/index.sqlite");
    assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS);
    Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let whole = fs::read(&path).unwrap();
    let everything = ArtifactQuery::new().with_text(TextQuery::new("evidence").unwrap());
    let expected = open(&dir)
        .search_artifacts(everything.clone())
        .await
        .unwrap()
        .artifacts;
    // All bits of the header, and some of all the rest.
    let bits = (0..800).chain((800..whole.len() * 8).step_by(4099));
    let (mut flips, mut rebuilt, mut hidden, mut lies) = (0, 0, 0, 0);
    for bit in bits {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        for suffix in ["-wal", "-shm"] {
            drop(fs::remove_file(
                dir.path().join(format!("data/index.sqlite{suffix}")),
            ));
        }
        fs::write(&path, &bytes).unwrap();
        let manager = open(&dir);
        let answer = manager.search_artifacts(everything.clone()).await.unwrap();
        flips += 1;
        hidden += usize::from(answer.artifacts.len() < expected.len());
        lies += answer
            .artifacts
            .iter()
            .filter(|one| !expected.contains(one))
            .count();
        drop(manager);
        rebuilt += usize::from(fs::read(&path).unwrap().get(bit / 8) == whole.get(bit / 8));
    }
    println!("FAULT row=06 name=index_flips flips={flips} rebuilt={rebuilt} hidden={hidden} lies={lies}");
    assert_eq!(lies, 0);
    assert!(hidden * 20 < flips, "{hidden} of {flips} hide something");
}

/// Gives every record another place of its bytes, with the checksum that belongs to it.
fn forge_places(connection: &Connection, place: &str) {
    let mut statement = connection.prepare("SELECT id, json FROM record").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
    let rows: Vec<(i64, String)> = rows.unwrap().map(Result::unwrap).collect();
    for (id, json) in rows {
        let mut record: serde_json::Value = serde_json::from_str(&json).unwrap();
        record["local_path"] = place.into();
        let json = record.to_string();
        let checksum = json.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let forged = rusqlite::params![id, json, checksum.cast_signed() ^ id];
        connection
            .execute("UPDATE record SET json = ?2, checksum = ?3 WHERE id = ?1", forged)
            .unwrap();
    }
}

#[tokio::test]
async fn fault_36_an_index_never_leads_outside_the_data_directory() {
    let dir = filled().await;
    let manager = open(&dir);
    assert_eq!(found(&manager).await.unwrap(), ARTIFACTS);
    let id = manager.search_by_name("7.log", None).await.unwrap().artifacts[0]
        .artifact_id
        .clone();
    drop(manager);
    let secret = dir.path().join("secret");
    fs::write(&secret, "evidence of a secret").unwrap();
    let path = dir.path().join("data/index.sqlite");
    let mut read = 0;
    for place in [
        "artifacts/../../secret",
        "../secret",
        secret.to_str().unwrap(),
        "artifacts/s/c/../../../../secret",
    ] {
        forge_places(&Connection::open(&path).unwrap(), place);
        let manager = open(&dir);
        let opened = manager.open_artifact(&id).await;
        assert!(matches!(opened, Err(ArtifactError::UnsafePath { .. })), "{place}");
        let query = ArtifactQuery::new()
            .with_text(TextQuery::new("evidence").unwrap())
            .with_snippets();
        let shown = manager.search_artifacts(query).await.unwrap().snippets;
        read += shown
            .iter()
            .flatten()
            .filter(|snippet| snippet.text.contains("secret"))
            .count();
    }
    println!("FAULT row=36 name=index_pointing_outside read_outside={read}");
    assert_eq!(read, 0);
}

#[tokio::test]
async fn fault_30_an_index_behind_a_symbolic_link_is_not_written() {
    let dir = filled().await;
    let outside = dir.path().join("outside");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        fs::write(&outside, "theirs").unwrap();
        let path = dir.path().join(format!("data/index.sqlite{suffix}"));
        drop(fs::remove_file(&path));
        symlink(&outside, &path).unwrap();
        assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS, "{suffix}");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs", "{suffix}");
    }
    println!("FAULT row=30 name=index_behind_a_link links=4 written_outside=0");
}

#[test]
fn what_ruins_the_file_while_it_is_open_is_said() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("index.sqlite");
    let index = SqliteIndex::new(&path);
    let session = SessionId::new("s").unwrap();
    let artifact = json!({
        "artifact_id": "a", "session_id": "s", "collection_id": "c", "upgrade_id": "up", "name": "x",
        "artifact_type": "log_file", "created_at": "2025-01-31T05:25:01Z", "status": "created"
    });
    let records = vec![
        record(1, "session.created", &created(&session, "prod")),
        record(2, "artifact.added", &artifact),
    ];
    let batch = batch(&session, records);
    index.apply(std::slice::from_ref(&batch), &NoTexts).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE record SET json = 'x'")
        .unwrap();
    let error = index.query(&ArtifactQuery::new()).unwrap_err();
    assert_eq!(error.kind, IndexErrorKind::Reset);
    assert_eq!(
        error.to_string(),
        "cannot query the search index; search again to have it built anew"
    );
    assert!(index.query(&ArtifactQuery::new()).unwrap().artifacts.is_empty());
    index.apply(std::slice::from_ref(&batch), &NoTexts).unwrap();
    assert_eq!(index.query(&ArtifactQuery::new()).unwrap().artifacts.len(), 1);
}

#[tokio::test]
async fn fault_30_an_index_does_not_wait_for_a_fifo() {
    let dir = filled().await;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = dir.path().join(format!("data/index.sqlite{suffix}"));
        drop(fs::remove_file(&path));
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS, "{suffix}");
    }
    let lock = dir.path().join("data/index.sqlite.lock");
    fs::remove_file(&lock).unwrap();
    mknodat(CWD, &lock, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    assert_eq!(found(&open(&dir)).await.unwrap(), ARTIFACTS, "in memory");
    println!("FAULT row=30 name=index_fifos fifos=5 hung=0");
}
