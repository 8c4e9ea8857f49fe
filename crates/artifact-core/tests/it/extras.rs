//! What is in the data directory and was put there by nobody of us: named, removed on request, never followed or opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use artifact_core::{
    CleanupOptions, CleanupReport, FileKind, LeftBecause, OrphanMode, Problem, RetentionPolicy,
    TestArtifactsManager, VerifyReport, VerifyScope,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tracking_model::NewArtifact;

use crate::support::{Fixture, open, open_at};

const LATER: &str = "2100-01-01T00:00:00Z";

fn pipe(path: &std::path::Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// An artifact, and beside it one of each kind that nobody recorded.
async fn planted() -> Fixture {
    let fixture = Fixture::new().await;
    let source = fixture.source("kept.log", b"kept");
    let (session, collection) = (&fixture.session, &fixture.collection);
    let added = fixture
        .manager
        .add_artifact(session, collection, source, NewArtifact::new());
    added.await.unwrap();
    let artifacts = fixture.dir.path().join("data/artifacts");
    let outside = fixture.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), b"precious").unwrap();
    let collection = artifacts.join("s/c");
    fs::write(collection.join(".hid"), b"1").unwrap();
    fs::create_dir(collection.join("sub")).unwrap();
    fs::write(collection.join("sub/x"), b"1").unwrap();
    symlink(&outside, collection.join("lnk")).unwrap();
    pipe(&collection.join("ff"));
    fs::write(artifacts.join("s/z"), b"1").unwrap();
    fs::create_dir_all(artifacts.join("s/.incoming")).unwrap();
    fs::write(artifacts.join("s/.incoming/half"), b"1").unwrap();
    fs::write(artifacts.join(".content/zzz"), b"1").unwrap();
    symlink(&outside, artifacts.join(format!(".content/{}", "0a".repeat(32)))).unwrap();
    fs::write(artifacts.join("notes.txt"), b"1").unwrap();
    symlink(&outside, artifacts.join("other")).unwrap();
    fs::create_dir(artifacts.join("stranger")).unwrap();
    fixture
}

#[tokio::test]
async fn a_directory_that_cannot_be_listed_is_named_and_hides_nothing_else() {
    let fixture = planted().await;
    let artifacts = fixture.dir.path().join("data/artifacts");
    fs::rename(artifacts.join("s"), fixture.dir.path().join("moved")).unwrap();
    symlink(fixture.dir.path().join("outside"), artifacts.join("s")).unwrap();
    let report = verify(&fixture.manager, VerifyScope::All).await;
    let lines = lines(&report);
    for beginning in [
        "artifacts/s unreadable: cannot list s/: a directory on the way is a symbolic link",
        "artifacts/s/c/kept.log unreadable: cannot get s/c/kept.log: a directory on the way is a symbolic link",
        "artifacts/notes.txt extra: ",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(beginning)),
            "{beginning}: {lines:#?}"
        );
    }
    assert!(!lines.iter().any(|line| line.contains("precious")), "{lines:#?}");
}

async fn verify(manager: &TestArtifactsManager, scope: VerifyScope) -> VerifyReport {
    manager.verify_artifacts(scope, |_| {}).await.unwrap()
}

fn lines(report: &VerifyReport) -> Vec<String> {
    let findings = report.findings.iter();
    findings
        .map(|finding| format!("{} {}", finding.local_path, finding.problem))
        .collect()
}

