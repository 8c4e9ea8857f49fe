//! Artifacts deleted from a shared bucket on purpose stay deleted, whatever the machine does that had sent them.

use std::path::PathBuf;

use serde_json::{Value, json};
use storage_s3::{S3Config, S3Store};
use test_servers::{FsServer, MotoServer};

use crate::bucket_gaps::working;
use crate::machine::Machine;

/// Retention of everything that is completed.
const GC: [&str; 5] = ["gc", "--retention-days", "0", "--min-age", "0s"];

fn below(prefix: &str, config: S3Config) -> S3Config {
    S3Config {
        prefix: Some(prefix.into()),
        ..config
    }
}

/// Runs a scenario on both servers; it gets the endpoint, and a store to look into the bucket.
fn on_each(scenario: impl Fn(&str, &S3Config)) {
    let fs = FsServer::start();
    scenario(&fs.endpoint(), &below("team", fs.config()));
    let moto = MotoServer::start();
    scenario(&moto.endpoint(), &below("team", moto.config()));
}

/// The objects of artifacts that are in the bucket.
fn objects(config: &S3Config) -> Vec<String> {
    let store = S3Store::new(config.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let all = runtime.block_on(store.objects().all("s/")).unwrap();
    let keys = all.into_iter().map(|object| object.key.to_string());
    keys.filter(|key| !key.ends_with("session.json")).collect()
}

fn local_file(machine: &Machine, id: &str) -> PathBuf {
    let path = machine.ok(&["artifact", "show", id])["local_path"].clone();
    machine
        .home
        .path()
        .join("ekstrack-data")
        .join(path.as_str().unwrap())
}

/// A secret leaked into an artifact: a teammate deletes it, and the machine that had sent it deletes its own copy.
#[test]
fn what_a_teammate_deleted_is_deleted_here_and_never_sent_again() {
    on_each(|endpoint, bucket| {
        let (machine, id) = working(endpoint);
        let file = local_file(&machine, &id);
        let team = Machine::new(endpoint);
        team.remote(&["session", "complete", "s", "--outcome", "failed"]);
        assert_eq!(team.remote(&GC)["remote"]["objects"], 1);
        assert_eq!(objects(bucket), [""; 0]);

        machine.ok(&["artifact", "tag", &id, "x"]);
        assert_eq!(
            objects(bucket),
            [""; 0],
            "an ordinary command sends nothing of it"
        );
        let synced = machine.ok(&["sync"]);
        let deleted = &synced["deleted_elsewhere"];
        assert_eq!(deleted[0]["artifact_id"], id, "{synced}");
        assert!(
            deleted[0]["reason"].as_str().unwrap().contains("retention"),
            "{synced}"
        );
        assert_eq!(deleted[0]["left_because"], Value::Null, "{synced}");
        assert_eq!(synced["completed_elsewhere"], json!(["s"]), "{synced}");
        assert_eq!(objects(bucket), [""; 0]);
        assert!(!file.exists());
        let shown = machine.ok(&["artifact", "show", &id]);
        assert_eq!(shown["status"], "deleted", "{shown}");
        let session = machine.ok(&["session", "show", "s"]);
        assert_eq!(session["outcome"], "failed", "{session}");
        machine.refused(4, &["collection", "create", "s", "late"]);

        let synced = machine.ok(&["sync"]);
        assert_eq!(synced["deleted_elsewhere"], json!([]), "{synced}");
        assert_eq!(synced["uploaded"], 0, "{synced}");
        assert_eq!(objects(bucket), [""; 0]);
        assert_eq!(team.remote(&["artifact", "show", &id])["status"], "deleted");
    });
}

/// The record reached the bucket and the bytes did not: a teammate deletes the artifact before it is uploaded.
#[test]
fn what_was_deleted_before_it_was_uploaded_is_not_uploaded() {
    on_each(|endpoint, bucket| {
        let machine = Machine::new(endpoint);
        machine.file("ekstrack.toml", "[s3]\nauto_upload = false\n");
        machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
        machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
        let file = machine.file("a.txt", "a secret");
        let added = machine.ok(&["artifact", "add", "s", "c", &file]);
        let id = added["artifact_id"].as_str().unwrap();
        let team = Machine::new(endpoint);
        team.remote(&["session", "complete", "s"]);
        assert_eq!(team.remote(&GC)["remote"]["artifacts"], 1);

        machine.file("ekstrack.toml", "");
        let other = machine.file("b.txt", "no secret");
        // The session is open here until the next sync.
        machine.ok(&["artifact", "add", "s", "c", &other]);
        // A server that ignores conditions has the id in the name.
        let sent = objects(bucket);
        assert!(
            sent.len() == 1 && sent[0].starts_with("s/c/b"),
            "only the new one: {sent:?}"
        );
        assert_eq!(machine.ok(&["artifact", "show", id])["status"], "deleted");
        machine.refused(5, &["artifact", "upload", id]);
        assert_eq!(objects(bucket), sent);
    });
}

/// A pin says that retention leaves a session alone: nothing of it is deleted here, and nothing is sent.
#[test]
fn what_is_pinned_here_stays_here_and_is_not_sent() {
    let server = FsServer::start();
    let (machine, id) = working(&server.endpoint());
    let file = local_file(&machine, &id);
    let team = Machine::new(&server.endpoint());
    team.remote(&["session", "complete", "s"]);
    team.remote(&GC);
    machine.ok(&["session", "pin", "s"]);
    for _ in 0..2 {
        let synced = machine.ok(&["sync"]);
        let left = synced["deleted_elsewhere"][0]["left_because"].as_str().unwrap();
        assert!(left.contains("pinned"), "{synced}");
        assert!(file.exists());
        assert_eq!(objects(&below("team", server.config())), [""; 0]);
    }
    machine.ok(&["session", "pin", "s", "--off"]);
    machine.ok(&["sync"]);
    assert!(!file.exists());
}
