//! `ekstrack run` at a terminal: job control and keys do what they do without it.

use std::time::{Duration, Instant};

use crate::ekstrack::Ekstrack;
use crate::terminal::Terminal;

fn status(ekstrack: &Ekstrack, task: &str) -> Option<serde_json::Value> {
    let output = ekstrack.output(&["--json", "task", "show", "prod", task]);
    let task: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(task["status"].clone())
}

fn wait_for_status(ekstrack: &Ekstrack, task: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while status(ekstrack, task).is_none_or(|status| status != wanted) {
        assert!(
            Instant::now() < deadline,
            "{task} is {:?}",
            status(ekstrack, task)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_ends_the_script_and_not_only_its_step() {
    let ekstrack = Ekstrack::started();
    let script = "for i in 1 2 3; do $EK run prod t$i -- sh -c 'echo up-$0; sleep 60' $i; done\n";
    std::fs::write(ekstrack.home().join("loop.sh"), script).unwrap();
    for shell in ["sh", "bash"] {
        let mut terminal = Terminal::shell(&ekstrack);
        terminal.enter(&format!("{shell} loop.sh"));
        terminal.wait_for("up-1");
        terminal.press("\x03");
        terminal.wait_for("$ ");
        terminal.enter("echo ended-$?");
        terminal.wait_for("ended-130");
        assert_eq!(status(&ekstrack, "t1").unwrap(), "failed");
        assert_eq!(status(&ekstrack, "t2"), None);
    }
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let ekstrack = Ekstrack::started();
    let mut terminal = Terminal::shell(&ekstrack);
    let script = "trap \"echo caught\" INT; echo u\"\"p; read x; read x; echo got-$x";
    terminal.enter(&format!("ekstrack run prod t -- sh -c '{script}'; echo ended-$?"));
    terminal.wait_for("up");
    terminal.press("\x03");
    terminal.wait_for("caught");
    terminal.enter("one");
    terminal.enter("two");
    terminal.wait_for("ended-0");
    assert_eq!(
        terminal.screen().matches("caught\r\n").count(),
        1,
        "{}",
        terminal.screen()
    );
}

#[test]
fn a_signal_that_is_sent_to_us_in_the_foreground_reaches_the_command() {
    let ekstrack = Ekstrack::started();
    let mut terminal = Terminal::shell(&ekstrack);
    terminal.enter("timeout --foreground -s INT 1 $EK run prod t -- sleep 60; echo ended-$?");
    terminal.wait_for("ended-124");
    let error = ekstrack.json(&["task", "show", "prod", "t"])["error_message"].clone();
    assert_eq!(
        error,
        "killed by signal 2 (SIGINT), after SIGINT was sent to ekstrack"
    );
}

#[test]
fn a_background_job_that_reads_the_terminal_goes_on_in_the_foreground() {
    let ekstrack = Ekstrack::started();
    let mut terminal = Terminal::shell(&ekstrack);
    terminal.enter("ekstrack run prod t -- sh -c 'read x; echo got-$x' &");
    wait_for_status(&ekstrack, "t", "in_progress");
    terminal.enter("until jobs | grep Stopped; do sleep 0.05; done");
    terminal.wait_for("Stopped");
    terminal.enter("fg");
    terminal.enter("hello");
    terminal.wait_for("got-hello");
    wait_for_status(&ekstrack, "t", "completed");

    terminal.enter("ekstrack run prod c -- sh -c 'read x; echo got-$x' &");
    wait_for_status(&ekstrack, "c", "in_progress");
    terminal.enter("until jobs | grep Stopped; do sleep 0.05; done; fg");
    terminal.wait_for("Stopped");
    terminal.wait_for("read x");
    terminal.press("\x03");
    terminal.wait_for("$ ");
    terminal.enter("echo ended-$?");
    terminal.wait_for("ended-130");
}

#[test]
fn ctrl_z_stops_the_job_and_fg_continues_it() {
    let ekstrack = Ekstrack::started();
    let mut terminal = Terminal::shell(&ekstrack);
    terminal.enter("ekstrack run prod t -- sh -c 'echo u\"\"p; read x; echo got-$x'");
    terminal.wait_for("up");
    terminal.press("\x1a");
    terminal.wait_for("Stopped");
    terminal.enter("fg");
    terminal.enter("hello");
    terminal.wait_for("got-hello");
    wait_for_status(&ekstrack, "t", "completed");
}
