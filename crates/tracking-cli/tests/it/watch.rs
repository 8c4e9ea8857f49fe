//! Watching an upgrade that other processes write.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::Value;

use crate::ekstrack::{Ekstrack, shell_code};

/// A watcher in a process of its own.
struct Watcher {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    fn spawn(ekstrack: &Ekstrack, args: &[&str]) -> Self {
        let mut process = ekstrack
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// What it still says, its exit code and what it complained of.
    fn end(self) -> (Vec<Value>, Option<i32>, String) {
        let rest = self
            .lines
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let rest = rest.collect();
        let output = self.process.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (rest, shell_code(output.status), stderr)
    }
}

fn seqs(messages: &[Value]) -> Vec<u64> {
    let seqs = messages
        .iter()
        .map(|message| message["data"]["seq"].as_u64().unwrap());
    seqs.collect()
}

#[test]
fn every_event_is_seen_once_while_another_process_writes() {
    let ekstrack = Ekstrack::started();
    let mut all = Watcher::spawn(&ekstrack, &["--json", "watch", "prod", "--since", "0"]);
    let mut live = Watcher::spawn(&ekstrack, &["--json", "watch"]);
    assert_eq!(all.next()["type"], "progress_summary");
    let begins = live.next()["data"]["seq"].as_u64().unwrap();
    for task in ["a", "b", "c"] {
        ekstrack.ok(&[
            "task",
            "add",
            "prod",
            task,
            "--name",
            task,
            "--type",
            "upgrade_step",
        ]);
        ekstrack.ok(&["task", "progress", "prod", task, "40"]);
        ekstrack.ok(&["task", "complete", "prod", task]);
    }
    ekstrack.ok(&["upgrade", "complete", "prod"]);
    let last = ekstrack.json(&["verify", "upgrade:prod"])["streams"][0]["records"]
        .as_u64()
        .unwrap();
    let (messages, code, _) = all.end();
    assert!(seqs(&messages).into_iter().eq(1..=last), "{:?}", seqs(&messages));
    assert_eq!(code, Some(0));
    let (messages, code, _) = live.end();
    assert!(
        seqs(&messages).into_iter().eq(begins + 1..=last),
        "{:?}",
        seqs(&messages)
    );
    assert_eq!(code, Some(0));
    assert_eq!(messages.last().unwrap()["data"]["type"], "upgrade.completed");
}

#[test]
fn it_resumes_after_a_sequence() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "phase", "prod", "Draining"]);
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let resume = |since: &str| {
        let (messages, code, _) =
            Watcher::spawn(&ekstrack, &["--json", "watch", "prod", "--since", since]).end();
        assert_eq!(code, Some(0));
        messages
    };
    let messages = resume("2");
    assert_eq!(messages[0]["type"], "progress_summary");
    let last = messages[0]["data"]["seq"].as_u64().unwrap();
    assert!(seqs(&messages[1..]).into_iter().eq(3..=last));
    assert_eq!(resume(&last.to_string()).len(), 1);
    let future = ekstrack.output(&["watch", "prod", "--since", "99"]);
    assert_eq!(future.status.code(), Some(2), "{future:?}");
}

#[test]
fn what_is_not_there_cannot_be_watched() {
    let ekstrack = Ekstrack::started();
    for args in [&["watch", "other"][..], &["--data-dir", "nowhere", "watch"]] {
        let output = ekstrack.output(args);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("hint:"));
    }
}

#[test]
fn an_interrupt_ends_it_quietly() {
    let ekstrack = Ekstrack::started();
    let mut watcher = Watcher::spawn(&ekstrack, &["--json", "watch", "prod"]);
    watcher.next();
    kill_process(Pid::from_child(&watcher.process), Signal::INT).unwrap();
    let (rest, code, stderr) = watcher.end();
    assert!(rest.is_empty() && stderr.is_empty(), "{rest:?} {stderr}");
    assert_eq!(code, Some(130));
}

#[test]
fn a_journal_that_disappears_is_not_shown_as_live() {
    let ekstrack = Ekstrack::started();
    let mut watcher = Watcher::spawn(&ekstrack, &["--json", "watch", "prod"]);
    watcher.next();
    std::fs::remove_file(ekstrack.journal()).unwrap();
    let (_, code, stderr) = watcher.end();
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("watch upgrade prod any longer"), "{stderr}");
}

/// A thread of the process waits in `poll` or `ppoll` (their numbers on x86-64 and arm64); the runtime itself uses epoll.
fn is_polling(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().any(|thread| {
        let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        ["7 ", "271 ", "73 "]
            .iter()
            .any(|number| call.starts_with(number))
    })
}

/// The terminal is full and was made non-blocking by another program: drawing waits for room.
#[test]
fn the_live_tree_waits_for_a_terminal_without_room() {
    let ekstrack = Ekstrack::started();
    let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&pty).unwrap();
    let far = ioctl_tiocgptpeer(&pty, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    let (mut screen, mut filler) = (fs::File::from(pty), fs::File::from(far));
    let flags = fcntl_getfl(&filler).unwrap();
    fcntl_setfl(&filler, flags | OFlags::NONBLOCK).unwrap();
    while filler.write(&[b'.'; 512]).is_ok() {}
    let mut watcher = ekstrack.command(&["watch", "prod"]);
    let mut watcher = watcher.stdout(filler).spawn().unwrap();
    while !is_polling(watcher.id()) {
        assert_eq!(watcher.try_wait().unwrap(), None, "it gave up");
        std::thread::yield_now();
    }
    let mut seen = String::new();
    let mut bytes = [0; 4096];
    while !seen.contains("prod") {
        let read = screen.read(&mut bytes).unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    kill_process(Pid::from_child(&watcher), Signal::INT).unwrap();
    // Nobody waits for room while it draws its last frame.
    std::thread::spawn(move || while screen.read(&mut bytes).is_ok_and(|read| read > 0) {});
    assert_eq!(shell_code(watcher.wait().unwrap()), Some(130));
}
