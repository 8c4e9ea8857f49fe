//! Who has nothing but credentials looks after a bucket in which machines left what they had when they were gone for good.

use std::io::Write as _;

use serde_json::{Value, json};
use test_servers::{FsServer, MotoServer};

use crate::bucket_gaps::{segments, working};
use crate::machine::Machine;

/// Retention that waits for nothing.
const NOW: [&str; 4] = ["--retention-days", "0", "--min-age", "0s"];

fn gc<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["--remote", "gc"]
        .iter()
        .chain(&NOW)
        .chain(more)
        .copied()
        .collect()
}

/// What `gc` printed, and its exit code.
fn cleaned(team: &Machine, more: &[&str]) -> (Value, Option<i32>) {
    let output = team.output(&gc(more));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    (document["remote"].clone(), output.status.code())
}

#[test]
fn what_is_left_of_a_session_without_its_beginning_goes_where_it_is_named() {
    let server = FsServer::start();
    let (machine, id) = working(&server.endpoint());
    let left = segments(&server, "session:s");
    std::fs::remove_file(&left[0]).unwrap();
    let object = machine.ok(&["artifact", "show", &id])["s3_key"].clone();
    let object = server.file(object.as_str().unwrap());
    let team = Machine::new(&server.endpoint());

    let warned = team.output(&["--remote", "session", "list"]);
    let warned = String::from_utf8(warned.stderr).unwrap();
    assert!(
        warned.contains("`ekstrack --remote gc --incomplete s`"),
        "{warned}"
    );
    let (document, code) = cleaned(&team, &[]);
    assert_eq!(code, Some(5), "{document}");
    assert!(
        document["failures"][0]
            .as_str()
            .unwrap()
            .contains("--incomplete s"),
        "{document}"
    );
    // Not while something of it is young, nor to an archive, nor by mistake of another.
    for more in [
        vec!["--incomplete", "s", "--min-age", "1h"],
        vec!["--incomplete", "s", "--retention-days", "1"],
        vec!["--incomplete", "s", "--archive", "GLACIER_IR"],
        vec!["--incomplete", "t"],
    ] {
        let all = ["--remote", "gc", "--retention-days=0", "--min-age=0s"];
        let asked = more.iter().map(|one| (*one).to_owned());
        let named = |name: &str| more.contains(&name);
        let rules = all.iter().filter(|rule| {
            let (name, _) = rule.split_once('=').unwrap_or((rule, ""));
            !named(name)
        });
        let args: Vec<String> = rules.map(|rule| (*rule).to_owned()).chain(asked).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        team.refused(5, &args);
    }
    let (planned, code) = cleaned(&team, &["--incomplete", "s", "--dry-run"]);
    assert_eq!(code, Some(0), "{planned}");
    let expected = json!({"session_id": "s", "objects": 2, "segments": left.len() - 1, "bytes": planned["remains"][0]["bytes"]});
    assert_eq!(planned["remains"], json!([expected]));
    assert!(object.exists() && left[1].exists(), "nothing was changed");

    let (document, code) = cleaned(&team, &["--incomplete", "s"]);
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(document["remains"], planned["remains"]);
    assert!(!object.exists() && !left[1].exists());
    let (after, code) = cleaned(&team, &[]);
    assert_eq!((&after["failures"], code), (&json!([]), Some(0)), "{after}");
    assert_eq!(team.remote(&["session", "list"])["unreadable"], json!([]));
    assert_eq!(
        team.remote(&["upgrade", "list"])["upgrades"][0]["upgrade_id"],
        "up"
    );
    // The machine was not gone for good after all.
    machine.ok(&["sync"]);
    assert_eq!(
        team.remote(&["session", "show", "s"])["artifacts"][0]["artifact_id"],
        id
    );
}

#[test]
fn a_session_of_which_a_line_cannot_be_read_is_left_alone_unless_it_is_named() {
    let server = FsServer::start();
    let (machine, _) = working(&server.endpoint());
    machine.ok(&["session", "complete", "s"]);
    let last = segments(&server, "session:s").pop().unwrap();
    let mut segment = std::fs::OpenOptions::new().append(true).open(last).unwrap();
    // Perhaps somebody pinned it here.
    segment.write_all(b"{\"v\":1,\"type\":\"session.p\n").unwrap();
    drop(segment);
    let team = Machine::new(&server.endpoint());
    let (document, code) = cleaned(&team, &[]);
    assert_eq!((&document["artifacts"], code), (&json!(0), Some(5)), "{document}");
    let (document, code) = cleaned(&team, &["--incomplete", "s"]);
    assert_eq!((&document["artifacts"], code), (&json!(1), Some(0)), "{document}");
    assert_eq!(document["objects"], 1, "{document}");
}

