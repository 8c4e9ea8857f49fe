//! What the commands print when all is well.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::ekstrack::{Ekstrack, check};

#[test]
fn the_life_of_an_upgrade() {
    let ekstrack = Ekstrack::new();
    check(
        "upgrade",
        &ekstrack.transcript(&[
            &[
                "upgrade",
                "start",
                "prod",
                "--plan",
                "plan-7",
                "--cluster",
                "prod-eu",
                "--meta",
                "ticket=OPS-1",
            ],
            &[
                "task",
                "add",
                "prod",
                "nodes",
                "--name",
                "Upgrade nodes",
                "--type",
                "upgrade_step",
            ],
            &[
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
                "--weight",
                "3",
            ],
            &[
                "task",
                "add",
                "prod",
                "check",
                "--name",
                "Check",
                "--type",
                "validation",
                "--parent",
                "nodes",
                "--steps",
                "4",
            ],
            &["task", "start", "prod", "nodes"],
            &[
                "task",
                "progress",
                "prod",
                "drain",
                "40%",
                "-m",
                "node 2 of 5",
                "--detail",
                "node=ip-1",
                "--detail",
                "pods:=31",
            ],
            &["task", "steps", "prod", "check", "1", "--step", "DNS"],
            &["task", "heartbeat", "prod", "drain"],
            &[
                "task",
                "wait",
                "prod",
                "drain",
                "--reason",
                "disruption budget of payments",
            ],
            &["task", "fail", "prod", "check", "--error", "DNS does not answer"],
            &["upgrade", "phase", "prod", "Traffic shifting"],
            &["upgrade", "pause", "prod", "--reason", "change freeze"],
            &["upgrade", "show", "prod"],
            &["upgrade", "resume", "prod"],
            &["task", "retry", "prod", "check"],
            &["task", "complete", "prod", "check", "-m", "DNS is back"],
            &["task", "pause", "prod", "drain"],
            &["task", "resume", "prod", "drain"],
            &["task", "show", "prod", "drain"],
            &["task", "cancel", "prod", "drain", "--reason", "not needed"],
            &["task", "complete", "prod", "nodes"],
            &["upgrade", "complete", "prod"],
            &["upgrade", "show", "prod"],
            &["upgrade", "list"],
            &["upgrade", "start", "other", "--plan", "p", "--cluster", "c"],
            &["upgrade", "fail", "other", "--error", "no quorum"],
            &["upgrade", "cancel", "other"],
            &["upgrade", "list", "--status", "cancelled"],
            &["upgrade", "rm", "other"],
            &["--json", "upgrade", "list"],
        ]),
    );
}

#[test]
fn scripts_get_one_document() {
    let ekstrack = Ekstrack::new();
    check(
        "json",
        &ekstrack.transcript(&[
            &[
                "--json",
                "upgrade",
                "start",
                "prod",
                "--plan",
                "plan-7",
                "--cluster",
                "prod-eu",
            ],
            &[
                "--json",
                "task",
                "add",
                "prod",
                "drain",
                "--name",
                "Drain",
                "--type",
                "upgrade_step",
            ],
            &["--json", "task", "progress", "prod", "drain", "40"],
            &["--json", "upgrade", "show", "prod"],
            &["--json", "upgrade", "complete", "prod", "--allow-unfinished"],
            &["--json", "upgrade", "rm", "prod"],
            &["--json", "sinks"],
            &["--json", "sinks", "retry"],
        ]),
    );
}

