//! Adding: large files, many files, the same bytes again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artifact_core::{
    ArtifactDir, ArtifactError, ArtifactStore, FileKind, NewFile, PutMode, PutOptions, SourceError, Symlinks,
    VerifyScope,
};
use tracking_model::{Artifact, NewArtifact};

use crate::support::{Fixture, open};

/// Long enough to be hashed by a second thread.
#[tokio::test]
async fn a_large_file_is_kept_byte_for_byte() {
    let fixture = Fixture::new().await;
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let source = fixture.source("large.bin", &bytes);
    let (session, collection) = (&fixture.session, &fixture.collection);
    let told = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&told);
    let file = NewFile::new(&source);
    let added = fixture
        .manager
        .add_file(session, collection, file, move |progress_now| {
            progress.store(progress_now.bytes, Ordering::Relaxed);
        })
        .await
        .unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 8_000_000);
    let stream = fixture
        .manager
        .add_stream(
            session,
            collection,
            NewArtifact::new().with_name("stream"),
            &bytes[..],
            None,
        )
        .await
        .unwrap();
    assert_eq!(added.file_hash, stream.file_hash);
    let limit = Some(7_000_000);
    let new = NewArtifact::new().with_name("cut");
    let cut = fixture
        .manager
        .add_stream(session, collection, new, &bytes[..], limit)
        .await;
    assert!(
        matches!(cut, Err(ArtifactError::Source(SourceError::TooLong { .. }))),
        "{cut:?}"
    );
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.bytes, 16_000_000);
}

async fn add_all(fixture: &Fixture, files: Vec<NewFile>) -> Vec<Result<Arc<Artifact>, ArtifactError>> {
    fixture
        .manager
        .add_artifacts(&fixture.session, &fixture.collection, files, |_| {})
        .await
}

fn stored(fixture: &Fixture, artifact: &Artifact) -> PathBuf {
    let path = artifact.local_path.as_deref().unwrap();
    fixture.dir.path().join("data").join(path)
}

