//! `ekstrack run --tty`: the command has a terminal of its own.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use rustix::termios::LocalModes;

use crate::ekstrack::Ekstrack;
use crate::terminal::Terminal;

fn logged(ekstrack: &Ekstrack, task: &str) -> String {
    fs::read_to_string(
        ekstrack
            .data()
            .join("artifacts/prod")
            .join(task)
            .join("stdout.log"),
    )
    .unwrap()
}

#[test]
fn the_command_has_a_terminal_where_we_have_none() {
    let ekstrack = Ekstrack::started();
    let script = "test -t 1 && test -t 2 && ! test -t 0 && echo yes; tty </dev/tty >/dev/null && stty size </dev/tty; \
                  printf '\\033[1mbold\\033[0m\\n' >&2; cat; exit 5";
    let output = ekstrack.output(&["run", "prod", "t", "--tty", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let passed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(passed, "yes\r\n24 80\r\n\u{1b}[1mbold\u{1b}[0m\r\n");
    assert_eq!(logged(&ekstrack, "t"), passed);
    assert!(output.stderr.is_empty());
    let killed = ekstrack.output(&["run", "prod", "k", "--tty", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.status.signal(), Some(15));
    let none = ekstrack.output(&["run", "prod", "n", "--tty", "--", "/no/such/program"]);
    assert_eq!(none.status.code(), Some(127));
}

#[test]
fn large_output_of_a_terminal_is_whole() {
    let ekstrack = Ekstrack::started();
    let output = ekstrack.output(&["run", "prod", "t", "--tty", "--", "seq", "1", "100000"]);
    let wanted: String = (1..=100_000).map(|n| format!("{n}\r\n")).collect();
    assert!(output.stdout == wanted.as_bytes());
    assert!(logged(&ekstrack, "t") == wanted);
}

#[test]
fn keys_and_sizes_reach_the_command_and_our_terminal_is_restored() {
    let ekstrack = Ekstrack::started();
    // `wait` ends for a signal with a trap, unlike a read.
    let script = "trap 'stty size; kill $!' WINCH; echo u''p; stty size; read x; echo got-$x; \
                  sleep 60 & echo sleeps; wait; read x; echo got-$x";
    let mut terminal = Terminal::running(
        &ekstrack,
        &["run", "prod", "t", "--tty", "--", "sh", "-c", script],
    );
    let before = terminal.modes();
    assert!(before.local_modes.contains(LocalModes::ICANON));
    terminal.wait_for("up");
    terminal.wait_for("40 100");
    terminal.wait_for_modes(|modes| !modes.local_modes.contains(LocalModes::ICANON));
    terminal.press("one\r");
    terminal.wait_for("got-one");
    terminal.wait_for("sleeps");
    terminal.resize(50, 120);
    terminal.wait_for("50 120");
    terminal.press("two\r");
    terminal.wait_for("got-two");
    assert!(terminal.child().wait().unwrap().success());
    assert_eq!(terminal.modes().local_modes, before.local_modes);
    assert!(logged(&ekstrack, "t").contains("got-one"));
}

#[test]
fn ctrl_c_kills_the_command_the_script_and_restores_the_terminal() {
    let ekstrack = Ekstrack::started();
    let script = "for i in 1 2 3; do $EK run prod t$i --tty -- sh -c 'echo up-$0; sleep 60' $i; done\n";
    fs::write(ekstrack.home().join("loop.sh"), script).unwrap();
    let mut terminal = Terminal::shell(&ekstrack);
    terminal.enter("bash loop.sh");
    terminal.wait_for("up-1");
    terminal.wait_for_modes(|modes| !modes.local_modes.contains(LocalModes::ISIG));
    terminal.press("\x03");
    terminal.wait_for("$ ");
    terminal.enter("echo ended-$?");
    terminal.wait_for("ended-130");
    assert!(terminal.modes().local_modes.contains(LocalModes::ISIG));
    let task = ekstrack.json(&["task", "show", "prod", "t1"]);
    assert_eq!(task["error_message"], "killed by signal 2 (SIGINT)");
    assert!(!ekstrack.output(&["task", "show", "prod", "t2"]).status.success());
}

#[test]
fn our_terminal_is_restored_when_a_signal_ends_us() {
    let ekstrack = Ekstrack::started();
    let args = ["run", "prod", "t", "--tty", "--", "sh", "-c", "echo up; sleep 60"];
    let mut terminal = Terminal::running(&ekstrack, &args);
    terminal.wait_for("up");
    terminal.wait_for_modes(|modes| !modes.local_modes.contains(LocalModes::ICANON));
    let id = rustix::process::Pid::from_child(terminal.child());
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(terminal.child().wait().unwrap().signal(), Some(15));
    assert!(terminal.modes().local_modes.contains(LocalModes::ICANON));
}