#[test]
fn sessions_and_artifacts() {
    let ekstrack = Ekstrack::new();
    for (name, content) in [
        ("a.log", "alpha\n"),
        ("b.log", "beta\n"),
        ("report.xml", "<ok/>\n"),
    ] {
        fs::write(ekstrack.home().join(name), content).unwrap();
    }
    check(
        "artifacts",
        &ekstrack.transcript(&[
            &[
                "session",
                "create",
                "prod",
                "--cluster",
                "prod-eu",
                "--id",
                "s1",
                "--name",
                "Nightly",
                "--retention-days",
                "90",
            ],
            &[
                "collection",
                "create",
                "s1",
                "Node logs",
                "--id",
                "logs",
                "--task",
                "drain",
            ],
            &["artifact", "add", "s1", "logs", "*.log", "--tag", "node"],
            &[
                "--json",
                "artifact",
                "add",
                "s1",
                "logs",
                "report.xml",
                "--type",
                "test_result",
                "--description",
                "e2e",
                "--meta",
                "run:=7",
            ],
            &["search", "--tag", "node", "--sort", "name"],
            &["search", "--name", "*.xml"],
            &["search", "nothing-like-it"],
            &["session", "list"],
            &["session", "show", "s1"],
            &["session", "complete", "s1", "--outcome", "succeeded"],
            &["--json", "session", "list", "--upgrade", "prod"],
            &["verify"],
        ]),
    );
    let found = ekstrack.json(&["search", "report"]);
    let id = found["artifacts"][0]["artifact_id"].as_str().unwrap();
    check(
        "artifact",
        &ekstrack.transcript(&[
            &["artifact", "show", id],
            &["artifact", "verify", id],
            &["artifact", "download", id, "copy.xml"],
            &["artifact", "download", id, "copy.xml"],
        ]),
    );
    assert_eq!(
        fs::read_to_string(ekstrack.home().join("copy.xml")).unwrap(),
        "<ok/>\n"
    );
}

#[test]
fn standard_input_becomes_an_artifact() {
    let ekstrack = Ekstrack::new();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "c", "--id", "s1"]);
    ekstrack.ok(&["collection", "create", "s1", "Data", "--id", "data"]);
    let file = ekstrack.home().join("input");
    fs::write(&file, [0, 159, 146, 150]).unwrap();
    let args = ["--json", "artifact", "add", "s1", "data", "-", "--name", "blob"];
    let output = ekstrack
        .command(&args)
        .stdin(fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let added: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = added["artifact_id"].as_str().unwrap();
    ekstrack.ok(&["artifact", "download", id, "out"]);
    assert_eq!(fs::read(ekstrack.home().join("out")).unwrap(), [0, 159, 146, 150]);
}

#[test]
fn an_import_and_an_export() {
    let ekstrack = Ekstrack::new();
    let old = ekstrack.home().join("old/progress");
    fs::create_dir_all(&old).unwrap();
    let json = r#"{"upgrade_id":"prod/1","plan_id":"p","cluster_name":"c","status":"in_progress",
        "started_at":"2025-01-31 05:25:01.056236","completed_at":null,"tasks":{}}"#;
    fs::write(old.join("upgrade_prod.json"), json).unwrap();
    check(
        "import",
        &ekstrack.transcript(&[
            &["import", "old"],
            &["import", "old"],
            &["--json", "import", "old/progress/upgrade_prod.json"],
            &["import", "nowhere"],
        ]),
    );
    let listed = ekstrack.json(&["upgrade", "list"]);
    let id = listed["upgrades"][0]["upgrade_id"].as_str().unwrap();
    let exported: serde_json::Value = serde_json::from_str(&ekstrack.ok(&["export", id])).unwrap();
    assert_eq!(exported["metadata"]["original_id"], "prod/1");
}

#[test]
fn an_import_of_nothing_leaves_no_data_directory() {
    let ekstrack = Ekstrack::new();
    fs::create_dir(ekstrack.home().join("old")).unwrap();
    for file in ["upgrade_bad.json", "session_bad.json"] {
        fs::write(ekstrack.home().join("old").join(file), "{").unwrap();
    }
    for (sources, code) in [
        (&["old"][..], 1),
        (&["old/upgrade_bad.json"], 1),
        (&["old/session_bad.json"], 1),
        (&["."], 0),
    ] {
        let mut args = vec!["--data-dir", "new/data", "import"];
        args.extend(sources);
        let output = ekstrack.output(&args);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(!ekstrack.home().join("new").exists(), "{output:?}");
    }
    // What was there stays.
    fs::create_dir_all(ekstrack.data()).unwrap();
    assert!(!ekstrack.output(&["import", "old"]).status.success());
    assert!(ekstrack.data().exists());
}

#[test]
fn a_directory_of_the_reference_is_taken_over_where_it_is() {
    let ekstrack = Ekstrack::new();
    let progress = ekstrack.data().join("progress");
    fs::create_dir_all(&progress).unwrap();
    let json = r#"{"upgrade_id":"old","plan_id":"p","cluster_name":"c","status":"completed","tasks":{}}"#;
    fs::write(progress.join("upgrade_old.json"), json).unwrap();
    let first = ekstrack.output(&["--json", "upgrade", "list"]);
    assert!(
        String::from_utf8_lossy(&first.stderr).contains("took over 1 upgrades"),
        "{first:?}"
    );
    let listed: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(listed["upgrades"][0]["upgrade_id"], "old");
    let second = ekstrack.output(&["upgrade", "show", "old"]);
    assert!(second.status.success() && second.stderr.is_empty(), "{second:?}");
    assert_eq!(
        fs::read_to_string(progress.join("upgrade_old.json.reference")).unwrap(),
        json
    );
}

