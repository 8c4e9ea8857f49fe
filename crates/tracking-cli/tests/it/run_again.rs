//! `ekstrack run` of a task that was run before, or is being run.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ekstrack::Ekstrack;

/// A run that goes on until its stdin ends, and the process id of its command, which it has noted.
fn waiting(ekstrack: &Ekstrack, task: &str) -> (Child, u32) {
    let mut running = ekstrack
        .command(&["run", "prod", task, "--", "sh", "-c", "echo $$; read x; exit 0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut id = String::new();
    while !id.ends_with('\n') {
        let mut byte = [0];
        running.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        id.push(char::from(byte[0]));
    }
    let id = id.trim().parse().unwrap();
    let lock = ekstrack
        .data()
        .join(format!("progress/upgrade_prod.runs/{task}.lock"));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(&lock)
        .unwrap()
        .contains(&format!("{{\"pid\":{id},"))
    {
        assert!(Instant::now() < deadline, "the run does not note its command");
        std::thread::yield_now();
    }
    (running, id)
}

fn runs(ekstrack: &Ekstrack) -> bool {
    ekstrack.data().join("progress/upgrade_prod.runs").exists()
}

#[test]
fn a_completed_task_is_skipped_if_that_is_asked_for() {
    let ekstrack = Ekstrack::started();
    let run = |task: &str, code: &str| {
        let script = format!("echo ran; exit {code}");
        let output = ekstrack.output(&["run", "prod", task, "--if-needed", "--", "sh", "-c", &script]);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(run("t", "3"), (3, "ran\n".to_owned(), String::new()));
    assert_eq!(run("t", "0"), (0, "ran\n".to_owned(), String::new()));
    let note = "ekstrack: note: task t is completed already: the command is not run\n";
    assert_eq!(run("t", "0"), (0, String::new(), note.to_owned()));
    let document = ekstrack.json(&["run", "prod", "t", "--if-needed", "--", "echo", "ran"]);
    assert_eq!(
        (&document["status"], &document["exit_code"]),
        (&"completed".into(), &0.into())
    );
    ekstrack.ok(&["upgrade", "complete", "prod"]);
    assert_eq!(run("t", "0").0, 0);
    assert_eq!(run("other", "0").0, 125);
}

#[test]
fn a_task_that_is_being_run_is_not_run_again_unless_it_shall() {
    let ekstrack = Ekstrack::started();
    let (first, _) = waiting(&ekstrack, "t");
    let again = ekstrack.output(&["run", "prod", "t", "--", "echo", "ran"]);
    let told = String::from_utf8(again.stderr).unwrap();
    assert_eq!(
        (again.status.code(), again.stdout.as_slice()),
        (Some(125), b"".as_slice()),
        "{told}"
    );
    let holder = format!("it is being run by process {} of tester@", first.id());
    assert!(told.contains(&holder) && told.contains("--anyway"), "{told}");
    ekstrack.ok(&["run", "prod", "other", "--", "true"]);
    let anyway = ekstrack.output(&["run", "prod", "t", "--anyway", "--", "echo", "ran"]);
    assert_eq!(anyway.stdout, b"ran\n");
    assert!(first.wait_with_output().unwrap().status.success());
    assert!(!runs(&ekstrack));
}

#[test]
fn a_run_that_was_killed_holds_nothing_and_its_command_is_told() {
    let ekstrack = Ekstrack::started();
    let (mut killed, command) = waiting(&ekstrack, "t");
    killed.kill().unwrap();
    // Its stdin stays open, and with that the command.
    let stdin = killed.stdin.take();
    killed.wait().unwrap();
    let again = ekstrack.output(&["run", "prod", "t", "--", "sh", "-c", "exit 4"]);
    let told = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(4), "{told}");
    assert!(
        told.contains(&format!("its command still runs as process {command}")),
        "{told}"
    );
    drop(stdin);
    let ended = Command::new("kill")
        .args(["-9", &command.to_string()])
        .stderr(Stdio::null())
        .status();
    ended.unwrap();

    let (mut killed, command) = waiting(&ekstrack, "t");
    let ended = Command::new("kill")
        .args(["-STOP", &killed.id().to_string()])
        .status();
    assert!(ended.unwrap().success());
    drop(killed.stdin.take());
    while fs::read_to_string(format!("/proc/{command}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let again = ekstrack.output(&["run", "prod", "t", "--", "true"]);
    let told = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.success() && !told.contains("still runs"), "{told}");
    assert!(!runs(&ekstrack));
}

#[test]
fn the_locks_go_with_the_upgrade() {
    let ekstrack = Ekstrack::started();
    let (mut killed, _) = waiting(&ekstrack, "t");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(runs(&ekstrack));
    ekstrack.ok(&["upgrade", "rm", "prod", "--force"]);
    assert!(!runs(&ekstrack));
}
