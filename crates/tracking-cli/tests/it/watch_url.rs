//! Watching by a server's live stream.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ekstrack::Ekstrack;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// `ekstrack serve` in a process of its own.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(ekstrack: &Ekstrack, listen: &str, args: &[&str]) -> Self {
        let mut all = vec!["--json", "serve", "--listen", listen];
        all.extend(args);
        let mut process = ekstrack.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let document: Value = serde_json::from_str(&line).unwrap();
        let url = document["listening"][0].as_str().unwrap().to_owned();
        Self { process, url }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

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

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn rest(self) -> (Vec<String>, Option<i32>) {
        let mut process = self.process;
        let rest = self.lines.map(Result::unwrap).collect();
        (rest, process.wait().unwrap().code())
    }
}

fn event_types(lines: &[String]) -> Vec<String> {
    let messages = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    messages
        .filter(|message| message["type"] == "progress_event")
        .map(|message| message["data"]["type"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_server_that_goes_and_comes_back_costs_no_event() {
    let ekstrack = Ekstrack::started();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    let (url, listen) = (
        server.url.clone(),
        server.url.trim_start_matches("ws://").to_owned(),
    );
    let mut watcher = Watcher::spawn(&ekstrack, &["--json", "watch", "--url", &url, "prod"]);
    let first: Value = serde_json::from_str(&watcher.next()).unwrap();
    assert_eq!(first["type"], "progress_summary");
    assert_eq!(first["data"]["upgrade_id"], "prod");
    ekstrack.ok(&["upgrade", "phase", "prod", "One"]);
    let event: Value = serde_json::from_str(&watcher.next()).unwrap();
    assert_eq!(event["data"]["phase"], "One");

    server.stop();
    let mut stderr = BufReader::new(watcher.process.stderr.take().unwrap());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("what is shown is stale from 20"), "{told}");
    ekstrack.ok(&["upgrade", "phase", "prod", "Two"]);
    ekstrack.ok(&["upgrade", "complete", "prod"]);
    let server = Server::start(&ekstrack, &listen, &[]);
    let summary: Value = serde_json::from_str(&watcher.next()).unwrap();
    assert_eq!(summary["type"], "progress_summary");
    assert_eq!(summary["data"]["status"], "COMPLETED");
    let (rest, code) = watcher.rest();
    assert_eq!(event_types(&rest), ["upgrade.phase_changed", "upgrade.completed"]);
    assert_eq!(code, Some(0));
    told.clear();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("what is shown is live"), "{told}");
    server.stop();
}

#[test]
fn it_begins_after_a_sequence_and_ends_with_the_upgrade() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "phase", "prod", "Draining"]);
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    for since in ["0", "2"] {
        let args = ["--json", "watch", "--url", &server.url, "--since", since];
        let (lines, code) = Watcher::spawn(&ekstrack, &args).rest();
        let types = event_types(&lines);
        let expected = ["upgrade.phase_changed", "upgrade.cancelled"];
        assert!(types.ends_with(&expected.map(str::to_owned)), "{types:?}");
        assert_eq!(types.len(), if since == "0" { 4 } else { 2 }, "{types:?}");
        assert_eq!(code, Some(0));
    }
    let (lines, code) = Watcher::spawn(&ekstrack, &["watch", "--url", &server.url]).rest();
    assert_eq!((lines.len(), code), (1, Some(0)));
    assert!(
        lines[0].contains("upgrade prod of") && lines[0].contains("is cancelled"),
        "{lines:?}"
    );
    let future = ekstrack.output(&["watch", "--url", &server.url, "--since", "99"]);
    assert_eq!(future.status.code(), Some(2), "{future:?}");
    server.stop();
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_reason() {
    let ekstrack = Ekstrack::started();
    std::fs::write(ekstrack.home().join("token"), TOKEN).unwrap();
    let wrong = TOKEN.replace('0', "f");
    std::fs::write(ekstrack.home().join("wrong"), wrong).unwrap();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &["--token-file", "token"]);
    let url = server.url.clone();
    let refused = |args: &[&str], code: i32, reason: &str| {
        let output = ekstrack.output(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
        assert!(!stderr.contains(TOKEN), "{stderr}");
    };
    refused(
        &["watch", "--url", &url, "--token-file", "wrong"],
        4,
        "the token is wrong",
    );
    refused(
        &["watch", "--url", &url, "--token-file", "token", "other"],
        3,
        "there is no upgrade:other",
    );
    refused(
        &["watch", "--url", &url, "--token-file", "none"],
        2,
        "read a token from none",
    );
    refused(
        &["watch", "--url", "http://localhost"],
        2,
        "must begin with ws://",
    );
    refused(
        &["watch", "--url", &format!("{url}/?upgrade=prod"), "prod"],
        2,
        "a query of its own",
    );
    refused(&["watch", "--token-file", "token"], 2, "--url");
    server.stop();
    refused(&["watch", "--url", &url], 5, "cannot connect to 127.0.0.1");
}

#[test]
fn an_interrupt_ends_it_quietly() {
    let ekstrack = Ekstrack::started();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    let mut watcher = Watcher::spawn(&ekstrack, &["watch", "--url", &server.url, "prod"]);
    assert!(watcher.next().starts_with("upgrade prod of"));
    kill_process(Pid::from_child(&watcher.process), Signal::INT).unwrap();
    let (rest, code) = watcher.rest();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(code, Some(130));
    server.stop();
}