fn contents(fixture: &Fixture) -> usize {
    fs::read_dir(fixture.dir.path().join("data/artifacts/.content"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn a_batch_keeps_what_it_can_in_the_order_given() {
    let fixture = Fixture::new().await;
    let dir = fixture.dir.path();
    for sub in ["a", "b"] {
        fs::create_dir(dir.join(sub)).unwrap();
    }
    let mut files: Vec<NewFile> = (0..40)
        .map(|number| NewFile::new(fixture.source(&format!("{number}.log"), &[number; 10])))
        .collect();
    files.push(NewFile::new(dir.join("missing")));
    files.push(NewFile::new(fixture.source("a/x.log", b"a")));
    files.push(NewFile::new(dir.join("a")));
    files.push(NewFile::new(fixture.source("b/x.log", b"b")));
    files.push(NewFile::new(fixture.source("empty", b"")));
    let added = add_all(&fixture, files).await;
    assert_eq!(added.len(), 45);
    for (number, added) in added.iter().take(40).enumerate() {
        assert_eq!(&*added.as_ref().unwrap().name, format!("{number}.log"));
    }
    assert!(matches!(
        added[40],
        Err(ArtifactError::Source(SourceError::Missing { .. }))
    ));
    assert!(matches!(
        added[42],
        Err(ArtifactError::Source(SourceError::NotAFile {
            kind: FileKind::Directory,
            ..
        }))
    ));
    let path = |index: usize| added[index].as_ref().unwrap().local_path.clone().unwrap();
    assert_eq!(
        (&*path(41), &*path(43)),
        ("artifacts/s/c/x.log", "artifacts/s/c/x-2.log")
    );
    assert_eq!(added[44].as_ref().unwrap().file_size, Some(0));
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.artifacts, 43);
}

/// More files than go in one wave, with progress to the end.
#[tokio::test]
async fn a_batch_of_several_waves_is_whole() {
    let fixture = Fixture::new().await;
    let count = 2_100_u32;
    let files = (0..count).map(|number| {
        let source = fixture.source(&format!("{number}"), &number.to_le_bytes());
        NewFile::new(source)
    });
    let files: Vec<_> = files.collect();
    let (most, total) = (Arc::new(AtomicU64::new(0)), u64::from(count));
    let seen = Arc::clone(&most);
    let added = fixture
        .manager
        .add_artifacts(&fixture.session, &fixture.collection, files, move |progress| {
            assert_eq!((progress.total_files, progress.total_bytes), (total, 4 * total));
            seen.fetch_max(progress.files, Ordering::Relaxed);
        })
        .await;
    assert!(added.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), total);
    let report = open(&fixture.dir)
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert!(report.is_clean());
    assert_eq!(report.artifacts, total);
}

#[tokio::test]
async fn what_cannot_be_added_at_all_is_said_of_each_file() {
    let fixture = Fixture::new().await;
    fixture
        .manager
        .complete_session(&fixture.session, None)
        .await
        .unwrap();
    let files = ["a", "b"].map(|name| NewFile::new(fixture.source(name, b"x")));
    let added = add_all(&fixture, files.to_vec()).await;
    assert_eq!(added.len(), 2);
    assert!(
        added
            .iter()
            .all(|added| matches!(added, Err(ArtifactError::Refused(_))))
    );
    assert!(fixture.files().is_empty());
}

#[tokio::test]
async fn identical_content_is_stored_once() {
    let fixture = Fixture::new().await;
    let source = fixture.source("one.log", b"the same bytes");
    let files = [&source, &source, &source].map(NewFile::new);
    let mut all: Vec<_> = add_all(&fixture, files.to_vec())
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let new = NewArtifact::new().with_name("four.log");
    let (session, collection) = (&fixture.session, &fixture.collection);
    all.push(
        fixture
            .manager
            .add_artifact(session, collection, &source, new)
            .await
            .unwrap(),
    );
    let inodes: Vec<_> = all
        .iter()
        .map(|artifact| fs::metadata(stored(&fixture, artifact)).unwrap())
        .map(|metadata| (metadata.ino(), metadata.nlink(), metadata.mode() & 0o777))
        .collect();
    assert!(
        inodes.iter().all(|inode| *inode == (inodes[0].0, 5, 0o400)),
        "{inodes:?}"
    );
    // Never the source's own.
    assert_ne!(fs::metadata(&source).unwrap().ino(), inodes[0].0);
    assert_eq!(contents(&fixture), 1);

    // The content goes with the last that uses it.
    let store = ArtifactDir::new(fixture.dir.path().join("data/artifacts"));
    for (left, artifact) in all.iter().enumerate().rev() {
        let key =
            artifact_core::ArtifactKey::from_local_path(artifact.local_path.as_deref().unwrap()).unwrap();
        store.delete(&key).await.unwrap();
        assert_eq!(contents(&fixture), usize::from(left > 0));
    }
}

/// A stored file that rotted never stands for good bytes.
#[tokio::test]
async fn content_that_rotted_is_not_used() {
    let fixture = Fixture::new().await;
    let source = fixture.source("one.log", b"the same bytes");
    let (session, collection) = (&fixture.session, &fixture.collection);
    let add = || {
        fixture
            .manager
            .add_artifact(session, collection, &source, NewArtifact::new())
    };
    let first = add().await.unwrap();
    let path = stored(&fixture, &first);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"the SAME bytes").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let second = add().await.unwrap();
    assert_eq!(fs::read(stored(&fixture, &second)).unwrap(), b"the same bytes");
    // From here on the good one is used.
    let third = add().await.unwrap();
    let inode = |artifact: &Artifact| fs::metadata(stored(&fixture, artifact)).unwrap().ino();
    assert_eq!(inode(&third), inode(&second));
    assert_ne!(inode(&first), inode(&second));
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert_eq!(report.findings.len(), 1);
}

#[tokio::test]
async fn content_that_nothing_uses_is_swept() {
    let fixture = Fixture::new().await;
    let kept = fixture.source("kept.log", b"kept");
    let gone = fixture.source("gone.log", b"gone!");
    let files = [kept, gone].map(NewFile::new);
    let added = add_all(&fixture, files.to_vec()).await;
    // As a deletion leaves it that dies in the middle.
    fs::remove_file(stored(&fixture, added[1].as_ref().unwrap())).unwrap();
    assert_eq!(fixture.manager.sweep_content().await.unwrap(), 5);
    assert_eq!(fixture.manager.sweep_content().await.unwrap(), 0);
    assert_eq!(contents(&fixture), 1);
}

#[tokio::test]
async fn what_is_no_content_is_not_swept() {
    let fixture = Fixture::new().await;
    let kept = fixture.source("kept.log", b"kept");
    add_all(&fixture, vec![NewFile::new(kept)]).await[0]
        .as_ref()
        .unwrap();
    let content = fixture.dir.path().join("data/artifacts/.content");
    let foreign = ["notes.txt", ".hidden", &"0A".repeat(32), &"0a".repeat(31)].map(|name| content.join(name));
    for path in &foreign {
        fs::write(path, "somebody's").unwrap();
    }
    assert_eq!(fixture.manager.sweep_content().await.unwrap(), 0);
    assert!(foreign.iter().all(|path| path.exists()));
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert_eq!(report.extras, 4);
}

