//! What is refused, how that is told, and the exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sha2::{Digest, Sha256};

use crate::ekstrack::{Ekstrack, check, held_back};

/// The lines with the hashes that fit them.
fn rehashed(lines: &str) -> String {
    let mut text = String::new();
    let mut before: Option<Vec<u8>> = None;
    for line in lines.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let (body, _) = line.rsplit_once(",\"hash\":").unwrap();
        let predecessor = before.unwrap_or_else(|| {
            let (stream, epoch) = (
                record["stream"].as_str().unwrap(),
                record["epoch"].as_str().unwrap(),
            );
            Sha256::digest(format!("{stream}{epoch}")).to_vec()
        });
        let hash = Sha256::new()
            .chain_update(predecessor)
            .chain_update(body)
            .finalize()
            .to_vec();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("{body},\"hash\":\"{hex}\"}}\n"));
        before = Some(hash);
    }
    text
}

#[test]
fn rules_are_told_in_two_or_three_lines() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["task", "add", "prod", "a", "--name", "A", "--type", "cleanup"]);
    ekstrack.ok(&[
        "task", "add", "prod", "done", "--name", "Done", "--type", "cleanup",
    ]);
    ekstrack.ok(&["task", "complete", "prod", "done"]);
    ekstrack.ok(&["task", "add", "prod", "bad", "--name", "Bad", "--type", "cleanup"]);
    ekstrack.ok(&["task", "fail", "prod", "bad", "--error", "no quorum"]);
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
            &["task", "progress", "prod", "done", "5"],
            &["task", "complete", "prod", "done"],
            &["task", "fail", "prod", "bad", "--error", "again"],
            &["task", "progress", "prod", "bad", "5"],
            &["upgrade", "resume", "prod"],
            &["task", "progress", "nope", "a", "5"],
            &[
                "task", "progress", "prod", "a", "5", "--detail", "k=1", "--detail", "k=2",
            ],
            &["session", "show", "nope"],
            &["artifact", "show", "nope"],
            &["verify", "upgrade:nope"],
            &["journal", "repair", "upgrade:nope"],
            &["journal", "repair", "some/file"],
            &["--json", "upgrade", "show", "nope"],
        ]),
    );
    let records = fs::read(ekstrack.journal()).unwrap();
    let refused = ekstrack.transcript(&[&["task", "progress", "prod", "a", "1", "--detail", &large]]);
    check("details", &refused.replace(&large, "x=<70,000 bytes>"));
    assert_eq!(fs::read(ekstrack.journal()).unwrap(), records);
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

/// What runs a command in a mount namespace of its own, after `script`, which may mount things.
fn in_a_namespace(script: &str) -> Vec<String> {
    let mut wrapper = vec!["unshare".to_owned(), "--mount".to_owned()];
    if !rustix::process::geteuid().is_root() {
        wrapper.push("--map-root-user".to_owned());
    }
    wrapper.extend(["sh", "-c", &format!("{script} && \"$0\" \"$@\"")].map(str::to_owned));
    wrapper
}

const WRITE: &[&str] = &["upgrade", "phase", "prod", "X"];
const ADD: &[&str] = &["artifact", "add", "s", "c", "-", "--name", "note"];

#[test]
fn a_data_directory_that_may_not_be_read() {
    let ekstrack = Ekstrack::started();
    fs::set_permissions(ekstrack.data(), fs::Permissions::from_mode(0o000)).unwrap();
    let told = ekstrack.transcript_by(
        held_back(),
        &[&["upgrade", "list"], &["upgrade", "show", "prod"], WRITE],
    );
    fs::set_permissions(ekstrack.data(), fs::Permissions::from_mode(0o700)).unwrap();
    check("unreadable", &told);
}

#[test]
fn a_data_directory_that_is_read_only() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let wrapper = in_a_namespace("mount --bind data data && mount -o remount,bind,ro data");
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let told = ekstrack.transcript_by(&wrapper, &[WRITE, ADD]);
    check("read-only", &told);
    // Reading works, also getting a file out: only the history cannot tell of it.
    let source = ekstrack.home().join("kept.log");
    fs::write(&source, "kept").unwrap();
    let added = ekstrack.json(&["artifact", "add", "s", "c", "kept.log"]);
    let id = added["artifact_id"].as_str().unwrap();
    check(
        "read-only-download",
        &ekstrack.transcript_by(&wrapper, &[&["artifact", "download", id, "copy.log"]]),
    );
    assert_eq!(
        fs::read_to_string(ekstrack.home().join("copy.log")).unwrap(),
        "kept"
    );
    let shown = ekstrack.transcript_by(
        &wrapper,
        &[&["upgrade", "show", "prod"], &["verify"], &["search"], &["stats"]],
    );
    assert!(!shown.contains("[exit"), "reading needs no writing: {shown}");
}

