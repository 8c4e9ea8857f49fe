//! Deleting, pinning, history; and `gc` that is killed, or runs beside others.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ekstrack::{Ekstrack, check};

/// Everything that is completed, whatever its age.
const GC_ALL: [&str; 5] = ["gc", "--retention-days", "0", "--min-age", "0s"];

/// With the session `id`, which has three artifacts.
fn fill(ekstrack: &Ekstrack, id: &str) {
    for name in ["a.log", "b.log", "report.xml"] {
        fs::write(ekstrack.home().join(name), format!("{name}\n")).unwrap();
    }
    ekstrack.ok(&[
        "session",
        "create",
        "prod",
        "--cluster",
        "prod-eu",
        "--id",
        id,
        "--name",
        id,
    ]);
    ekstrack.ok(&["collection", "create", id, "Node logs", "--id", "logs"]);
    ekstrack.ok(&["artifact", "add", id, "logs", "a.log", "b.log", "report.xml"]);
}

fn artifact(ekstrack: &Ekstrack, session: &str, name: &str) -> String {
    let found = ekstrack.json(&["search", "--session", session, "--name", name]);
    found["artifacts"][0]["artifact_id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_old_goes_and_what_is_pinned_open_or_failed_stays() {
    let ekstrack = Ekstrack::new();
    for id in ["failed", "open", "pinned", "well"] {
        fill(&ekstrack, id);
    }
    ekstrack.ok(&["session", "complete", "failed", "--outcome", "failed"]);
    ekstrack.ok(&["session", "complete", "well"]);
    ekstrack.ok(&["session", "complete", "pinned"]);
    let dry = [&GC_ALL[..], &["--dry-run"]].concat();
    let all = GC_ALL.to_vec();
    let json = [&["--json"][..], &GC_ALL].concat();
    check(
        "gc",
        &ekstrack.transcript(&[
            &["session", "pin", "pinned"],
            &["gc"],
            &dry,
            &["gc", "--max-total-size", "20", "--min-age", "0s", "--dry-run"],
            &all,
            &json,
            &["session", "list"],
            &["session", "pin", "pinned", "--off"],
            &all,
            &["verify"],
        ]),
    );
}

#[test]
fn a_session_tells_its_history() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    let (a, b) = (
        artifact(&ekstrack, "s1", "a.log"),
        artifact(&ekstrack, "s1", "b.log"),
    );
    let mut told = ekstrack.transcript(&[
        &["artifact", "tag", &a, "node", "incident-42"],
        &["artifact", "tag", &a, "--remove", "node"],
        &["artifact", "download", &a, "copy.log"],
        &["artifact", "rm", &b, "--reason", "has a password in it"],
        &["artifact", "rm", &b],
        &["artifact", "download", &b, "b-copy.log"],
        &["artifact", "verify", &b],
        &["session", "pin", "s1"],
        &["artifact", "rm", &a],
        &["--json", "artifact", "rm", &a, "--force"],
        &["artifact", "rm", "nope"],
        &["artifact", "tag", &a, "node"],
        &["artifact", "tag", &a],
        &["session", "complete", "s1", "--outcome", "succeeded"],
        &["session", "complete", "s1"],
        &["session", "create", "prod", "--cluster", "prod-eu", "--id", "s1"],
        &["artifact", "add", "s1", "logs", "a.log"],
        &["session", "show", "s1"],
        &["session", "show", "s1", "--history"],
        &["--json", "session", "show", "s1", "--history"],
        &["session", "show", "nope", "--history"],
    ]);
    let host = ekstrack.json(&["session", "show", "s1"]);
    assert_eq!(host["outcome"], "succeeded");
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    told = told.replace(&format!("tester@{hostname}"), "tester@host");
    check("history", &told);
    assert_eq!(
        fs::read_to_string(ekstrack.home().join("copy.log")).unwrap(),
        "a.log\n"
    );
}

