//! Watching by a server's live stream.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tracking_facade::live::{CancellationToken, HubOptions, ServerOptions, bind, serve};
use tracking_facade::{Archive, Clock, Timestamp};

use crate::ekstrack::{Ekstrack, shell_code};

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
        (rest, shell_code(process.wait().unwrap()))
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

/// Adds the task `nodes`, which begins.
fn start_nodes(ekstrack: &Ekstrack) {
    let add = [
        "task",
        "add",
        "prod",
        "nodes",
        "--name",
        "Nodes",
        "--type",
        "upgrade_step",
    ];
    ekstrack.ok(&add);
    ekstrack.ok(&["task", "start", "prod", "nodes"]);
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

/// A clock of another machine.
#[derive(Debug)]
struct SetWrong;

impl Clock for SetWrong {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2101-02-03T04:05:06Z").unwrap()
    }
}

#[test]
fn times_are_those_of_the_server_however_the_clock_here_is_set() {
    let ekstrack = Ekstrack::started();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shutdown = CancellationToken::new();
    let (url, serving) = runtime.block_on(async {
        let options = HubOptions::default().with_clock(Arc::new(SetWrong));
        let hub = Archive::open(ekstrack.data()).unwrap().hub(options);
        let listeners = bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listeners[0].local_addr().unwrap());
        let serving = serve(listeners, hub, ServerOptions::default(), shutdown.clone());
        (url, runtime.spawn(serving))
    });
    let mut watcher = Watcher::spawn(&ekstrack, &["watch", "--url", &url, "prod"]);
    watcher.next();
    shutdown.cancel();
    runtime.block_on(serving).unwrap().unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(watcher.process.stderr.take().unwrap());
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("stale from 2101-02-03 04:05:"), "{told}");
    kill_process(Pid::from_child(&watcher.process), Signal::INT).unwrap();
    assert_eq!(watcher.rest().1, Some(130));
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
    // Long before the server has waited long enough for one.
    refused(&["watch", "--url", &url], 4, "the server wants a token");
    // The last is what a URL asks for by which nothing is watched.
    for id in ["other", "none"] {
        refused(
            &["watch", "--url", &url, "--token-file", "token", id],
            3,
            &format!("there is no upgrade:{id}"),
        );
    }
    refused(
        &["watch", "--url", &format!("{url}/?upgrade=none")],
        2,
        "watches nothing",
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
    refused(&["watch", "--url", "localhost:8765"], 2, "must begin with ws://");
    for secret in [
        format!("{url}/?token={TOKEN}"),
        url.replace("ws://", &format!("ws://me:{TOKEN}@")),
        format!("{url}/?token={TOKEN}&upgrade=prod"),
    ] {
        refused(&["watch", "--url", &secret], 2, "no place in a URL");
        refused(&["watch", "--url", &secret, "prod"], 2, "in");
    }
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
fn an_error_of_the_server_is_no_message() {
    let ekstrack = Ekstrack::started();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    for more in [&[][..], &["--since", "1"]] {
        let args = [&["--json", "watch", "--url", &server.url, "other"], more].concat();
        let output = ekstrack.output(&args);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "not_found", "{error}");
        assert!(error.to_string().contains("there is no upgrade:other"), "{error}");
    }
    server.stop();
}

/// A watcher whose server is away, which it has said.
fn left_alone(ekstrack: &Ekstrack, args: &[&str]) -> (Watcher, String) {
    let server = Server::start(ekstrack, "127.0.0.1:0", &[]);
    let listen = server.url.trim_start_matches("ws://").to_owned();
    let args = [args, &["watch", "--url", &server.url, "prod"]].concat();
    let mut watcher = Watcher::spawn(ekstrack, &args);
    watcher.next();
    server.stop();
    let mut told = String::new();
    let stderr = watcher.process.stderr.as_mut().unwrap();
    BufReader::new(stderr).read_line(&mut told).unwrap();
    assert!(told.contains("what is shown is stale from 20"), "{told}");
    (watcher, listen)
}

#[test]
fn what_failed_and_was_started_again_meanwhile_goes_on() {
    let ekstrack = Ekstrack::started();
    let (mut watcher, listen) = left_alone(&ekstrack, &["--json"]);
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no capacity"]);
    ekstrack.ok(&[
        "upgrade",
        "start",
        "prod",
        "--plan",
        "plan-7",
        "--cluster",
        "prod-eu",
    ]);
    let server = Server::start(&ekstrack, &listen, &[]);
    let seen: Vec<_> = (0..3).map(|_| watcher.next()).collect();
    assert_eq!(event_types(&seen), ["upgrade.failed", "upgrade.started"]);
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let (rest, code) = watcher.rest();
    assert_eq!(event_types(&rest), ["upgrade.cancelled"]);
    assert_eq!(code, Some(0));
    server.stop();
}

#[test]
fn what_failed_meanwhile_ends_it_once_everything_was_shown() {
    let ekstrack = Ekstrack::started();
    start_nodes(&ekstrack);
    let (watcher, listen) = left_alone(&ekstrack, &["--json"]);
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no capacity"]);
    // Of this record nobody is told, so the last event is not the last record.
    ekstrack.ok(&["task", "heartbeat", "prod", "nodes"]);
    let server = Server::start(&ekstrack, &listen, &[]);
    let (rest, code) = watcher.rest();
    assert_eq!(event_types(&rest), ["upgrade.failed"]);
    assert_eq!(rest.len(), 2, "the summary, and the event: {rest:?}");
    assert_eq!(code, Some(0));
    server.stop();
}