#[test]
fn a_disk_that_is_full() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let wrapper = in_a_namespace(
        "mkdir full && mount -t tmpfs -o size=1m none full && cp -a data/. full && mount --move full data && \
         { head -c 2M /dev/zero > data/ballast; true; } 2> /dev/null",
    );
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    // What needs more than the rest of a page.
    ekstrack.ok(&["task", "add", "prod", "a", "--name", "A", "--type", "cleanup"]);
    let large = format!("log={}", "y".repeat(5_000));
    fs::write(ekstrack.home().join("report.txt"), "y".repeat(5_000)).unwrap();
    let report: &[&str] = &["task", "progress", "prod", "a", "5", "--detail", &large];
    let add: &[&str] = &["artifact", "add", "s", "c", "report.txt"];
    let mut told = String::new();
    for command in [WRITE, report, add] {
        told += &ekstrack.transcript_by(&wrapper, &[command]);
        fs::remove_dir(ekstrack.home().join("full")).unwrap();
    }
    check("full", &told.replace(&large, "log=<5,000 bytes>"));
}

#[test]
fn artifacts_are_tagged_and_removed_on_a_disk_that_is_full() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "C", "--id", "c"]);
    // No index yet: its first page does not fit.
    fs::write(ekstrack.home().join("large.log"), "evidence\n".repeat(50_000)).unwrap();
    let added = ekstrack.json(&["artifact", "add", "s", "c", "large.log"]);
    let id = added["artifact_id"].as_str().unwrap();
    let commands = format!(
        "set -e; \"$0\" artifact tag {id} t; \"$0\" artifact tag {id} u; \"$0\" search evidence --json; \
         \"$0\" artifact rm {id}; test ! -e data/artifacts/s/c/large.log; \
         \"$0\" artifact show {id} --json"
    );
    let mut wrapper = in_a_namespace(
        "mkdir full && mount -t tmpfs -o size=1m none full && cp -a data/. full && rm -f full/index.sqlite* && \
         mount --move full data && { head -c 2M /dev/zero > data/ballast; true; } 2> /dev/null",
    );
    let last = wrapper.len() - 1;
    wrapper[last] = wrapper[last].replace("\"$0\" \"$@\"", &format!("{{ {commands}; }}"));
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let output = ekstrack.output_by(&wrapper, &[]);
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    assert!(told.contains("\"deleted\""), "{told}");
    let warned = told.matches("the search index cannot be used").count();
    assert_eq!(warned, 1, "{told}");
}