#[test]
fn what_is_wrong_with_files_taken_over_in_place_is_told() {
    let ekstrack = Ekstrack::new();
    let progress = ekstrack.data().join("progress");
    fs::create_dir_all(&progress).unwrap();
    let old = r#"{"upgrade_id":"old","plan_id":"p","cluster_name":"c","status":"failed","tasks":{},
        "started_at":"2025-10-20 05:25:01+00:00","completed_at":"2025-10-20 05:25:00+00:00"}"#;
    fs::write(progress.join("upgrade_old.json"), old).unwrap();
    fs::write(progress.join("upgrade_broken.json"), "{").unwrap();
    let listed = ekstrack.output(&["upgrade", "list"]);
    assert!(listed.status.success(), "{listed:?}");
    let told = String::from_utf8_lossy(&listed.stderr);
    assert!(
        told.contains("upgrade_old.json: completed_at is before the start"),
        "{told}"
    );
    assert!(told.contains("upgrade_broken.json is not taken over"), "{told}");
}

#[test]
fn the_references_own_roots_are_opened_as_they_are() {
    let ekstrack = Ekstrack::new();
    let data = ekstrack.data();
    fs::create_dir_all(data.join("s1/c1")).unwrap();
    fs::write(data.join("s1/c1/x.log"), "abc").unwrap();
    let session = r#"{"session_id":"s1","name":"old","upgrade_id":"up","cluster_name":"c","collections":{"c1":
        {"collection_id":"c1","name":"Logs","artifacts":[{"artifact_id":"a1","name":"x.log","artifact_type":"log_file",
        "local_path":"/srv/base/s1/c1/x.log","file_size":3,"created_at":"2025-10-20 05:25:01","status":"created"}]}},
        "started_at":"2025-10-20 05:25:01","base_directory":"/srv/base/s1","retention_days":30}"#;
    fs::write(data.join("session_s1.json"), session).unwrap();
    let upgrade =
        r#"{"upgrade_id":"old","plan_id":"p","cluster_name":"c","status":"in_progress","tasks":{}}"#;
    fs::write(data.join("upgrade_old.json"), upgrade).unwrap();
    let sessions = ekstrack.json(&["session", "list"]);
    assert_eq!(sessions["sessions"][0]["session_id"], "s1");
    assert_eq!(
        ekstrack.json(&["upgrade", "list"])["upgrades"][0]["upgrade_id"],
        "old"
    );
    let found = ekstrack.json(&["search", "--name", "x.log"]);
    assert_eq!(found["artifacts"][0]["local_path"], "artifacts/s1/c1/x.log");
    ekstrack.ok(&["verify"]);
    assert_eq!(fs::read_to_string(data.join("session_s1.json")).unwrap(), session);
    assert_eq!(
        fs::read_to_string(data.join("upgrade_old.json")).unwrap(),
        upgrade
    );
    let again = ekstrack.output(&["session", "list"]);
    assert!(again.stderr.is_empty(), "{again:?}");
}

#[test]
fn a_watcher_follows_what_other_processes_write_until_the_end() {
    let ekstrack = Ekstrack::started();
    let mut watch = ekstrack
        .command(&["--json", "watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let summary = next();
    assert_eq!(
        (&summary["type"], &summary["data"]["status"]),
        (&"progress_summary".into(), &"IN_PROGRESS".into())
    );
    ekstrack.ok(&["upgrade", "phase", "prod", "Two"]);
    let event = next();
    assert_eq!(event["type"], "progress_event");
    assert_eq!(
        (&event["data"]["type"], &event["data"]["seq"]),
        (&"upgrade.phase_changed".into(), &3.into())
    );
    ekstrack.ok(&["upgrade", "complete", "prod"]);
    assert_eq!(next()["data"]["type"], "upgrade.completed");
    assert!(lines.next().is_none());
    assert!(watch.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let ekstrack = Ekstrack::new();
    let mut child = ekstrack
        .command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
