//! The demo: what it prints, and that all other commands work on what it leaves.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::ekstrack::Ekstrack;

/// So fast that the disk decides how long it takes.
const FAST: &[&str] = &["--json", "demo", "--speed", "500"];

fn documents(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_type<'a>(documents: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = documents.iter().filter(|document| document["type"] == name);
    named.map(|document| &document["data"]).collect()
}

#[test]
fn all_of_it_is_printed_kept_found_and_verified() {
    let ekstrack = Ekstrack::new();
    let documents = documents(&ekstrack.ok(FAST));
    assert_eq!(documents[0]["type"], "progress_summary");
    let events = of_type(&documents, "progress_event");
    let seqs: Vec<u64> = events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    let last = u64::try_from(events.len()).unwrap();
    assert!(
        seqs.iter().copied().eq(1..=last),
        "every event once, in order: {seqs:?}"
    );
    for kind in ["task.failed", "task.retried", "task.waiting", "upgrade.completed"] {
        assert!(events.iter().any(|event| event["type"] == kind), "{kind}");
    }
    let kept = of_type(&documents, "artifact_kept");
    let result = &documents.last().unwrap()["data"];
    assert_eq!(result["verification"]["ok"], true);
    assert_eq!(result["verification"]["artifacts"], kept.len());
    assert_eq!(result["verification"]["streams"][0]["records"], last);
    assert_eq!(result["retries"], 1);

    let id = result["upgrade_id"].as_str().unwrap();
    let shown = ekstrack.json(&["upgrade", "show", id]);
    assert_eq!(shown["status"], "COMPLETED");
    assert_eq!(shown["overall_percentage"], 100.0);
    let found = ekstrack.json(&["search", "--tag", "nodes", "--session", id]);
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 6);
    assert_eq!(ekstrack.json(&["verify"])["ok"], true);
}

#[test]
fn what_it_says_to_try_next_works_and_so_does_a_second_demo() {
    let ekstrack = Ekstrack::new();
    let result = |text: &str| documents(text).pop().unwrap()["data"].clone();
    let (first, second) = (result(&ekstrack.ok(FAST)), result(&ekstrack.ok(FAST)));
    assert_ne!(first["upgrade_id"], second["upgrade_id"]);
    for command in first["next"].as_array().unwrap() {
        let command = command.as_str().unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(ekstrack.home())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(!output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn a_pipe_gets_plain_lines_one_for_each_change_of_state() {
    let ekstrack = Ekstrack::new();
    let text = ekstrack.ok(&["demo", "--speed", "500"]);
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("simulated"), "{text}");
    assert_eq!(text.matches("gpu-green: Task failed").count(), 1, "{text}");
    assert_eq!(
        text.matches("CoreDNS: ").count(),
        2,
        "started and completed: {text}"
    );
    assert!(text.lines().count() < 180, "{text}");
}

#[test]
fn a_data_directory_that_cannot_be_used_is_said_at_once() {
    let ekstrack = Ekstrack::new();
    std::fs::write(ekstrack.data(), "no directory").unwrap();
    let output = ekstrack.output(FAST);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(std::fs::read_to_string(ekstrack.data()).unwrap(), "no directory");
}

#[test]
fn an_operator_can_cancel_it() {
    let ekstrack = Ekstrack::new();
    let mut demo = ekstrack
        .command(&["--json", "demo"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let started = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|message| message["data"]["type"] == "upgrade.started")
        .unwrap();
    let id = started["data"]["upgrade_id"].as_str().unwrap();
    ekstrack.ok(&["upgrade", "cancel", id]);
    assert!(lines.last().unwrap().unwrap().contains("upgrade.cancelled"));
    let output = demo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