#[test]
fn the_end_of_an_upgrade_is_that_of_its_session() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["run", "prod", "smoke", "--", "true"]);
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no quorum"]);
    let session = ekstrack.json(&["session", "show", "prod"]);
    assert_eq!(
        (&session["outcome"], &session["completed_at"]),
        (&"failed".into(), &serde_json::Value::Null)
    );
    // Evidence comes after the end, and the upgrade may be tried again.
    ekstrack.ok(&["artifact", "add", "prod", "smoke", "/etc/hostname"]);
    ekstrack.ok(&[
        "upgrade",
        "start",
        "prod",
        "--plan",
        "plan-7",
        "--cluster",
        "prod-eu",
    ]);
    ekstrack.ok(&["upgrade", "complete", "prod"]);
    let completed = ekstrack.json(&["session", "complete", "prod"]);
    assert_eq!(completed["outcome"], "succeeded");
}

#[test]
fn a_reader_of_a_history_may_go_away() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    let mut child = ekstrack
        .command(&["session", "show", "s1", "--history"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Killed at each system call that removes a name, `gc` leaves nothing that the next one does not finish.
#[test]
fn fault_13_gc_killed_at_each_removal_is_finished_by_the_next() {
    let mut points = 0;
    for call in ["unlinkat", "fdatasync"] {
        for nth in 1.. {
            let ekstrack = Ekstrack::new();
            fill(&ekstrack, "s1");
            ekstrack.ok(&["session", "complete", "s1"]);
            let (trace, inject) = (
                format!("trace={call}"),
                format!("inject={call}:signal=KILL:when={nth}"),
            );
            let strace = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
            ];
            let killed = ekstrack.output_by(&strace, &GC_ALL);
            if killed.status.success() {
                break;
            }
            points += 1;
            // What is still recorded is still there.
            ekstrack.ok(&["verify"]);
            let report = ekstrack.json(&GC_ALL);
            assert_eq!(report["failed"], 0);
            assert!(!ekstrack.data().join("artifacts/s1").exists(), "{call} {nth}");
            let session = ekstrack.json(&["session", "show", "s1"]);
            assert_eq!(session["total_artifacts"], 0, "{call} {nth}");
            ekstrack.ok(&["verify"]);
        }
    }
    println!("FAULT row=13 name=gc_killed points={points} unfinished=0 bytes_missing=0");
    assert!(points >= 4, "{points}");
}

/// Processes that add, delete, complete and pin, beside one `gc` after the other.
#[test]
fn fault_36_gc_beside_other_processes_deletes_no_live_file() {
    const SESSIONS: usize = 6;
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "first");
    let stop = AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        let gc = scope.spawn(|| {
            let mut runs = 0;
            while !stop.load(Ordering::Relaxed) {
                ekstrack.ok(&[&GC_ALL[..], &["--orphans"]].concat());
                runs += 1;
            }
            runs
        });
        let writers: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let ekstrack = &ekstrack;
                scope.spawn(move || {
                    let id = format!("w{number}");
                    ekstrack.ok(&["session", "create", "prod", "--cluster", "c", "--id", &id]);
                    ekstrack.ok(&["collection", "create", &id, "Logs", "--id", "logs"]);
                    let mut live = 0;
                    for _ in 0..3 {
                        ekstrack.ok(&["artifact", "add", &id, "logs", "a.log"]);
                        let added = artifact(ekstrack, &id, "a.log");
                        ekstrack.ok(&["artifact", "rm", &added]);
                        ekstrack.ok(&["artifact", "add", &id, "logs", "a.log", "b.log"]);
                        live += 2;
                    }
                    match number % 3 {
                        0 => {
                            ekstrack.ok(&["session", "pin", &id]);
                            ekstrack.ok(&["session", "complete", &id]);
                            live
                        }
                        1 => {
                            ekstrack.ok(&["session", "complete", &id]);
                            0
                        }
                        _ => live,
                    }
                })
            })
            .collect();
        let live: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        stop.store(true, Ordering::Relaxed);
        (gc.join().unwrap(), live)
    });
    let (runs, live) = runs;
    let found = ekstrack.json(&["search", "--limit", "1000"]);
    let found = found["artifacts"].as_array().unwrap();
    let kept = found
        .iter()
        .filter(|artifact| {
            let id: usize = artifact["session_id"]
                .as_str()
                .unwrap()
                .strip_prefix('w')
                .map_or(1, |number| number.parse().unwrap());
            id % 3 != 1
        })
        .count();
    assert_eq!(kept, live);
    let verified = ekstrack.json(&["verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    println!("FAULT row=36 name=gc_beside_processes runs={runs} live={live} live_files_deleted=0");
}

/// More artifacts than are read at a time: each is shown once.
#[test]
fn a_large_session_is_shown_page_by_page() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    let many = ekstrack.home().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..1100 {
        fs::write(many.join(format!("n{number}.log")), b"x").unwrap();
    }
    ekstrack.ok(&["artifact", "add", "s1", "logs", "many"]);
    let shown = ekstrack.json(&["session", "show", "s1"]);
    let shown = shown["artifacts"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> = shown
        .iter()
        .map(|artifact| artifact["artifact_id"].as_str().unwrap())
        .collect();
    assert_eq!((shown.len(), ids.len()), (1103, 1103));
    let text = ekstrack.ok(&["session", "show", "s1"]);
    assert!(ids.iter().all(|id| text.matches(*id).count() == 1));
}

/// What was put into the data directory by hand is named with what it is, and removed on request only.
#[test]
fn what_is_not_ours_is_named() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    let artifacts = ekstrack.data().join("artifacts");
    fs::write(artifacts.join("s1/logs/.hid"), b"x").unwrap();
    std::os::unix::fs::symlink("/etc", artifacts.join("s1/lnk")).unwrap();
    fs::write(artifacts.join("notes.txt"), b"x").unwrap();
    let output = ekstrack.output(&["--json", "verify"]);
    assert_eq!(output.status.code(), Some(4));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let paths: Vec<&str> = found["artifacts"]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "artifacts/s1/lnk",
            "artifacts/s1/logs/.hid",
            "artifacts/notes.txt"
        ]
    );
    assert_eq!(found["artifacts"]["extras"], 3);
    // One session alone is asked about nothing beside it.
    let output = ekstrack.output(&["--json", "verify", "session:s1"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["artifacts"]["extras"], 2);
}

