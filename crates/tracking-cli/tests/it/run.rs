//! `ekstrack run`: the command's output, its exit, its signals, and tracking that fails.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::ekstrack::Ekstrack;

fn task(ekstrack: &Ekstrack, id: &str) -> serde_json::Value {
    ekstrack.json(&["task", "show", "prod", id])
}

fn logged(ekstrack: &Ekstrack, task: &str, name: &str) -> Vec<u8> {
    fs::read(ekstrack.data().join("artifacts/prod").join(task).join(name)).unwrap()
}

#[test]
fn output_passes_through_unchanged_and_is_kept() {
    let ekstrack = Ekstrack::started();
    let script = r"printf 'a\000\377b'; printf 'oops' >&2";
    let output = ekstrack.output(&[
        "run", "prod", "build", "--name", "Build", "--", "sh", "-c", script,
    ]);
    assert!(output.status.success());
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (b"a\0\xffb".as_slice(), b"oops".as_slice())
    );
    assert_eq!(logged(&ekstrack, "build", "stdout.log"), b"a\0\xffb");
    assert_eq!(logged(&ekstrack, "build", "stderr.log"), b"oops");
    let shown = task(&ekstrack, "build");
    assert_eq!(
        (&shown["status"], &shown["task_name"]),
        (&"completed".into(), &"Build".into())
    );
    let found = ekstrack.json(&["search", "--name", "stdout", "--task", "build"]);
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
    ekstrack.ok(&["verify"]);
}

#[test]
fn large_output_on_both_streams_is_neither_lost_nor_mixed() {
    let ekstrack = Ekstrack::started();
    let script = "seq 1 200000; seq 200001 400000 >&2";
    let output = ekstrack.output(&["run", "prod", "t", "--", "sh", "-c", script]);
    let lines = |range: std::ops::RangeInclusive<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
    assert!(output.stdout == lines(1..=200_000).into_bytes());
    assert!(output.stderr == lines(200_001..=400_000).into_bytes());
    assert!(logged(&ekstrack, "t", "stdout.log") == output.stdout);
    assert!(logged(&ekstrack, "t", "stderr.log") == output.stderr);
}

#[test]
fn the_exit_code_is_passed_on_and_decides_the_state() {
    let ekstrack = Ekstrack::started();
    let code = |args: &[&str]| ekstrack.output(args).status.code().unwrap();
    assert_eq!(code(&["run", "prod", "a", "--", "sh", "-c", "exit 3"]), 3);
    let failed = task(&ekstrack, "a");
    assert_eq!(
        (&failed["status"], &failed["error_message"]),
        (&"failed".into(), &"exit status 3".into())
    );
    assert_eq!(code(&["run", "prod", "a", "--", "true"]), 0);
    let retried = task(&ekstrack, "a");
    assert_eq!(
        (&retried["status"], &retried["retry_count"]),
        (&"completed".into(), &1.into())
    );
    let killed = ekstrack.output(&["run", "prod", "b", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.signal(), Some(9));
    assert_eq!(
        task(&ekstrack, "b")["error_message"],
        "killed by signal 9 (SIGKILL)"
    );
    assert_eq!(code(&["run", "prod", "c", "--", "/no/such/program"]), 127);
    assert!(
        task(&ekstrack, "c")["error_message"]
            .as_str()
            .unwrap()
            .contains("/no/such/program")
    );
    assert_eq!(code(&["run", "prod", "d", "--", "/etc/passwd"]), 126);
    assert_eq!(task(&ekstrack, "d")["status"], "failed");
}

#[test]
fn what_may_not_start_does_not() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["run", "prod", "done", "--", "true"]);
    let refused = |args: &[&str]| {
        let output = ekstrack.output(args);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty());
    };
    refused(&["run", "nope", "t", "--", "echo", "ran"]);
    refused(&["run", "prod", "done", "--", "echo", "ran"]);
    refused(&["run", "prod", "a/b", "--", "echo", "ran"]);
    refused(&["run", "prod", "t", "--artifact", "[a", "--", "echo", "ran"]);
    refused(&["run", "prod", "t", "--parent", "nope", "--", "echo", "ran"]);
    refused(&["run", "prod", "t"]);
    ekstrack.ok(&["upgrade", "pause", "prod"]);
    refused(&["run", "prod", "t", "--", "echo", "ran"]);
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    refused(&["run", "prod", "t", "--", "echo", "ran"]);
}

