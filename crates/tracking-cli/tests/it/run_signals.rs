//! `ekstrack run` and signals: it ends as its command ends, and signals reach the command.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::ekstrack::Ekstrack;

/// A `run` of a shell script that has printed its first line.
fn started(ekstrack: &Ekstrack, task: &str, script: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut running = ekstrack
        .command(&["run", "prod", task, "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    (running, lines)
}

fn send(signal: &str, to: &Child) {
    let sent = Command::new("kill")
        .args(["-s", signal, &to.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn it_dies_as_its_command_dies() {
    let ekstrack = Ekstrack::started();
    for (name, number) in [
        ("INT", 2),
        ("QUIT", 3),
        ("TERM", 15),
        ("HUP", 1),
        ("SEGV", 11),
        ("PIPE", 13),
    ] {
        let script = format!("kill -s {name} $$");
        let output = ekstrack
            .command(&["run", "prod", name, "--", "sh", "-c", &script])
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(number), "{name}: {output:?}");
        assert!(!output.status.core_dumped(), "{name}");
        let task = ekstrack.json(&["task", "show", "prod", name]);
        assert_eq!(task["status"], "failed");
        let error = task["error_message"].as_str().unwrap();
        assert!(
            error.starts_with(&format!("killed by signal {number} (SIG{name})")),
            "{error}"
        );
    }
}

#[test]
fn a_signal_to_us_decides_nothing_that_the_command_does_not() {
    let ekstrack = Ekstrack::started();
    let loops = "echo ready; while :; do sleep 0.05; done";
    let (mut running, _lines) = started(&ekstrack, "dies", loops);
    send("TERM", &running);
    assert_eq!(running.wait().unwrap().signal(), Some(15));
    let (mut running, _lines) = started(&ekstrack, "ends", &format!("trap 'exit 7' TERM; {loops}"));
    send("TERM", &running);
    assert_eq!(running.wait().unwrap().code(), Some(7));
}

/// Process 1 cannot be killed by a signal of its own.
#[test]
fn process_1_ends_with_the_code_of_the_signal() {
    let ekstrack = Ekstrack::started();
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--map-root-user"];
    let output = ekstrack.output_by(&unshare, &["run", "prod", "t", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(143), "{output:?}");
}

#[test]
fn signals_of_all_kinds_reach_the_command_and_are_recorded() {
    let ekstrack = Ekstrack::started();
    let names = [
        "USR1", "USR2", "ALRM", "WINCH", "HUP", "INT", "QUIT", "ABRT", "CONT", "VTALRM", "PROF", "IO", "PWR",
        "XCPU", "XFSZ", "URG",
    ];
    let traps: Vec<String> = names
        .iter()
        .map(|name| format!("trap 'echo {name}' {name};"))
        .collect();
    let script = format!(
        "trap 'exit 3' TERM; {} echo ready; while :; do sleep 0.02; done",
        traps.join(" ")
    );
    let (mut running, mut lines) = started(&ekstrack, "t", &script);
    for name in names {
        send(name, &running);
        assert_eq!(lines.next().unwrap().unwrap(), name);
    }
    send("TERM", &running);
    assert_eq!(running.wait().unwrap().code(), Some(3));
    let journal = std::fs::read_to_string(ekstrack.journal()).unwrap();
    let recorded = |name: &str| {
        let message = format!("{name} was sent to ekstrack run");
        let details = format!("\"signal\":\"{name}\"");
        let mut lines = journal.lines();
        lines.any(|line| line.contains(&message) && line.contains(&details) && line.contains("sent_by_pid"))
    };
    for name in ["SIGUSR1", "SIGALRM", "SIGTERM"] {
        assert!(recorded(name), "{name} is not recorded: {journal}");
    }
    assert!(!journal.contains("SIGWINCH"));
}

#[test]
fn what_was_ignored_stays_ignored() {
    let ekstrack = Ekstrack::started();
    let trap = ["sh", "-c", "trap '' INT USR1; exec \"$@\"", "sh"];
    let script = "kill -INT $$; kill -USR1 $$; echo alive";
    let output = ekstrack.output_by(&trap, &["run", "prod", "t", "--", "sh", "-c", script]);
    assert!(output.status.success());
    assert_eq!(output.stdout, b"alive\n");
}

/// A parent that ignores SIGCHLD makes its children's ends unknown, unless they take it back.
#[test]
fn an_ignored_sigchld_does_not_hide_how_the_command_ended() {
    let ekstrack = Ekstrack::started();
    let trap = [
        "python3",
        "-c",
        "import os,signal,sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])",
    ];
    let output = ekstrack.output_by(&trap, &["run", "prod", "t", "--", "sh", "-c", "exit 9"]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
}