#[test]
fn a_directory_that_cannot_be_listed_keeps_nothing_else_from_being_verified() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    fill(&ekstrack, "s2");
    let artifacts = ekstrack.data().join("artifacts");
    fs::rename(artifacts.join("s1"), ekstrack.home().join("s1")).unwrap();
    std::os::unix::fs::symlink("/etc", artifacts.join("s1")).unwrap();
    fs::write(artifacts.join("s2/stray"), b"x").unwrap();
    let output = ekstrack.output(&["--json", "verify"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = found["artifacts"]["problems"].as_array().unwrap();
    let problem = |path: &str| {
        let one = problems.iter().find(|one| one["path"] == path);
        one.map(|one| one["problem"].as_str().unwrap().split(':').next().unwrap())
    };
    assert_eq!(problem("artifacts/s1"), Some("unreadable"), "{problems:?}");
    assert_eq!(problem("artifacts/s2/stray"), Some("extra"), "{problems:?}");
    // The link is one too.
    assert_eq!(found["artifacts"]["extras"], 2);
}

/// Names that are removed are made durable once for many of them.
#[test]
fn gc_syncs_a_directory_once_for_many_files() {
    let ekstrack = Ekstrack::new();
    fill(&ekstrack, "s1");
    let many = ekstrack.home().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..300 {
        fs::write(many.join(format!("n{number}.log")), format!("{number}")).unwrap();
    }
    ekstrack.ok(&["artifact", "add", "s1", "logs", "many"]);
    ekstrack.ok(&["session", "complete", "s1"]);
    let trace = ekstrack.home().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "trace=fsync,unlinkat", "-o"];
    let strace = [&strace[..], &[trace.to_str().unwrap()]].concat();
    let cleaned = ekstrack.output_by(&strace, &GC_ALL);
    assert!(cleaned.status.success(), "{cleaned:?}");
    let calls = fs::read_to_string(trace).unwrap();
    let count = |call: &str| calls.lines().filter(|line| line.contains(call)).count();
    assert!(count("unlinkat(") >= 303, "{}", count("unlinkat("));
    assert!(count("fsync(") < 30, "{}", count("fsync("));
}