#[tokio::test]
async fn verifying_names_everything_that_is_not_ours() {
    let fixture = planted().await;
    let report = verify(&fixture.manager, VerifyScope::All).await;
    assert_eq!(
        lines(&report),
        [
            &format!(
                "artifacts/.content/{} extra: a symbolic link that no record speaks of",
                "0a".repeat(32)
            ),
            "artifacts/.content/zzz extra: no record speaks of it",
            "artifacts/notes.txt extra: no record speaks of it",
            "artifacts/other extra: a symbolic link that no record speaks of",
            "artifacts/s/c/.hid extra: no record speaks of it",
            "artifacts/s/c/ff extra: a named pipe that no record speaks of",
            "artifacts/s/c/lnk extra: a symbolic link that no record speaks of",
            "artifacts/s/c/sub extra: a directory that no record speaks of",
            "artifacts/s/c/sub/x extra: no record speaks of it",
            "artifacts/s/z extra: no record speaks of it",
            "artifacts/stranger extra: a directory that no record speaks of",
        ]
    );
    assert_eq!(report.extras, 11);
    let session = verify(&fixture.manager, VerifyScope::Session(fixture.session.clone())).await;
    assert_eq!(session.extras, 6);
    assert_eq!(verify(&fixture.manager, VerifyScope::Beside).await.extras, 5);
}

