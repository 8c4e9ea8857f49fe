//! What is refused, how that is told, and the exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::ekstrack::{Ekstrack, check};

#[test]
fn rules_are_told_in_two_or_three_lines() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["task", "add", "prod", "a", "--name", "A", "--type", "cleanup"]);
    let large = format!("x={}", "y".repeat(70_000));
    check(
        "refusals",
        &ekstrack.transcript(&[
            &[
                "upgrade",
                "start",
                "prod",
                "--plan",
                "plan-7",
                "--cluster",
                "prod-eu",
            ],
            &[
                "upgrade",
                "start",
                "prod",
                "--plan",
                "other",
                "--cluster",
                "prod-eu",
            ],
            &["upgrade", "show", "nope"],
            &["upgrade", "rm", "prod"],
            &["upgrade", "complete", "prod"],
            &["task", "add", "prod", "a", "--name", "A", "--type", "cleanup"],
            &[
                "task", "add", "prod", "b", "--name", "B", "--type", "cleanup", "--parent", "nope",
            ],
            &[
                "task", "add", "prod", "b", "--name", "B", "--type", "cleanup", "--parent", "b",
            ],
            &["task", "show", "prod", "nope"],
            &["task", "complete", "prod", "nope"],
            &["task", "resume", "prod", "a"],
            &["task", "heartbeat", "prod", "a"],
            &["task", "steps", "prod", "a", "3"],
            &["session", "show", "nope"],
            &["artifact", "show", "nope"],
            &["verify", "upgrade:nope"],
            &["journal", "repair", "upgrade:nope"],
            &["journal", "repair", "some/file"],
            &["--json", "upgrade", "show", "nope"],
        ]),
    );
    let refused = ekstrack.output(&["task", "progress", "prod", "a", "1", "--detail", &large]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("at most 65536 are allowed"));
}

#[test]
fn values_that_are_never_valid_are_wrong_usage() {
    let ekstrack = Ekstrack::started();
    check(
        "usage",
        &ekstrack.transcript(&[
            &["upgrade", "show", "a/b"],
            &["upgrade", "start", "x.json", "--plan", "p", "--cluster", "c"],
            &["upgrade", "start", "x", "--plan", "p", "--cluster", ""],
            &["task", "progress", "prod", "a", "NaN"],
            &["task", "add", "prod", "a", "--name", "A", "--type", "magic"],
            &[
                "task", "add", "prod", "a", "--name", "A", "--type", "cleanup", "--weight", "0",
            ],
            &["task", "steps", "prod", "a", "5/3"],
            &["task", "wait", "prod", "a", "--reason", "r", "--until", "soon"],
            &["verify", "nonsense"],
            &["upgrade"],
            &["frobnicate"],
            &["--json", "upgrade", "show", "a/b"],
            &["--config", "none.toml", "upgrade", "list"],
            &["--lock-timeout", "-1", "upgrade", "list"],
        ]),
    );
}

#[test]
fn a_data_directory_that_cannot_be_used() {
    let ekstrack = Ekstrack::new();
    fs::write(ekstrack.home().join("file"), "").unwrap();
    check(
        "data-directory",
        &ekstrack.transcript(&[
            &["upgrade", "list"],
            &["--data-dir", "file", "upgrade", "list"],
            &[
                "--data-dir",
                "file",
                "upgrade",
                "start",
                "u",
                "--plan",
                "p",
                "--cluster",
                "c",
            ],
            &[
                "--data-dir",
                "file/below",
                "upgrade",
                "start",
                "u",
                "--plan",
                "p",
                "--cluster",
                "c",
            ],
        ]),
    );
}

#[test]
fn another_process_that_keeps_the_lock() {
    let ekstrack = Ekstrack::started();
    let journal = fs::File::options().write(true).open(ekstrack.journal()).unwrap();
    journal.lock().unwrap();
    let output = ekstrack.output(&["--lock-timeout", "0.2", "upgrade", "phase", "prod", "X"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(&format!("process {}", std::process::id())),
        "{told}"
    );
    assert!(told.contains("hint:"), "{told}");
    journal.unlock().unwrap();
    ekstrack.ok(&["upgrade", "phase", "prod", "X"]);
}

#[test]
fn a_damaged_journal_is_shown_with_its_place_and_repaired() {
    let ekstrack = Ekstrack::started();
    for phase in ["One", "Two", "Three"] {
        ekstrack.ok(&["upgrade", "phase", "prod", phase]);
    }
    let text = fs::read_to_string(ekstrack.journal()).unwrap();
    fs::write(
        ekstrack.journal(),
        text.replacen("\"phase\":\"One\"", "\"phase\":\"Won\"", 1),
    )
    .unwrap();
    check(
        "damage",
        &ekstrack.transcript(&[
            &["verify"],
            &["upgrade", "show", "prod"],
            &["upgrade", "list"],
            &["upgrade", "phase", "prod", "Four"],
        ]),
    );
    let journal = ekstrack.journal();
    check(
        "repair",
        &ekstrack
            .transcript(&[&["journal", "repair", "upgrade:prod"], &["verify"]])
            .replace("data/progress", "data"),
    );
    assert!(journal.exists());
    ekstrack.ok(&["journal", "repair", journal.to_str().unwrap()]);
    let head = ekstrack.json(&["upgrade", "show", "prod"])["head"]
        .as_str()
        .unwrap()
        .to_owned();
    ekstrack.ok(&["upgrade", "phase", "prod", "Five"]);
    ekstrack.ok(&["verify", "--head", &head]);
    let missing = ekstrack.output(&["verify", "--head", &"0".repeat(64)]);
    assert_eq!(missing.status.code(), Some(4));
}

#[test]
fn an_altered_artifact_is_found() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["run", "prod", "build", "--", "echo", "hello"]);
    let log = ekstrack.data().join("artifacts/prod/build/stdout.log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&log, "hullo\n").unwrap();
    let output = ekstrack.output(&["verify"]);
    assert_eq!(output.status.code(), Some(4));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("artifacts/prod/build/stdout.log is altered"),
        "{told}"
    );
}
