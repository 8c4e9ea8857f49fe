//! Snapshots out and the reference's files in.

use artifact_core::{ImportOptions, VerifyScope};
use tempfile::TempDir;
use tracking_model::{ArtifactId, NewArtifact, SessionId};

use crate::support::{Fixture, open};

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// What the reference writes into its base directory `base`: one artifact below it, one elsewhere.
fn write_reference(base: &std::path::Path, elsewhere: &std::path::Path) {
    std::fs::create_dir_all(base.join("0d9f/c1")).unwrap();
    std::fs::write(base.join("0d9f/c1/x.log"), b"abc").unwrap();
    std::fs::create_dir_all(elsewhere).unwrap();
    std::fs::write(elsewhere.join("y.log"), b"abc").unwrap();
    let artifact = |id: &str, name: &str, path: &std::path::Path| {
        serde_json::json!({
            "artifact_id": id, "name": name, "description": null, "artifact_type": "log_file", "local_path": path,
            "file_size": 3, "file_hash": HASH, "created_at": "2025-01-31 05:25:01.056236+00:00",
            "status": "created", "metadata": {}, "tags": ["kept"]
        })
    };
    let file = serde_json::json!({
        "session_id": "0d9f", "name": "old", "description": null, "upgrade_id": "up", "cluster_name": "prod",
        "collections": {"c1": {"collection_id": "c1", "name": "Logs", "artifacts": [
            artifact("a1", "x.log", std::path::Path::new("/srv/base/0d9f/c1/x.log")),
            artifact("a2", "y.log", &elsewhere.join("y.log")),
            artifact("a3", "passwd", std::path::Path::new("/srv/base/../../etc/passwd")),
        ], "created_at": "2025-01-31 05:25:01"}},
        "started_at": "2025-01-31 05:25:00+00:00", "completed_at": null, "base_directory": "/srv/base/0d9f",
        "s3_bucket": null, "s3_prefix": null, "retention_days": 30
    });
    std::fs::write(base.join("session_0d9f.json"), file.to_string()).unwrap();
}

