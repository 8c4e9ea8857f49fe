//! Faults that artifacts must survive, each printing what was tried and what was lost.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use artifact_core::{
    ArtifactError, ArtifactIndex, ArtifactQuery, DeleteOptions, DeletedBytes, FileKind, ImportOptions,
    IndexBatch, IndexError, IndexErrorKind, MemoryIndex, MockArtifactIndex, NoTexts, Problem, SourceError,
    StoreErrorKind, TestArtifactsManager, TextQuery, VerifyScope,
};
use rustix::fs::{CWD, FileType, Mode};
use tracking_journal::{Committed, DataDir};
use tracking_model::{ArtifactName, ArtifactStatus, NewArtifact, RecordMeta, SessionEvent, Timestamp};

use crate::support::{Fixture, open, options};

async fn add(
    fixture: &Fixture,
    path: impl AsRef<Path>,
) -> Result<Arc<tracking_model::Artifact>, ArtifactError> {
    fixture
        .manager
        .add_artifact(
            &fixture.session,
            &fixture.collection,
            path.as_ref(),
            NewArtifact::new(),
        )
        .await
}

async fn is_clean(manager: &TestArtifactsManager) -> bool {
    manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap()
        .is_clean()
}

/// What an add leaves that dies after each of its steps.
#[tokio::test]
async fn fault_13_an_add_that_dies_after_any_step_leaves_nothing_half() {
    let fixture = Fixture::new().await;
    add(&fixture, fixture.source("before.log", b"before"))
        .await
        .unwrap();
    fixture.manager.close().await.unwrap();
    let session = fixture.dir.path().join("data/artifacts/s");
    // After the temporary file: no one holds its lock any more.
    fs::create_dir_all(session.join(".incoming")).unwrap();
    fs::write(session.join(".incoming/dead"), b"half").unwrap();
    // After the name, before the record.
    fs::write(session.join("c/after.log"), b"whole").unwrap();

    let manager = open(&fixture.dir);
    let report = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].problem, Problem::Extra { kind: None });
    let source = fixture.source("after.log", b"again");
    let added = manager
        .add_artifact(&fixture.session, &fixture.collection, source, NewArtifact::new())
        .await
        .unwrap();
    assert_eq!(added.local_path.as_deref(), Some("artifacts/s/c/after-2.log"));
    assert!(fs::read_dir(session.join(".incoming")).unwrap().next().is_none());
    println!("FAULT row=13 name=add steps=2 partial=0 reported_extra=1");
}

