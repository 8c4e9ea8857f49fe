//! Data directories and buckets that an earlier version wrote are read and continued.
//!
//! The two archives in `fixtures` were made in November 2026, before the search index and the ways into the store were
//! simplified: a data directory with a `kill -9` during `ekstrack run`, and the bucket of `s3s-fs` that belongs to it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use test_servers::FsServer;

use crate::machine::Machine;

/// Unpacks an archive of `fixtures` with its modes and hard links.
fn unpack(archive: &str, into: &Path) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(archive);
    let mut tar = Command::new("tar");
    tar.arg("-xpzf").arg(archive).arg("-C").arg(into);
    assert!(tar.status().unwrap().success());
}

/// A server with the bucket of the fixture, and the machine whose data directory the fixture is.
fn continued() -> (FsServer, Machine) {
    let server = FsServer::start();
    unpack("bucket-2026-11.tar.gz", server.root());
    let machine = Machine::new(&server.endpoint());
    unpack("data-2026-11.tar.gz", machine.home.path());
    (server, machine)
}

/// The artifacts of a list or search as `(name, status)`, in the order of their names.
fn names_and_statuses(document: &Value) -> Vec<(String, String)> {
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap().to_owned();
    let artifacts = document["artifacts"].as_array().unwrap();
    let mut found: Vec<_> = artifacts
        .iter()
        .map(|artifact| (text(artifact, "name"), text(artifact, "status")))
        .collect();
    found.sort();
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected
        .iter()
        .map(|(name, status)| ((*name).to_owned(), (*status).to_owned()));
    owned.collect()
}

#[test]
fn a_data_directory_of_an_earlier_version_is_read_and_continued() {
    let (_server, machine) = continued();

    // The index of the earlier version is replaced without a word.
    let found = machine.ok(&["search", "kubelet started"]);
    assert_eq!(
        names_and_statuses(&found),
        pairs(&[("copy of it.log", "uploaded"), ("kubelet.log", "uploaded")])
    );
    let found = machine.ok(&["search", "--limit", "100"]);
    let before = pairs(&[
        ("Grüße ☃.json", "uploaded"),
        ("copy of it.log", "uploaded"),
        ("empty.log", "uploaded"),
        ("kubelet.log", "uploaded"),
        ("kubelet.log", "uploaded"),
        ("late.log", "created"),
        ("old.txt", "archived"),
        ("output-times.jsonl", "uploaded"),
        ("stderr.log", "uploaded"),
        ("stdout.log", "uploaded"),
    ]);
    assert_eq!(names_and_statuses(&found), before);
    for artifact in found["artifacts"].as_array().unwrap() {
        if artifact["status"] == "uploaded" || artifact["status"] == "created" {
            let id = artifact["artifact_id"].as_str().unwrap();
            let cat = machine.command(&["artifact", "cat", id]).output().unwrap();
            assert_eq!(cat.stdout.len() as u64, artifact["file_size"].as_u64().unwrap());
        }
    }
    let verified = machine.output(&["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );

    // Equal content shares the file that the earlier version stored, and the output of the killed run becomes an artifact.
    let same = machine.file("again.log", "another text of the same name\n");
    machine.ok(&["artifact", "add", "s", "nodes", &same]);
    let interrupted = machine.ok(&["search", "--tag", "interrupted"]);
    assert_eq!(
        names_and_statuses(&interrupted),
        pairs(&[("interrupted-output.log", "uploaded")])
    );
    let shown = machine.ok(&["task", "show", "up", "drain"]);
    assert_eq!(shown["percentage"], 40.0, "{shown}");
    machine.ok(&["run", "--anyway", "up", "killed", "--session", "s", "--", "true"]);
    machine.ok(&["session", "complete", "s"]);
    let collected = machine.ok(&["gc", "--retention-days", "0", "--min-age", "0s"]);
    assert_eq!(collected["failed"], 0, "{collected}");
    let verified = machine.output(&["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

#[test]
fn a_bucket_of_an_earlier_version_is_read_and_continued() {
    let (_server, machine) = continued();
    let team = Machine::new(&machine.endpoint);
    let found = team.remote(&["search", "--name", "kubelet.log"]);
    assert_eq!(
        names_and_statuses(&found),
        pairs(&[("kubelet.log", "uploaded"), ("kubelet.log", "uploaded")])
    );
    for artifact in found["artifacts"].as_array().unwrap() {
        assert!(team.downloads(artifact["artifact_id"].as_str().unwrap(), artifact));
    }

    // The machine that wrote the bucket goes on where its cursors stand.
    let synced = machine.ok(&["sync"]);
    assert_eq!(synced["recovered"], 1, "{synced}");
    assert_eq!(
        synced["uploaded"], 2,
        "what was added offline and what was recovered: {synced}"
    );
    let again = machine.ok(&["sync"]);
    assert_eq!(again["uploaded"], 0, "{again}");
    let found = team.remote(&["search", "--name", "late.log"]);
    assert_eq!(names_and_statuses(&found), pairs(&[("late.log", "uploaded")]));

    // A teammate completes the session, and retention in the bucket takes it.
    team.remote(&["session", "complete", "s"]);
    machine.ok(&["sync"]);
    machine.refused(4, &["collection", "create", "s", "too late"]);
    let collected = team.remote(&["gc", "--retention-days", "0", "--min-age", "0s"]);
    assert!(
        collected["remote"]["failures"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{collected}"
    );
    let left = team.remote(&["search", "--name", "kubelet.log", "--status", "uploaded"]);
    assert_eq!(names_and_statuses(&left), pairs(&[]));
}