#[test]
fn sessions_of_machines_that_are_gone_are_completed_and_unpinned_elsewhere() {
    let server = MotoServer::start();
    let (machine, id) = working(&server.endpoint());
    machine.ok(&["session", "pin", "s"]);
    let team = Machine::new(&server.endpoint());
    assert_eq!(cleaned(&team, &[]).0["planned_artifacts"], 0, "open and pinned");
    team.refused(3, &["--remote", "session", "pin", "nope"]);
    let completed = team.remote(&["session", "complete", "s", "--outcome", "failed"]);
    assert_eq!(completed["outcome"], "failed", "{completed}");
    team.refused(4, &["--remote", "session", "complete", "s"]);
    assert_eq!(cleaned(&team, &[]).0["planned_artifacts"], 0, "pinned");
    team.remote(&["session", "pin", "s", "--off"]);
    let other = Machine::new(&server.endpoint());
    let shown = other.remote(&["session", "show", "s"]);
    assert_eq!(
        (&shown["pinned"], &shown["outcome"]),
        (&json!(false), &json!("failed")),
        "{shown}"
    );
    let (document, code) = cleaned(&other, &[]);
    assert_eq!((&document["objects"], code), (&json!(1), Some(0)), "{document}");
    assert_eq!(other.remote(&["artifact", "show", &id])["status"], "deleted");
    // There it is as it was.
    assert_eq!(machine.ok(&["session", "show", "s"])["pinned"], true);
}

#[test]
fn what_is_freed_here_and_deleted_there_at_once_is_counted_once() {
    let server = FsServer::start();
    let (machine, _) = working(&server.endpoint());
    machine.ok(&["session", "complete", "s"]);
    // Here it is archived, for it is in the bucket; there it is deleted, where that is not known yet.
    let (document, code) = cleaned(&machine, &[]);
    assert_eq!((&document["artifacts"], code), (&json!(1), Some(0)), "{document}");
    let team = Machine::new(&server.endpoint());
    let (document, _) = cleaned(&team, &[]);
    assert_eq!(
        (&document["planned_artifacts"], &document["delete"]),
        (&json!(0), &json!([])),
        "{document}"
    );
}

#[test]
fn what_is_downloaded_from_the_bucket_has_its_own_name_as_from_the_data_directory() {
    let server = FsServer::start();
    let (machine, _) = working(&server.endpoint());
    let team = Machine::new(&server.endpoint());
    for name in ["Grüße, 节点.txt", ".profile", "-rf"] {
        let file = machine.file("any", name);
        let added = machine.ok(&["artifact", "add", "s", "c", &file, &format!("--name={name}")]);
        let id = added["artifact_id"].as_str().unwrap();
        for (place, directory) in [(&machine, "here"), (&team, "there")] {
            let directory = place.home.path().join(directory);
            std::fs::create_dir_all(&directory).unwrap();
            let to = directory.to_str().unwrap();
            if directory.ends_with("here") {
                place.ok(&["artifact", "download", id, to]);
            } else {
                place.remote(&["artifact", "download", id, to]);
            }
            assert_eq!(
                std::fs::read(directory.join(name)).unwrap(),
                name.as_bytes(),
                "{name}"
            );
        }
    }
}

#[test]
fn what_a_task_wrote_is_read_from_the_bucket_as_from_the_data_directory() {
    let server = FsServer::start();
    let machine = Machine::new(&server.endpoint());
    machine.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    machine.output(&[
        "run",
        "up",
        "drain",
        "--",
        "sh",
        "-c",
        "echo one; echo oops >&2; exit 1",
    ]);
    machine.output(&["run", "up", "drain", "--", "sh", "-c", "echo two"]);
    machine.ok(&["sync"]);
    let team = Machine::new(&server.endpoint());
    let shown = team.remote(&["task", "show", "up", "drain"]);
    let id = shown["logs"][1]["artifact_id"].as_str().unwrap();
    for args in [
        &["task", "show", "up", "drain"][..],
        &["task", "list", "up"],
        &["collection", "list", "up"],
        &["artifact", "list", "--task", "drain"],
        &["logs", "up", "drain"],
        &["logs", "up", "drain", "--attempt", "1", "--stderr"],
        &["artifact", "cat", id],
        &["artifact", "cat", id.get(..id.len() - 1).unwrap()],
    ] {
        let (here, there) = (machine.ok(args), team.remote(args));
        let read = |document: &Value| {
            ["logs", "tasks", "collections", "text", "attempt", "artifact_id"].map(|key| match key {
                "tasks" => document[key][0]["task_id"].clone(),
                key => document[key].clone(),
            })
        };
        assert_eq!(read(&here), read(&there), "{args:?}");
        let count = |document: &Value| document["artifacts"].as_array().map(Vec::len);
        assert_eq!(count(&here), count(&there), "{args:?}");
    }
    assert_eq!(team.remote(&["logs", "up", "drain"])["text"], "two\n");
    let bytes = team.output(&["--remote", "artifact", "download", id, "-"]).stdout;
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (&document["text"], &document["recorded"]),
        (&json!("oops\n"), &json!(false))
    );
    team.refused(3, &["--remote", "logs", "up", "nope"]);
}

/// Finds the lock of the search index below the cache of a machine.
fn index_lock(machine: &Machine) -> std::path::PathBuf {
    let mut left = vec![machine.home.path().join(".cache")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("index.lock") {
                return path;
            }
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    panic!("no index.lock in {}", machine.home.path().display());
}

/// A stopped program keeps the lock of the cache: the search is refused after a while and names the file.
#[test]
fn a_cache_that_another_program_keeps_locked_is_an_error() {
    let server = FsServer::start();
    let (_machine, _) = working(&server.endpoint());
    let team = Machine::new(&server.endpoint());
    team.remote(&["search", "precious"]);
    let path = index_lock(&team);
    let lock = std::fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    let error = team.refused(5, &["--remote", "search", "precious"]);
    let told = error.to_string();
    assert!(
        told.contains("index.lock") && told.contains("kept the lock"),
        "{told}"
    );
    drop(lock);
    team.remote(&["search", "precious"]);
}