#[test]
fn a_script_gets_one_document_and_the_artifacts() {
    let ekstrack = Ekstrack::started();
    fs::write(ekstrack.home().join("report.xml"), "<ok/>").unwrap();
    let args = [
        "run",
        "prod",
        "e2e",
        "--session",
        "s",
        "--collection",
        "c",
        "--artifact",
        "*.xml",
        "--",
        "echo",
        "x",
    ];
    let document = ekstrack.json(&args);
    assert_eq!(
        (&document["status"], &document["exit_code"]),
        (&"completed".into(), &0.into())
    );
    assert_eq!(
        (&document["session_id"], &document["collection_id"]),
        (&"s".into(), &"c".into())
    );
    let names: Vec<&str> = document["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["stdout.log", "output-times.jsonl", "report.xml"]);
}

#[test]
fn signals_reach_the_command_and_are_recorded() {
    let ekstrack = Ekstrack::started();
    let script = "trap 'exit 42' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = ekstrack
        .command(&["run", "prod", "t", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let killed = Command::new("kill")
        .args(["-TERM", &running.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(running.wait().unwrap().code(), Some(42));
    let error = task(&ekstrack, "t")["error_message"].as_str().unwrap().to_owned();
    assert_eq!(error, "exit status 42, after SIGTERM was sent to ekstrack");
}

#[test]
fn a_reader_that_goes_away_stops_neither_the_command_nor_the_log() {
    let ekstrack = Ekstrack::started();
    let script = "echo first; read x; seq 1 1000; exit 7";
    let mut running = ekstrack
        .command(&["run", "prod", "t", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 6];
    running.stdout.take().unwrap().read_exact(&mut first).unwrap();
    drop(running.stdin.take());
    assert_eq!(running.wait().unwrap().code(), Some(7));
    let log = logged(&ekstrack, "t", "stdout.log");
    assert!(log.starts_with(b"first\n1\n") && log.ends_with(b"1000\n"));
}

#[test]
fn what_an_operator_does_meanwhile_does_not_stop_the_command() {
    let ekstrack = Ekstrack::started();
    let start = |task: &str| {
        let mut running = ekstrack
            .command(&["run", "prod", task, "--", "sh", "-c", "echo up; read x; exit 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = [0; 3];
        running.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        running
    };
    let (paused, cancelled) = (start("paused"), start("cancelled"));
    ekstrack.ok(&["task", "pause", "prod", "paused"]);
    let output = paused.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("was paused meanwhile"),
        "{output:?}"
    );
    assert_eq!(task(&ekstrack, "paused")["status"], "completed");

    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let output = cancelled.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("which is not recorded"),
        "{output:?}"
    );
}

#[test]
fn tracking_that_fails_does_not_keep_the_command_from_running() {
    let ekstrack = Ekstrack::started();
    let run = |task: &str| {
        let args = [
            "--lock-timeout",
            "0.1",
            "run",
            "prod",
            task,
            "--",
            "sh",
            "-c",
            "echo ran; exit 9",
        ];
        let output = ekstrack.output(&args);
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(9), b"ran\n".as_slice()),
            "{output:?}"
        );
        String::from_utf8(output.stderr).unwrap()
    };
    let journal = fs::File::options().write(true).open(ekstrack.journal()).unwrap();
    journal.lock().unwrap();
    let told = run("locked");
    assert!(
        told.contains("warning: the command runs without being tracked") && told.contains("locked by"),
        "{told}"
    );
    journal.unlock().unwrap();

    let text = fs::read_to_string(ekstrack.journal()).unwrap();
    fs::write(ekstrack.journal(), text.replacen("plan-7", "plan-8", 1)).unwrap();
    let told = run("damaged");
    assert!(told.contains("is damaged at line 1"), "{told}");
}

#[test]
fn two_runs_at_once() {
    let ekstrack = Ekstrack::started();
    let start = |task: &str| {
        ekstrack
            .command(&["run", "prod", task, "--", "seq", "1", "1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let running: Vec<_> = ["a", "b", "c", "d"].map(start).into();
    for run in running {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout.ends_with(b"1000\n"));
    }
    let shown = ekstrack.json(&["upgrade", "show", "prod"]);
    assert_eq!(shown["completed_tasks"], 4);
    ekstrack.ok(&["verify"]);
}

/// The logs are the very bytes; when they came, and in which order, stands beside them.
#[test]
fn output_is_kept_with_the_times_of_its_pieces() {
    let ekstrack = Ekstrack::started();
    let script = "printf a; printf 'b\\377' >&2; mkdir -p out/deep; echo '<testsuite>' >out/deep/r.xml";
    let arguments = [
        "run",
        "prod",
        "t",
        "--artifact",
        "out/**/*.xml",
        "--artifact",
        "none/*",
        "--",
    ];
    let output = ekstrack
        .command(&[&arguments[..], &["sh", "-c", script]].concat())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("no file matches none/*"), "{told}");
    assert_eq!(logged(&ekstrack, "t", "stdout.log"), b"a");
    assert_eq!(logged(&ekstrack, "t", "stderr.log"), b"b\xff");
    assert_eq!(logged(&ekstrack, "t", "r.xml"), b"<testsuite>\n");
    let times = String::from_utf8(logged(&ekstrack, "t", "output-times.jsonl")).unwrap();
    let pieces: Vec<serde_json::Value> = times
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let bytes = |stream: &str| -> u64 {
        let of_stream = pieces.iter().filter(|piece| piece["stream"] == stream);
        of_stream.map(|piece| piece["length"].as_u64().unwrap()).sum()
    };
    assert_eq!((bytes("stdout"), bytes("stderr")), (1, 2));
    assert!(
        pieces
            .iter()
            .all(|piece| piece["at"].as_str().unwrap().ends_with('Z'))
    );
    let found = ekstrack.json(&["search", "--name", "r.xml"]);
    assert_eq!(found["artifacts"][0]["artifact_type"], "test_result");
}
