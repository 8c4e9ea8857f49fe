//! `ekstrack run` where memory, threads or descriptors are short: the status is the command's own.

use std::os::unix::fs::chown;
use std::path::Path;

use crate::ekstrack::Ekstrack;

const RUN: [&str; 5] = ["--", "sh", "-c", "echo ran; exit 7", "sh"];

fn with_limit(ekstrack: &Ekstrack, user: &[&str], limit: &str, args: &[&str]) -> std::process::Output {
    let script = format!("ulimit {limit}; exec \"$@\"");
    let wrapper = [user, &["bash", "-c", &script, "bash"]].concat();
    ekstrack.output_by(&wrapper, args)
}

fn assert_ran(ekstrack: &Ekstrack, user: &[&str], limit: &str) {
    let task = limit.trim_start_matches('-').replace(' ', "");
    let output = with_limit(
        ekstrack,
        user,
        limit,
        &[&["run", "prod", &task], &RUN[..]].concat(),
    );
    assert_eq!(output.status.code(), Some(7), "{limit}: {output:?}");
    assert_eq!(output.stdout, b"ran\n", "{limit}: {output:?}");
}

#[test]
fn with_little_memory_the_status_is_the_commands() {
    let ekstrack = Ekstrack::started();
    let mut tried = 0;
    for kind in ["-v", "-d"] {
        for kibibytes in (10_000..200_000)
            .step_by(15_000)
            .chain([400_000, 800_000, 1_600_000, 4_000_000])
        {
            let limit = format!("{kind} {kibibytes}");
            // With less the program cannot even be loaded.
            if with_limit(&ekstrack, &[], &limit, &["--version"])
                .status
                .success()
            {
                assert_ran(&ekstrack, &[], &limit);
                tried += 1;
            }
        }
    }
    assert!(tried >= 10);
    // Where there is enough, it is tracked.
    assert_eq!(
        ekstrack.json(&["task", "show", "prod", "v4000000"])["status"],
        "failed"
    );
}

#[test]
fn a_command_that_takes_our_place_has_its_document_too() {
    let ekstrack = Ekstrack::started();
    let args = [&["--json", "run", "prod", "t"], &RUN[..]].concat();
    let output = with_limit(&ekstrack, &[], "-n 20", &args);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["task_id"], "t", "{document}");
    assert_eq!(document["exit_code"], serde_json::Value::Null, "{document}");
    assert_eq!(document["status"], serde_json::Value::Null, "{document}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("without being tracked") && told.contains("ran\n"),
        "{told}"
    );
}

#[test]
fn without_threads_the_status_is_the_commands() {
    let ekstrack = Ekstrack::started();
    // The limit does not hold for root; a user of our own has no other processes.
    let id = (70_000 + std::process::id() % 10_000).to_string();
    let (reuid, regid) = (format!("--reuid={id}"), format!("--regid={id}"));
    let mut user: Vec<&str> = Vec::new();
    if rustix::process::geteuid().is_root() {
        user = vec!["setpriv", &reuid, &regid, "--clear-groups"];
        give(ekstrack.home(), id.parse().unwrap());
    }
    for most in 1..=16 {
        assert_ran(&ekstrack, &user, &format!("-u {most}"));
    }
}

fn give(path: &Path, to: u32) {
    chown(path, Some(to), Some(to)).unwrap();
    if path.is_dir() {
        for entry in path.read_dir().unwrap() {
            give(&entry.unwrap().path(), to);
        }
    }
}

#[test]
fn without_descriptors_the_status_is_the_commands() {
    let ekstrack = Ekstrack::started();
    for most in (6..=40).chain((48..160).step_by(16)) {
        assert_ran(&ekstrack, &[], &format!("-n {most}"));
    }
}

#[test]
fn a_limit_on_the_size_of_files_ends_neither_us_nor_the_command() {
    let ekstrack = Ekstrack::started();
    let output = with_limit(
        &ekstrack,
        &[],
        "-f 64",
        &["run", "prod", "t", "--", "sh", "-c", "seq 1 100000 | cat; exit 7"],
    );
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(output.stdout.ends_with(b"100000\n"));
}