#[test]
fn another_process_that_keeps_the_lock() {
    let ekstrack = Ekstrack::started();
    let journal = fs::File::options().write(true).open(ekstrack.journal()).unwrap();
    journal.lock().unwrap();
    let output = ekstrack.output(&["--lock-timeout", "0.2", "upgrade", "phase", "prod", "X"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let pid = std::process::id().to_string();
    assert!(told.contains(&format!("process {pid}")), "{told}");
    let home = ekstrack.home().canonicalize().unwrap();
    check(
        "locked",
        &told
            .replace(&home.display().to_string(), "$HOME")
            .replace(&pid, "<pid>"),
    );
    journal.unlock().unwrap();
    ekstrack.ok(&["upgrade", "phase", "prod", "X"]);
}

#[test]
fn a_newer_program_wrote_the_last_record() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let mut newer = String::new();
    for line in fs::read_to_string(ekstrack.journal()).unwrap().lines() {
        newer.push_str(&line.replacen("{\"v\":1,", "{\"v\":2,", 1));
        newer.push('\n');
    }
    fs::write(ekstrack.journal(), rehashed(&newer)).unwrap();
    check(
        "newer",
        &ekstrack.transcript(&[
            &["upgrade", "phase", "prod", "X"],
            &[
                "upgrade",
                "start",
                "prod",
                "--plan",
                "plan-7",
                "--cluster",
                "prod-eu",
            ],
            &["upgrade", "rm", "prod"],
        ]),
    );
    ekstrack.ok(&["upgrade", "show", "prod"]);
    ekstrack.ok(&["upgrade", "rm", "prod", "--force"]);
    assert!(!ekstrack.journal().exists());
}

#[test]
fn what_a_writer_that_died_has_left_is_cut_off_and_told() {
    let ekstrack = Ekstrack::started();
    let mut journal = fs::read(ekstrack.journal()).unwrap();
    journal.extend_from_slice(br#"{"v":1,"stream":"upgr"#);
    fs::write(ekstrack.journal(), journal).unwrap();
    check(
        "torn",
        &ekstrack.transcript(&[&["upgrade", "phase", "prod", "X"], &["verify"]]),
    );
}

#[test]
fn what_cannot_be_looked_at_is_not_what_does_not_exist() {
    let ekstrack = Ekstrack::started();
    let journal = ekstrack.data().join("progress/upgrade_loop.jsonl");
    std::os::unix::fs::symlink(&journal, &journal).unwrap();
    let output = ekstrack.output(&["upgrade", "phase", "loop", "X"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(
        told.contains("cannot open") && told.contains("is a symbolic link"),
        "{told}"
    );
}

#[test]
fn a_session_whose_beginning_was_interrupted_does_not_hide_the_rest() {
    let ekstrack = Ekstrack::started();
    fs::write(ekstrack.data().join("artifacts/session_s.jsonl"), "").unwrap();
    assert!(ekstrack.ok(&["verify"]).contains("intact   upgrade:prod"));
}

#[test]
fn what_is_completed_with_failures_says_so_everywhere() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["task", "add", "prod", "a", "--name", "A", "--type", "cleanup"]);
    ekstrack.ok(&["task", "progress", "prod", "a", "150"]);
    check(
        "with-failures",
        &ekstrack.transcript(&[
            &["upgrade", "complete", "prod"],
            &["upgrade", "complete", "prod", "--allow-unfinished"],
            &["upgrade", "list"],
            &["upgrade", "show", "prod"],
        ]),
    );
    let listed = ekstrack.json(&["upgrade", "list"]);
    assert_eq!(listed["upgrades"][0]["completed_with_failures"], true);
}

#[test]
fn a_checkpoint_that_is_wrong_is_told_and_may_be_deleted() {
    let ekstrack = Ekstrack::started();
    let checkpoint = ekstrack.journal().with_extension("checkpoint");
    fs::write(&checkpoint, "no checkpoint\n").unwrap();
    check(
        "checkpoint",
        &ekstrack.transcript(&[&["verify"], &["upgrade", "list"]]),
    );
    fs::remove_file(&checkpoint).unwrap();
    ekstrack.ok(&["verify"]);
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
fn an_upgrade_whose_first_record_could_not_be_written_does_not_exist() {
    let ekstrack = Ekstrack::started();
    // What a start on a full disk leaves behind.
    let empty = ekstrack.data().join("progress/upgrade_u9.jsonl");
    fs::write(empty, "").unwrap();
    for args in [
        &["upgrade", "show", "u9"][..],
        &["export", "u9"],
        &["watch", "u9"],
        &["task", "start", "u9", "a"],
    ] {
        let output = ekstrack.output(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    ekstrack.ok(&["upgrade", "start", "u9", "--plan", "p", "--cluster", "c"]);
}

#[test]
fn an_upgrade_that_cannot_be_read_is_not_passed_over_by_watch() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "start", "old", "--plan", "p", "--cluster", "c"]);
    ekstrack.ok(&["upgrade", "complete", "old"]);
    let damaged = fs::read_to_string(ekstrack.journal())
        .unwrap()
        .replace("plan-7", "plan-8");
    fs::write(ekstrack.journal(), damaged).unwrap();
    let output = ekstrack.output(&["watch"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && stderr.contains("upgrade prod cannot be read"),
        "{stderr}"
    );
    ekstrack.ok(&["upgrade", "rm", "old"]);
    let output = ekstrack.output(&["watch"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(4) && stderr.contains("watch upgrade prod"),
        "{stderr}"
    );
}

#[test]
fn scripts_are_told_what_is_wrong_with_a_command_line() {
    let ekstrack = Ekstrack::started();
    check(
        "json-usage",
        &ekstrack.transcript(&[
            &["--json", "task", "add", "prod", "d", "--type", "cleanup"],
            &[
                "--json", "task", "add", "prod", "d", "--name", "D", "--type", "magic",
            ],
            &["--json", "completions", "klingon"],
            &["--json", "upgrade"],
            &["--json", "run", "nope", "t", "--", "true"],
            &["--json", "watch", "prod", "--since", "999"],
            &["task", "wait", "prod", "t", "--reason", " "],
        ]),
    );
    let head = "0".repeat(64);
    let output = ekstrack.output(&["--json", "verify", "--head", &head]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["ok"]), (Some(4), &false.into()));
}
