//! A network that is down costs a command little, and the next one less.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_servers::{FsServer, Reply, ScriptedServer};

use crate::machine::Machine;

fn started(endpoint: &str) -> Machine {
    let mut machine = Machine::new("http://127.0.0.1:1");
    let start = machine
        .command(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"])
        .env_remove("EKSTRACK_S3")
        .output()
        .unwrap();
    assert!(start.status.success(), "{start:?}");
    machine.endpoint = endpoint.to_owned();
    machine
}

fn outages(machine: &Machine) -> std::path::PathBuf {
    machine.home.path().join("ekstrack-data/cursors/outages.json")
}

/// Runs a command as a task; tells how long it took, and its notes.
fn run(machine: &Machine, task: &str) -> (Duration, Vec<String>) {
    let begun = Instant::now();
    let output = machine
        .command(&["run", "up", task, "--", "true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let notes = errors.lines().filter(|line| line.contains("deliver"));
    (begun.elapsed(), notes.map(str::to_owned).collect())
}

#[test]
fn an_outage_is_met_once_and_told_in_one_line() {
    let silent = ScriptedServer::start(|_, _| Reply::Stall);
    let mut machine = started(&silent.endpoint());
    let (first, notes) = run(&machine, "one");
    assert_eq!(notes.len(), 1, "{notes:#?}");
    let told = format!("{} does not answer for s3://test-bucket/team", silent.endpoint());
    assert!(notes[0].contains(&told), "{notes:#?}");
    let known = std::fs::read_to_string(outages(&machine)).unwrap();
    assert!(known.contains("s3://test-bucket/team"), "{known}");
    // A second at most, where the first waited for five. A busy machine may lose more than that on one of them.
    let mut second = Duration::MAX;
    for task in 2..7 {
        let (took, notes) = run(&machine, &task.to_string());
        second = second.min(took);
        assert_eq!(notes.len(), 1, "{notes:#?}");
    }
    assert!(
        second + Duration::from_secs(2) < first,
        "{second:?} after {first:?}"
    );
    println!("FAULT row=21 name=dead-network first={first:?} second={second:?}");

    let server = FsServer::start();
    machine.endpoint = server.endpoint();
    machine.ok(&["sync"]);
    let (_, notes) = run(&machine, "three");
    assert!(notes.is_empty(), "{notes:#?}");
    let known = std::fs::read_to_string(outages(&machine)).unwrap();
    assert!(
        !known.contains("test-bucket"),
        "what answers again is forgotten: {known}"
    );
}

/// Ctrl-C ends the waiting for the network; the command itself has ended well before.
#[test]
fn an_interrupt_ends_the_waiting() {
    let silent = ScriptedServer::start(|_, _| Reply::Stall);
    // A machine that is busy may take the five seconds until the signal comes.
    for attempt in 0..10 {
        let machine = started(&silent.endpoint());
        let mut command = machine.command(&["run", "up", "one", "--", "true"]);
        let child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let is_recorded = || {
            let shown = machine
                .command(&["--json", "task", "show", "up", "one"])
                .env_remove("EKSTRACK_S3")
                .output()
                .unwrap();
            String::from_utf8_lossy(&shown.stdout).contains("completed")
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_recorded() {
            assert!(Instant::now() < deadline, "the task is not recorded");
        }
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        // It may have ended by itself.
        kill_process(pid, Signal::INT).ok();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{errors}");
        if errors.contains("SIGINT ended the delivery") {
            println!("FAULT row=21 name=interrupted-delivery attempt={attempt}");
            return;
        }
    }
    panic!("no interrupt ended a delivery");
}