#[test]
fn lines_are_those_of_an_upgrade_that_is_here() {
    let ekstrack = Ekstrack::started();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    let mut there = Watcher::spawn(&ekstrack, &["watch", "--url", &server.url]);
    let mut here = Watcher::spawn(&ekstrack, &["watch"]);
    assert_eq!(there.next(), here.next());
    start_nodes(&ekstrack);
    ekstrack.ok(&["task", "complete", "prod", "nodes"]);
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no capacity"]);
    let (there, here) = (there.rest(), here.rest());
    assert_eq!(there, here);
    assert!(
        there.0.last().unwrap().contains("1 of 1 tasks completed"),
        "{there:?}"
    );
    server.stop();
}

/// What is on the terminal in the end of a command that runs on one.
fn on_a_terminal(ekstrack: &Ekstrack, args: &[&str], meanwhile: impl FnOnce()) -> String {
    let plain = ekstrack.command(args);
    let words = [plain.get_program()].into_iter().chain(plain.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut terminal = Command::new("script");
    terminal
        .args(["-qfec", &words.join(" "), "/dev/null"])
        .current_dir(ekstrack.home())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .envs([("TERM", "xterm"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = terminal.spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    let mut meanwhile = Some(meanwhile);
    loop {
        let length = stdout.read(&mut buffer).unwrap();
        shown.extend_from_slice(&buffer[..length]);
        if length == 0 {
            break;
        }
        if String::from_utf8_lossy(&shown).contains("in progress")
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
    }
    assert_eq!(process.wait().unwrap().code(), Some(0));
    last_drawing(&String::from_utf8(shown).unwrap())
}

/// What was drawn last, without what steers the terminal.
fn last_drawing(shown: &str) -> String {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, escape)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        let mut signs = escape.chars();
        let order = signs.find(char::is_ascii_alphabetic);
        // The cursor goes up before each drawing.
        if order == Some('A') {
            text.clear();
        }
        rest = signs.as_str();
    }
    text.push_str(rest);
    text
}

#[test]
fn a_terminal_shows_the_tree_of_an_upgrade_that_is_here() {
    let ekstrack = Ekstrack::started();
    let add = |task: &str, more: &[&str]| {
        let add = [
            "task",
            "add",
            "prod",
            task,
            "--name",
            task,
            "--type",
            "upgrade_step",
        ];
        ekstrack.ok(&[&add[..], more].concat());
    };
    add("nodes", &[]);
    add("blue", &["--parent", "nodes"]);
    ekstrack.ok(&["task", "start", "prod", "nodes"]);
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    let there = on_a_terminal(&ekstrack, &["watch", "--url", &server.url, "prod"], || {
        add("green", &["--parent", "nodes"]);
        ekstrack.ok(&["task", "fail", "prod", "green", "--error", "no capacity"]);
        ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no capacity"]);
    });
    assert!(
        there.contains("├─ · blue") && there.contains("└─ ✘ green"),
        "{there}"
    );
    assert!(there.contains("failed: no capacity"), "{there}");
    assert_eq!(there.matches("prod-eu").count(), 1, "one drawing: {there}");
    assert_eq!(there, on_a_terminal(&ekstrack, &["watch", "prod"], || {}));
    server.stop();
}

#[test]
fn an_upgrade_that_is_removed_is_not_shown_as_live() {
    let ekstrack = Ekstrack::started();
    let server = Server::start(&ekstrack, "127.0.0.1:0", &[]);
    let mut watcher = Watcher::spawn(&ekstrack, &["watch", "--url", &server.url]);
    watcher.next();
    std::fs::remove_file(ekstrack.journal()).unwrap();
    let mut told = String::new();
    let mut stderr = watcher.process.stderr.take().unwrap();
    let (_, code) = watcher.rest();
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("any longer"), "{told}");
    server.stop();
}

#[test]
fn tls_that_does_not_come_about_says_what_to_do() {
    let ekstrack = Ekstrack::started();
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(ekstrack.home().join("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(ekstrack.home().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let tls = ["--certificate", "cert.pem", "--key", "key.pem"];
    let (plain, tls) = (
        Server::start(&ekstrack, "127.0.0.1:0", &[]),
        Server::start(&ekstrack, "127.0.0.1:0", &tls),
    );
    let refused = |url: &str, hint: &str| {
        let output = ekstrack.output(&["watch", "--url", url]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{stderr}");
        let told = stderr.lines().last().unwrap();
        assert!(told.contains("hint:") && told.contains(hint), "{stderr}");
    };
    refused(&tls.url, "--ca-file");
    refused(&tls.url.replace("wss://", "ws://"), "begin the URL with wss://");
    refused(&plain.url.replace("ws://", "wss://"), "begin the URL with ws://");
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let told = ekstrack.ok(&["watch", "--url", &tls.url, "--ca-file", "cert.pem"]);
    assert!(told.contains("is cancelled"), "{told}");
    plain.stop();
    tls.stop();
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
