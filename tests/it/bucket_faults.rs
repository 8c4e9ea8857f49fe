//! What a shared bucket has to survive: outages, files that changed, and records that lie.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use storage_s3::{Catalogue, CatalogueOptions, ObjectKey, ObjectMetadata, S3Config, S3Store};
use test_servers::{BUCKET, FsServer, config};
use tracking_facade::s3::SharedBucket;
use tracking_facade::{
    ArtifactQuery, CollectionId, NewArtifact, NewCollection, NewSession, SessionId, StreamId, Tracking,
};
use tracking_model::{SessionEvent, StreamEvent};

use crate::machine::Machine;

fn open_store(prefix: &str, config: S3Config) -> S3Store {
    let config = S3Config {
        prefix: Some(prefix.into()),
        ..config
    };
    S3Store::new(config).unwrap()
}

/// A store below `team` of the server.
fn store(endpoint: &str) -> S3Store {
    open_store("team", config(endpoint))
}

fn objects_of(server: &FsServer) -> S3Store {
    open_store("", server.config())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_on_while_the_bucket_stalls_and_catches_up_by_itself() {
    const ARTIFACTS: u64 = 40;
    // Connections are taken by the system, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let tracking = Tracking::builder()
        .data_dir(data.path())
        .upgrade("up", "plan", "cluster")
        .shutdown_deadline(Duration::from_secs(120))
        .s3(SharedBucket::of(store(&endpoint)))
        .build()
        .await
        .unwrap();
    let (session, collection) = (SessionId::new("s").unwrap(), CollectionId::new("c").unwrap());
    let artifacts = tracking.artifacts();
    let new = NewSession::new(tracking.progress().upgrade_id().clone(), "cluster");
    artifacts.create_session_as(session.clone(), new).await.unwrap();
    let new = NewCollection::new("C").with_id(collection.clone());
    artifacts.create_collection(&session, new).await.unwrap();
    for number in 0..ARTIFACTS {
        let new = NewArtifact::new().with_name("step.log");
        let text = std::io::Cursor::new(format!("step {number}").into_bytes());
        artifacts
            .add_reader(&session, &collection, new, text, None)
            .await
            .unwrap();
    }
    let bucket = tempfile::tempdir().unwrap();
    std::fs::create_dir(bucket.path().join(BUCKET)).unwrap();
    let dir = bucket.path().to_owned();
    std::thread::spawn(move || FsServer::serve_forever(listener, &dir));
    let artifacts = artifacts.clone();
    let report = tracking.shutdown().await;
    assert!(report.is_clean(), "{report:?}");
    let query = ArtifactQuery::new().with_status(tracking_facade::ArtifactStatus::Uploaded);
    let uploaded = artifacts.search_artifacts(query).await.unwrap().artifacts.len() as u64;
    println!(
        "FAULT row=21 name=bucket_stalls acked={ARTIFACTS} uploaded={uploaded} lost={}",
        ARTIFACTS - uploaded
    );
    assert_eq!(uploaded, ARTIFACTS);

    let team = Machine::new(&endpoint);
    let found = team.remote(&["search"]);
    assert_eq!(found["artifacts"].as_array().unwrap().len() as u64, ARTIFACTS);
}

#[test]
fn commands_work_without_the_network_and_sync_catches_up() {
    let server = FsServer::start();
    let mut machine = Machine::new("http://127.0.0.1:1");
    machine.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "the text");
    machine.ok(&["artifact", "add", "s", "c", &file]);
    let refused = machine.output(&["sync"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");

    machine.endpoint = server.endpoint();
    let synced = machine.ok(&["sync"]);
    assert_eq!(
        (&synced["ok"], &synced["uploaded"]),
        (&json!(true), &json!(1)),
        "{synced}"
    );
    let again = machine.ok(&["sync"]);
    assert_eq!(
        (&again["ok"], &again["uploaded"]),
        (&json!(true), &json!(0)),
        "{again}"
    );
    let team = Machine::new(&server.endpoint());
    let upgrades = team.remote(&["upgrade", "list"]);
    assert_eq!(upgrades["upgrades"][0]["upgrade_id"], "up");
}

#[test]
fn without_auto_upload_only_records_go_until_somebody_uploads() {
    let server = FsServer::start();
    let machine = Machine::new(&server.endpoint());
    machine.file("ekstrack.toml", "[s3]\nbucket = 'another'\nauto_upload = false\n");
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "the text");
    let added = machine.ok(&["artifact", "add", "s", "c", &file]);
    let id = added["artifact_id"].as_str().unwrap();
    let team = Machine::new(&server.endpoint());
    let shown = team.remote(&["artifact", "show", id]);
    assert_eq!(shown["status"], "created");
    let refused = team.output(&["--remote", "artifact", "download", id, "here"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");

    let uploaded = machine.ok(&["artifact", "upload", id]);
    let url = uploaded["artifacts"][0]["s3_url"].as_str().unwrap();
    assert!(url.starts_with("s3://test-bucket/team/s/c/a"), "{url}");
    assert!(team.downloads(id, &team.remote(&["artifact", "show", id])));
}

#[test]
fn what_was_altered_here_or_there_is_not_taken_for_what_was_added() {
    let server = FsServer::start();
    let machine = Machine::new(&server.endpoint());
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "the text");
    let good = machine.ok(&["artifact", "add", "s", "c", &file]);
    let good = good["artifact_id"].as_str().unwrap().to_owned();

    // There: somebody replaces the object.
    let key = machine.ok(&["artifact", "show", &good])["s3_key"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::write(server.file(&key), "lies!!!!").unwrap();
    let team = Machine::new(&server.endpoint());
    let refused = team.output(&["--remote", "artifact", "download", &good, "here.txt"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(!team.home.path().join("here.txt").exists());

    // Here: the stored file is altered before it is uploaded.
    let mut offline = Machine::new("http://127.0.0.1:1");
    offline.ok(&["session", "create", "up", "--cluster", "c", "--id", "t"]);
    offline.ok(&["collection", "create", "t", "C", "--id", "c"]);
    let file = offline.file("b.txt", "the text");
    let added = offline.ok(&["artifact", "add", "t", "c", &file]);
    let bad = added["artifact_id"].as_str().unwrap();
    let stored = offline.home.path().join("ekstrack-data/artifacts/t/c/b.txt");
    std::fs::remove_file(&stored).unwrap();
    std::fs::write(&stored, "LIES TOO").unwrap();
    offline.endpoint = server.endpoint();
    let synced = offline.output(&["sync"]);
    assert_eq!(synced.status.code(), Some(5), "{synced:?}");
    let document: Value = serde_json::from_slice(&synced.stdout).unwrap();
    assert_eq!(document["failed"][0]["artifact_id"], *bad, "{document}");
    let shown = offline.ok(&["artifact", "show", bad]);
    assert_eq!(shown["status"], "failed", "it stays visible");
    assert!(shown["s3_key"].is_null());
}

#[test]
fn fault_36_records_that_lie_make_retention_delete_nothing_of_others() {
    let server = FsServer::start();
    let machine = Machine::new(&server.endpoint());
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "victim"]);
    machine.ok(&["collection", "create", "victim", "C", "--id", "c"]);
    let file = machine.file("a.txt", "the text");
    let added = machine.ok(&["artifact", "add", "victim", "c", &file]);
    let shown = machine.ok(&["artifact", "show", added["artifact_id"].as_str().unwrap()]);
    let of_other = shown["s3_key"].as_str().unwrap().to_owned();

    let everything = objects_of(&server);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let segments = runtime
        .block_on(everything.objects().all("team/_journal/"))
        .unwrap();
    let segment = segments[0].key.as_str().to_owned();
    let outside = "elsewhere/place.txt".to_owned();
    let shared = "team/evil/c/kept.txt".to_owned();
    runtime.block_on(async {
        for key in [&outside, &shared] {
            let key = ObjectKey::new(key.as_str()).unwrap();
            let metadata = ObjectMetadata::default();
            let put = everything.objects().create(&key, "theirs", &metadata).await;
            put.unwrap();
        }
        lie(
            &server,
            &[&of_other, &segment, &outside, "../up", "/etc/passwd", &shared],
        )
        .await;
    });
    let team = Machine::new(&server.endpoint());
    let gc = ["--remote", "gc", "--retention-days", "0", "--min-age", "0s"];
    let first = team.ok(&gc);
    let second = team.ok(&gc);
    assert_eq!(second["remote"]["artifacts"], 0, "{second}");
    let victims = [&of_other, &segment, &outside, &shared];
    let deleted = victims.iter().filter(|key| !server.file(key).exists()).count();
    println!(
        "FAULT row=36 name=retention_in_a_bucket lies=6 records={} live_deleted={deleted} outside_deleted={}",
        first["remote"]["artifacts"],
        usize::from(!server.file(&outside).exists())
    );
    assert_eq!(deleted, 0, "{first}");
}

/// Writes a session with artifacts that claim these keys and are deleted, and one that is kept and has the
/// last of them too.
async fn lie(server: &FsServer, keys: &[&str]) {
    let cache = tempfile::tempdir().unwrap();
    let objects = store(&server.endpoint()).objects().clone();
    let catalogue = Catalogue::open(objects, cache.path(), CatalogueOptions::default()).unwrap();
    let stream = StreamId::Session(SessionId::new("evil").unwrap());
    let mut events = vec![
        event(
            "session.created",
            json!({"session_id": "evil", "name": "n", "upgrade_id": "up", "cluster_name": "c",
                "started_at": "2020-01-01T00:00:00+00:00", "retention_days": 1}),
        ),
        event(
            "collection.created",
            json!({"session_id": "evil", "collection_id": "c", "name": "C", "upgrade_id": "up",
                "created_at": "2020-01-01T00:00:00+00:00"}),
        ),
    ];
    let artifact = |id: &str, key: &str, status: &str| {
        json!({"artifact_id": id, "session_id": "evil", "collection_id": "c", "upgrade_id": "up", "name": "n",
            "artifact_type": "log_file", "status": status, "created_at": "2020-01-01T00:00:00+00:00",
            "s3_bucket": BUCKET, "s3_key": key, "s3_url": "s3://x", "file_size": 6})
    };
    for (number, key) in keys.iter().enumerate() {
        events.push(event(
            "artifact.added",
            artifact(&format!("lie-{number}"), key, "deleted"),
        ));
    }
    let kept = keys.last().unwrap();
    events.push(event("artifact.added", artifact("kept", kept, "uploaded")));
    catalogue.append(&stream, &events, "attacker").await.unwrap();
}

fn event(kind: &str, data: Value) -> SessionEvent {
    SessionEvent::decode(kind, &data.to_string()).unwrap()
}

/// A machine with an artifact in a completed session `s`, all of it in the bucket; and the artifact's id.
fn kept(server: &FsServer) -> (Machine, String) {
    let machine = Machine::new(&server.endpoint());
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "a precious text");
    let added = machine.ok(&["artifact", "add", "s", "c", &file]);
    let id = added["artifact_id"].as_str().unwrap().to_owned();
    machine.ok(&["session", "complete", "s"]);
    (machine, id)
}

const NOW: [&str; 4] = ["--retention-days", "0", "--min-age", "0s"];

#[test]
fn retention_here_leaves_what_the_team_shares() {
    let server = FsServer::start();
    let (machine, id) = kept(&server);
    let gc: Vec<&str> = ["gc"].into_iter().chain(NOW).collect();
    machine.ok(&gc);
    let stored = machine.home.path().join("ekstrack-data/artifacts/s/c/a.txt");
    assert!(!stored.exists(), "the bytes here are gone");
    assert_eq!(machine.ok(&gc)["deleted_artifacts"], 0, "nothing more goes");
    machine.ok(&["sync"]);
    let team = Machine::new(&server.endpoint());
    team.remote(&["gc"]);
    let shown = team.remote(&["artifact", "show", &id]);
    assert_eq!(shown["status"], "archived");
    assert!(team.downloads(&id, &shown) && machine.downloads(&id, &shown));
    // Where its bytes were it comes from the bucket too.
    machine.ok(&["artifact", "download", &id, "back.txt"]);

    let everywhere: Vec<&str> = ["--remote", "gc"].into_iter().chain(NOW).collect();
    assert_eq!(team.ok(&everywhere)["remote"]["objects"], 1);
}

#[test]
fn archiving_in_the_bucket_deletes_nothing_anywhere() {
    let server = FsServer::start();
    let (machine, id) = kept(&server);
    let archive: Vec<&str> = ["gc", "--archive", "GLACIER_IR"].into_iter().chain(NOW).collect();
    let refused = machine.output(&archive);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    machine.remote(&archive);
    assert!(
        machine
            .home
            .path()
            .join("ekstrack-data/artifacts/s/c/a.txt")
            .exists()
    );
    let team = Machine::new(&server.endpoint());
    team.remote(&["gc"]);
    let shown = team.remote(&["artifact", "show", &id]);
    assert_eq!(shown["status"], "archived");
    assert!(team.downloads(&id, &shown));
}

#[test]
fn sync_puts_back_what_somebody_deleted() {
    let server = FsServer::start();
    let (machine, id) = kept(&server);
    let shown = machine.ok(&["artifact", "show", &id]);
    let object = server.file(shown["s3_key"].as_str().unwrap());
    std::fs::remove_file(&object).unwrap();
    let synced = machine.ok(&["sync"]);
    assert_eq!(
        (&synced["ok"], &synced["uploaded"]),
        (&json!(true), &json!(1)),
        "{synced}"
    );
    // Where it was, also if this time the server was found not to honour conditions.
    assert!(object.exists(), "{shown}");
    std::fs::write(&object, "lies").unwrap();
    let altered = machine.output(&["sync"]);
    assert_eq!(altered.status.code(), Some(5), "{altered:?}");
}

#[test]
fn a_session_that_is_over_is_one_segment() {
    let server = FsServer::start();
    let (_machine, _) = kept(&server);
    let everything = objects_of(&server);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listed = everything.objects().all("team/_journal/session%3As/");
    let segments = runtime.block_on(listed).unwrap();
    assert_eq!(segments.len(), 1, "{segments:?}");
}

#[test]
fn searches_side_by_side_find_what_there_is() {
    let server = FsServer::start();
    let (_machine, id) = kept(&server);
    let team = Machine::new(&server.endpoint());
    let search = || team.remote(&["search", "precious"]);
    std::thread::scope(|scope| {
        let searches: Vec<_> = (0..6).map(|_| scope.spawn(search)).collect();
        for found in searches {
            assert_eq!(found.join().unwrap()["artifacts"][0]["artifact_id"], *id);
        }
    });
}