/// An import that dies after the bytes and before the record is finished by the next one.
#[tokio::test]
async fn fault_13_an_interrupted_import_is_finished_by_the_next() {
    let fixture = Fixture::new().await;
    add(&fixture, fixture.source("x.log", b"abc")).await.unwrap();
    fixture.manager.close().await.unwrap();
    let base = fixture.dir.path().join("data/artifacts");
    let target = tempfile::TempDir::new().unwrap();
    let manager = open(&target);
    fs::create_dir_all(target.path().join("data/artifacts/s/c")).unwrap();
    fs::write(target.path().join("data/artifacts/s/c/x.log"), b"abc").unwrap();
    let report = manager
        .import_reference_sessions(&base, ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(report.sessions.len(), 1, "{report:?}");
    assert!(is_clean(&manager).await);
    println!("FAULT row=13 name=import copied_twice=0 extra=0");
}

#[tokio::test]
async fn fault_30_only_regular_files_become_artifacts() {
    let fixture = Fixture::new().await;
    let dir = fixture.dir.path();
    let file = fixture.source("real", b"secret");
    symlink(&file, dir.join("link")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    fs::create_dir(dir.join("directory")).unwrap();
    let fifo = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, dir.join("fifo"), FileType::Fifo, fifo, 0).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    let mut refused = 0;
    for (path, kind) in [
        (dir.join("link"), FileKind::Symlink),
        (dir.join("dangling"), FileKind::Symlink),
        (dir.join("directory"), FileKind::Directory),
        (dir.join("fifo"), FileKind::Fifo),
        (dir.join("socket"), FileKind::Socket),
        ("/dev/null".into(), FileKind::Device),
    ] {
        match add(&fixture, &path).await {
            Err(ArtifactError::Source(SourceError::NotAFile { kind: found, .. })) => assert_eq!(found, kind),
            other => panic!("{}: {other:?}", path.display()),
        }
        refused += 1;
    }
    drop(socket);
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
    println!("FAULT row=30 name=sources refused={refused} kept=0");
}

/// A directory of the store that is swapped for a symbolic link while artifacts are added.
#[tokio::test(flavor = "multi_thread")]
async fn fault_30_a_link_swapped_into_the_data_directory_leads_nowhere() {
    const ROUNDS: usize = 60;
    let fixture = Fixture::new().await;
    let source = fixture.source("x.log", b"abc");
    let first = add(&fixture, &source).await.unwrap();
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("x.log"), b"bait").unwrap();
    let collection = fixture.dir.path().join("data/artifacts/s/c");
    let aside = fixture.dir.path().join("aside");
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, collection, aside, outside) = (
            Arc::clone(&stop),
            collection.clone(),
            aside.clone(),
            outside.clone(),
        );
        move || {
            while !stop.load(Ordering::Relaxed) {
                // The add may have made the directory anew in between; then this round is left out.
                if fs::rename(&collection, &aside).is_ok() {
                    if symlink(&outside, &collection).is_ok() {
                        fs::remove_file(&collection).unwrap();
                    }
                    if fs::rename(&aside, &collection).is_err() {
                        fs::remove_dir_all(&aside).unwrap();
                    }
                }
            }
        }
    });
    let (mut added, mut refused, mut bait) = (0, 0, 0);
    for _ in 0..ROUNDS {
        match add(&fixture, &source).await {
            Ok(_) => added += 1,
            Err(_) => refused += 1,
        }
        if let Ok(mut reader) = fixture.manager.open_artifact(&first.artifact_id).await {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
            bait += usize::from(bytes == b"bait");
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    let escaped = fs::read_dir(&outside).unwrap().count() - 1;
    println!(
        "FAULT row=30 name=swap rounds={ROUNDS} added={added} refused={refused} escapes={}",
        escaped + bait
    );
    assert_eq!((escaped, bait), (0, 0));

    // A link that stays is refused by name.
    if collection.symlink_metadata().is_ok() {
        fs::remove_dir_all(&collection).unwrap();
    }
    symlink(&outside, &collection).unwrap();
    match add(&fixture, &source).await {
        Err(ArtifactError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::UnsafePath),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fault_31_every_name_comes_back_as_it_was() {
    let fixture = Fixture::new().await;
    let long = [b'x'; 255];
    let names: [&[u8]; 14] = [
        b"plain.log",
        b"with space.log",
        b"-rf",
        b".hidden",
        b"new\nline",
        b"\x1b[31mred",
        b"a%2Fb",
        b"CON",
        b"nul.txt",
        "Grüße-日本.log".as_bytes(),
        "🚀.png".as_bytes(),
        b"bad\xff\xfeutf8.log",
        b"back\\slash",
        &long,
    ];
    let out = fixture.dir.path().join("out");
    for name in names {
        let path = fixture.dir.path().join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        let artifact = add(&fixture, &path).await.unwrap();
        let read = open(&fixture.dir).artifact(&artifact.artifact_id).await.unwrap();
        assert_eq!(read.exact_name().as_ref(), name);
        fs::create_dir(&out).unwrap();
        let copied = fixture
            .manager
            .download_artifact(&artifact.artifact_id, &out)
            .await
            .unwrap()
            .path;
        assert_eq!(copied.file_name().unwrap().as_bytes(), name);
        assert_eq!(fs::read(copied).unwrap(), name);
        fs::remove_dir_all(&out).unwrap();
    }
    // Names that no file has, given by a caller.
    for name in [&b".."[..], b".", b"../../etc/passwd", b"/etc/passwd", b"a\0b"] {
        let new = NewArtifact::new().with_name(ArtifactName::from_bytes(name));
        let artifact = fixture
            .manager
            .add_reader(&fixture.session, &fixture.collection, new, &b"x"[..], None)
            .await
            .unwrap();
        assert_eq!(artifact.exact_name().as_ref(), name);
        fs::create_dir(&out).unwrap();
        let copied = fixture
            .manager
            .download_artifact(&artifact.artifact_id, &out)
            .await
            .unwrap()
            .path;
        assert_eq!(copied.parent(), Some(out.as_path()));
        fs::remove_dir_all(&out).unwrap();
    }
    assert_eq!(fixture.files().len(), names.len() + 5);
    assert!(is_clean(&fixture.manager).await);
    println!(
        "FAULT row=31 name=hostile_names names={} round_trips={}",
        names.len() + 5,
        names.len() + 5
    );
}

/// A source that is written all the while: what is kept hashes to what its record says, or nothing is kept.
#[tokio::test(flavor = "multi_thread")]
async fn fault_32_a_source_that_changes_is_noticed() {
    const ROUNDS: usize = 40;
    let fixture = Fixture::new().await;
    let path = fixture.source("growing.log", &vec![b'x'; 1 << 20]);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, path) = (Arc::clone(&stop), path.clone());
        move || {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            let mut rounds = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more\n").unwrap();
                rounds += 1;
                if rounds.is_multiple_of(50_000) {
                    file.set_len(1 << 20).unwrap();
                }
            }
        }
    });
    let (mut kept, mut changed) = (0, 0);
    for _ in 0..ROUNDS {
        match add(&fixture, &path).await {
            Ok(_) => kept += 1,
            Err(ArtifactError::Source(SourceError::Changed { .. })) => changed += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(is_clean(&fixture.manager).await);
    assert_eq!(fixture.files().len(), kept);
    println!("FAULT row=32 name=changed_source rounds={ROUNDS} changed={changed} kept={kept} wrong_hash=0");
}

/// Records that were tampered with so that they point outside the data directory.
#[tokio::test]
async fn fault_36_a_tampered_record_reads_nothing_outside() {
    let fixture = Fixture::new().await;
    let secret = fixture.source("secret", b"secret");
    let secret = secret.to_str().unwrap();
    let mut refused = 0;
    for path in [
        "artifacts/../secret",
        "artifacts/s/c/../../../../secret",
        "artifacts/s/../../secret",
        "artifacts/other/c/x.log",
        "../secret",
        secret,
        "artifacts/s/c/",
        "artifacts/session_s.jsonl",
    ] {
        let record = serde_json::json!({
            "artifact_id": "a1", "session_id": "s", "collection_id": "c", "upgrade_id": "up", "name": "x",
            "artifact_type": "log_file", "local_path": path, "created_at": "2025-01-31T05:25:01Z",
            "status": "created"
        });
        let event = SessionEvent::ArtifactAdded(Arc::new(serde_json::from_value(record).unwrap()));
        let meta = RecordMeta {
            seq: 1000,
            id: uuid::Uuid::nil(),
            at: Timestamp::EPOCH,
            actor: Arc::from("attacker"),
        };
        let index = Arc::new(MemoryIndex::new());
        let batch = IndexBatch {
            session_id: fixture.session.clone(),
            records: vec![Committed { meta, event }],
            position: None,
        };
        index.apply(&[batch], &NoTexts).unwrap();
        let data = DataDir::open(fixture.dir.path().join("data")).unwrap();
        let manager = TestArtifactsManager::new(data, options().with_index(index));
        let id = tracking_model::ArtifactId::new("a1").unwrap();
        let error = manager.open_artifact(&id).await.unwrap_err();
        assert!(
            matches!(error, ArtifactError::UnsafePath { .. }),
            "{path}: {error:?}"
        );
        refused += 1;
    }
    println!("FAULT row=36 name=tampered refused={refused} read_outside=0");
}

/// An index that cannot be written any more.
fn an_index_that_is(kind: IndexErrorKind) -> MockArtifactIndex {
    let mut index = MockArtifactIndex::new();
    index.expect_position().returning(|_| Ok(None));
    index.expect_sessions().returning(|| Ok(Vec::new()));
    index.expect_artifact().returning(|_| Ok(None));
    index.expect_apply().returning(move |_, _| {
        Err(IndexError {
            index: "search",
            operation: "update",
            kind,
            source: "no space left on device".into(),
        })
    });
    index
}

#[tokio::test]
async fn fault_11_what_is_recorded_is_found_and_changed_where_the_index_is_full() {
    for kind in [
        IndexErrorKind::Full,
        IndexErrorKind::Unavailable,
        IndexErrorKind::Failed,
    ] {
        let fixture = Fixture::new().await;
        let added = add(&fixture, fixture.source("a.log", b"evidence")).await.unwrap();
        fixture.manager.close().await.unwrap();

        let data = DataDir::open(fixture.dir.path().join("data")).unwrap();
        let given = options().with_index(Arc::new(an_index_that_is(kind)));
        let manager = TestArtifactsManager::new(data, given);
        let id = &added.artifact_id;
        for tag in ["x", "y"] {
            let tagged = manager.tag_artifact(id, vec![tag.into()], Vec::new()).await;
            assert!(tagged.unwrap().tags.contains(&tag.into()));
        }
        assert_eq!(manager.artifact(id).await.unwrap().tags.len(), 2);
        let text = ArtifactQuery::new().with_text(TextQuery::new("evidence").unwrap());
        let found = manager.search_artifacts(text.clone()).await;
        if kind == IndexErrorKind::Failed {
            assert!(matches!(found, Err(ArtifactError::Index(_))), "{found:?}");
        } else {
            assert_eq!(found.unwrap().artifacts.len(), 1);
        }
        let deleted = manager
            .delete_artifact(id, DeleteOptions::default())
            .await
            .unwrap();
        assert_eq!(deleted.artifact.status, ArtifactStatus::Deleted);
        assert!(matches!(deleted.bytes, DeletedBytes::Removed));
        let again = manager.artifact(id).await.unwrap();
        assert_eq!(again, deleted.artifact);
        if kind != IndexErrorKind::Failed {
            assert!(manager.search_artifacts(text).await.unwrap().artifacts.is_empty());
            manager.close().await.unwrap();
        }
    }
    println!("FAULT row=11 name=index_full kinds=3 changes_refused=0");
}
