//! Reading what was kept: logs by attempt, lists, bytes on stdout, ids by their beginning.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ekstrack::Ekstrack;

/// Nothing in a test depends on how fast the machine is; what takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(ekstrack: &Ekstrack, task: &str, script: &str) {
    ekstrack.output(&["run", "prod", task, "--", "sh", "-c", script]);
}

/// A run whose command waits for a line on its standard input.
fn begin(ekstrack: &Ekstrack, task: &str, script: &str) -> Child {
    let mut command = ekstrack.command(&["run", "prod", task, "--", "sh", "-c", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Asks until the answer is `wanted`.
fn until(wanted: &str, mut ask: impl FnMut() -> String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} is not {wanted:?}");
        std::thread::yield_now();
    }
}

fn stdout(ekstrack: &Ekstrack, args: &[&str]) -> String {
    String::from_utf8(ekstrack.output(args).stdout).unwrap()
}

#[test]
fn logs_are_read_by_attempt() {
    let ekstrack = Ekstrack::started();
    run(&ekstrack, "drain", "echo one; echo oops >&2; exit 3");
    run(&ekstrack, "drain", r"printf 'two\n\033[1m\377'");
    let logs = |args: &[&str]| {
        let args: Vec<&str> = ["logs", "prod", "drain"].iter().chain(args).copied().collect();
        ekstrack.output(&args)
    };
    assert_eq!(logs(&[]).stdout, b"two\n\x1b[1m\xff");
    assert_eq!(logs(&["--attempt", "1"]).stdout, b"one\n");
    // The last attempt that has any.
    assert_eq!(logs(&["--stderr"]).stdout, b"oops\n");
    assert_eq!(logs(&["--attempt", "2", "--stderr"]).stdout, b"");
    let document = ekstrack.json(&["logs", "prod", "drain", "--attempt", "1", "--stderr"]);
    assert_eq!(
        (
            &document["attempt"],
            &document["stream"],
            &document["text"],
            &document["running"]
        ),
        (&json!(1), &json!("stderr"), &json!("oops\n"), &json!(false))
    );
    let document = ekstrack.json(&["logs", "prod", "drain"]);
    assert_eq!(
        (&document["text"], &document["base64"]),
        (&Value::Null, &json!("dHdvChtbMW3/"))
    );
    // They are named where the task is shown.
    let task = ekstrack.json(&["task", "show", "prod", "drain"]);
    let named: Vec<_> = task["logs"].as_array().unwrap().iter().collect();
    let streams: Vec<_> = named
        .iter()
        .map(|log| (&log["attempt"], &log["stream"]))
        .collect();
    assert_eq!(
        streams,
        [
            (&json!(1), &json!("stdout")),
            (&json!(1), &json!("stderr")),
            (&json!(2), &json!("stdout"))
        ]
    );
    let id = named[1]["artifact_id"].as_str().unwrap();
    assert!(
        ekstrack
            .ok(&["task", "show", "prod", "drain"])
            .contains(&format!("attempt 1  stderr, 5 B: {id}\n"))
    );
    assert_eq!(ekstrack.ok(&["artifact", "cat", id]), "oops\n");
    for (args, cause) in [
        (
            &["logs", "prod", "drain", "--attempt", "3"][..],
            "output of 2 attempts",
        ),
        (&["logs", "prod", "nope"], "has no task nope"),
        (&["logs", "nope", "drain"], "there is no upgrade nope"),
    ] {
        let output = ekstrack.output(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(cause), "{said}");
    }
}

#[test]
fn logs_of_a_running_and_of_a_killed_command_are_what_there_is_so_far() {
    let ekstrack = Ekstrack::started();
    run(&ekstrack, "drain", "echo earlier; exit 1");
    let mut running = begin(
        &ekstrack,
        "drain",
        "echo begun; echo oops >&2; read line; echo $line",
    );
    until("begun\n", || stdout(&ekstrack, &["logs", "prod", "drain"]));
    until("oops\n", || {
        stdout(&ekstrack, &["logs", "prod", "drain", "--stderr"])
    });
    assert_eq!(
        stdout(&ekstrack, &["logs", "prod", "drain", "--attempt", "1"]),
        "earlier\n"
    );
    let document = ekstrack.json(&["logs", "prod", "drain"]);
    assert_eq!(
        (&document["running"], &document["attempt"]),
        (&json!(true), &json!(2))
    );
    running.stdin.take().unwrap().write_all(b"done\n").unwrap();
    running.wait().unwrap();
    assert_eq!(stdout(&ekstrack, &["logs", "prod", "drain"]), "begun\ndone\n");

    let mut killed = begin(&ekstrack, "kubelet", "echo started; read line");
    until("started\n", || stdout(&ekstrack, &["logs", "prod", "kubelet"]));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(stdout(&ekstrack, &["logs", "prod", "kubelet"]), "started\n");
    run(&ekstrack, "kubelet", "echo again");
    assert_eq!(stdout(&ekstrack, &["logs", "prod", "kubelet"]), "again\n");
    let first = ekstrack.output(&["logs", "prod", "kubelet", "--attempt", "1"]);
    assert_eq!(first.stdout, b"started\n", "{first:?}");
    assert!(String::from_utf8(first.stderr).unwrap().contains("interrupted"));
}

#[test]
fn an_artifact_is_named_by_the_beginning_of_its_id() {
    let ekstrack = Ekstrack::started();
    run(&ekstrack, "drain", "echo one; echo two >&2");
    let list = ekstrack.json(&["artifact", "list", "--task", "drain"]);
    let artifacts = list["artifacts"].as_array().unwrap();
    assert_eq!((artifacts.len(), &list["unreadable"]), (3, &json!([])));
    let stderr = artifacts.iter().find(|one| one["name"] == "stderr.log").unwrap();
    let id = stderr["artifact_id"].as_str().unwrap();
    // UUIDs of one moment differ at their end.
    let unique = id.get(..id.len() - 1).unwrap();
    let shown = ekstrack.json(&["artifact", "show", unique]);
    assert_eq!(shown["artifact_id"], id);
    assert_eq!(ekstrack.ok(&["artifact", "cat", unique]), "two\n");
    assert_eq!(ekstrack.ok(&["artifact", "download", unique, "-"]), "two\n");
    assert_eq!(
        ekstrack.json(&["artifact", "download", unique, "-"])["recorded"],
        true
    );
    ekstrack.ok(&["artifact", "verify", unique]);
    ekstrack.ok(&["artifact", "tag", unique, "kept"]);
    let history = ekstrack.ok(&["session", "show", "prod", "--history"]);
    assert_eq!(history.matches("downloaded stderr.log").count(), 2, "{history}");
    let output = ekstrack.output(&["artifact", "show", id.get(..8).unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("{id} (stderr.log)")), "{said}");
    for nothing in ["0123", "zzzz-nothing", "0"] {
        let output = ekstrack.output(&["artifact", "show", nothing]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
    }
    ekstrack.ok(&["artifact", "rm", unique]);
    assert_eq!(
        ekstrack.json(&["artifact", "list"])["artifacts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn what_is_altered_is_not_printed() {
    let ekstrack = Ekstrack::started();
    run(&ekstrack, "drain", "echo one");
    let log = ekstrack.data().join("artifacts/prod/drain/stdout.log");
    let mut permissions = log.metadata().unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&log, permissions).unwrap();
    std::fs::write(&log, "two\n").unwrap();
    let output = ekstrack.output(&["logs", "prod", "drain"]);
    assert_eq!((output.status.code(), output.stdout), (Some(4), Vec::new()));
}

#[test]
fn tasks_and_collections_are_listed() {
    let ekstrack = Ekstrack::started();
    let text = ekstrack.ok(&["task", "list", "prod"]);
    assert_eq!(text, "no tasks\n");
    ekstrack.ok(&[
        "task",
        "add",
        "prod",
        "nodes",
        "--name",
        "Nodes",
        "--type",
        "upgrade_step",
    ]);
    ekstrack.ok(&[
        "task",
        "add",
        "prod",
        "drain",
        "--name",
        "Drain",
        "--type",
        "upgrade_step",
        "--parent",
        "nodes",
    ]);
    run(&ekstrack, "drain", "echo one");
    let tasks = ekstrack.json(&["task", "list", "prod"])["tasks"].clone();
    assert_eq!(
        (
            &tasks[0]["task_id"],
            &tasks[1]["task_id"],
            &tasks[1]["parent_task_id"],
            &tasks[1]["status"]
        ),
        (
            &json!("nodes"),
            &json!("drain"),
            &json!("nodes"),
            &json!("completed")
        )
    );
    let text = ekstrack.ok(&["task", "list", "prod"]);
    assert!(
        text.starts_with("TASK ") && text.contains("drain  Drain"),
        "{text}"
    );
    let collections = ekstrack.json(&["collection", "list", "prod"])["collections"].clone();
    assert_eq!(
        (
            &collections[0]["collection_id"],
            &collections[0]["task_id"],
            &collections[0]["artifacts"]
        ),
        (&json!("drain"), &json!("drain"), &json!(2))
    );
    assert!(
        ekstrack
            .ok(&["collection", "list", "prod"])
            .starts_with("COLLECTION ")
    );
    let text = ekstrack.ok(&["artifact", "list", "--session", "prod"]);
    assert!(
        text.starts_with("ARTIFACT ") && text.contains("stdout.log"),
        "{text}"
    );
    assert_eq!(
        ekstrack.ok(&["artifact", "list", "--task", "nope"]),
        "no artifacts\n"
    );
    for args in [
        &["task", "list", "nope"][..],
        &["collection", "list", "nope"],
        &["artifact", "list", "--session", "nope"],
    ] {
        assert_eq!(ekstrack.output(args).status.code(), Some(3), "{args:?}");
    }
}