#[tokio::test]
async fn the_references_sessions_are_taken_over_with_the_bytes_below_their_directory() {
    let dir = TempDir::new().unwrap();
    let (base, elsewhere) = (dir.path().join("base"), dir.path().join("elsewhere"));
    write_reference(&base, &elsewhere);
    let manager = open(&dir);
    let report = manager
        .import_reference_sessions(&base, ImportOptions::default())
        .await
        .unwrap();
    assert!(report.failures.is_empty(), "{report:?}");
    let [imported] = report.sessions.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!((imported.artifacts, imported.missing), (3, 2));
    assert_eq!(imported.warnings.len(), 2, "{:?}", imported.warnings);

    let found = manager.artifact(&ArtifactId::new("a1").unwrap()).await.unwrap();
    assert_eq!(found.local_path.as_deref(), Some("artifacts/0d9f/c1/x.log"));
    assert_eq!(
        std::fs::read(manager.local_path(&found).unwrap()).unwrap(),
        b"abc"
    );
    let missing = manager.artifact(&ArtifactId::new("a3").unwrap()).await.unwrap();
    assert_eq!(missing.local_path, None);
    assert_eq!(
        missing.metadata.to_map()["original_local_path"],
        "/srv/base/../../etc/passwd"
    );
    let verified = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
    assert!(verified.is_clean());
    assert_eq!((verified.artifacts, verified.without_bytes), (1, 2));
    assert!(base.join("session_0d9f.json").exists());

    let again = manager
        .import_reference_sessions(&base, ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(again.existing, [SessionId::new("0d9f").unwrap()]);
}

#[tokio::test]
async fn bytes_elsewhere_are_copied_only_when_asked_for() {
    let dir = TempDir::new().unwrap();
    let (base, elsewhere) = (dir.path().join("base"), dir.path().join("elsewhere"));
    write_reference(&base, &elsewhere);
    let manager = open(&dir);
    let options = ImportOptions::default().with_copy_from(&elsewhere);
    let report = manager
        .import_reference_sessions(base.join("session_0d9f.json"), options)
        .await
        .unwrap();
    assert_eq!(report.sessions[0].missing, 1);
    let found = manager.artifact(&ArtifactId::new("a2").unwrap()).await.unwrap();
    assert_eq!(found.file_hash.unwrap().to_string(), HASH);
}

#[tokio::test]
async fn a_directory_of_the_reference_is_opened_in_place() {
    let dir = TempDir::new().unwrap();
    let manager = open(&dir);
    let base = dir.path().join("data/artifacts");
    write_reference(&base, &dir.path().join("elsewhere"));
    let original = std::fs::read(base.join("session_0d9f.json")).unwrap();
    let report = manager.adopt_sessions().await.unwrap();
    assert_eq!(report.sessions.len(), 1, "{report:?}");
    let found = manager.artifact(&ArtifactId::new("a1").unwrap()).await.unwrap();
    assert_eq!(found.local_path.as_deref(), Some("artifacts/0d9f/c1/x.log"));
    assert_eq!(
        found.metadata.to_map()["original_local_path"],
        "/srv/base/0d9f/c1/x.log"
    );
    assert_eq!(std::fs::read_dir(base.join("0d9f/c1")).unwrap().count(), 1);
    manager.close().await.unwrap();
    // Our snapshot has taken the file's name; what was there is kept.
    assert_ne!(std::fs::read(base.join("session_0d9f.json")).unwrap(), original);
    let kept = std::fs::read(base.join("session_0d9f.json.reference")).unwrap();
    assert_eq!(kept, original);
    assert!(manager.adopt_sessions().await.unwrap().sessions.is_empty());
}

/// A session with bytes at `0d9f/c1/x.log`, whose file names `base_directory` and says that they are at `path`.
fn write_session(base: &std::path::Path, base_directory: &str, path: &str) {
    write_reference(base, base);
    let file = base.join("session_0d9f.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut session: serde_json::Value = serde_json::from_str(&text).unwrap();
    session["base_directory"] = base_directory.into();
    let artifacts = session["collections"]["c1"]["artifacts"].as_array_mut().unwrap();
    artifacts.truncate(1);
    artifacts[0]["local_path"] = path.into();
    std::fs::write(file, session.to_string()).unwrap();
}

/// The base directory was given relative to where the reference ran, or was moved since, or the session's own is named.
#[tokio::test]
async fn what_a_file_names_below_its_base_directory_is_found_below_the_imported_one() {
    for (base_directory, path) in [
        ("dd/artifacts", "dd/artifacts/0d9f/c1/x.log"),
        ("./dd/artifacts/", "dd/./artifacts/0d9f/c1/x.log"),
        ("dd/artifacts", "./dd/artifacts/0d9f/c1/x.log"),
        ("./dd/artifacts/0d9f", "dd/artifacts/0d9f/c1/x.log"),
        (".", "./0d9f/c1/x.log"),
        ("/srv/old/artifacts", "/srv/old/artifacts/0d9f/c1/x.log"),
        ("/srv/old/artifacts/0d9f", "/srv/old/artifacts/0d9f/c1/x.log"),
    ] {
        let dir = TempDir::new().unwrap();
        let manager = open(&dir);
        let base = dir.path().join("data/artifacts");
        write_session(&base, base_directory, path);
        let copied_to = TempDir::new().unwrap();
        let import = open(&copied_to);
        let copied = import
            .import_reference_sessions(&base, ImportOptions::default())
            .await
            .unwrap();
        let adopted = manager.adopt_sessions().await.unwrap();
        for (manager, report) in [(&import, copied), (&manager, adopted)] {
            assert_eq!(report.sessions[0].missing, 0, "{report:?}");
            assert!(report.sessions[0].warnings.is_empty(), "{report:?}");
            let found = manager.artifact(&ArtifactId::new("a1").unwrap()).await.unwrap();
            assert_eq!(found.local_path.as_deref(), Some("artifacts/0d9f/c1/x.log"));
            let verified = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
            assert_eq!((verified.artifacts, verified.without_bytes), (1, 0));
        }
        assert_eq!(std::fs::read_dir(base.join("0d9f/c1")).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_base_directory_that_lies_leads_nowhere_else() {
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), b"abc").unwrap();
    let secret = outside.path().join("secret");
    let secret = secret.to_str().unwrap();
    for (base_directory, path) in [
        ("/srv/old", "/srv/old/0d9f/../../../secret"),
        ("/srv/old", "/srv/old/0d9f/../0d9f/c1/x.log"),
        ("dd/artifacts", "dd/artifacts/../artifacts/0d9f/c1/x.log"),
        ("dd/art", "dd/artifacts/0d9f/c1/x.log"),
        ("/srv/old", "/srv/older/0d9f/c1/x.log"),
        ("/srv/old", "/srv/old/0d9f/c1/link"),
        ("/srv/old", "/srv/old/0d9f/linked/secret"),
        ("/srv/old", "/srv/old/0d9f/c1"),
        ("/srv/old", "/srv/old"),
        ("/", secret),
        ("", secret),
        (outside.path().to_str().unwrap(), secret),
    ] {
        let dir = TempDir::new().unwrap();
        let base = dir.path().join("data/artifacts");
        write_session(&base, base_directory, path);
        std::fs::write(dir.path().join("secret"), b"abc").unwrap();
        std::os::unix::fs::symlink(secret, base.join("0d9f/c1/link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), base.join("0d9f/linked")).unwrap();
        let into = TempDir::new().unwrap();
        let copied = open(&into)
            .import_reference_sessions(&base, ImportOptions::default())
            .await
            .unwrap();
        let adopted = open(&dir).adopt_sessions().await.unwrap();
        for report in [copied, adopted] {
            assert_eq!(
                report.sessions[0].missing, 1,
                "{base_directory} {path}: {report:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_directory_to_copy_from_may_be_named_in_any_way_and_must_exist() {
    let dir = TempDir::new().unwrap();
    let (base, elsewhere) = (dir.path().join("base"), dir.path().join("elsewhere"));
    write_reference(&base, &elsewhere);
    let manager = open(&dir);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let options = ImportOptions::default().with_copy_from(dir.path().join("nowhere"));
    let error = manager
        .import_reference_sessions(&base, options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let options = ImportOptions::default().with_copy_from(link.join("base/../elsewhere"));
    let report = manager.import_reference_sessions(&base, options).await.unwrap();
    assert_eq!(report.sessions[0].missing, 1, "{report:?}");
}

#[tokio::test]
async fn a_snapshot_is_a_file_of_the_reference() {
    let fixture = Fixture::new().await;
    let source = fixture.source("x.log", b"abc");
    let new = NewArtifact::new().with_tags(["t"]);
    let artifact = fixture
        .manager
        .add_artifact(&fixture.session, &fixture.collection, source, new)
        .await
        .unwrap();
    fixture.manager.close().await.unwrap();
    let path = fixture.dir.path().join("data/artifacts/session_s.json");
    let snapshot: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(snapshot["name"], "Test Session");
    assert_eq!(snapshot["collections"]["c"]["artifacts"][0]["file_hash"], HASH);
    let local_path = snapshot["collections"]["c"]["artifacts"][0]["local_path"]
        .as_str()
        .unwrap();
    assert_eq!(std::fs::read(local_path).unwrap(), b"abc");

    // What it says can be taken over elsewhere.
    let other = TempDir::new().unwrap();
    let report = open(&other)
        .import_reference_sessions(path.parent().unwrap(), ImportOptions::default())
        .await
        .unwrap();
    assert_eq!(report.sessions[0].warnings, Vec::<String>::new());
    let taken = open(&other).artifact(&artifact.artifact_id).await.unwrap();
    assert_eq!(
        (&taken.tags, taken.file_hash),
        (&artifact.tags, artifact.file_hash)
    );
}