#[tokio::test]
async fn what_a_journal_its_snapshot_and_collections_need_is_ours() {
    let fixture = Fixture::new().await;
    let source = fixture.source("kept.log", b"kept");
    let (session, collection) = (&fixture.session, &fixture.collection);
    let added = fixture
        .manager
        .add_artifact(session, collection, source, NewArtifact::new());
    added.await.unwrap();
    fixture.manager.close().await.unwrap();
    let artifacts = fixture.dir.path().join("data/artifacts");
    fs::write(artifacts.join("session_s.json.reference"), b"{}").unwrap();
    fs::write(artifacts.join("session_s.jsonl.damaged-20250131T052501Z"), b"").unwrap();
    // The reference's, not yet taken over.
    fs::write(artifacts.join("session_old.json"), b"{}").unwrap();
    fs::create_dir_all(artifacts.join("old/c")).unwrap();
    let report = verify(&open(&fixture.dir), VerifyScope::All).await;
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn many_extras_are_counted_and_not_all_named() {
    let fixture = Fixture::new().await;
    let stray = fixture.dir.path().join("data/artifacts/s/stray");
    fs::create_dir(&stray).unwrap();
    for number in 0..10_050 {
        fs::write(stray.join(number.to_string()), b"").unwrap();
    }
    let report = verify(&fixture.manager, VerifyScope::All).await;
    assert_eq!((report.extras, report.findings.len()), (10_051, 10_000));
}

/// The one who removes and the one who verifies say what is there, and open nothing of it.
#[tokio::test]
async fn what_took_the_place_of_a_stored_file_is_said() {
    for (kind, in_words) in [
        (FileKind::Fifo, "a named pipe"),
        (FileKind::Symlink, "a symbolic link"),
        (FileKind::Directory, "a directory"),
        (FileKind::Socket, "a socket"),
    ] {
        let fixture = Fixture::new().await;
        let source = fixture.source("x.log", b"kept");
        let outside = source.clone();
        let (session, collection) = (&fixture.session, &fixture.collection);
        let added = fixture
            .manager
            .add_artifact(session, collection, source, NewArtifact::new());
        let artifact = added.await.unwrap();
        let stored = fixture.manager.local_path(&artifact).unwrap();
        fs::remove_file(&stored).unwrap();
        let mut listener = None;
        match kind {
            FileKind::Fifo => pipe(&stored),
            FileKind::Symlink => symlink(&outside, &stored).unwrap(),
            FileKind::Directory => fs::create_dir(&stored).unwrap(),
            _ => listener = Some(UnixListener::bind(&stored).unwrap()),
        }
        let reason = format!(
            "cannot get s/c/x.log: {in_words} is in the place of the file that was stored, and was not opened"
        );
        let report = verify(&fixture.manager, VerifyScope::All).await;
        assert_eq!(report.findings.len(), 1, "{report:?}");
        assert_eq!(
            report.findings[0].problem,
            Problem::Unreadable {
                reason: reason.clone()
            }
        );
        let target = fixture.dir.path().join("out");
        let downloaded = fixture
            .manager
            .download_artifact(&artifact.artifact_id, target)
            .await;
        assert_eq!(downloaded.unwrap_err().to_string(), reason);
        drop(listener);
    }
}

async fn clean(manager: &TestArtifactsManager, options: CleanupOptions) -> CleanupReport {
    let policy = RetentionPolicy::new().with_retention_days(u32::MAX);
    let report = manager.cleanup_old_artifacts(policy, options, |_| {}).await;
    let mut report = report.unwrap();
    assert!(report.is_complete(), "{:?}", report.failures);
    report.orphans.sort_by(|a, b| a.local_path.cmp(&b.local_path));
    report
}

fn orphans(report: &CleanupReport) -> Vec<String> {
    let orphans = report.orphans.iter();
    orphans
        .map(|orphan| {
            let what = orphan
                .left
                .map_or_else(|| "removed".to_owned(), |left| left.to_string());
            format!("{} {what}", orphan.local_path)
        })
        .collect()
}

#[tokio::test]
async fn fault_36_retention_removes_extras_and_follows_none() {
    let fixture = planted().await;
    let socket = fixture.dir.path().join("data/artifacts/s/c/sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let remove = CleanupOptions::default().with_orphans(OrphanMode::Remove);

    // Of today: nothing is an orphan yet.
    let report = clean(&open(&fixture.dir), remove).await;
    assert_eq!(report.orphan_files, 0, "{:?}", report.orphans);

    let manager = open_at(&fixture.dir, LATER);
    let report = clean(&manager, CleanupOptions::default()).await;
    assert_eq!(report.orphan_files, 7, "{:?}", report.orphans);
    assert!(
        report
            .orphans
            .iter()
            .all(|one| one.left == Some(LeftBecause::NotAsked))
    );
    let report = clean(&manager, remove).await;
    assert!(
        report
            .orphans
            .iter()
            .all(|one| one.left == Some(LeftBecause::SessionOpen))
    );
    manager.complete_session(&fixture.session, None).await.unwrap();
    let report = clean(&manager, remove.dry_run()).await;
    assert!(
        report
            .orphans
            .iter()
            .all(|one| one.left == Some(LeftBecause::DryRun))
    );

    let report = clean(&manager, remove).await;
    assert_eq!(
        orphans(&report),
        [
            "artifacts/s/c/.hid removed",
            "artifacts/s/c/ff removed",
            "artifacts/s/c/lnk removed",
            "artifacts/s/c/sock sockets and devices are left to those who made them",
            "artifacts/s/c/sub/x removed",
            "artifacts/s/z removed",
        ]
    );
    assert_eq!(report.removed_files, 5);
    assert!(report.removed_directories >= 1);
    drop(listener);
    fs::remove_file(&socket).unwrap();
    assert_eq!(fixture.files(), ["c/kept.log"]);
    let outside = fixture.dir.path().join("outside/precious");
    assert_eq!(fs::read(outside).unwrap(), b"precious");
    let report = verify(&manager, VerifyScope::Session(fixture.session.clone())).await;
    assert!(report.is_clean(), "{report:?}");
    println!("FAULT row=36 name=extras removed=5 left=1 followed=0");
}

#[tokio::test]
async fn a_directory_in_which_something_is_left_stays() {
    let fixture = planted().await;
    let sub = fixture.dir.path().join("data/artifacts/s/c/sub");
    let listener = UnixListener::bind(sub.join("sock")).unwrap();
    let manager = open_at(&fixture.dir, LATER);
    manager.complete_session(&fixture.session, None).await.unwrap();
    let remove = CleanupOptions::default().with_orphans(OrphanMode::Remove);
    let report = clean(&manager, remove).await;
    let left: Vec<String> = orphans(&report)
        .into_iter()
        .filter(|line| !line.ends_with("removed"))
        .collect();
    assert_eq!(
        left,
        [
            "artifacts/s/c/sub something is left in it",
            "artifacts/s/c/sub/sock sockets and devices are left to those who made them",
        ]
    );
    drop(listener);
}
