//! The output of a command that `ekstrack run` runs: kept whole, whatever our own reader does.

use std::fs;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::ekstrack::Ekstrack;

fn numbers(last: u32) -> Vec<u8> {
    (1..=last)
        .map(|n| format!("{n}\n"))
        .collect::<String>()
        .into_bytes()
}

fn status(ekstrack: &Ekstrack, task: &str) -> serde_json::Value {
    ekstrack.json(&["task", "show", "prod", task])["status"].clone()
}

/// Polls until the task has ended; the reader has read nothing by then.
fn wait_for_end(ekstrack: &Ekstrack, task: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while status(ekstrack, task) != "completed" {
        assert!(Instant::now() < deadline, "keeping waits for the reader");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_reader_that_is_slow_gets_everything_and_holds_nothing_up() {
    let ekstrack = Ekstrack::started();
    let mut running = ekstrack
        .command(&["run", "prod", "t", "--", "seq", "1", "300000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first bytes are there, so the command has started.
    let mut first = [0; 2];
    running.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    wait_for_end(&ekstrack, "t");
    let log = fs::read(ekstrack.data().join("artifacts/prod/t/stdout.log")).unwrap();
    assert!(log == numbers(300_000), "{} bytes", log.len());
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!([&first, output.stdout.as_slice()].concat() == log);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Runs `ekstrack` with a non-blocking pipe as its stdout, which is read only once it is full.
fn non_blocking(ekstrack: &Ekstrack, args: &[&str]) -> Vec<u8> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut running = ekstrack.command(args).stdout(writer).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while rustix::io::ioctl_fionread(&reader).unwrap() < 65_536 - 4_096 {
        assert!(Instant::now() < deadline, "there is too little output");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(running.wait().unwrap().success());
    all
}

#[test]
fn a_non_blocking_stdout_gets_everything() {
    let ekstrack = Ekstrack::started();
    let passed = non_blocking(&ekstrack, &["run", "prod", "t", "--", "seq", "1", "300000"]);
    assert!(passed == numbers(300_000), "{} bytes", passed.len());
    let completions = ["--json", "completions", "zsh"];
    let whole = ekstrack.ok(&completions);
    assert!(non_blocking(&ekstrack, &completions) == whole.into_bytes());
}

#[test]
fn a_stdout_that_cannot_be_written_is_said_once_and_the_log_is_whole() {
    let ekstrack = Ekstrack::started();
    let output = ekstrack
        .command(&["run", "prod", "t", "--", "seq", "1", "100000"])
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("stdout").count(), 1, "{told}");
    assert!(told.contains("No space left on device"), "{told}");
    let log = fs::read(ekstrack.data().join("artifacts/prod/t/stdout.log")).unwrap();
    assert!(log == numbers(100_000));
}

/// A service that a command left running goes on writing after `run` has ended, and does not die of SIGPIPE.
#[test]
fn a_service_that_is_left_behind_lives_on() {
    let ekstrack = Ekstrack::started();
    // It writes once more when it is told to, and says whether that went well.
    let service =
        "(trap '' HUP; echo $$; until [ -e go ]; do sleep 0.02; done; echo more && echo alive >result) &";
    let script = format!("{service} echo started");
    let output = ekstrack.output(&["run", "prod", "t", "--", "sh", "-c", &script]);
    assert!(output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("holds its stdout") && told.contains("`>FILE 2>&1 &`"),
        "{told}"
    );
    let log = fs::read_to_string(ekstrack.data().join("artifacts/prod/t/stdout.log")).unwrap();
    assert!(log.contains("started"), "{log}");
    fs::write(ekstrack.home().join("go"), "").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(ekstrack.home().join("result")).is_ok_and(|result| result == "alive\n") {
        assert!(Instant::now() < deadline, "it does not live");
        std::thread::sleep(Duration::from_millis(20));
    }
}
