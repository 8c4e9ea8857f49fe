//! Viewers that were not written here: Python's `websockets`, and a page in Chromium.

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use stream_ws::ServerOptions;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::{Agent, Served, TOKEN, cutting_proxy, data_dir, hub, python, token, within};

/// The example in a language that `docs/websocket.md` gives.
fn example(language: &str) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/websocket.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, example) = guide.split_once(&format!("```{language}\n")).unwrap();
    example.split_once("```").unwrap().0.to_owned()
}

/// `example` with `new` in place of `old`, which it has.
fn replaced(example: &str, old: &str, new: &str) -> String {
    assert!(example.contains(old), "{old} is not in {example}");
    example.replace(old, new)
}

/// The next line of a program, which is JSON about `what`.
async fn said(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> Value {
    let line = within(lines.next_line())
        .await
        .unwrap()
        .expect("the program has not ended");
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["what"], what, "{line}");
    said
}

fn numbers(value: &Value) -> Vec<u64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sees_the_same() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let hub = hub(&dir);
    let served = Served::start(hub.clone(), ServerOptions::default().with_token(token())).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_viewer.py");
    let mut child = Command::new(python())
        .arg(script)
        .args([&served.url(""), TOKEN])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = said(&mut lines, "ready").await;
    assert_eq!(
        (ready["seq"].as_u64(), ready["extensions"].as_u64()),
        (Some(4), Some(0)),
        "no compression"
    );
    agent.reports(0..3).await;
    let seen = said(&mut lines, "seen").await;
    assert_eq!(
        seen["types"].to_string(),
        r#"["pong","progress_event","progress_event","progress_event"]"#
    );
    assert_eq!(numbers(&seen["seqs"]), [5, 6, 7]);
    agent.reports(3..6).await;
    // The summary is to be as of the last of them.
    hub.settle().await;
    child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    let back = said(&mut lines, "back").await;
    assert_eq!(back["types"][0], "progress_summary");
    assert_eq!(numbers(&back["seqs"]), [10, 8, 9, 10]);
    let subprotocol = said(&mut lines, "subprotocol").await;
    assert_eq!(
        (&subprotocol["chosen"], &subprotocol["type"]),
        (&"ekstrack".into(), &"progress_summary".into())
    );
    assert_eq!(said(&mut lines, "auth").await["type"], "progress_summary");
    let refused = said(&mut lines, "refused").await;
    assert_eq!(
        (&refused["wrong_token"], &refused["origin"], &refused["unknown"]),
        (&401.into(), &403.into(), &1008.into())
    );
    assert!(within(child.wait()).await.unwrap().success());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_in_python_is_cut_off_and_continues() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let proxy = cutting_proxy(served.address).await;
    let script = replaced(&example("python"), "localhost:8765", &proxy.address.to_string());
    let script = replaced(&script, "sleep(1)", "sleep(0.02)");
    let mut child = Command::new(python())
        .args(["-u", "-c", &script])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = within(lines.next_line()).await.unwrap();
        line.expect("the example has not ended")
    };
    assert_eq!(next().await, "u IN_PROGRESS 0.0");
    agent.reports(0..2).await;
    assert_eq!((next().await, next().await), ("5 0".to_owned(), "6 1".to_owned()));
    proxy.freeze();
    agent.reports(2..4).await;
    proxy.cut(1);
    let (mut events, mut summaries) = (Vec::new(), 0);
    while events.len() < 2 || summaries == 0 {
        match next().await {
            summary if summary.starts_with("u IN_PROGRESS") => summaries += 1,
            event => events.push(event),
        }
    }
    assert_eq!(events, ["7 2", "8 3"]);
    child.kill().await.unwrap();
    served.stop().await;
}

/// Serves a page, and hears what it says.
async fn serve_page(listener: TcpListener, page: String, said: mpsc::UnboundedSender<Value>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        if let Some(what) = answer(socket, &page).await
            && said.send(what).is_err()
        {
            return;
        }
    }
}

/// Answers one request; what was said in it.
async fn answer(mut socket: TcpStream, page: &str) -> Option<Value> {
    let mut request = Vec::new();
    let mut buffer = [0; 2048];
    let (head, body) = loop {
        let length = socket.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or("0", str::trim);
        if body.len() >= length.parse().unwrap() {
            break (head, body.to_owned());
        }
    };
    let content = if head.starts_with("get / ") { page } else { "" };
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{content}",
        content.len()
    );
    socket.write_all(response.as_bytes()).await.ok()?;
    head.starts_with("post /say ")
        .then(|| serde_json::from_str(&body).unwrap())
}

/// A browser, which a script starts, and which starts processes of its own.
struct Browser {
    group: Pid,
    _script: Child,
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Err(error) = kill_process_group(self.group, Signal::KILL) {
            assert_eq!(
                error,
                rustix::io::Errno::SRCH,
                "they are gone already, or can be ended"
            );
        }
    }
}

fn chromium(profile: &Path, url: &str) -> Browser {
    let script = Command::new("chromium-headless-shell")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("`cargo xtask test --step set-up` installs chromium-headless-shell");
    let group = script.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Browser {
        group: group.expect("it runs"),
        _script: script,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_a_browser_is_cut_off_and_continues() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let page_address = listener.local_addr().unwrap();
    let origin = format!("http://{page_address}");
    let options = ServerOptions::default()
        .with_token(token())
        .with_origins([&origin]);
    let served = Served::start(hub(&dir), options).await;
    let proxy = cutting_proxy(served.address).await;
    let address = format!("ws://{}", proxy.address);
    let example = replaced(&example("html"), "wss://dash.example.com", &address);
    let example = replaced(&example, "connect, 1000", "connect, 20");
    let page = include_str!("browser.html").replace("TOKEN", TOKEN);
    let page = replaced(&page, "EXAMPLE", &example);
    let (sender, mut said) = mpsc::unbounded_channel();
    let mut pages = JoinSet::new();
    pages.spawn(serve_page(listener, page, sender));
    let profile = tempfile::tempdir().unwrap();
    let browser = chromium(profile.path(), &origin);

    let mut hear = async |what: &str| loop {
        let heard = within(said.recv()).await.expect("the page is served");
        if heard["what"] == what {
            return heard;
        }
    };
    let open = hear("open").await;
    assert_eq!(
        (&open["protocol"], &open["extensions"]),
        (&"ekstrack".into(), &"".into())
    );
    assert_eq!(hear("summary").await["seq"], 4);
    agent.reports(0..3).await;
    while hear("event").await["seq"] != 7 {}
    // Cut off, and what happens meanwhile is not missed.
    proxy.cut(1);
    agent.reports(3..6).await;
    assert_eq!(hear("close").await["code"], 1006);
    agent.reports(6..9).await;
    let last = loop {
        let event = hear("event").await;
        if event["seq"] == 13 {
            break event;
        }
    };
    assert_eq!(numbers(&last["seen"]), (5..=13).collect::<Vec<u64>>());
    drop(browser);
    pages.shutdown().await;
    served.stop().await;
}