#[tokio::test]
async fn symbolic_links_are_followed_where_that_is_asked_for() {
    let fixture = Fixture::new().await;
    let dir = fixture.dir.path();
    fixture.source("real.log", b"bytes");
    symlink("real.log", dir.join("link.log")).unwrap();
    symlink("/dev/null", dir.join("device")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    let files = ["link.log", "device", "dangling"]
        .map(|name| NewFile::new(dir.join(name)).with_symlinks(Symlinks::Follow));
    let added = add_all(&fixture, files.to_vec()).await;
    let link = added[0].as_ref().unwrap();
    assert_eq!((&*link.name, link.file_size), ("link.log", Some(5)));
    assert!(matches!(
        added[1],
        Err(ArtifactError::Source(SourceError::NotAFile {
            kind: FileKind::Device,
            ..
        }))
    ));
    assert!(matches!(
        added[2],
        Err(ArtifactError::Source(SourceError::Missing { .. }))
    ));
}

/// Adds and deletions of the same bytes at once: whoever has put them can read them until he deletes them himself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn content_may_be_shared_and_deleted_at_once() {
    const ROUNDS: usize = 30;
    let dir = tempfile::TempDir::new().unwrap();
    let store = ArtifactDir::new(dir.path());
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let store = store.clone();
        workers.spawn(async move {
            for _ in 0..ROUNDS {
                let key = format!("s/c{}/x.log", worker % 2).parse().unwrap();
                let options = PutOptions::default().with_mode(PutMode::Numbered);
                let put = store
                    .put(&key, b"the same bytes".to_vec().into(), &options)
                    .await
                    .unwrap();
                let bytes = store.get(&put.key).await.unwrap().body.collect().await.unwrap();
                assert_eq!(bytes, b"the same bytes");
                store.delete(&put.key).await.unwrap();
            }
        });
    }
    workers.join_all().await;
    let left = fs::read_dir(dir.path().join(".content")).unwrap();
    for entry in left {
        assert_eq!(
            entry.unwrap().metadata().unwrap().nlink(),
            1,
            "no artifact is left"
        );
    }
}

/// The files of `/proc` say that they have no bytes, those of `/sys` that they have a page.
#[tokio::test]
async fn files_that_are_made_when_they_are_read_are_kept_as_they_were_read() {
    let fixture = Fixture::new().await;
    for path in [
        "/proc/version",
        "/proc/self/mounts",
        "/sys/devices/system/cpu/possible",
    ] {
        let (session, collection) = (&fixture.session, &fixture.collection);
        let added = fixture
            .manager
            .add_artifact(session, collection, path, NewArtifact::new());
        let artifact = added.await.unwrap();
        let stored = fixture.manager.local_path(&artifact).unwrap();
        let content = std::fs::read(path).unwrap();
        assert!(!content.is_empty());
        assert_eq!(std::fs::read(stored).unwrap(), content, "{path}");
        assert_eq!(artifact.file_size, Some(content.len() as u64), "{path}");
    }
    let report = fixture.manager.verify_artifacts(VerifyScope::All, |_| {}).await;
    assert!(report.unwrap().is_clean());
}

#[tokio::test]
async fn what_takes_no_space_takes_none_when_it_is_kept() {
    use std::os::unix::fs::{FileExt, MetadataExt};

    const SIZE: u64 = 1 << 30;
    let fixture = Fixture::new().await;
    let source = fixture.source("disk.img", b"the beginning");
    let file = std::fs::File::options().write(true).open(&source).unwrap();
    file.write_all_at(b"in the middle", SIZE / 2 + 5).unwrap();
    file.set_len(SIZE).unwrap();
    drop(file);
    let (session, collection) = (&fixture.session, &fixture.collection);
    let added = fixture
        .manager
        .add_artifact(session, collection, &source, NewArtifact::new());
    let artifact = added.await.unwrap();
    assert_eq!(artifact.file_size, Some(SIZE));
    let stored = std::fs::File::open(fixture.manager.local_path(&artifact).unwrap()).unwrap();
    let blocks = stored.metadata().unwrap().blocks() * 512;
    assert!(blocks < 1 << 20, "{blocks} bytes are kept of it");
    for (bytes, at) in [
        (&b"the beginning"[..], 0),
        (b"in the middle", SIZE / 2 + 5),
        (b"\0\0", SIZE - 2),
    ] {
        let mut found = vec![1; bytes.len()];
        stored.read_exact_at(&mut found, at).unwrap();
        assert_eq!(found, bytes);
    }
    // The hash is that of all its bytes.
    let report = fixture.manager.verify_artifacts(VerifyScope::All, |_| {}).await;
    assert!(report.unwrap().is_clean());
}
